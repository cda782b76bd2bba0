"""Copies between two buckets: of two servers, or of one server behind a proxy."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.events import Event, ObjectRetried
from bulkpresign.model import Outcome
from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.events import outcomes_of, retries_of


def only(*pairs: str) -> pytest.MarkDecorator:
    """Runs a test with these pairs of servers."""
    return pytest.mark.parametrize("sides", pairs, indirect=True)


#: The settings by which a run finds the two servers: profiles, as `configure` makes them.
FOR_COPY: dict[str, Any] = {"source_profile_name": "source", "destination_profile_name": "destination"}
FOR_SIGN: dict[str, Any] = {"profile_name": "source", "destination_profile_name": "destination"}


class Sides:
    """A bucket each of two servers. `copy` copies everything, or other sources to other prefixes.

    `get` and `put` are clients of the source and the destination. `events` are those of the last copy.
    """

    def __init__(self, boto: Boto, make_bucket: MakeBucket, source: S3Server, destination: S3Server) -> None:
        self.source_server, self.destination_server = source, destination
        self.get: Any = boto(source)
        self.put: Any = boto(destination)
        self.source, self.destination = make_bucket(source), make_bucket(destination)
        self.for_copy, self.for_sign = FOR_COPY, FOR_SIGN
        self.events: list[Event] = []

    @property
    def outcomes(self) -> list[Outcome]:
        return outcomes_of(self.events)

    @property
    def retries(self) -> list[ObjectRetried]:
        return retries_of(self.events)

    @property
    def verified_by(self) -> list[str | None]:
        return [outcome.verified_by for outcome in self.outcomes]

    def copy(self, source: Any = None, to: str = "", **settings: Any) -> bp.Report:
        return self._run(source or f"s3://{self.source}/", f"s3://{self.destination}/{to}", **self.for_copy | settings)

    def sign(self, links: str = "links.csv", to: str = "to/", **settings: Any) -> bp.SignReport:
        """Links for a copy of everything."""
        where = {"to": f"s3://{self.destination}/{to}"}
        return asyncio.run(bp.sign(f"s3://{self.source}/", links, **where | self.for_sign | settings))

    def copy_links(self, links: Any = "links.csv", **settings: Any) -> bp.Report:
        """Copies through links, which needs no credentials."""
        return self._run(links, **settings)

    def _run(self, *sides: Any, **settings: Any) -> bp.Report:
        self.events.clear()
        return asyncio.run(bp.copy(*sides, **{"listeners": [self.events.append], **settings}))

    def upload(self, bodies: dict[str, bytes], **settings: Any) -> None:
        """Objects of the source."""
        for key, body in bodies.items():
            self.get.put_object(Bucket=self.source, Key=key, Body=body, **settings)

    def upload_in_parts(self, key: str, parts: list[bytes], **settings: Any) -> str:
        """An object of the source. Returns its etag. A `ChecksumAlgorithm` is that of each part, too."""
        where = {"Bucket": self.source, "Key": key}
        algorithm = settings.get("ChecksumAlgorithm")
        of_part = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        upload_id = self.get.create_multipart_upload(**where, **settings)["UploadId"]
        done = []
        for number, body in enumerate(parts, 1):
            stored = self.get.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body, **of_part)
            digests = {name: stored[name] for name in ("ETag", *(f"Checksum{value}" for value in of_part.values()))}
            done.append({"PartNumber": number, **digests})
        self.get.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": done})
        return str(self.get.head_object(**where)["ETag"]).strip('"')

    def store(self, bodies: dict[str, bytes]) -> None:
        """Objects of the destination."""
        for key, body in bodies.items():
            self.put.put_object(Bucket=self.destination, Key=key, Body=body)

    def copied(self, prefix: str = "") -> dict[str, bytes]:
        """All objects of the destination."""
        pages = self.put.get_paginator("list_objects_v2").paginate(Bucket=self.destination, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self.put.get_object(Bucket=self.destination, Key=key)["Body"].read() for key in keys}


class ProxiedSides(Sides):
    """Two buckets of one server, which runs reach through `proxy`; `get` and `put` don't."""

    def __init__(self, boto: Boto, make_bucket: MakeBucket, server: S3Server, proxy: FaultProxy) -> None:
        super().__init__(boto, make_bucket, server, server)
        self.for_copy = self.for_sign = {}
        self.proxy = proxy


BehindProxy = Callable[[S3Server], ProxiedSides]
