"""Runs jobs in this process, as a worker does, without a journal."""

from collections.abc import AsyncIterator

from bulkpresign.events import Listener
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.executor import LocalExecutor
from bulkpresign.transfer.spec import TransferSpec


async def run_jobs(spec: TransferSpec, jobs: list[Job], emit: Listener, coordinator: Coordinator) -> None:
    """Runs jobs to their end; `emit` gets their events. All slots of the limiter are free then."""

    async def one() -> AsyncIterator[list[Job]]:
        yield jobs

    clock = Clock()
    async with HttpClient(spec.max_concurrency, clock) as http:
        executor = LocalExecutor(spec, emit, http=http, clock=clock)
        await executor.run(JobQueue(one()), coordinator)
        assert executor.context.limiter.controller.in_flight == 0
