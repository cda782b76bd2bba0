"""Tasks that run together, and end with the first error as it is: callers never see an exception group."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio


async def run_workers(count: int, worker: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Runs `count` tasks of the same worker. The first error ends the others, and is raised."""
    with ungrouped():
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(worker)


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
