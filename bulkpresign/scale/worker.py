"""The worker's side: runs batches of jobs in whatever process and thread an executor calls it.

Imports `transfer`, and neither credentials nor listings.
"""

import asyncio
import atexit
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, suppress

import anyio
import msgspec

from bulkpresign.errors import BreakerError, ParameterError
from bulkpresign.events import BytesMoved, Event, LoadMeasured, ObjectsFinished
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.scale.copies import WorkersCopies
from bulkpresign.scale.dask import released
from bulkpresign.scale.mark import check_mark
from bulkpresign.scale.messages import Batch, BatchResult, Finished, decode_batch, encode_result, finished
from bulkpresign.scale.reports import reporter
from bulkpresign.scale.sealing import worker_name
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.executor import LocalExecutor, Statistics
from bulkpresign.transfer.spec import TransferSpec

#: Seconds between two looks whether the run is over.
_LOOK_INTERVAL = 1.0


def run_batch(data: bytes) -> bytes:
    """Runs an encoded Batch to its end; returns an encoded BatchResult. This is what executors are given.

    KeyboardInterrupt ends the batch early: its result then has the outcomes so far.
    """
    name = worker_name()
    try:
        batch = decode_batch(data)
        if batch.mark is not None:
            check_mark(batch.spec.folder, batch.mark)
        _check_thread()
        return encode_result(_worker().run(batch, name))
    except ParameterError as error:  # also for settings that can't be used here, such as certificates
        return encode_result(BatchResult(worker=name, problem=f"worker {name}: {error}"))


def _check_thread() -> None:
    """Raises ParameterError in a thread with an event loop that runs."""
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise ParameterError("its executor runs calls in the thread of the run: use one with threads or processes")


class Worker:
    """Keeps an event loop, and the connections of one run, between the batches that a thread is given."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._run = ""
        self._http: HttpClient | None = None
        self._executor: LocalExecutor
        self._notes: Notes
        self._in_use = threading.Lock()
        self._closes = False  # after the batch that runs

    def run(self, batch: Batch, name: str) -> BatchResult:
        """Runs a batch."""
        began = time.monotonic()
        notes = self._notes = Notes(batch.jobs)
        broken: str | None = None
        with self._in_use:
            if self._runner is None:
                self._runner = asyncio.Runner(loop_factory=_new_event_loop)
                _open.add(self)
            try:
                self._runner.run(self._move(batch))
            except KeyboardInterrupt:
                pass
            except BreakerError as error:
                broken = str(error)
            statistics = self._executor.statistics if self._http is not None else None
        if self._closes:
            self.close()
        return notes.result(name, statistics, time.monotonic() - began, broken)

    async def _move(self, batch: Batch) -> None:
        if self._http is None or batch.run != self._run:
            await self._close()
            await self._open(batch.run, batch.spec)
        self._executor.bound(batch.most)
        notes = self._notes
        coordinator = Coordinator(refuse_checksum_mode=notes.refuse_checksum_mode)
        if batch.signs_puts:
            copies = notes.copies
            functions = {"sign_put": copies.sign_put, "open_upload": copies.open_upload}
            if batch.reads_tags:
                functions["read_tags"] = copies.read_tags
            coordinator = msgspec.structs.replace(coordinator, **functions)
        with ungrouped():
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_once, released(), group.cancel_scope)
                await self._executor.run(JobQueue(_one(batch.jobs)), coordinator)
                group.cancel_scope.cancel()

    async def _open(self, run: str, spec: TransferSpec) -> None:
        clock = Clock()
        http = HttpClient(spec.max_concurrency, clock, spec.ca_bundle, spec.transport)
        await http.__aenter__()
        self._executor = LocalExecutor(spec, self._note, http=http, clock=clock)
        self._http, self._run = http, run

    def _note(self, event: Event) -> None:
        self._notes(event)  # those of the batch that runs now

    async def _close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.__aexit__(None, None, None)

    def close(self) -> None:
        """Closes the connections and the event loop, after a batch that runs. The next batch opens them again."""
        self._closes = True
        if not self._in_use.acquire(blocking=False):
            return
        try:
            self._closes = False
            _open.discard(self)
            runner, self._runner = self._runner, None
            if runner is not None:
                with closing(runner):
                    if self._http is not None:  # a loop can't be made any more as Python ends
                        runner.run(self._close())
        finally:
            self._in_use.release()


#: The workers of this process that have an event loop, of any thread.
_open: set[Worker] = set()


@atexit.register
def close_idle() -> None:
    """Closes what the workers of this process keep open between batches, also those whose threads have ended.

    Does nothing in a thread with an event loop that runs, where no other one can run.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return
    for worker in list(_open):
        worker.close()


class Notes:
    """Takes the events of a batch, as a listener."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._indexes = {id(job.link): index for index, job in enumerate(jobs)}
        self.copies = WorkersCopies(jobs)
        self._outcomes: list[Finished] = []
        self._events: list[Event] = []
        self._moved = 0
        self._refuses_checksum_mode = False

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, BytesMoved):
            self._moved += event.count
        elif isinstance(event, ObjectsFinished):
            for outcome in event.outcomes:
                index = self._indexes[id(outcome.link)]
                self._outcomes.append(finished(index, outcome, self.copies.wanted.get(index)))
        elif not isinstance(event, LoadMeasured):
            self._events.append(event)
            reporter.report(self._events)

    def refuse_checksum_mode(self) -> None:
        """A server refused the header that asks for checksums: the coordinator signs links without it."""
        self._refuses_checksum_mode = True

    def result(self, worker: str, statistics: Statistics | None, seconds: float, broken: str | None) -> BatchResult:
        """What became of the batch."""
        return BatchResult(
            worker=worker,
            outcomes=self._outcomes,
            events=self._events,
            moved=self._moved,
            statistics=statistics,
            seconds=seconds,
            refuses_checksum_mode=self._refuses_checksum_mode,
            broken=broken,
        )


#: One worker for each thread: an executor may have several in a process.
_of_thread = threading.local()


def _worker() -> Worker:
    if not hasattr(_of_thread, "worker"):
        _of_thread.worker = Worker()
    worker: Worker = _of_thread.worker
    return worker


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _cancel_once(is_over: Callable[[], bool] | None, scope: anyio.CancelScope) -> None:
    """Cancels a batch whose run is over, which would go on with large objects for long."""
    while is_over is not None:
        await anyio.sleep(_LOOK_INTERVAL)
        if is_over():
            scope.cancel()


async def _one(jobs: Sequence[Job]) -> AsyncIterator[Sequence[Job]]:
    yield jobs
