"""Copies in parts to a bucket whose etags tell nothing of the bytes, as under a key of KMS."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.pipeline.copies import Sides
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.sides import configure

PART = 5 << 20
PARTS = [os.urandom(PART), os.urandom(PART), b"1"]
KMS = b"\r\nx-amz-server-side-encryption: aws:kms\r\n\r\n"


class EncryptingProxy(FaultProxy):
    """Makes other etags of completed uploads, and says so."""

    async def _relayed(self, upstream: str, asked: bytes, sent: bytes) -> tuple[bytes, bytes]:
        head, body = await super()._relayed(upstream, asked, sent)
        if not asked.startswith(b"POST "):
            return head, body
        body = re.sub(rb"[0-9a-f]{32}(?=-)", lambda etag: hashlib.md5(etag[0]).hexdigest().encode(), body)
        return head.replace(b"\r\n\r\n", KMS), body


@pytest.fixture
def scene(
    seaweedfs: S3Server,
    ceph: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Sides, FaultProxy]]:
    monkeypatch.chdir(tmp_path)
    with EncryptingProxy(ceph.endpoint_url) as proxy:
        configure(monkeypatch, tmp_path, seaweedfs, replace(ceph, endpoint_url=proxy.url))
        yield Sides(boto, make_bucket, seaweedfs, ceph), proxy


def is_part(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber=" in seen.target


def test_nothing_is_sent_twice_because_of_an_etag_that_tells_nothing(scene: tuple[Sides, FaultProxy]) -> None:
    """The etag of the object would prove a copy in the same parts, so that nothing is hashed at first."""
    sides, proxy = scene
    for key in ("a", "b"):
        sides.upload_in_parts(key, PARTS)
    report = sides.copy(concurrency=1)
    assert (report.done, report.unproven) == (2, 2), sides.outcomes
    assert [outcome.attempts for outcome in sides.outcomes] == [1, 1]
    assert sum(map(is_part, proxy.seen)) == 2 * len(PARTS)
    assert sides.copied() == dict.fromkeys(("a", "b"), b"".join(PARTS))


def test_bytes_are_hashed_once_etags_are_known_to_tell_nothing(scene: tuple[Sides, FaultProxy]) -> None:
    """A byte of the second object changes on its way from the source, after the first one was copied."""
    sides, _ = scene
    for key in ("a", "b"):
        sides.upload_in_parts(key, PARTS)
    with FaultProxy(sides.source_server.endpoint_url) as proxy:
        flipped = iter([True])
        proxy.schedule = lambda seen: (
            Fault(flip_answer=True)
            if "/b?" in seen.target and seen.header("range") == f"bytes={PART}-{2 * PART - 1}" and next(flipped, False)
            else None
        )
        report = sides.copy(concurrency=1, source_endpoint_url=proxy.url)
    assert report.done == 2, sides.outcomes
    assert [outcome.attempts for outcome in sides.outcomes] == [1, 2]
    assert sides.copied() == dict.fromkeys(("a", "b"), b"".join(PARTS))
