"""Runs jobs in this process, as a serialisable specification says.

A worker process does the same (`scale.worker`): it needs a TransferSpec, a batch of jobs, and a listener for the events
that it sends back. It holds no credentials, and writes no journal.
"""

import time
from collections.abc import Callable

import anyio
import msgspec

from bulkpresign.events import Listener, LoadMeasured
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.controller import BoundBy, ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.pool import INITIAL_WORKERS
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.workers import Engine
from bulkpresign.transfer.spec import TransferSpec
from bulkpresign.transfer.transfers import Transfers

#: Requests that a run has in flight at least, where nothing slows it.
LEAST_CONCURRENCY = 8
#: Seconds between two looks at the CPU, and how many of them make a LoadMeasured.
_WATCH_INTERVAL, _TICKS_PER_EVENT = 0.1, 5


class Statistics(msgspec.Struct, frozen=True):
    """The load of a run: `concurrency` requests were allowed at its end, and `bound_by` bounded it.

    `slowed` counts how often a server slowed it, and `lowest_concurrency` is the fewest requests allowed then.
    """

    concurrency: int
    bound_by: BoundBy
    latency: float | None
    slowed: int
    lowest_concurrency: int
    uploads_left_open: int


class LocalExecutor:
    """Runs jobs in this process.

    `http` and its `clock` are open. `folder` is that of the specification where it is open already. `is_left` is that
    of the TransferContext.
    """

    def __init__(
        self,
        spec: TransferSpec,
        emit: Listener,
        *,
        http: HttpClient,
        clock: Clock,
        folder: Folder | None = None,
        is_left: Callable[[], bool] = bool,
    ) -> None:
        self._spec, self._clock = spec, clock
        self._own_folder = Folder(spec.folder) if folder is None and spec.folder else None
        self._folder = folder or self._own_folder
        self._limiter = RequestLimiter(_controller(spec), spec.limit_rate)
        http.on_response, http.on_round_trip = self._limiter.responded, self._limiter.connected
        self._limiter.on_too_many_files = http.close_idle
        #: The means of this run's transfers, also for the coordinator's own requests.
        self.context = TransferContext(http, emit, self._limiter, spec.attempts, spec.keeps_checkpoints, is_left)
        self._uploads_left_open = 0

    async def run(self, queue: JobQueue, coordinator: Coordinator) -> None:
        """Runs to the end of the queue. An object's failure is an outcome; raises BreakerError."""
        spec, context = self._spec, self.context
        transfers = Transfers(spec, context, self._folder, coordinator, self._clock)
        plain_work = transfers if transfers.has_plain_work else None
        engine = Engine(queue, transfers, context.emit, self._clock, self._limiter, plain_work=plain_work)
        most = spec.concurrency or spec.max_concurrency
        try:
            with ungrouped():
                async with anyio.create_task_group() as group:
                    group.start_soon(self._watch, engine)
                    group.start_soon(queue.read_ahead)
                    await engine.run(most, is_fixed=spec.concurrency is not None)
                    group.cancel_scope.cancel()
        finally:
            self._uploads_left_open = transfers.uploads_left_open
            if self._own_folder is not None:
                self._own_folder.close()  # opened again by the next batch

    def bound(self, most: int) -> None:
        """Lets at most so many requests be in flight from now on, unless their number is fixed."""
        self._limiter.bound(most)

    @property
    def statistics(self) -> Statistics:
        """The counts of the run."""
        controller = self._limiter.controller
        return Statistics(
            controller.limit,
            controller.bound_by,
            controller.latency,
            controller.slowed,
            self._limiter.lowest,
            self._uploads_left_open,
        )

    async def _watch(self, engine: Engine) -> None:
        """Tells the controller of the CPU that the event loop uses, and listeners of outcomes and of the load."""
        controller, emit = self._limiter.controller, self.context.emit
        ticks = 0
        while True:
            await anyio.sleep(_WATCH_INTERVAL)
            engine.emit_pending()
            controller.note_cpu(time.monotonic(), time.thread_time())
            self._limiter.wake()
            ticks += 1
            if ticks % _TICKS_PER_EVENT == 0:
                emit(LoadMeasured(controller.limit, controller.in_flight, controller.bound_by, controller.latency))


def _controller(spec: TransferSpec) -> ConcurrencyController:
    """Finds the number of requests in flight, as far as the specification leaves it open."""
    objects, parts, most = spec.concurrency, spec.part_concurrency, spec.max_concurrency
    if objects is not None and parts is not None:
        return ConcurrencyController(fixed=min(objects * parts, most))
    least = max(LEAST_CONCURRENCY, objects or 0, parts or 0)
    return ConcurrencyController(max(INITIAL_WORKERS, least), least, max(most, objects or 0))
