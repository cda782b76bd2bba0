"""Copies between a bucket each of two servers."""

import asyncio
from typing import Any

import bulkpresign as bp
from bulkpresign.model import Outcome
from tests.conftest import Boto, MakeBucket
from tests.pipeline.listening import heard
from tests.servers.server import S3Server

#: The settings of the two sides, by profiles.
SIDES: dict[str, Any] = {"source_profile_name": "source", "destination_profile_name": "destination"}


class Sides:
    """Two servers with a bucket each. `copy` copies everything, or other sources to other prefixes."""

    def __init__(self, boto: Boto, make_bucket: MakeBucket, source: S3Server, destination: S3Server) -> None:
        self.source_server = source
        self.get: Any = boto(source)
        self.put: Any = boto(destination)
        self.source, self.destination = make_bucket(source), make_bucket(destination)
        self.outcomes: list[Outcome] = []

    def copy(self, source: Any = None, to: str = "", **settings: Any) -> bp.Report:
        self.outcomes.clear()
        given = source or f"s3://{self.source}/"
        settings = {**SIDES, "listeners": [heard(self.outcomes)], **settings}
        return asyncio.run(bp.copy(given, f"s3://{self.destination}/{to}", **settings))

    def upload(self, bodies: dict[str, bytes], **settings: Any) -> None:
        for key, body in bodies.items():
            self.get.put_object(Bucket=self.source, Key=key, Body=body, **settings)

    def upload_in_parts(self, key: str, parts: list[bytes], **settings: Any) -> str:
        """Returns the etag."""
        where = {"Bucket": self.source, "Key": key}
        upload_id = self.get.create_multipart_upload(**where, **settings)["UploadId"]
        done = []
        for number, body in enumerate(parts, 1):
            etag = self.get.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)["ETag"]
            done.append({"PartNumber": number, "ETag": etag})
        self.get.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": done})
        return str(self.get.head_object(**where)["ETag"]).strip('"')

    def copied(self, prefix: str = "") -> dict[str, bytes]:
        pages = self.put.get_paginator("list_objects_v2").paginate(Bucket=self.destination, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {key: self.put.get_object(Bucket=self.destination, Key=key)["Body"].read() for key in keys}
