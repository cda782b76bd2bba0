"""Downloads that ask the server: for the part size of an etag, and whether an existing file is the object."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.download import Downloader
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter
from tests.servers.proxy import Fault, FaultProxy
from tests.support.folders import files, write_all
from tests.transfer.parts import crc64
from tests.transfer.running import Run, get, jobs_of, one_batch, reference, run

BODY = os.urandom(300_000)
#: Sizes that no tool has, and that are no round numbers: those of parts of which there are five, and two.
OWN, TWO = 70_001, 170_001


def etag_of(part_size: int) -> str:
    digests = [hashlib.md5(BODY[at : at + part_size]).digest() for at in range(0, len(BODY), part_size)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


@pytest.mark.parametrize(
    ("own", "told", "verified_by", "part_size"),
    [
        (OWN, OWN, "md5-parts", OWN),
        (TWO, TWO, "md5-parts", TWO),
        (OWN, None, "size", 0),
        (OWN, OWN + 1, "size", 0),
        (OWN, 1000, "size", 0),
    ],
)
def test_a_part_size_that_the_server_tells_proves_what_no_guess_does(
    own: int, told: int | None, verified_by: str, part_size: int, tmp_path: Path
) -> None:
    asked: list[str] = []
    done = Run()

    async def ask(link: Link) -> int | None:
        asked.append(link.object.key)
        return told

    async def main(url: str) -> None:
        link = Link("GET", f"{url}/a", {}, object=reference({}))
        async with HttpClient(1) as http:
            context = TransferContext(http, done.events.append, RequestLimiter(ConcurrencyController(fixed=1)), 1)
            downloader = Downloader(context, Folder(tmp_path), Coordinator(ask_part_size=ask))
            await run(jobs_of(one_batch([link])), downloader, 1, done.events.append)

    with FaultProxy() as origin:
        origin.objects["/a"], origin.etags["/a"] = BODY, f'"{etag_of(own)}"'
        asyncio.run(main(origin.url))
    (outcome,) = done.outcomes
    assert (outcome.status, outcome.verified_by, asked) == ("done", verified_by, ["a"])
    assert outcome.evidence is not None
    assert outcome.evidence.part_size == part_size
    assert files(tmp_path) == {"a": BODY}


def page_of(size: int, **headers: str) -> Fault:
    return Fault(200, {"Content-Type": "text/html", **headers}, b"<html>".ljust(size))


@pytest.mark.parametrize("query", ["X-Amz-Signature=s", "AWSAccessKeyId=A&Expires=1999999999&Signature=s"])
@pytest.mark.parametrize("size", [1000, 400_000])
@pytest.mark.parametrize("old", [{}, {"a": b"of an earlier run"}], ids=["new", "old"])
def test_a_page_that_no_s3_server_sent_is_not_stored(
    old: dict[str, bytes], size: int, query: str, tmp_path: Path
) -> None:
    """A proxy or a login page responds to any request, and a row of a list of keys tells nothing of its object."""
    write_all(tmp_path, old)
    with FaultProxy() as origin:
        origin.always = page_of(size)
        outcome, done = get(f"{origin.url}/a?{query}", tmp_path)
        assert (outcome.status, outcome.code, outcome.attempts, done.bytes_moved) == ("failed", "NoEtag", 3, 0)
        assert "not that of an S3 server: it has no etag and no header x-amz-*" in (outcome.message or "")
        assert files(tmp_path) == old
        origin.always, origin.objects["/a"] = None, BODY
        origin.faults.append(page_of(size))
        outcome, done = get(f"{origin.url}/a?{query}", tmp_path)
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", "md5", 2)
    assert [retry.code for retry in done.retries] == ["NoEtag"]
    assert files(tmp_path) == {"a": BODY}


@pytest.mark.parametrize("size", [1000, 400_000])
@pytest.mark.parametrize(
    ("query", "headers", "row"),
    [
        ("X-Amz-Signature=s", {"x-amz-request-id": "1"}, {}),
        ("X-Amz-Signature=s", {}, {"etag": "of-no-md5"}),
        ("Key-Pair-Id=K&Signature=s", {}, {}),
        ("", {}, {}),
    ],
)
def test_a_page_that_may_be_the_object_is_stored(
    query: str, headers: dict[str, str], row: dict[str, Any], size: int, tmp_path: Path
) -> None:
    """Pages are objects, too. A gateway may remove the etag, and web servers may send none."""
    with FaultProxy() as origin:
        origin.always = page_of(size, **headers)
        outcome, _ = get(f"{origin.url}/a?{query}", tmp_path, **row)
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", "size", 1)
    assert len(files(tmp_path)["a"]) == size


def test_a_recheck_asks_for_a_large_object_before_it_is_fetched_in_parts(tmp_path: Path) -> None:
    """Its row alone would do for a ranged download, which can't be asked for on condition."""
    (tmp_path / "a").write_bytes(BODY)
    done = Run()

    async def main(url: str) -> None:
        link = Link("GET", f"{url}/a", {}, object=reference({"size": len(BODY), "checksum": crc64(BODY)}))
        async with HttpClient(1) as http:
            context = TransferContext(http, done.events.append, RequestLimiter(ConcurrencyController(fixed=1)), 1)
            downloader = Downloader(context, Folder(tmp_path), Coordinator(), part_size=100_000, rechecks=True)
            await run(jobs_of(one_batch([link])), downloader, 1, done.events.append)

    with FaultProxy() as origin:
        origin.objects["/a"], origin.gives_ranges = BODY, True
        asyncio.run(main(origin.url))
        (seen,) = origin.seen
    assert seen.header("if-none-match") == f'"{hashlib.md5(BODY).hexdigest()}"'
    assert [outcome.status for outcome in done.outcomes] == ["skipped"]
