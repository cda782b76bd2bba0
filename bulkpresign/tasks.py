"""Tasks that run together, and end with the first error as it is: callers never see an exception group."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


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
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*tasks, return_exceptions=True)


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
