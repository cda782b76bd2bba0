"""Objects whose only proof is the header of Google Cloud Storage: it has a CRC32C of all, but their etags are no md5.

Source: docs "Complete a multipart upload" of its XML API: "An object created from a multipart upload has a CRC32c hash,
but not an MD5 hash, and the object's ETag is not based on an MD5 hash".
"""

import asyncio
import os
import re
from base64 import b64encode
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.checksums import digest_of
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Fault, Seen

PART = 5 << 20
BODIES = {"small": b"some text", "streamed": os.urandom(400_000), "parts": os.urandom(2 * PART + 1000)}
_ETAG = re.compile(rb'(?i)(etag(?:: |>)(?:"|&quot;|&#34;))[0-9a-f]{32}(?=["&])')


def with_google_hash(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The response as Google Cloud Storage gives it."""
    changed = _ETAG.sub(rb"\1-CKicn4fknMcEEAE=", body) if body.startswith(b"<?xml") else body
    head = head.replace(b"Content-Length: %d\r" % len(body), b"Content-Length: %d\r" % len(changed))
    head = re.sub(rb"(?im)^x-amz-checksum-.*\r\n", b"", _ETAG.sub(rb"\1-CKicn4fknMcEEAE=", head))
    stored = BODIES.get(seen.target.partition("?")[0].rpartition("/")[2])
    if seen.method in {"GET", "HEAD"} and stored is not None:
        head = head[:-2] + b"x-goog-hash: crc32c=%s\r\n\r\n" % b64encode(digest_of("crc32c", stored))
    return head, changed


@pytest.fixture
def sides(proxied: ProxiedSides) -> ProxiedSides:
    proxied.upload(BODIES)
    proxied.proxy.alter, proxied.proxy.drop_conditions = with_google_hash, True
    return proxied


def test_files_are_verified_by_it(sides: ProxiedSides, tmp_path: Path) -> None:
    """Also where a bit changed on its way."""
    flips = iter((Fault(flip_answer=True),))
    sides.proxy.schedule = lambda seen: next(flips, None) if "/streamed?" in seen.target else None
    report = asyncio.run(bp.get(f"s3://{sides.source}/", to=tmp_path, part_size=PART, journal=tmp_path / "journal"))
    assert (report.done, report.unproven, report.retries) == (3, 0, 1)
    assert {key: (tmp_path / key).read_bytes() for key in BODIES} == BODIES


def test_rows_tell_it(sides: ProxiedSides, tmp_path: Path) -> None:
    asyncio.run(bp.sign(f"s3://{sides.source}/", tmp_path / "links.csv", head=True))
    text = (tmp_path / "links.csv").read_text()
    assert all(f"crc32c:{b64encode(digest_of('crc32c', body)).decode()}" in text for body in BODIES.values())
