"""The coordinator's side: hands batches of jobs to workers, and takes what became of them.

A batch whose worker is lost is handed out again, in halves: what it had finished is found by evidence, and a job that
costs its worker each time is found as well. Links that expired are renewed here.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from math import inf

import anyio
import anyio.abc
import anyio.streams.memory
import msgspec

from bulkpresign.errors import BreakerError, OutputError, ParameterError, TransferError
from bulkpresign.events import BytesMoved, Listener, LoadMeasured, ObjectsFinished
from bulkpresign.model import Outcome
from bulkpresign.scale.batch_calls import BatchCalls
from bulkpresign.scale.copies import (
    RETURNED,
    UNSIGNED,
    is_refused_copy,
    relays,
    sign_relayed_copy,
    unsign,
    without_server_copies,
)
from bulkpresign.scale.load import WorkerLoads
from bulkpresign.scale.mark import marked
from bulkpresign.scale.messages import Batch, BatchResult, Finished, outcome_of
from bulkpresign.scale.pace import Pace, amount_of
from bulkpresign.scale.part_sizes import with_part_sizes
from bulkpresign.scale.renewals import can_be_renewed, renew_expired
from bulkpresign.scale.reports import Checkpoints, decode_events
from bulkpresign.scale.selection import JobSelection
from bulkpresign.scale.workers import Workers, check_workers
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.breaker import CircuitBreaker
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import MAX_RENEWALS
from bulkpresign.transfer.engine.workers import failed_outcome, interrupted_outcome
from bulkpresign.transfer.executor import LocalExecutor, Statistics
from bulkpresign.transfer.spec import TransferSpec

#: Batches for each worker: one that it works on, and one that waits.
_BATCHES_AHEAD = 2
#: How often a job may be handed out because its worker was lost.
_MOST_LOSSES = 3
#: Bytes of the largest block of memory that is to be used again.
_KEPT_BLOCK = 16 << 20
#: Seconds between two looks for workers that joined.
_LOOK_INTERVAL = 2.0


class _Work(msgspec.Struct):
    """Jobs that go out together, and how often that was in vain."""

    jobs: Sequence[Job]
    losses: int = 0
    renewals: int = 0


class RemoteExecutor:
    """Runs jobs in the workers of an executor.

    The bounds of `spec` (requests in flight, bytes a second) are totals: each worker has its share. A server that slows
    one worker slows all. `local` runs the jobs that need functions of this process: uploads in parts. With an `owner`
    (see `marked`) a file in the folder shows workers elsewhere that it is the same one.
    """

    def __init__(
        self, spec: TransferSpec, emit: Listener, workers: Workers, local: LocalExecutor, *, owner: str | None
    ) -> None:
        self._spec, self._emit, self._workers, self._local = spec, emit, workers, local
        self._owner = None if workers.are_local else owner
        self._run = secrets.token_hex(8)
        self._mark: str | None = None
        self._pace = Pace()
        self._breaker = CircuitBreaker()
        self._again: deque[_Work] = deque()
        self._in_flight = self._out = 0
        self._calls = BatchCalls(workers, lambda: self._batches_ahead)
        self._has_changed = asyncio.Event()
        self._loads = WorkerLoads(spec.max_concurrency)
        self._coordinator = Coordinator()
        self._checkpoints = Checkpoints()
        self._queue: JobQueue
        self._selection: JobSelection
        self._own: anyio.streams.memory.MemoryObjectSendStream[Sequence[Job]]

    async def run(self, queue: JobQueue, coordinator: Coordinator) -> None:
        """Runs to the end of the queue. An object's failure is an outcome; raises BreakerError and ParameterError."""
        _keep_memory()
        self._queue, self._coordinator = queue, coordinator
        self._loads = WorkerLoads(self._share.max_concurrency)
        loop = asyncio.get_running_loop()
        self._workers.on_report(lambda data: loop.call_soon_threadsafe(self._take_report, data))
        send, receive = anyio.create_memory_object_stream[Sequence[Job]](inf)
        self._own, own_queue = send, JobQueue(receive)
        self._selection = JobSelection(coordinator, keep=send.send_nowait, finish=self._finish)
        try:
            with self._marked() as self._mark, ungrouped(), receive:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._local.run, own_queue, coordinator)
                    with send:
                        await self._hand_out_all()
        finally:
            self._workers.on_report(lambda _: None)
            for work in self._again:
                self._emit_interrupted(work.jobs)
            self._emit_interrupted(own_queue.ready)

    def _marked(self) -> AbstractContextManager[str | None]:
        return nullcontext() if self._owner is None else marked(self._spec.folder, self._owner)

    async def _hand_out_all(self) -> None:
        """Hands out all work, more of it at a time where workers join."""
        async with anyio.create_task_group() as watch:
            async with anyio.create_task_group() as group:
                self._start(group)
                watch.start_soon(self._watch, group)
            watch.cancel_scope.cancel()

    def _start(self, group: anyio.abc.TaskGroup) -> None:
        for _ in range(self._batches_ahead - self._out):
            self._out += 1
            group.start_soon(self._hand_out)

    async def _watch(self, group: anyio.abc.TaskGroup) -> None:
        """Hands out more where workers join. Raises BreakerError where all of them are gone."""
        while True:
            await anyio.sleep(_LOOK_INTERVAL)
            check_workers(self._workers)
            if self._in_flight:
                self._start(group)

    @property
    def _batches_ahead(self) -> int:
        """The batches that are handed out at a time. Each worker has one request in flight at least."""
        count, concurrency = self._workers.count, self._spec.concurrency
        return concurrency if concurrency is not None and concurrency < count else _BATCHES_AHEAD * count

    async def _hand_out(self) -> None:
        while (work := await self._next()) is not None:
            try:
                await self._move(work)
            finally:
                self._in_flight -= 1
                self._has_changed.set()

    async def _next(self) -> _Work | None:
        """The next work; None once no more can come."""
        while not self._calls.are_stopping:
            if self._again:
                work = self._again.popleft()
                break
            self._in_flight += 1  # other tasks must not end: the read may give work
            try:
                jobs = await self._queue.take(self._pace.amount, amount_of)
            finally:
                self._in_flight -= 1
            if jobs:
                work = _Work(jobs)
                break
            if not self._in_flight:
                self._has_changed.set()
                return None
            self._has_changed.clear()
            await self._has_changed.wait()
        else:
            return None
        self._in_flight += 1
        return work

    async def _move(self, work: _Work) -> None:
        left = dict(enumerate(work.jobs))
        try:
            work.jobs = await self._selection.for_workers(left, self._spec)
            left = dict(enumerate(work.jobs))
            if not left:
                return
            result = await self._result(work.jobs)
            if result is None:
                left.clear()
                self._hand_out_again(work)
            else:
                await self._take(await self._without_returned(result, work, left), work, left)
                self._checkpoints.forget(work.jobs)
        finally:
            self._emit_interrupted(left.values())

    def _emit_interrupted(self, jobs: Iterable[Job]) -> None:
        if outcomes := [interrupted_outcome(job) for job in jobs]:
            self._emit(ObjectsFinished(outcomes))

    async def _result(self, jobs: Sequence[Job]) -> BatchResult | None:
        """What became of a batch; None where its worker was lost."""
        jobs = await with_part_sizes(jobs, self._coordinator.ask_part_size)
        batch = Batch(
            run=self._run,
            spec=self._share,
            most=self._loads.most,
            mark=self._mark,
            signs_puts=self._coordinator.sign_put is not None,
            reads_tags=self._coordinator.read_tags is not None,
            jobs=jobs,
        )
        return await self._calls.result(batch)

    def _take_report(self, data: bytes) -> None:
        """Takes events of a batch that has not ended."""
        for event in decode_events(data):
            self._checkpoints.note(event)
            with suppress(OutputError):  # the outcome that can't be recorded either ends the run
                self._emit(event)

    async def _without_returned(self, result: BatchResult, work: _Work, left: dict[int, Job]) -> BatchResult:
        """The result without jobs that their worker gave back. Those are handed out again, or done here."""
        sign = self._coordinator.sign_put
        if sign is None or work.renewals >= MAX_RENEWALS:
            return result
        kept, again = [], list[int]()
        for finished in result.outcomes:
            index, headers = finished.job, finished.put_headers
            if headers is not None and finished.code == UNSIGNED:
                self._note_relay(headers)
                try:
                    await sign_relayed_copy(left[index], sign, self._coordinator.guard, headers)
                    again.append(index)
                except TransferError as error:
                    self._finish([failed_outcome(left.pop(index), error)])
            elif finished.code in RETURNED or is_refused_copy(left[index], finished.status):
                unsign(left[index])
                self._own.send_nowait([left.pop(index)])
            else:
                kept.append(finished)
        if again:
            self._again.append(_Work([left.pop(index) for index in again], 0, work.renewals + 1))
        return msgspec.structs.replace(result, outcomes=kept)

    def _note_relay(self, headers: Mapping[str, str]) -> None:
        """Leaves no more copies to a server that can't make them. Workers take the settings of another run for that."""
        if relays(self._spec, headers):
            self._spec, self._run = without_server_copies(self._spec), secrets.token_hex(8)

    def _hand_out_again(self, work: _Work) -> None:
        """Gives the jobs of a lost worker to others, in halves."""
        losses, middle = work.losses + 1, (len(work.jobs) + 1) // 2
        if losses < _MOST_LOSSES or len(work.jobs) > 1:
            jobs = self._checkpoints.added_to(work.jobs)
            halves = (jobs[:middle], jobs[middle:])
            self._again.extend(_Work(half, losses, work.renewals) for half in halves if half)
            return
        error = TransferError("its worker was lost each time, as by a lack of memory", code="WorkerLost")
        self._finish([failed_outcome(job, error) for job in work.jobs])

    async def _take(self, result: BatchResult, work: _Work, left: dict[int, Job]) -> None:
        """Takes the result of a batch. Jobs with an outcome, or with a fresh link, are taken out of `left`."""
        if result.problem is not None:
            raise ParameterError(result.problem)
        self._calls.forget_losses()
        self._pace.add(work.jobs, result)
        if result.refuses_checksum_mode and self._coordinator.refuse_checksum_mode is not None:
            self._coordinator.refuse_checksum_mode()
        if result.moved:
            self._emit(BytesMoved(result.moved))
        for event in result.events:
            self._emit(event)
        outcomes, expired = list[Outcome](), dict[int, Finished]()
        for finished in result.outcomes:
            index = finished.job
            if finished.status == "expired" and work.renewals < MAX_RENEWALS and can_be_renewed(left[index]):
                expired[index] = finished
            else:
                outcomes.append(outcome_of(finished, left.pop(index)))
        self._finish(outcomes)
        self._note_load(result)
        if result.broken is not None:
            raise BreakerError(result.broken)
        if expired:
            await renew_expired(expired, left, self._finish, signs_puts=self._coordinator.sign_put is not None)
            if renewed := [left.pop(index) for index in expired if index in left]:
                self._again.append(_Work(renewed, 0, work.renewals + 1))

    def _finish(self, outcomes: Sequence[Outcome]) -> None:
        """Emits outcomes. Raises BreakerError when all of them are."""
        if outcomes:
            self._emit(ObjectsFinished(outcomes))
            self._breaker.record(outcomes)

    @property
    def _share(self) -> TransferSpec:
        """The share of the bounds that a worker has. One more share is for the jobs that run here, if there are any."""
        return self._spec.share(self._workers.count + (self._coordinator.open_upload is not None))

    def _note_load(self, result: BatchResult) -> None:
        if result.statistics is not None:
            self._loads.note(result.worker, result.statistics)
            total = self.statistics
            self._emit(LoadMeasured(total.concurrency, total.concurrency, total.bound_by, total.latency))

    @property
    def statistics(self) -> Statistics:
        """The counts of the run, over all workers."""
        return self._loads.total(self._local.statistics)


def _keep_memory() -> None:
    """Has glibc keep freed memory: it would give that of each batch back to the system, and take it anew for the next.

    It keeps blocks as large as the largest that was freed. Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    bytes(_KEPT_BLOCK)
