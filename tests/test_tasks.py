"""Groups of tasks that end with one error, as a single call would."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from bulkpresign import tasks
from bulkpresign.errors import OutputError
from bulkpresign.tasks import finish_soon, first_error, in_order, run_workers, ungrouped, wait_ended


def test_the_first_error_of_nested_groups_is_raised() -> None:
    first = OutputError("first")
    inner = ExceptionGroup("", [first, OutputError("second")])
    assert first_error(ExceptionGroup("", [inner, OutputError("third")])) is first
    with pytest.raises(OutputError, match="first"), ungrouped():
        raise inner


def test_workers_share_their_work_and_the_first_error_ends_them() -> None:
    waiting, done = list(range(100)), []

    async def worker() -> None:
        while waiting:
            number = waiting.pop(0)
            await anyio.lowlevel.checkpoint()
            if number == 6:
                raise OutputError("six")
            done.append(number)

    with pytest.raises(OutputError, match="six"):
        asyncio.run(run_workers(3, worker))
    assert done[:5] == [0, 1, 2, 3, 4]
    assert waiting


def test_an_error_in_the_block_itself_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError), ungrouped():
        raise KeyError


@pytest.mark.parametrize(
    ("grace", "is_cancelled", "finishes"), [(0.05, False, True), (30, True, True), (0, True, False)]
)
def test_work_that_must_not_be_cut_off_has_some_time_more(
    grace: float, is_cancelled: bool, finishes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_GRACE", grace)
    steps: list[str] = []

    async def work() -> str:
        steps.append("begun")
        await anyio.sleep(0.3)
        steps.append("finished")
        return "result"

    async def caller() -> None:
        steps.append(await finish_soon(work))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(caller)
            while not steps:
                await anyio.sleep(0)
            if is_cancelled:
                group.cancel_scope.cancel()

    asyncio.run(main())
    assert steps == ["begun", "finished", "result"][: 3 if finishes else 1]


def test_a_task_that_is_cancelled_twice_waits_for_the_cleanup_of_its_own() -> None:
    """It was left at the second time, and the cleanup of its tasks was interrupted."""
    started, cleaning, closed = asyncio.Event(), asyncio.Event(), list[int]()

    async def items() -> AsyncIterator[int]:
        for number in range(3):
            yield number
        started.set()
        await asyncio.Event().wait()

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.sleep(0.05)
            closed.append(number)

    async def take(result: None) -> None:
        raise AssertionError

    async def main() -> None:
        task = asyncio.create_task(in_order(items(), work, take, 5))
        await started.wait()
        task.cancel()
        await cleaning.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed == [0, 1, 2]

    asyncio.run(main())


def test_the_errors_of_tasks_that_are_waited_for_are_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OutputError("of a task")

    async def main() -> None:
        await wait_ended([asyncio.create_task(fail())])

    asyncio.run(main())
    assert not caplog.records
