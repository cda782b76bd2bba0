"""Tasks that run together, and end with the first error as it is: callers never see an exception group."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from anyio.abc import TaskStatus

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that work has left once it is cancelled: see `finish_soon`.
_GRACE = 5.0


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of asyncio that runs; None for another library, such as trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def run_workers(count: int, worker: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Runs `count` tasks of the same worker. The first error ends the others, and is raised."""
    with ungrouped():
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(worker)


async def in_order(
    items: AsyncIterator[T],
    work: Callable[[T], Coroutine[Any, Any, R]],
    take: Callable[[R], Awaitable[object]],
    most: int,
) -> None:
    """Works on at most `most` items at a time, and takes the results in the order of the items.

    Raises the error of the first item that has one, after the results before it are taken.
    """
    tasks: deque[asyncio.Task[R]] = deque()

    async def take_next() -> None:
        await take(await tasks.popleft())

    try:
        while (item := await _next_or_rest(items, tasks, take_next)) is not None:
            tasks.append(asyncio.create_task(work(item)))
            if len(tasks) >= most:
                await take_next()
        while tasks:
            await take_next()
    finally:
        for task in tasks:
            task.cancel()
        await wait_ended(tasks)


async def wait_ended(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Waits until all tasks have ended, also where it is cancelled meanwhile: that is raised at the end.

    A shielded scope alone would not do, because asyncio's own `cancel` passes it. The errors of the tasks are not
    raised.
    """
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while left := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(left)
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio logs an error that nothing has asked for
    if cancelled is not None:
        raise cancelled


async def uninterrupted(work: Coroutine[Any, Any, R]) -> R:
    """The result of work that goes on to its end where the caller is cancelled: that is raised then."""
    task = asyncio.create_task(work)
    await wait_ended([task])
    return task.result()


async def _next_or_rest(
    items: AsyncIterator[T], tasks: "deque[asyncio.Task[R]]", take_next: Callable[[], Awaitable[None]]
) -> T | None:
    """The next item, None at the end. If it can't be had, that is raised once the items before it are taken."""
    try:
        return await anext(items, None)
    except Exception:
        while tasks:
            await take_next()
        raise


async def finish_soon(work: Callable[[], Awaitable[T]]) -> T:
    """The result of work that should finish even if it is cancelled: what it makes elsewhere would be lost.

    After a cancellation the work has 5 more seconds. If they are not enough, it is cancelled too, and so is the caller.
    The caller can also be cancelled right after the work: what has to be known of it then, the work records itself.
    """
    results: list[T] = []

    async def hurry(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            scope.deadline = anyio.current_time() + _GRACE

    with ungrouped():
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope(shield=True)
            await group.start(hurry, scope)
            with scope:
                results.append(await work())
            group.cancel_scope.cancel()
    if not results:  # the scope ended the work, and kept the cancellation from the caller
        await anyio.lowlevel.checkpoint_if_cancelled()
    return results[0]


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raises the first error of an exception group; the others were caused by it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise first_error(group) from None


def first_error(error: BaseException) -> BaseException:
    """The error itself, or the first one of a group."""
    return first_error(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
