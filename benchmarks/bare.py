"""What a download costs at least: a worker pool and nothing around it.

`python -m benchmarks.bare aiohttp|engine LINKS DIR`
`aiohttp` is what a careful programmer writes by hand; `engine` is our own engine without journal, verification,
retries, pace and progress. Both write a part and rename it.
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

from bulkpresign.manifest.links import links_of
from bulkpresign.model import Link, Outcome
from bulkpresign.tables import Table
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.engine import Engine, Feed
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.leases import Lease
from bulkpresign.transfer.storage import Folder, PartFile

CONCURRENCY = 32


async def aiohttp_pool(links: str, folder: Path) -> None:
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
                async with session.get(URL(url, encoded=True)) as answer:
                    answer.raise_for_status()
                    descriptor = os.open(f"{folder}/{path}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                    async for chunk in answer.content.iter_any():
                        os.write(descriptor, chunk)
                    os.close(descriptor)
                    os.rename(f"{folder}/{path}.part", f"{folder}/{path}")  # noqa: PTH104

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))


async def engine(links: str, folder: Path) -> None:
    async def leases() -> AsyncIterator[Sequence[Lease]]:
        for rows in Table(links):
            yield [Lease(link) for link in links_of(rows)]

    async def work(link: Link) -> Outcome:
        async with http.request(link) as answer:
            with PartFile(place, link.object.place) as part:
                while chunk := await answer.read():
                    part.write(chunk)
                part.commit()
        return Outcome(link.object, "done", part.size, link=link)

    clock, place = Clock(), Folder(folder)
    async with Http(CONCURRENCY, clock) as http:
        await Engine(Feed(leases()), work, lambda _: None, clock).run(CONCURRENCY)


if __name__ == "__main__":
    uvloop.run({"aiohttp": aiohttp_pool, "engine": engine}[sys.argv[1]](sys.argv[2], Path(sys.argv[3])))
