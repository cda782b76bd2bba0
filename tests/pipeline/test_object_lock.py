"""Copies into a bucket with Object Lock: S3 takes no bytes without a digest then. No server here refuses them."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

import bulkpresign as bp
from bulkpresign.transfer.copies import multipart
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Fault, Seen
from tests.servers.server import CONFIG, new_client
from tests.support.checksums import cut

MIB = 1 << 20
PART = 5 * MIB
SMALL, STREAMED, LARGE = b"small", os.urandom(300_000), os.urandom(11 * MIB)


def refuse_without_digest(seen: Seen) -> Fault | None:
    """As S3 does. A copy that it makes itself needs no digest."""
    names = {name for name, _ in seen.headers}
    has_digest = "content-md5" in names or any(name.startswith("x-amz-checksum-") for name in names)
    if seen.method != "PUT" or has_digest or "x-amz-copy-source" in names:
        return None
    kind = "Put Part" if "partNumber=" in seen.target else "Put Object"
    message = f"Content-MD5 OR x-amz-checksum- HTTP header is required for {kind} requests with Object Lock parameters"
    return Fault(400, body=f"<Error><Code>InvalidRequest</Code><Message>{message}</Message></Error>".encode())


@pytest.fixture
def locked(proxied: ProxiedSides) -> Iterator[ProxiedSides]:
    """Objects of the source have checksums only where a test says so; boto3 sends one by default."""
    proxied.proxy.schedule = refuse_without_digest
    bare = CONFIG.merge(Config(request_checksum_calculation="when_required"))
    with closing(new_client(proxied.source_server, bare)) as proxied.get:
        yield proxied


def hide_md5(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Makes objects those of a KMS key, whose etags are no md5s."""
    if seen.method == "GET" and head.startswith(b"HTTP/1.1 20"):
        head = head.replace(b"\r\n", b"\r\nx-amz-server-side-encryption: aws:kms\r\n", 1)
    return head, body


def copy(sides: ProxiedSides, **settings: Any) -> bp.Report:
    return sides.copy(**{"relay": True, **settings})


def sent(sides: ProxiedSides, method: str) -> list[Seen]:
    """The requests of a run for objects; listings are GETs as well."""
    return [seen for seen in sides.proxy.seen if seen.method == method and "list-type" not in seen.target]


def notes(sides: ProxiedSides) -> list[str]:
    return [event.message for event in sides.retries if "sent with a checksum" in event.message]


@pytest.mark.parametrize("executor", [None, "processes:2"])
def test_objects_go_with_the_md5_that_their_etag_tells(executor: str | None, locked: ProxiedSides) -> None:
    bodies = {"streamed": STREAMED, **{f"{n}": b"%d" % n for n in range(40)}}
    locked.upload(bodies)
    report = copy(locked, concurrency=1, executor=executor)
    assert (report.done, report.unproven) == (len(bodies), 0)
    assert locked.copied() == bodies
    assert len(notes(locked)) == 1
    if executor is None:
        assert len(sent(locked, "PUT")) == len(bodies) + 1  # the first one was refused


def test_an_object_with_a_checksum_goes_with_that_alone(locked: ProxiedSides) -> None:
    locked.upload({"a": SMALL, "b": STREAMED}, ChecksumAlgorithm="CRC32C")
    report = copy(locked)
    assert (report.done, report.retries) == (2, 0)
    assert not any(seen.header("content-md5") for seen in locked.proxy.seen)


@pytest.mark.parametrize("is_first", [True, False], ids=["refused", "known to be refused"])
def test_an_object_whose_md5_nothing_tells_is_read_twice(is_first: bool, locked: ProxiedSides) -> None:
    """An object that is not held in memory is read twice: first for its md5."""
    bodies = {"b": STREAMED} if is_first else {"a": SMALL, "b": STREAMED}
    locked.upload(bodies)
    locked.proxy.alter = hide_md5
    report = copy(locked, concurrency=1)
    assert report.done == len(bodies)
    assert locked.copied() == bodies
    reads = [seen for seen in sent(locked, "GET") if "/b?" in seen.target]
    assert len(reads) == 2 + is_first
    digest = b64encode(md5(STREAMED).digest()).decode()
    assert [seen.header("content-md5") for seen in sent(locked, "PUT")][-1] == digest


