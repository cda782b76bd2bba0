"""Works on batches in threads."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio import from_thread

from bulkpresign.events import BytesMoved, Listener
from bulkpresign.tasks import run_workers

T = TypeVar("T")
R = TypeVar("R")


async def map_in_threads(
    batches: AsyncIterator[T], work: Callable[[T], R], take: Callable[[T, R], object], threads: int
) -> None:
    """Calls `work` with each batch in a thread, `threads` at a time, and `take` with the batch and the result."""
    reading, limiter = anyio.Lock(), anyio.CapacityLimiter(threads)

    async def next_batch() -> T | None:
        async with reading:
            return await anext(batches, None)

    async def worker() -> None:
        while (batch := await next_batch()) is not None:
            take(batch, await anyio.to_thread.run_sync(work, batch, limiter=limiter))

    await run_workers(threads, worker)


def on_read(emit: Listener) -> Callable[[int], None]:
    """A function that a thread calls with the number of bytes that it read. It raises if the run is cancelled."""

    def moved(count: int) -> None:
        from_thread.check_cancelled()
        from_thread.run_sync(emit, BytesMoved(count))

    return moved
