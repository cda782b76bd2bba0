"""Links through a Getter or Putter, as a run would send them, and what they said."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from bulkpresign.events import BytesMoved, BytesResumed, Event, Listener, ObjectFinished, ObjectRetried
from bulkpresign.model import Link, ObjectRef, Outcome, Parts
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.engine import Engine, Feed, Work
from bulkpresign.transfer.folder import Folder
from bulkpresign.transfer.getting import Getter, IfExists
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.lanes import Lanes
from bulkpresign.transfer.leases import Lease, Renew
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.putting import Putter
from tests.support.dates import date_in

#: Runs a coroutine on one of the loops.
Runner = Callable[..., Any]


class FixedLanes(Lanes):
    """So many parts of each object from the start. On a loaded machine the tuner would close some on their way."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.allowed = most

    def look(self, now: float) -> None:
        """Leaves the number as it is."""


class Run:
    """Every event of one run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def outcomes(self) -> list[Outcome]:
        return [event.outcome for event in self.events if isinstance(event, ObjectFinished)]

    @property
    def retries(self) -> list[ObjectRetried]:
        return [event for event in self.events if isinstance(event, ObjectRetried)]

    @property
    def bytes_moved(self) -> int:
        return sum(event.count for event in self.events if isinstance(event, BytesMoved))

    @property
    def bytes_resumed(self) -> int:
        return sum(event.count for event in self.events if isinstance(event, BytesResumed))

    async def links(self, verb: str, links: Sequence[Link], folder: Path, attempts: int, concurrency: int = 4) -> None:
        async with Http(concurrency) as http:
            kind = Getter if verb == "get" else Putter
            work = kind(http, Folder(folder), attempts, self.events.append, pace=Pace(concurrency))
            await run(one_batch(links), work, concurrency, self.events.append)

    async def in_parts(
        self,
        links: Sequence[Link],
        folder: Path,
        part_size: int,
        lanes: int = 1,
        *,
        attempts: int = 3,
        parts: Parts | None = None,
        renew: Renew | None = None,
        if_exists: IfExists = "replace",
    ) -> Getter:
        """Downloads, with so many parts of each object in flight from the start."""
        concurrency = 4
        async with Http(concurrency * lanes) as http:
            work = Getter(
                http,
                Folder(folder),
                attempts,
                self.events.append,
                pace=Pace(concurrency * lanes),
                parts=parts,
                part_size=part_size,
                part_concurrency=lanes,
                if_exists=if_exists,
            )
            work.lanes = FixedLanes(lanes)
            await run(one_batch(links), work, concurrency, self.events.append, renew)
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


async def leases_of(
    batches: AsyncIterable[Sequence[Link]], renew: Renew | None = None
) -> AsyncIterator[Sequence[Lease]]:
    """The same links, each of which `renew` renews."""
    async for links in batches:
        yield [Lease(link, renew) for link in links]


async def run(
    batches: AsyncIterable[Sequence[Link]],
    work: Work,
    concurrency: int,
    emit: Listener,
    renew: Renew | None = None,
    clock: Clock | None = None,
) -> None:
    """Links through an engine, each of which `renew` renews."""
    await Engine(Feed(leases_of(batches, renew)), work, emit, clock or Clock()).run(concurrency)


def set_clock() -> Clock:
    """A clock that a server has told its time, which is ours."""
    clock = Clock()
    clock.learn(date_in())
    return clock


async def one_batch(links: Sequence[Link]) -> AsyncIterator[Sequence[Link]]:
    yield links
