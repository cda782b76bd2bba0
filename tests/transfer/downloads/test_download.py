"""Downloads that ask the server: for the part size of an etag, and whether an existing file is the object."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.download import Downloader
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter
from tests.servers.proxy import FaultProxy
from tests.support.folders import files
from tests.transfer.parts import crc64
from tests.transfer.running import Run, jobs_of, one_batch, reference, run

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
