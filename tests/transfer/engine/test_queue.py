"""The queue of jobs: what is ready, what is read ahead, and what a consumer has room for."""

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest

import bulkpresign as bp
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.queue import JobQueue

BATCHES, BATCH = 10, 100


class Input:
    """Batches of jobs, and how many of them were read."""

    def __init__(self) -> None:
        self.read = 0
        self.is_left = False

    async def close(self) -> None:
        self.is_left = True

    async def batches(self) -> AsyncIterator[Sequence[Job]]:
        for number in range(BATCHES):
            await anyio.sleep(0)
            if self.is_left and number:
                return
            self.read += 1
            keys = [str(number * BATCH + count) for count in range(BATCH)]
            links = [bp.Link("GET", f"https://h/{key}", {}, None, bp.ObjectRef("b", key)) for key in keys]
            yield [Job(RenewableLink(link), LocalFile(link.object.key)) for link in links]


class Slots:
    """Room for some outcomes: see OutcomeSlots."""

    def __init__(self, free: int) -> None:
        self.free = free

    async def reserve(self) -> None:
        assert self.try_reserve()

    def try_reserve(self) -> bool:
        self.free -= 1
        return self.free >= 0

    def release(self) -> None:
        self.free += 1


def in_time(queue: JobQueue, each: int) -> list[str]:
    """The keys of the jobs that are ready when they are asked for, so many in each turn of the loop."""

    async def run() -> list[str]:
        keys: list[str] = []
        async with anyio.create_task_group() as group:
            group.start_soon(queue.read_ahead)
            await anyio.sleep(0.01)
            while jobs := [job for _ in range(each) if (job := queue.get_ready()) is not None]:
                keys += [job.object.key for job in jobs]
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        return keys

    return anyio.run(run)


@pytest.mark.parametrize("each", [1, 50, 250])
def test_jobs_are_read_before_they_run_out(each: int) -> None:
    given = Input()
    assert in_time(JobQueue(given.batches()), each) == [str(number) for number in range(BATCHES * BATCH)]


def test_jobs_are_read_before_they_are_taken_in_batches() -> None:
    given = Input()
    queue = JobQueue(given.batches())

    async def run() -> list[int]:
        counts = []
        async with anyio.create_task_group() as group:
            group.start_soon(queue.read_ahead)
            for _ in range(3):
                await anyio.wait_all_tasks_blocked()
                counts.append(len(await queue.take(300, lambda _: 1)))
            group.cancel_scope.cancel()
        return counts

    assert anyio.run(run) == [300, 300, 300]


def test_no_more_is_read_ahead_than_a_few_batches() -> None:
    given = Input()
    assert in_time(JobQueue(given.batches()), 0) == []
    assert given.read == 3


def test_the_input_of_a_program_is_not_read_ahead() -> None:
    given = Input()
    assert in_time(JobQueue(given.batches(), close_input=given.close), 1) == []
    assert given.read == 0


def test_no_job_is_ready_unless_its_outcome_has_room() -> None:
    slots = Slots(150)
    assert len(in_time(JobQueue(Input().batches(), slots=slots), 7)) == 150


@pytest.mark.parametrize(("is_callers", "drained"), [(False, BATCHES * BATCH - 1), (True, BATCH - 1)])
def test_what_an_ended_run_leaves_is_drained_but_the_input_of_a_program_is_not_read_on(
    is_callers: bool, drained: int
) -> None:
    given = Input()
    queue = JobQueue(given.batches(), close_input=given.close if is_callers else None)

    async def run() -> int:
        assert await queue.get() is not None
        return sum([len(jobs) async for jobs in queue.drain()])

    assert anyio.run(run) == drained
    assert given.read == (1 if is_callers else BATCHES)


@pytest.mark.parametrize("is_callers", [False, True])
def test_a_batch_whose_read_is_cancelled_is_drained(is_callers: bool) -> None:
    """The read goes on behind the cancellation: a generator would end with it, and what it holds would be lost."""
    given = Input()
    queue = JobQueue(given.batches(), close_input=given.close if is_callers else None)

    async def run() -> int:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await queue.get()
        return sum([len(jobs) async for jobs in queue.drain()])

    assert anyio.run(run) == (BATCH if is_callers else BATCHES * BATCH)


def test_a_queue_that_is_closed_reads_no_more() -> None:
    given = Input()
    queue = JobQueue(given.batches(), close_input=given.close)

    async def run() -> None:
        await queue.close()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await queue.get()
        await queue.close()

    anyio.run(run)
    assert not queue.ready
    assert given.read == 0


def test_the_end_of_the_input_takes_no_room() -> None:
    slots = Slots(BATCHES * BATCH + 1)
    queue = JobQueue(Input().batches(), slots=slots)

    async def run() -> None:
        while await queue.get() is not None:
            pass

    anyio.run(run)
    assert slots.free == 1
