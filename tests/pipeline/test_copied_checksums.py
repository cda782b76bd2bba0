"""Copies in parts have the kind of checksum that their objects have, and are verified by it."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.events import Event, ObjectFinished, ObjectRetried
from bulkpresign.transfer.engine import retries
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server

MIB = 1 << 20
BODY = os.urandom(11 * MIB)


class Scene:
    """Two buckets of SeaweedFS behind a proxy, the first with an object of 11 MiB. `copy` copies it in parts."""

    def __init__(self, client: Any, source: str, destination: str, proxy: FaultProxy) -> None:
        self.client, self.source, self.destination, self.proxy = client, source, destination, proxy
        self.events: list[Event] = []

    def put(self, **checksum: str) -> dict[str, Any]:
        """Uploads the object. Returns its checksums."""
        self.client.put_object(Bucket=self.source, Key="key", Body=BODY, **checksum)
        return self.checksums(self.source)

    def checksums(self, bucket: str) -> dict[str, Any]:
        found = self.client.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
        return {name: value for name, value in found.items() if name.startswith("Checksum")}

    def copy(self, **settings: Any) -> bp.Report:
        listeners = [self.events.append]
        source, destination = f"s3://{self.source}/", f"s3://{self.destination}/"
        return asyncio.run(bp.copy(source, destination, part_size=5 * MIB, listeners=listeners, **settings))

    @property
    def verified_by(self) -> list[str | None]:
        return [event.outcome.verified_by for event in self.events if isinstance(event, ObjectFinished)]


@pytest.fixture
def scene(
    seaweedfs: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    aws_env: AwsEnv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        aws_env(replace(seaweedfs, endpoint_url=proxy.url))
        yield Scene(boto(seaweedfs), make_bucket(seaweedfs), make_bucket(seaweedfs), proxy)


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_checksum_of_all_bytes_is_kept_and_compared(algorithm: str, relay: bool, scene: Scene) -> None:
    """Also where the server makes the copy, whose etag is of another kind then."""
    checksums = scene.put(ChecksumAlgorithm=algorithm)
    assert checksums[f"Checksum{algorithm}"]
    report = scene.copy(relay=relay)
    assert (report.done, report.unproven) == (1, 0)
    assert scene.verified_by == [algorithm.lower()]
    assert scene.checksums(scene.destination) == {"ChecksumType": "FULL_OBJECT", **checksums}
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY


def test_a_checksum_that_parts_can_not_have_is_left_out(scene: Scene) -> None:
    scene.put(ChecksumAlgorithm="SHA256")
    assert scene.copy(relay=True).done == 1
    assert "ChecksumSHA256" not in scene.checksums(scene.destination)


def test_a_copy_with_another_checksum_is_made_again(scene: Scene) -> None:
    """Its answer, and not the object, is what is wrong here."""
    scene.put(ChecksumAlgorithm="CRC64NVME")
    wrong = iter((Fault(200, body=b"<ETag>other</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>"),))

    def answer(seen: Seen) -> Fault | None:
        return next(wrong, None) if seen.method == "POST" and "uploadId=" in seen.target else None

    scene.proxy.schedule = answer
    assert scene.copy(relay=False).done == 1
    assert [event.code for event in scene.events if isinstance(event, ObjectRetried)] == ["ChecksumMismatch"]
    assert scene.verified_by == ["crc64nvme"]


@pytest.mark.parametrize("status", [400, 501])
def test_a_server_that_refuses_the_header_gets_none(status: int, scene: Scene) -> None:
    scene.put(ChecksumAlgorithm="CRC64NVME")
    refusal = Fault(status, body=b"<Error><Code>InvalidRequest</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if seen.header("x-amz-checksum-algorithm") else None
    assert scene.copy(relay=True).done == 1
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY
