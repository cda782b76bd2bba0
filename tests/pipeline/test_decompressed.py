"""Objects that a server decompresses on their way, as Google Cloud Storage does: they are moved as they are stored."""

import asyncio
import gzip
import os
import re
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.http.client import Transport
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Fault, FaultProxy, Seen

PART = 5 << 20
PLAIN = {"small": b"some text " * 100, "streamed": os.urandom(400_000), "parts": os.urandom(2 * PART + 1000)}
STORED = {key: gzip.compress(body) for key, body in PLAIN.items()}


def decompressing(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The response as Google Cloud Storage gives it. Its etag is that of the bytes that are stored."""
    is_stored = seen.method in {"GET", "HEAD"} and b"gzip" in head.lower()
    if not is_stored or seen.header("accept-encoding") == "gzip":
        return head, body
    plain = PLAIN[seen.target.partition("?")[0].rpartition("/")[2]]
    head = re.sub(rb"(?im)^(content-(encoding|length|range)|accept-ranges|x-amz-checksum-.*):.*\r\n", b"", head)
    head = re.sub(rb"^HTTP/1.1 206 [^\r]*", b"HTTP/1.1 200 OK", head)
    lines = b"X-Goog-Stored-Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head[:-2] + lines, b"%x\r\n%s\r\n0\r\n\r\n" % (len(plain), plain) if seen.method == "GET" else b""


@pytest.fixture
def sides(proxied: ProxiedSides) -> ProxiedSides:
    proxied.upload(STORED, ContentEncoding="gzip")
    proxied.upload({"other": b"1"})
    proxied.proxy.alter = decompressing
    return proxied


@pytest.mark.parametrize("transport", ["lean", "aiohttp"])
def test_copies_have_the_bytes_that_are_stored(transport: Transport, sides: ProxiedSides) -> None:
    report = sides.copy(relay=True, part_size=PART, transport=transport)
    assert (report.done, report.retries, report.unproven) == (4, 0, 0), sides.outcomes
    assert sides.copied() == {**STORED, "other": b"1"}
    found = sides.put.head_object(Bucket=sides.destination, Key="parts")
    assert found["ContentEncoding"] == "gzip"


@pytest.mark.parametrize("transport", ["lean", "aiohttp"])
def test_an_upload_is_not_sent_again(transport: Transport, tmp_path: Path) -> None:
    """The response to it has the same header."""
    names = ["small", "streamed"]
    for name, size in zip(names, (1000, 400_000), strict=True):
        (tmp_path / name).write_bytes(os.urandom(size))
    with FaultProxy() as origin:
        origin.always = Fault(200, {"X-Goog-Stored-Content-Encoding": "gzip"})
        links = [bp.Link("PUT", f"{origin.url}/{name}", {}, object=bp.ObjectRef("b", name)) for name in names]
        report = asyncio.run(bp.put(links, tmp_path, transport=transport, journal=tmp_path.parent / "put.journal"))
        assert (report.done, report.retries, origin.count) == (2, 0, 2)


@pytest.mark.parametrize("transport", ["lean", "aiohttp"])
def test_files_have_the_bytes_that_are_stored(transport: Transport, sides: ProxiedSides, tmp_path: Path) -> None:
    """Also where a list tells neither size nor etag."""
    keys = [bp.ObjectRef(sides.source, key) for key in STORED]
    sources: list[str | list[bp.ObjectRef]] = [f"s3://{sides.source}/", keys]
    for number, source in enumerate(sources):
        to = tmp_path / str(number)
        report = asyncio.run(bp.get(source, to=to, part_size=PART, transport=transport))
        assert (report.failed, report.retries, report.unproven) == (0, 0, 0)
        assert {key: (to / key).read_bytes() for key in STORED} == STORED
