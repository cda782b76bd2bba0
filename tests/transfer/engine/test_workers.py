"""Bounds, order and cancellation: every link has one outcome or is named by what is left of the feed."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from bulkpresign.errors import OutputError
from bulkpresign.events import Event, Listener
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.model import Link, ObjectRef, Outcome, utc_now
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.download import Downloader
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.jobs import Job, Renew, RenewableLink
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.workers import Engine
from bulkpresign.transfer.uploads.single import Uploader
from tests.servers.proxy import Fault, FaultProxy
from tests.support.events import outcomes_of
from tests.support.folders import files
from tests.transfer.running import jobs_of, run, set_clock


def links_to(url: str, count: int, method: str = "GET") -> list[Link]:
    return [Link(method, f"{url}/{n}", {}, object=ObjectRef("b", f"{n}")) for n in range(count)]


async def batches(links: Sequence[Link], size: int) -> AsyncIterator[Sequence[Link]]:
    for start in range(0, len(links), size):
        await anyio.lowlevel.checkpoint()
        yield links[start : start + size]
    yield []


async def done(link: Link) -> Outcome:
    await anyio.sleep(0)
    return Outcome(link.object, "done")


async def run_links(
    batches: AsyncIterable[Sequence[Link]],
    move: Callable[[Link], Awaitable[Outcome]],
    concurrency: int,
    emit: Listener,
    renew: Renew | None = None,
    clock: Clock | None = None,
) -> None:
    """Links through an engine, each of which `renew` renews and `move` moves."""

    async def work(job: Job, renewer: LinkRenewer) -> Outcome:
        assert isinstance(job.source, RenewableLink)
        return await renewer.call(job.source, move)

    await run(jobs_of(batches, renew), work, concurrency, emit, clock)


def names(events: list[Event]) -> list[str]:
    return [outcome.object.key for outcome in outcomes_of(events)]


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_each_link_has_one_outcome(count: int, concurrency: int) -> None:
    events: list[Event] = []
    links = links_to("http://h", count)
    asyncio.run(run_links(batches(links, 7), done, concurrency, events.append))
    assert Counter(names(events)) == Counter(f"{n}" for n in range(count))


def test_no_more_in_flight_than_asked_and_input_read_as_it_is_used() -> None:
    most = now = read = 0

    async def work(link: Link) -> Outcome:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await anyio.sleep(0.001)
        now -= 1
        assert read - len(names(events)) <= 5 + 2 * 3
        return Outcome(link.object, "done")

    async def counted() -> AsyncIterator[Sequence[Link]]:
        nonlocal read
        async for batch in batches(links_to("http://h", 60), 3):
            read += len(batch)
            yield batch

    events: list[Event] = []
    asyncio.run(run_links(counted(), work, 5, events.append))
    assert most == 5


def test_a_link_that_lapsed_is_expired_without_a_request() -> None:
    link = Link("GET", "http://127.0.0.1:1/a", {}, utc_now() - timedelta(seconds=1), ObjectRef("b", "a"))
    events: list[Event] = []
    asyncio.run(run_links(batches([link], 1), done, 1, events.append, clock=set_clock()))
    (outcome,) = outcomes_of(events)
    assert (outcome.status, outcome.attempts) == ("expired", 0)
    assert outcome.message == f"the link ended at {link.expires_at:%Y-%m-%d %H:%M:%SZ}"


def test_a_link_that_lapsed_is_renewed_where_that_can_be() -> None:
    used: list[Link] = []

    async def work(link: Link) -> Outcome:
        used.append(link)
        return Outcome(link.object, "done")

    async def renew(links: Sequence[Link]) -> Sequence[Link]:
        return [Link("GET", "fresh", {}, utc_now() + timedelta(hours=1), link.object) for link in links]

    expires_by = Link("GET", "old", {}, utc_now() - timedelta(seconds=1), ObjectRef("b", "a"))
    asyncio.run(run_links(batches([expires_by], 1), work, 1, lambda _: None, renew))
    assert [link.url for link in used] == ["fresh"]


def test_an_error_that_nobody_foresaw_is_its_objects_outcome(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "bulkpresign")
    links, events, secret = links_to("http://h", 5), list[Event](), "5ec4e7"

    async def work(link: Link) -> Outcome:
        if link is links[2]:
            raise ZeroDivisionError(f"{link.url}?X-Amz-Signature={secret}")
        return Outcome(link.object, "done", link=link)

    asyncio.run(run_links(batches(links, 2), work, 3, events.append))
    outcomes = outcomes_of(events)
    assert sorted(outcome.status for outcome in outcomes) == ["done"] * 4 + ["failed"]
    (failed,) = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert (failed.code, failed.message) == (
        "Internal",
        "unexpected ZeroDivisionError: please report it, with what -vv prints",
    )
    assert "Traceback" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize(
    ("lacks", "error"), [("threads", RuntimeError("can't start new thread")), ("memory", MemoryError())]
)
def test_a_machine_without_threads_or_memory_is_named_as_such(lacks: str, error: Exception) -> None:
    """A container may have only so many. Such an error is nothing to report to us."""
    events: list[Event] = []

    async def work(link: Link) -> Outcome:
        raise error

    asyncio.run(run_links(batches(links_to("http://h", 1), 1), work, 1, events.append))
    (failed,) = outcomes_of(events)
    assert failed.code == "NoResources"
    assert (failed.message or "").startswith(f"no more {lacks}: allow more {lacks} (ulimit, ")


def test_an_error_of_the_run_ends_it() -> None:
    async def work(link: Link) -> Outcome:
        raise OutputError("the journal can't be written")

    with pytest.raises(OutputError):
        asyncio.run(run_links(batches(links_to("http://h", 5), 2), work, 3, lambda _: None))


class Cancelled:
    """A run of `verb` that is cut off by `cut`, and its account."""

    def __init__(self, origin: FaultProxy, folder: Path, verb: str = "get", count: int = 12) -> None:
        self.links = links_to(origin.url, count, verb.upper())
        self.folder = folder
        self.verb = verb
        self.events: list[Event] = []
        self.rest: list[str] = []

    async def run(self) -> None:
        queue = JobQueue(jobs_of(batches(self.links, 5)))
        try:
            async with HttpClient(4) as http:
                kind = Downloader if self.verb == "get" else Uploader
                context = TransferContext(http, self.events.append, RequestLimiter(ConcurrencyController(fixed=4)), 3)
                work = kind(context, Folder(self.folder), Coordinator())
                await Engine(queue, work, self.events.append, Clock(), context.limiter).run(4)
        finally:
            with anyio.CancelScope(shield=True):
                self.rest = [job.link.object.key async for batch in queue.drain() for job in batch]

    def check(self, bodies: dict[str, bytes]) -> None:
        assert Counter(names(self.events) + self.rest) == Counter(link.object.key for link in self.links)
        if self.verb == "get":
            whole = {name: body for name, body in files(self.folder).items() if not name.endswith(".part")}
            assert whole == {name: bodies[f"/{name}"] for name in whole}


def bodies_of(count: int) -> dict[str, bytes]:
    return {f"/{n}": bytes([n]) * (n * 40_000) for n in range(count)}


@pytest.mark.parametrize("verb", ["get", "put"])
def test_cancelled_at_any_moment(verb: str, tmp_path: Path) -> None:
    seed = random.Random(7)
    with FaultProxy() as origin:
        origin.objects = bodies_of(12)
        for name, body in origin.objects.items():
            (tmp_path / f"in{name}").parent.mkdir(exist_ok=True)
            (tmp_path / f"in{name}").write_bytes(body)
        bodies = dict(origin.objects)
        for turn in range(25):
            origin.always = Fault(split=True) if turn % 3 == 0 else None
            case = Cancelled(origin, tmp_path / "in" if verb == "put" else tmp_path / f"{turn}", verb)
            case.folder.mkdir(exist_ok=True)

            async def cut(case: Cancelled = case) -> None:
                with anyio.move_on_after(seed.uniform(0, 0.06)):
                    await case.run()

            asyncio.run(cut())
            case.check(bodies)


def test_cancelled_at_each_step(tmp_path: Path) -> None:
    """Cuts after one turn of the loop, then after two, and so on until the run gets to its end."""
    with FaultProxy() as origin:
        origin.objects = bodies_of(4)
        finished = False
        steps = 0
        while not finished and steps < 400:
            case = Cancelled(origin, tmp_path / f"{steps}", count=4)
            case.folder.mkdir()

            async def cut(steps: int = steps, case: Cancelled = case) -> bool:
                async with anyio.create_task_group() as group:
                    group.start_soon(_cancel_after, steps, group.cancel_scope)
                    await case.run()
                    ended = not group.cancel_scope.cancel_called
                    group.cancel_scope.cancel()
                    return ended
                return False

            finished = asyncio.run(cut())
            case.check(bodies_of(4))
            steps += 1 if steps < 40 else 7


async def _cancel_after(steps: int, scope: anyio.CancelScope) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)
    scope.cancel()


def test_a_native_cancellation_loses_nothing_either(tmp_path: Path) -> None:
    async def cut(case: Cancelled) -> None:
        task = asyncio.create_task(case.run())
        while not origin.count:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with FaultProxy() as origin:
        origin.objects = bodies_of(12)
        origin.always = Fault(hold_after=0)
        case = Cancelled(origin, tmp_path)
        asyncio.run(cut(case))
        case.check(bodies_of(12))
        assert case.rest


def test_a_feed_that_waits_when_it_is_cut_off_can_still_tell_the_rest() -> None:
    async def slow() -> AsyncIterator[Sequence[Link]]:
        for batch in (links_to("http://h", 2), links_to("http://h", 3)):
            await anyio.sleep(0.05)
            yield batch

    async def cut() -> list[int]:
        queue = JobQueue(jobs_of(slow()))
        with anyio.move_on_after(0.01):
            await queue.get()
            pytest.fail("it is cut off first")
        return [len(batch) async for batch in queue.drain()]

    assert asyncio.run(cut()) == [0, 2, 3]
