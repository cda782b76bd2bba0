"""Copies and uploads in parts to servers whose etags tell nothing of the bytes, as under a key of KMS."""

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from tests.conftest import Boto, MakeBucket
from tests.pipeline.copies import ProxiedSides, Sides
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.sides import configure
from tests.support.uploads import open_uploads

PART = 5 << 20
PARTS = [os.urandom(PART), os.urandom(PART), b"1"]
KMS = b"\r\nx-amz-server-side-encryption: aws:kms\r\n\r\n"


class OwnEtagsProxy(FaultProxy):
    """Makes other etags of completed uploads. With `is_encrypting`, it says so."""

    is_encrypting = False

    async def _relayed(self, upstream: str, asked: bytes, sent: bytes) -> tuple[bytes, bytes]:
        head, body = await super()._relayed(upstream, asked, sent)
        if not asked.startswith(b"POST "):
            return head, body
        body = re.sub(rb"[0-9a-f]{32}(?=-)", lambda etag: hashlib.md5(etag[0]).hexdigest().encode(), body)
        return head.replace(b"\r\n\r\n", KMS) if self.is_encrypting else head, body


@pytest.fixture
def scene(
    seaweedfs: S3Server,
    ceph: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Sides, OwnEtagsProxy]]:
    monkeypatch.chdir(tmp_path)
    with OwnEtagsProxy(ceph.endpoint_url) as proxy:
        configure(monkeypatch, tmp_path, seaweedfs, replace(ceph, endpoint_url=proxy.url))
        yield Sides(boto, make_bucket, seaweedfs, ceph), proxy


@pytest.mark.parametrize("sizes", [(PART + 3, PART, PART + 1, 1000), (PART, PART, PART + 10, 1000)])
def test_parts_of_several_sizes_are_not_taken_for_equal_ones(
    sizes: tuple[int, ...], proxied: ProxiedSides, tmp_path: Path
) -> None:
    """Programs that write records make such parts. As many of the size of the first one make the same object."""
    parts = [os.urandom(size) for size in sizes]
    proxied.upload_in_parts("a", parts)
    report = proxied.copy(relay=True)
    assert (report.done, report.failed, report.retries) == (1, 0, 0), proxied.outcomes
    assert proxied.copied() == {"a": b"".join(parts)}
    links = str(tmp_path / "links.csv")
    asyncio.run(bp.sign(f"s3://{proxied.source}/", links, head=True))
    assert asyncio.run(bp.get(links, to=tmp_path / "to")).done == 1
    compared = asyncio.run(bp.compare(f"s3://{proxied.source}/", f"s3://{proxied.destination}/"))
    assert (compared.verified, compared.different, compared.unproven) == (1, 0, 0)


def is_part(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber=" in seen.target


def test_nothing_is_sent_twice_because_of_an_etag_that_tells_nothing(scene: tuple[Sides, OwnEtagsProxy]) -> None:
    """The etag of the object would prove a copy in the same parts, so that nothing is hashed at first."""
    sides, proxy = scene
    proxy.is_encrypting = True
    for key in ("a", "b"):
        sides.upload_in_parts(key, PARTS)
    report = sides.copy(concurrency=1)
    assert (report.done, report.unproven) == (2, 2), sides.outcomes
    assert [outcome.attempts for outcome in sides.outcomes] == [1, 1]
    assert sum(map(is_part, proxy.seen)) == 2 * len(PARTS)
    assert sides.copied() == dict.fromkeys(("a", "b"), b"".join(PARTS))


def test_bytes_are_hashed_once_etags_are_known_to_tell_nothing(scene: tuple[Sides, OwnEtagsProxy]) -> None:
    """A byte of the second object changes on its way from the source, after the first one was copied."""
    sides, encrypting = scene
    encrypting.is_encrypting = True
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
    assert open_uploads(sides.put, sides.destination) == []


def test_attempts_with_other_bytes_leave_no_upload_open(scene: tuple[Sides, OwnEtagsProxy]) -> None:
    sides, encrypting = scene
    encrypting.is_encrypting = True
    for key in ("a", "b"):
        sides.upload_in_parts(key, PARTS)
    with FaultProxy(sides.source_server.endpoint_url) as proxy:
        proxy.schedule = lambda seen: Fault(flip_answer=True) if "/b?" in seen.target and seen.header("range") else None
        report = sides.copy(concurrency=1, attempts=2, source_endpoint_url=proxy.url)
        assert (report.done, report.failed, report.uploads_left_open) == (1, 1, 0), sides.outcomes
        assert open_uploads(sides.put, sides.destination) == []
        proxy.schedule = lambda _: None
        assert sides.copy(source_endpoint_url=proxy.url).done == 1
    assert sides.copied() == dict.fromkeys(("a", "b"), b"".join(PARTS))


def is_read(seen: Seen) -> bool:
    return seen.method == "GET" and "list-type" not in seen.target and "uploadId" not in seen.target


def test_the_first_object_with_an_etag_of_its_own_kind_is_read(scene: tuple[Sides, OwnEtagsProxy]) -> None:
    """Later ones are not: nothing proves these, and the report says so."""
    sides, proxy = scene
    for key in ("a", "b", "c"):
        sides.upload_in_parts(key, PARTS)
    report = sides.copy(concurrency=1)
    assert (report.done, report.unproven) == (3, 2), sides.outcomes
    assert [(outcome.attempts, outcome.verified_by) for outcome in sides.outcomes] == [
        (1, "md5-parts"),
        (1, "size"),
        (1, "size"),
    ]
    assert (sum(map(is_part, proxy.seen)), sum(map(is_read, proxy.seen))) == (9, 1)
    assert sides.copied() == dict.fromkeys("abc", b"".join(PARTS))


def test_a_part_that_changes_on_its_way_is_found_all_the_same(scene: tuple[Sides, OwnEtagsProxy]) -> None:
    sides, proxy = scene
    sides.upload_in_parts("a", PARTS)
    flips = iter((Fault(flip_request=True),))
    proxy.schedule = lambda seen: next(flips, None) if is_part(seen) else None
    assert sides.copy().done == 1, sides.outcomes
    assert [outcome.attempts for outcome in sides.outcomes] == [2]
    assert sides.copied() == {"a": b"".join(PARTS)}


@pytest.mark.parametrize("is_right", [True, False])
def test_uploads_to_a_server_with_etags_of_its_own(is_right: bool, scene: tuple[Sides, OwnEtagsProxy]) -> None:
    """The object that is read either has the bytes of its file, or the upload has failed."""
    sides, proxy = scene
    Path("files").mkdir()
    for name in ("a", "b"):
        (Path("files") / name).write_bytes(b"".join(PARTS))
    proxy.schedule = lambda seen: Fault(flip_answer=True) if is_read(seen) and not is_right else None
    settings: dict[str, Any] = {"profile_name": "destination", "part_size": PART, "concurrency": 1}
    report = asyncio.run(bp.put("files", f"s3://{sides.destination}/", **settings))
    assert (report.done, report.failed, report.unproven) == ((2, 0, 1) if is_right else (0, 2, 0))
