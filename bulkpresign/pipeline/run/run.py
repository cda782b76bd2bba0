"""A run of a verb that transfers: its connections, its journal, its failures file and its listeners."""

import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec

from bulkpresign.errors import BreakerError, InputError, OutputError
from bulkpresign.events import (
    Listener,
    ObjectsFinished,
    ObjectsSkipped,
    RunFinished,
    RunStarted,
    broadcast,
    check_listeners,
)
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.record import Record
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import ObjectRef, Outcome, Report
from bulkpresign.pipeline.run.batches import Batches, counted, limited, no_batches, undone, with_records
from bulkpresign.pipeline.run.checksummed import ChecksummedFiles
from bulkpresign.pipeline.run.completed import AreCurrent, CompletedFilter
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.executors import RunExecutors, completed_spec
from bulkpresign.pipeline.run.failures import FailureLog, failure_log
from bulkpresign.pipeline.run.listeners import RunListeners
from bulkpresign.pipeline.run.outcomes import OutcomeListener
from bulkpresign.pipeline.run.planning import Planner
from bulkpresign.pipeline.run.preflight import Totals
from bulkpresign.pipeline.sources.items import GivenItems
from bulkpresign.pipeline.sources.own_files import OwnFiles
from bulkpresign.pipeline.sources.renewals import renewal
from bulkpresign.pipeline.sources.sources import Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tasks import ungrouped, uninterrupted
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Renew
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.executor import Statistics
from bulkpresign.transfer.spec import TransferSpec

#: Seconds between two flushes of outcomes to a consumer.
_FLUSH_INTERVAL = 0.05


def _no_coordinator(_: TransferContext) -> Coordinator:
    return Coordinator()


