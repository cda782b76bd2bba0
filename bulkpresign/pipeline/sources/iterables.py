"""Reads the iterables of a program, plain or async, of items or of batches of them."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import anyio.lowlevel

from bulkpresign.errors import ManifestError
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.sources.given_rows import GIVEN_ROWS, Item, flat
from bulkpresign.signing.batching import SignedBatches
from bulkpresign.tasks import wait_ended

#: Follows the last item.
_END = object()


class IterableReader:
    """Reads an async iterable in one task, so that the task that opens its resources also closes them.

    It has at most one item that was not taken.
    """

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._items = items
        self._given = asyncio.Queue[Any]()
        self._is_closing = self._is_left = False
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        iterator: AsyncIterator[Any] | None = None
        try:
            iterator = aiter(self._items)
            async for item in iterator:
                self._given.put_nowait(item)
                if self._is_left:  # it went on although it was cancelled
                    break
                await self._given.join()
        finally:
            self._is_closing = True
            try:
                if (close := getattr(iterator, "aclose", None)) is not None:
                    await close()
            finally:
                self._given.put_nowait(_END)

    async def batches(self) -> AsyncIterator[list[Item]]:
        """The items as they arrive. Raises what the iterable raises; after `close` it ends with the last one read."""
        while (item := await self._given.get()) is not _END:
            self._given.task_done()
            yield list(flat(item))
        if self._is_left:
            if isinstance(self._items, SignedBatches):
                yield list(await self._items.rest())
            return
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise _cancelled()
        self._task.result()

    async def close(self) -> BaseException | None:
        """Ends the reading, and waits until the iterable is closed. Returns the exception of that, if there was one.

        The task is cancelled once at most, and never while it closes the iterable, whose cleanup may wait. A generator
        that ends by itself at this moment can't be told from one that waits for its next row: it is cancelled.
        """
        had_ended = self._task.done()
        if not (self._is_closing or self._is_left):
            self._task.cancel()
        self._is_left = True
        await wait_ended([self._task])
        problem = None if self._task.cancelled() else self._task.exception()
        return None if had_ended else problem  # an earlier exception is raised by `batches`


async def as_they_come(items: AsyncIterable[Any]) -> AsyncIterator[list[Item]]:
    """The items of an async iterable where asyncio does not run, so that it has no task of its own."""
    async for item in items:
        yield list(flat(item))


def _cancelled() -> ManifestError:
    """The error for an iterable that raises CancelledError, such as that of a task it waits for.

    Passed on as it is, it would end a task of the run, or of the caller, without a trace.
    """
    return ManifestError("the iterable ended with CancelledError", file=GIVEN_ROWS)


def not_cancelled(items: Iterable[Any]) -> Iterator[Any]:
    """The items of a plain iterable. Raises ManifestError where that raises CancelledError."""
    try:
        yield from items
    except asyncio.CancelledError as error:
        raise _cancelled() from error


async def in_batches(items: Iterable[Any], count: int, is_left: Callable[[], bool]) -> AsyncIterator[list[Item]]:
    """The items of a plain iterable in batches of `count`. A batch in the iterable is passed on unchanged.

    Raises what the iterable raises, after the items that came before. Reads no more of it once it is left.
    """
    batch: list[Item] = []
    try:
        for item in items:
            if isinstance(item, Link | ObjectRef | str):
                batch.append(item)
                if len(batch) < count:
                    continue
                yield batch
            else:
                if batch:
                    yield batch
                yield list(flat(item))
            batch = []
            if is_left():
                return
            await anyio.lowlevel.checkpoint()
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
