"""What every transfer shares: its bounds, connections, journal and failures file, and who listens."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import BreakerError, InputError, OutputError
from bulkpresign.events import Event, Listener, ObjectsSkipped, RunFinished, RunStarted, broadcast
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.record import Record
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import ObjectRef, Outcome, Report
from bulkpresign.pipeline.completed import AreCurrent, CompletedFilter
from bulkpresign.pipeline.config import TransferConfig
from bulkpresign.pipeline.descriptors import affordable_objects
from bulkpresign.pipeline.failures import FailureLog, failure_log
from bulkpresign.pipeline.preflight import Totals
from bulkpresign.pipeline.renewing import renewal
from bulkpresign.pipeline.sources import Sources
from bulkpresign.pipeline.streams import ResultQueue
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.engine.jobs import Job, Renew
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.workers import Engine, Work, first_error
from bulkpresign.transfer.uploads.multipart import MultipartUploader

#: Outcomes that may wait to be consumed, besides one for each object in flight.
_WAITING = 256
#: Seconds after which an outcome is passed on at the latest, where someone waits for it.
_FLUSH_INTERVAL = 0.05


class OutcomeListener:
    """A listener that wants the outcome of every object, and makes the run wait where it is behind.

    That is also the outcome of objects that an earlier run completed, which others hear of as a number.
    """

    def __init__(self, queue: ResultQueue[Any]) -> None:
        self.queue = queue

    @property
    def waiting(self) -> int:
        """How many outcomes may wait, besides one for each object in flight."""
        return _WAITING

    def __call__(self, event: Event) -> None:
        """Hears an event."""
        raise NotImplementedError

    async def skip(self, jobs: Sequence[Job]) -> None:
        """Takes objects that need nothing."""
        for job in jobs:
            await self.queue.reserve()
            self.queue.put(Outcome(job.link.object, "skipped", attempts=0, link=job.link))


class TransferContext(msgspec.Struct):
    """What moves bytes, and what it has to tell: given to whoever makes the work of one verb."""

    http: HttpClient
    emit: Listener
    limiter: AdaptiveLimiter
    journal: Journal | None


class Run:
    """One run of a verb. Use as an async context manager.

    Nothing is made before `transfer`: a run that is refused, or dry, leaves no journal and no failures file.
    """

    def __init__(
        self,
        verb: str,
        *,
        config: TransferConfig,
        ca_bundle: str | None = None,
        failures: str | os.PathLike[str] | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.config = config
        self._verb = verb
        self._ca_bundle, self._failures = ca_bundle, failures
        self._tally = Tally(verb)
        self._taker = next((one for one in listeners if isinstance(one, OutcomeListener)), None)
        self._listeners: list[Listener] = [self._tally, *listeners]
        self._clock = Clock()
        self._http = HttpClient(config.requests, self._clock, ca_bundle)
        self._journal: Journal | None = None
        self._opened: Journal | None = None
        self._are_current: AreCurrent = none_is_current
        #: The journal, where its word alone tells what was done before.
        self.skipped_by: str | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def use_journal(self, journal: Journal, are_current: AreCurrent) -> Journal | None:
        """Takes a journal, and opens it where an earlier run left it; gives it then, else None.

        `are_current` tells whether what it has recorded still holds.
        """
        self._journal, self._are_current = journal, are_current
        if os.path.exists(journal.file):  # noqa: PTH110 - Path raises for a name that is too long
            self._opened = self._stack.enter_context(journal)
        return self._opened

    @property
    def completed(self) -> CompletedFilter:
        """The objects that earlier runs completed."""
        return CompletedFilter(self._opened, self._are_current)

    async def renewal(self, presigner: Presigner | None, command: str | None, url: str | None) -> Renew | None:
        """Where fresh links for those of others come from, None for nowhere. Raises ParameterError for two places."""
        asking = self._http
        if url is not None:  # another server has another clock
            asking = await self._stack.enter_async_context(HttpClient(1, Clock(), self._ca_bundle))
        return renewal(presigner, command, url, asking, self._clock)

    async def plan(self, batches: AsyncIterator[Sequence[Job]]) -> Report:
        """What the run would do: counts what is left (`planned`, and its bytes where they are known), sends nothing."""
        tell, report = broadcast(self._listeners), self._tally.report
        report.planned, report.skipped_by = 0, self.skipped_by
        async for batch in _limited(_undone(batches, self.completed, tell), self.config.limit):
            report.planned += len(batch)
            report.bytes += sum(job.link.object.size or 0 for job in batch)
        tell(RunFinished(report))
        return report

    async def transfer(
        self,
        batches: AsyncIterator[Sequence[Job]],
        work_with: Callable[[TransferContext], Work],
        *,
        totals: Totals | None = None,
        sources: Sources | None = None,
        uploads_with: Callable[[TransferContext], MultipartUploader] | None = None,
        within: AbstractContextManager[None] | None = None,
    ) -> Report:
        """Runs links through the engine and counts what became of them; uploads go through what `uploads_with` makes.

        What the journal knows to be done, and the folder still shows, is skipped without a request. `totals` and
        `sources` are those of the manifest, where there is one. `within` is entered once there is a failures file.
        """
        totals = totals or Totals()
        log = await self._stack.enter_async_context(failure_log(self._failures, sources))
        if within is not None:
            self._stack.enter_context(within)
        if self._journal is not None and self._opened is None:
            self._opened = self._stack.enter_context(self._journal)
        tell = broadcast([*self._listeners, *([log] if log else [])])
        tell(RunStarted(self._verb, totals.objects, totals.bytes))
        record = Recorder(self._opened, tell)
        affordable = affordable_objects() or self.config.requests
        limiter = AdaptiveLimiter(min(self.config.requests, affordable), self.config.limit_rate)
        workers = min(self.config.concurrency, affordable)
        if self._taker is not None:
            self._taker.queue.open(workers + self._taker.waiting)
        elif totals.is_nothing_left:
            tell(ObjectsSkipped(totals.known, totals.bytes or 0))
            batches = _nothing()
        queue = JobQueue(
            _limited(_undone(batches, self.completed, record, self._taker), self.config.limit),
            is_callers=sources is not None and sources.items is not None,
            places=None if self._taker is None else self._taker.queue,
        )
        context = TransferContext(self._http, record, limiter, self._opened)
        uploader = uploads_with(context) if uploads_with is not None else None
        try:
            engine = Engine(queue, work_with(context), record, self._clock, uploader)
            if self._taker is None:
                await engine.run(workers)
            else:
                await _flushing(record, partial(engine.run, workers))
            record.flush()
        except BaseException as error:
            with suppress(OutputError):  # what ended the run is on its way already
                record.flush()
            if log is not None:
                _log_unrecorded(record, log)
                await _log_rest(queue, log)
            if isinstance(error, InputError) and self._opened is not None:
                self._opened.discard_if_new()
            if isinstance(error, OutputError):
                raise BreakerError(f"{error}, so the run ends") from error
            raise
        finally:
            report = self._tally.report
            report.skipped_by = self.skipped_by if report.skipped else None
            report.slowed, report.lowest_concurrency = limiter.slowed, limiter.lowest
            report.uploads_left_open = uploader.left_open if uploader is not None else 0
            tell(RunFinished(report))
        return report


def none_is_current(found: Sequence[tuple[ObjectRef, Record]]) -> Sequence[bool]:
    """Believes no record: of every object there is something to do."""
    return [False] * len(found)


async def _undone(
    batches: AsyncIterator[Sequence[Job]],
    completed: CompletedFilter,
    emit: Listener,
    taker: OutcomeListener | None = None,
) -> AsyncIterator[Sequence[Job]]:
    """What is left to do; what is done is told as skipped."""
    async for batch in batches:
        done = completed.are_done([(job.link.object, job.link) for job in batch])
        if count := sum(done):
            refs = [job.link.object for job, is_done in zip(batch, done, strict=True) if is_done]
            emit(ObjectsSkipped(count, sum(ref.size or 0 for ref in refs)))
            if taker is not None:
                await taker.skip([job for job, is_done in zip(batch, done, strict=True) if is_done])
            yield [job for job, is_done in zip(batch, done, strict=True) if not is_done]
            await anyio.lowlevel.checkpoint()
        else:
            yield batch


async def _flushing(record: Recorder, run: Callable[[], Awaitable[None]]) -> None:
    """Runs, and passes outcomes on soon also where no event follows: someone waits for them."""

    async def flush() -> None:
        while True:
            await anyio.sleep(_FLUSH_INTERVAL)
            record.flush()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(flush)
            await run()
            group.cancel_scope.cancel()
    except BaseExceptionGroup as failed:
        raise first_error(failed) from None


async def _nothing() -> AsyncIterator[Sequence[Job]]:
    batches: Sequence[Sequence[Job]] = ()
    for batch in batches:
        yield batch


async def _limited(batches: AsyncIterator[Sequence[Job]], limit: int | None) -> AsyncIterator[Sequence[Job]]:
    left = limit
    async for batch in batches:
        if left is None:
            yield batch
        else:
            yield batch[:left]
            left -= min(left, len(batch))
        if left == 0:
            return


def _log_unrecorded(record: Recorder, log: FailureLog) -> None:
    """Names what the journal could not take: done or not, the next run has to look at it."""
    for outcome in record.unrecorded:
        log.add(outcome.link, outcome.object, "Unrecorded: the journal could not be written", outcome.upload)


async def _log_rest(queue: JobQueue, log: FailureLog) -> None:
    """Names what a run that ended early did not come to."""
    with anyio.CancelScope(shield=True):
        async for jobs in queue.rest():
            for job in jobs:
                log.add(job.link, job.link.object, "Interrupted: the run ended before its turn", job.upload)
