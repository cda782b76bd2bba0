"""What a download costs at least: a worker pool and nothing around it.

`python -m benchmarks.bare aiohttp|engine|everything LINKS DIR`
`aiohttp` is what a careful programmer writes by hand; `engine` is our own engine without journal, verification,
retries, pace and progress; `everything` is the same with them. All of them write a part and rename it; our own refuse
paths that leave the folder, and keep the objects' times.
"""

import asyncio
import csv
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import uvloop
from yarl import URL

from benchmarks.transfers import CONCURRENCY
from bulkpresign.events import Event
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.http.dates import unix_time
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.meter import Meter
from bulkpresign.ledger.progress import ticking
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.ledger.tally import Tally
from bulkpresign.manifest.links import links_of
from bulkpresign.model import Outcome
from bulkpresign.tables import Table
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.disk.temporary import TemporaryFile
from bulkpresign.transfer.downloads.download import Downloader
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.workers import Engine


async def aiohttp_pool(links: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with Path(links).open(newline="") as stream:
        rows = iter([(row["url"], row["path"]) for row in csv.DictReader(stream)])
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONCURRENCY),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    ) as session:

        async def worker() -> None:
            for url, path in rows:
                async with session.get(URL(url, encoded=True)) as response:
                    response.raise_for_status()
                    descriptor = os.open(f"{folder}/{path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                    async for chunk in response.content.iter_any():
                        os.write(descriptor, chunk)
                    os.close(descriptor)
                    os.rename(f"{folder}/{path}.part", f"{folder}/{path}")  # noqa: PTH104

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


async def engine(links: str, folder: Path) -> None:
    async def work(job: Job, _: LinkRenewer) -> Outcome:
        link = job.link
        path = link.object.file_path
        place.check(path)
        async with http.request(link) as response:
            with TemporaryFile(place.target(path)) as part:
                await response.stream_to(part.write)
                part.commit(unix_time(response.headers.get("last-modified")))
        return Outcome(link.object, "done", part.size, link=link)

    clock, place = Clock(), Folder(folder)
    with place.made():
        async with HttpClient(CONCURRENCY, clock) as http:
            limiter = RequestLimiter(ConcurrencyController(fixed=CONCURRENCY))
            await Engine(JobQueue(_jobs(links)), work, lambda _: None, clock, limiter).run(CONCURRENCY)


async def everything(links: str, folder: Path) -> None:
    tally, counts = Tally("get"), Counts("get")

    def tell(event: Event) -> None:
        tally(event)
        counts(event)

    clock, place = Clock(), Folder(folder)
    shown = ticking(Meter(counts), lambda _reading, _is_last: None, 0.1)
    with Journal(f"{folder}.journal", "get", str(folder)) as journal, place.made(), shown:
        record = Recorder(journal, tell)
        async with HttpClient(CONCURRENCY, clock) as http:
            context = TransferContext(
                http, record, RequestLimiter(ConcurrencyController(fixed=CONCURRENCY)), keeps_checkpoints=True
            )
            work = Downloader(context, place, Coordinator())
            await Engine(JobQueue(_jobs(links)), work, record, clock, context.limiter).run(CONCURRENCY)
        record.flush()


async def _jobs(links: str) -> AsyncIterator[Sequence[Job]]:
    for rows in Table(links):
        yield [Job(RenewableLink(link), LocalFile(link.object.file_path)) for link in links_of(rows)]


if __name__ == "__main__":
    kinds = {"aiohttp": aiohttp_pool, "engine": engine, "everything": everything}
    uvloop.run(kinds[sys.argv[1]](sys.argv[2], Path(sys.argv[3])))