def parts_read(sides: ProxiedSides) -> list[str]:
    return sorted(str(seen.header("range")) for seen in sent(sides, "GET") if seen.header("range"))


@pytest.mark.parametrize("algorithm", [None, "CRC64NVME", "SHA256"])
def test_parts_go_with_their_md5(algorithm: str | None, locked: ProxiedSides) -> None:
    """Those that are held are read once, after the first. A checksum of parts is sent with each of them anyway."""
    settings = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    for key in ("a", "b"):
        locked.upload_in_parts(key, cut(LARGE, PART), **settings)
    report = copy(locked, concurrency=1, part_concurrency=1)
    assert (report.done, report.unproven) == (2, 0)
    assert locked.copied() == {"a": LARGE, "b": LARGE}
    if algorithm == "SHA256":
        assert report.retries == 0
        return
    assert len(notes(locked)) == 1
    assert len(parts_read(locked)) == 3 * 2 + 1 + 3
    digests = [b64encode(md5(part).digest()).decode() for part in cut(LARGE, PART)]
    assert [seen.header("content-md5") for seen in sent(locked, "PUT")] == [None, *digests, *digests]


def test_parts_that_are_too_large_to_hold_are_read_twice(locked: ProxiedSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "LARGEST_HELD_PART", PART - 1)
    locked.upload({"a": SMALL})
    locked.upload_in_parts("b", cut(LARGE, PART))
    report = copy(locked, concurrency=1, part_concurrency=1)
    assert (report.done, report.unproven) == (2, 0)
    assert locked.copied() == {"a": SMALL, "b": LARGE}
    assert len(parts_read(locked)) == 3 * 2


def test_parts_that_change_on_their_way_are_sent_again(locked: ProxiedSides) -> None:
    locked.upload({"a": SMALL})
    locked.upload_in_parts("b", cut(LARGE, PART))
    flips = iter((Fault(flip_request=True),))

    def schedule(seen: Seen) -> Fault | None:
        is_second = seen.method == "PUT" and "partNumber=2" in seen.target
        return refuse_without_digest(seen) or (next(flips, None) if is_second else None)

    locked.proxy.schedule = schedule
    report = copy(locked, concurrency=1)
    assert (report.done, report.unproven) == (2, 0)
    assert "BadDigest" in [event.code for event in locked.retries]
    assert locked.copied() == {"a": SMALL, "b": LARGE}


def test_a_certificate_is_of_the_bytes_that_went(locked: ProxiedSides) -> None:
    locked.upload({"a": SMALL, "b": STREAMED})
    locked.proxy.alter = hide_md5
    report = copy(locked, certificate="c.jsonl")
    assert report.certificate is not None
    assert report.certificate.objects == 2


def test_copies_of_the_server_need_no_digest(locked: ProxiedSides) -> None:
    locked.upload({"a": SMALL})
    locked.upload_in_parts("b", cut(LARGE, PART))
    report = copy(locked, relay=False)
    assert (report.done, report.retries) == (2, 0)


def test_uploads_end_early_with_the_remedy(locked: ProxiedSides, tmp_path: Path) -> None:
    folder, to = tmp_path / "files", f"s3://{locked.destination}/put/"
    folder.mkdir()
    for n in range(100):
        (folder / f"{n}").write_bytes(b"%d" % n)
    with pytest.raises(bp.BreakerError, match=r"MissingContentMD5.* --checksum"):
        asyncio.run(bp.put(folder, to))
    report = asyncio.run(bp.put(folder, to, checksum="crc32c"))
    assert (report.done, report.failed) == (100, 0)


def test_a_refusal_names_the_remedy(locked: ProxiedSides) -> None:
    """The holder of a link can sign nothing."""
    locked.upload({"a": SMALL})
    locked.sign()
    assert locked.copy_links().failed == 1
    (outcome,) = locked.outcomes
    assert "checksum" in str(outcome.message).partition("(")[2]