class Run:
    """One run of a verb. Use as an async context manager.

    `transfer` creates the journal and the failures file: a run that is refused, or dry, leaves neither.
    """

    def __init__(
        self,
        verb: str,
        *,
        config: TransferConfig,
        ca_bundle: str | None = None,
        failures: str | os.PathLike[str] | None = None,
        listeners: Sequence[Listener] = (),
        executor: str | Executor | None = None,
    ) -> None:
        """`executor` runs the jobs elsewhere: see `scale.workers`. Raises ParameterError for one that is not valid.

        Raises TypeError for listeners that are none.
        """
        check_listeners(listeners)
        self.config = config
        self._executors = RunExecutors(executor)
        self._verb = verb
        self._ca_bundle, self._failures = ca_bundle, failures
        self._tally = Tally(verb)
        self._consumer = next((one for one in listeners if isinstance(one, OutcomeListener)), None)
        self._listeners = RunListeners([self._tally, *listeners])
        self._record: Listener = self._listeners
        self._clock = Clock()
        self._http = HttpClient(config.requests, self._clock, ca_bundle, config.transport)
        self._journal: Journal | None = None
        self._opened: Journal | None = None
        self._are_current: AreCurrent = none_is_current
        #: The journal's file, if objects are skipped only because of it.
        self.skipped_by: str | None = None
        #: Files that are not uploaded, if there can be such.
        self.left_out: OwnFiles | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._executors.close()
        finally:  # also if the run is cancelled while it waits for its workers: the journal is locked until then
            await self._stack.__aexit__(kind, error, trace)

    def use_journal(self, journal: Journal, are_current: AreCurrent) -> Journal | None:
        """Sets the journal. Opens and returns it if its file exists, otherwise returns None.

        `are_current` tells which recorded objects are unchanged.
        """
        self._journal, self._are_current = journal, are_current
        if os.path.exists(journal.file):  # noqa: PTH110 - Path raises for a name that is too long
            self._opened = self._stack.enter_context(journal)
        return self._opened

    def skip_by(self, journal: Journal) -> None:
        """Takes note that objects are skipped because of the journal alone."""
        self.skipped_by = journal.file.name

    @property
    def completed(self) -> CompletedFilter:
        """The objects that earlier runs completed."""
        return CompletedFilter(self._opened, self._are_current)

    @property
    def emit(self) -> Listener:
        """Counts an event, and passes it to the listeners."""
        return self._listeners

    async def refuse(self, ref: ObjectRef, problem: str) -> None:
        """Counts an object as failed that can't be a job."""
        if self._consumer is not None:
            await self._consumer.queue.reserve()
        self._record(ObjectsFinished([Outcome(ref, "failed", attempts=0, code="NameRefused", message=problem)]))

    async def renewal(self, presigner: Presigner | None, command: str | None, url: str | None) -> Renew | None:
        """The function that renews links of the source, or None. Raises ParameterError for more than one way."""
        asking = self._http
        if url is not None:  # another server has another clock
            client = HttpClient(1, Clock(), self._ca_bundle, self.config.transport)
            asking = await self._stack.enter_async_context(client)
        return renewal(presigner, command, url, asking, self._clock)

    async def plan(self, batches: Batches, planner: Planner | None = None) -> Report:
        """Counts what the run would do (`planned`, and its bytes where they are known), and sends nothing.

        A `planner` counts more. `batches` has left out what it skips.
        """
        tell, report = self._listeners, self._tally.report
        report.planned, report.skipped_by = 0, self.skipped_by
        async for batch in limited(undone(batches, self.completed, tell), self.config.limit):
            report.planned += len(batch)
            report.bytes += sum(job.link.object.size or 0 for job in batch)
            report.add_archived(job.object for job in batch if job.object.archived and job.link.method == "GET")
            if planner is not None:
                for job in batch:
                    planner.add(job.object)
        if planner is not None:
            planner.skip("done before", report.skipped - planner.skipped)
            rate = None if self._opened is None else self._opened.measured_rate()
            report.plan = msgspec.structs.replace(planner.plan, measured_rate=rate)
        self._count_left_out(report)
        tell(RunFinished(report))
        self._listeners.check()
        return report

    async def transfer(
        self,
        batches: Batches,
        spec: TransferSpec,
        coordinator_for: Callable[[TransferContext], Coordinator] = _no_coordinator,
        *,
        folder: Folder | None = None,
        totals: Totals | None = None,
        sources: Sources | None = None,
        within: AbstractContextManager[None] | None = None,
        closing: Callable[[Report], Awaitable[None]] | None = None,
        checksummed: ChecksummedFiles | None = None,
    ) -> Report:
        """Runs jobs through an executor, and counts their outcomes.

        Objects that the journal records as done are skipped without a request, unless rows or files contradict it.
        `coordinator_for` makes the functions of this process that jobs call. `folder` has the local files. `totals` and
        `sources` belong to the manifest, if there is one. `within` is entered once the failures file is open.
        `closing` is awaited after the last object, with the counts. `checksummed` adds checksums to the jobs that are
        left. Raises what a listener raises, which ends the run.
        """
        totals = totals or Totals()
        log = await self._stack.enter_async_context(failure_log(self._failures, sources))
        if within is not None:
            self._stack.enter_context(within)
        if self._journal is not None and self._opened is None:
            self._opened = self._stack.enter_context(self._journal)
        if self._opened is not None:
            self._opened.begin_run()
        tell = self._listeners if log is None else broadcast([self._listeners, log])
        tell(RunStarted(self._verb, totals.objects, totals.bytes))
        record = self._record = Recorder(self._opened, tell)
        spec = completed_spec(
            spec, self.config, folder, ca_bundle=self._ca_bundle, keeps_checkpoints=self._opened is not None
        )
        local, executor = self._executors.open(
            spec,
            record,
            http=self._http,
            clock=self._clock,
            folder=folder,
            is_left=bool if self._consumer is None else self._consumer.is_left,
            owner=self._opened if within is not None else None,
        )
        if self._consumer is not None:
            self._consumer.queue.open((spec.concurrency or spec.max_concurrency) + self._consumer.waiting)
        elif totals.is_nothing_left:
            tell(ObjectsSkipped(totals.known, totals.bytes or 0))
            batches = no_batches()
        left = with_records(self._left(batches, record, tell, checksummed), self._opened, rechecks=spec.rechecks)
        queue = self._queue(left, None if sources is None else sources.items)
        try:
            run = partial(executor.run, queue, coordinator_for(local.context))
            flushing = [] if self._consumer is None else [partial(_flush, record)]
            await _run_beside([self._listeners.watch, *flushing], run)
            record.close()
            if closing is not None:
                await closing(self._tally.report)
        except BaseException as error:
            await self._note_rest(error, record, queue, log, checksummed)
            if isinstance(error, OutputError):
                raise BreakerError(f"{error}, so the run ends") from error
            raise
        finally:
            self._report(executor.statistics)
            self._count_left_out(self._tally.report)
            tell(RunFinished(self._tally.report))
        self._listeners.check()
        return self._tally.report

    def _queue(self, batches: Batches, items: GivenItems | None) -> JobQueue:
        """The queue of the jobs; `items` is the input of the calling program, if the jobs come from it."""
        return JobQueue(
            batches,
            close_input=None if items is None or items.is_list else items.close,
            slots=None if self._consumer is None else self._consumer.queue,
        )

    async def _note_rest(
        self,
        error: BaseException,
        record: Recorder,
        queue: JobQueue,
        log: FailureLog | None,
        checksummed: ChecksummedFiles | None,
    ) -> None:
        """Writes what is known of the objects of a run that ended early."""
        with suppress(OutputError):  # the error that ended the run is raised
            record.flush()
        if log is not None:
            log.add_unrecorded(record.unrecorded)
            if checksummed is not None:
                checksummed.stop()
            await uninterrupted(log.add_left(queue.drain()))
        else:
            await queue.close()
        if isinstance(error, InputError) and self._opened is not None:
            self._opened.discard_if_new()

    def _report(self, statistics: Statistics) -> None:
        """Adds the load to the report."""
        report = self._tally.report
        report.skipped_by = self.skipped_by if report.skipped else None
        report.slowed, report.lowest_concurrency = statistics.slowed, statistics.lowest_concurrency
        report.concurrency, report.bound_by = statistics.concurrency, statistics.bound_by
        report.latency = statistics.latency
        report.uploads_left_open = statistics.uploads_left_open

    def _count_left_out(self, report: Report) -> None:
        if self.left_out is not None:
            report.left_out = self.left_out.count

    def _left(
        self, batches: Batches, record: Recorder, tell: Listener, checksummed: ChecksummedFiles | None
    ) -> Batches:
        """The jobs that earlier runs did not complete, as many as the run may take."""
        left = limited(undone(batches, self.completed, record, self._consumer), self.config.limit)
        left = counted(left, tell)  # not the recorder: what is left is also read after its journal failed
        return left if checksummed is None else checksummed(left)


def none_is_current(found: Sequence[tuple[ObjectRef, Record]]) -> Sequence[bool]:
    """Reports every recorded object as changed, so that none is skipped."""
    return [False] * len(found)


async def _flush(record: Recorder) -> None:
    """Flushes outcomes at an interval: a consumer waits for them even if no further event comes."""
    while True:
        await anyio.sleep(_FLUSH_INTERVAL)
        record.flush()


async def _run_beside(
    others: Sequence[Callable[[], Coroutine[Any, Any, None]]], run: Callable[[], Awaitable[None]]
) -> None:
    """Runs `run`, and beside it the others, which end with it. The first error of any of them ends all."""
    with ungrouped():
        async with anyio.create_task_group() as group:
            for other in others:
                group.start_soon(other)
            await run()
            group.cancel_scope.cancel()
