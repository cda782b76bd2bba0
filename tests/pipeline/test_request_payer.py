"""Buckets that are read only by requests which say that the requester pays."""

import asyncio
import os
from pathlib import Path

import pytest

import bulkpresign as bp
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Fault, Seen

MIB = 1 << 20
BODIES = {"a": b"small", "b": os.urandom(300_000)}
PAYER = "x-amz-request-payer=requester"


@pytest.fixture
def paid(proxied: ProxiedSides) -> ProxiedSides:
    """A source that AWS lets nobody read, list or ask about without that."""

    def refuse(seen: Seen) -> Fault | None:
        is_of_source = seen.target.startswith(f"/{proxied.source}")
        has_copied = f"{proxied.source}/" in (seen.header("x-amz-copy-source") or "")
        if (is_of_source and PAYER not in seen.target) or has_copied:
            return Fault(403, body=b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        return None

    proxied.proxy.schedule = refuse
    proxied.upload(BODIES)
    proxied.upload_in_parts("parts", [bytes(5 * MIB), bytes(5 * MIB), b"1"])
    return proxied


@pytest.mark.parametrize("executor", [None, "processes:2"])
def test_get(executor: str | None, paid: ProxiedSides, tmp_path: Path) -> None:
    report = asyncio.run(bp.get(f"s3://{paid.source}/", tmp_path / "to", request_payer="requester", executor=executor))
    assert (report.done, report.unproven) == (3, 0)
    assert (tmp_path / "to" / "b").read_bytes() == BODIES["b"]
    with pytest.raises(bp.ListingError, match="AccessDenied"):
        asyncio.run(bp.get(f"s3://{paid.source}/", tmp_path / "other"))


def test_a_copy_reads_and_writes_the_bytes_here(paid: ProxiedSides) -> None:
    """The destination is asked for nothing of the kind."""
    assert paid.copy(request_payer="requester").done == 3
    assert paid.copied()["b"] == BODIES["b"]
    assert not any(PAYER in seen.target for seen in paid.proxy.seen if f"/{paid.destination}" in seen.target)
    assert paid.copy(request_payer="requester").skipped == 3


def test_copies_are_proven_by_the_source(paid: ProxiedSides, tmp_path: Path) -> None:
    """Both sides are asked by requests that say it: of other buckets, S3 ignores it."""
    paid.copy(request_payer="requester")
    source, certificate = f"s3://{paid.source}/", tmp_path / "certificate.jsonl"
    compared = asyncio.run(bp.compare(source, f"s3://{paid.destination}/", request_payer="requester"))
    assert (compared.verified, compared.different, compared.unproven) == (3, 0, 0)
    assert asyncio.run(bp.write_certificate(source, certificate, request_payer="requester")).done == 3
    verified = asyncio.run(bp.verify_certificate(source, certificate, request_payer="requester"))
    assert verified.verified == 3


def test_links_that_are_renewed_say_it_once(paid: ProxiedSides, tmp_path: Path) -> None:
    async def renewed() -> list[bp.Link]:
        async with bp.Presigner(request_payer="requester") as presigner:
            links = presigner.sign_batch([bp.ObjectRef(paid.source, "a")])
            return presigner.sign_again(links)

    links = asyncio.run(renewed())
    assert [link.url.count(PAYER) for link in links] == [1]
    assert asyncio.run(bp.get(links, tmp_path)).done == 1


def test_another_payer_is_an_error() -> None:
    with pytest.raises(bp.ParameterError, match="request_payer is 'requester', not 'me'"):
        bp.Presigner(request_payer="me")
