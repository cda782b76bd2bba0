"""Copies that the server makes, of rows that tell nothing but keys."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.model import Outcome
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.pipeline.listening import heard
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server

MIB = 1 << 20
#: What S3 answers to a copy in one request of an object over 5 GiB.
TOO_LARGE = Fault(
    400, body=b"<Error><Code>InvalidRequest</Code><Message>The source is larger than ...</Message></Error>"
)


class Scene:
    """Two buckets of one server behind a proxy. `copy` copies keys of the first one into the second one."""

    def __init__(self, client: Any, make_bucket: MakeBucket, server: S3Server, proxy: FaultProxy) -> None:
        self.client, self.proxy = client, proxy
        self.source, self.destination = make_bucket(server), make_bucket(server)
        self.outcomes: list[Outcome] = []

    def copy(self, *keys: str, **settings: Any) -> bp.Report:
        Path("keys.csv").write_text("bucket,key\n" + "".join(f"{self.source},{key}\n" for key in keys))
        listeners = [heard(self.outcomes)]
        return asyncio.run(bp.copy("keys.csv", f"s3://{self.destination}/", listeners=listeners, **settings))

    def copied(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.destination, Key=key)["Body"].read())


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
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        aws_env(replace(seaweedfs, endpoint_url=proxy.url))
        yield Scene(boto(seaweedfs), make_bucket, seaweedfs, proxy)


def is_copy(seen: Seen) -> bool:
    return seen.header("x-amz-copy-source") is not None


def test_sizes_and_proofs_are_those_of_the_objects(scene: Scene) -> None:
    bodies = {"a": b"1", "b": os.urandom(300_000)}
    for key, body in bodies.items():
        scene.client.put_object(Bucket=scene.source, Key=key, Body=body)
    assert scene.copy(*bodies, dry_run=True).plan.requests == {"COPY": 2, "GET": 2}  # type: ignore[union-attr]
    report = scene.copy(*bodies)
    assert (report.done, report.bytes, report.unproven) == (2, 300_001, 0), scene.outcomes
    assert {outcome.verified_by for outcome in scene.outcomes} == {"md5"}
    assert {key: scene.copied(key) for key in bodies} == bodies
    assert all(seen.header("x-amz-copy-source-if-match") for seen in scene.proxy.seen if is_copy(seen))


def test_an_object_that_is_too_large_for_one_request_is_copied_in_parts(scene: Scene) -> None:
    body = os.urandom(11 * MIB)
    scene.client.put_object(Bucket=scene.source, Key="large", Body=body)
    scene.proxy.schedule = lambda seen: TOO_LARGE if is_copy(seen) and "partNumber=" not in seen.target else None
    report = scene.copy("large", part_size=5 * MIB)
    assert (report.done, report.bytes) == (1, len(body)), scene.outcomes
    assert scene.copied("large") == body


def test_a_key_without_an_object_is_a_failure_of_its_own(scene: Scene) -> None:
    scene.client.put_object(Bucket=scene.source, Key="there", Body=b"1")
    report = scene.copy("there", "gone")
    assert (report.done, report.failed) == (1, 1)
    assert [outcome.code for outcome in scene.outcomes if outcome.status == "failed"] == ["NoSuchKey"]
