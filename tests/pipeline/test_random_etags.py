"""Objects whose etags have the form of an upload in one part, and tell nothing of their bytes.

MinIO gives them at random to objects that were stored with its compatibility mode off, once the default, or under
a key of KMS. Source: minio/minio #8793 and #19593, `MD5CurrentHexString` in `cmd/object-api-utils.go`.
"""

import asyncio
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.model import ObjectRef
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Seen

BODIES = {"empty": b"", "small": b"some text", "streamed": os.urandom(400_000), "parts": os.urandom(11 << 20)}
PART = 5 << 20
_ETAG = re.compile(rb'(?i)(etag(?:: |>)(?:"|&quot;|&#34;))([0-9a-f]{32})(?=["&])')


def other_etags(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The response with an etag of no meaning, and no checksum, for each object, but not for the parts of an upload."""
    if "uploadId=" in seen.target:
        return head, body

    def other(found: re.Match[bytes]) -> bytes:
        return found[1] + hashlib.md5(found[2]).hexdigest().encode() + b"-1"

    is_xml = body.startswith(b"<?xml")
    changed = _ETAG.sub(other, body) if is_xml else body
    head = re.sub(rb"(?im)^(?:x-amz-checksum-.*|server:.*)\r\n", b"", _ETAG.sub(other, head))
    head = head.replace(b"\r\n", b"\r\nServer: MinIO\r\n", 1)
    return head.replace(b"Content-Length: %d\r" % len(body), b"Content-Length: %d\r" % len(changed)), changed


@pytest.fixture
def sides(proxied: ProxiedSides) -> ProxiedSides:
    proxied.upload(BODIES)
    proxied.proxy.alter, proxied.proxy.drop_conditions = other_etags, True
    return proxied


def test_files_are_unproven_and_not_different(sides: ProxiedSides, tmp_path: Path) -> None:
    source, to = f"s3://{sides.source}/", tmp_path / "to"
    report = asyncio.run(bp.get(source, to=to, part_size=PART))
    assert (report.done, report.failed, report.retries) == (4, 0, 0)
    assert {key: (to / key).read_bytes() for key in BODIES} == BODIES
    assert report.unproven == 3, report
    heads = [seen for seen in sides.proxy.seen if seen.method == "HEAD"]
    assert not heads  # the size of its only part is not asked for


def test_their_files_are_unproven_by_the_journal_and_not_different(sides: ProxiedSides, tmp_path: Path) -> None:
    """A manifest has the etags only; the server told at the download that they are none of the bytes."""
    manifest, to = tmp_path / "links.csv", tmp_path / "to"

    async def verified() -> tuple[Any, Any]:
        await bp.sign(f"s3://{sides.source}/", manifest)
        await bp.get(manifest, to=to, part_size=PART)
        unproven = await bp.verify(manifest, to, failures=tmp_path / "unproven.csv")
        return unproven, await bp.verify(manifest, to, accept_size=True)

    unproven, accepted = asyncio.run(verified())
    assert (unproven.verified, unproven.unproven, unproven.different) == (1, 3, 0)
    assert "its etag can't prove the bytes" in (tmp_path / "unproven.csv").read_text()
    assert (accepted.verified, accepted.different) == (4, 0)
    (to / "small").write_bytes(b"longer than it was")
    assert asyncio.run(bp.verify(manifest, to)).different == 1


def test_objects_in_memory(sides: ProxiedSides) -> None:
    async def read() -> dict[str, bytes]:
        refs = [ObjectRef(sides.source, key) for key in BODIES]
        return {link.object.key: data async for link, data in bp.read(refs)}

    assert asyncio.run(read()) == BODIES


def test_copies_are_compared_by_their_bytes(sides: ProxiedSides) -> None:
    report = sides.copy(relay=True)
    assert (report.done, report.failed, report.retries) == (4, 0, 0), sides.outcomes
    assert sides.copied() == BODIES
    compared = asyncio.run(bp.compare(f"s3://{sides.source}/", f"s3://{sides.destination}/"))
    assert (compared.verified, compared.different, compared.unproven) == (4, 0, 0)
