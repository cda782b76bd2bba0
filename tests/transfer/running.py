"""Links through a Downloader or Uploader, as a run would send them, and what they said."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from bulkpresign.events import BytesMoved, BytesResumed, Event, Listener, ObjectRetried
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.model import Checkpoint, Link, ObjectRef, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.download import Downloader
from bulkpresign.transfer.downloads.existing import IfExists
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.jobs import Job, LocalFile, Renew, RenewableLink
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.workers import Engine, Work
from bulkpresign.transfer.spec import TransferSpec
from bulkpresign.transfer.transfers import Transfers
from tests.support.dates import date_in
from tests.support.events import outcomes_of, retries_of

#: Runs a coroutine on one of the loops.
Runner = Callable[..., Any]


def limiter_of(slots: int) -> RequestLimiter:
    """A limiter with so many slots."""
    return RequestLimiter(ConcurrencyController(fixed=slots))


class Run:
    """Every event of one run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def outcomes(self) -> list[Outcome]:
        return outcomes_of(self.events)

    @property
    def retries(self) -> list[ObjectRetried]:
        return retries_of(self.events)

    @property
    def bytes_moved(self) -> int:
        return sum(event.count for event in self.events if isinstance(event, BytesMoved))

    @property
    def bytes_resumed(self) -> int:
        return sum(event.count for event in self.events if isinstance(event, BytesResumed))

    async def links(self, verb: str, links: Sequence[Link], folder: Path, attempts: int, concurrency: int = 4) -> None:
        clock = Clock()
        async with HttpClient(concurrency, clock) as http:
            context = TransferContext(http, self.events.append, limiter_of(concurrency), attempts)
            spec = TransferSpec(folder=str(folder))
            work = Transfers(spec, context, Folder(folder), Coordinator(), clock)
            queue = JobQueue(jobs_of(one_batch(links)))
            engine = Engine(
                queue,
                work,
                self.events.append,
                clock,
                context.limiter,
                plain_work=work if work.has_plain_work else None,
            )
            await engine.run(concurrency)

    async def in_parts(
        self,
        links: Sequence[Link],
        folder: Path,
        part_size: int,
        part_concurrency: int = 1,
        *,
        attempts: int = 3,
        journal: Journal | None = None,
        renew: Renew | None = None,
        if_exists: IfExists = "replace",
    ) -> Downloader:
        """Downloads, with so many parts of each object in flight from the start."""
        concurrency = 4
        requests = concurrency * part_concurrency
        emit = Recorder(journal, self.events.append)
        async with HttpClient(requests) as http:
            context = TransferContext(
                http,
                emit,
                limiter_of(requests),
                attempts,
                keeps_checkpoints=journal is not None,
            )
            options = {"part_size": part_size, "part_concurrency": part_concurrency, "if_exists": if_exists}
            work = Downloader(context, Folder(folder), Coordinator(), **options)  # type: ignore[arg-type]
            try:
                await run(jobs_of(one_batch(links), renew, journal), work, concurrency, emit)
            finally:
                emit.flush()
        work.folder.close()
        return work


def get(url: str, folder: Path, attempts: int = 3, **ref: object) -> tuple[Outcome, Run]:
    """One object, to `folder/a` unless `path` says otherwise."""
    return transfer("get", Link("GET", url, {}, object=reference(ref)), folder, attempts)


def put(
    url: str, folder: Path, attempts: int = 3, headers: dict[str, str] | None = None, **ref: object
) -> tuple[Outcome, Run]:
    return transfer("put", Link("PUT", url, headers or {}, object=reference(ref)), folder, attempts)


def transfer(verb: str, link: Link, folder: Path, attempts: int = 3) -> tuple[Outcome, Run]:
    done = Run()
    asyncio.run(done.links(verb, [link], folder, attempts))
    (outcome,) = done.outcomes
    return outcome, done


def reference(fields: dict[str, object]) -> ObjectRef:
    return ObjectRef("bucket", "a", **{"path": "a", **fields})  # type: ignore[arg-type]


async def jobs_of(
    batches: AsyncIterable[Sequence[Link]], renew: Renew | None = None, journal: Journal | None = None
) -> AsyncIterator[Sequence[Job]]:
    """Jobs for links, each of which `renew` renews; by their methods they download or upload a file."""
    async for links in batches:
        yield [_job(RenewableLink(link, renew), journal.checkpoint(link) if journal else None) for link in links]


def _job(link: RenewableLink, checkpoint: Checkpoint | None) -> Job:
    file = LocalFile(link.object.file_path)
    return Job(file, link, checkpoint) if link.link.method == "PUT" else Job(link, file, checkpoint)


async def run(
    batches: AsyncIterable[Sequence[Job]], work: Work, concurrency: int, emit: Listener, clock: Clock | None = None
) -> None:
    """Jobs through an engine."""
    limiter = limiter_of(concurrency)
    await Engine(JobQueue(batches), work, emit, clock or Clock(), limiter).run(concurrency)


def set_clock() -> Clock:
    """A clock that a server has told its time, which is ours."""
    clock = Clock()
    clock.learn(date_in())
    return clock


async def one_batch(links: Sequence[Link]) -> AsyncIterator[Sequence[Link]]:
    yield links
