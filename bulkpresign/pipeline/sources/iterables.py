"""Reads the iterables of a program, plain or async, of items or of batches of them."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

import anyio
import anyio.lowlevel

from bulkpresign.errors import ManifestError
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.sources.given_rows import GIVEN_ROWS, Item, flat
from bulkpresign.tasks import wait_ended


class IterableReader:
    """Reads an async iterable in one task, so that the task that opens its resources also closes them."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Any](0)
        self._is_closing = False
        self._task = asyncio.create_task(self._read(items))

    async def _read(self, items: AsyncIterable[Any]) -> None:
        iterator = aiter(items)
        with self._send:
            try:
                async for item in iterator:
                    await self._send.send(item)
            except anyio.BrokenResourceError:
                if not self._is_left:
                    raise  # the iterable's own
            finally:
                self._is_closing = True
                if (close := getattr(iterator, "aclose", None)) is not None:
                    await close()

    @property
    def _is_left(self) -> bool:
        """True where nobody takes items any more."""
        return not self._send.statistics().open_receive_streams

    async def batches(self) -> AsyncIterator[list[Item]]:
        """The items as they arrive. Raises what the iterable raises."""
        async with self._receive:
            async for item in self._receive:
                yield list(flat(item))
            await asyncio.wait([self._task])
            if self._task.cancelled():
                raise _cancelled()
            self._task.result()

    async def close(self) -> BaseException | None:
        """Ends the reading, and waits until the iterable is closed. Returns the exception of that, if there was one.

        The task is cancelled once at most, and never while it closes the iterable, whose cleanup may wait. A generator
        that ends by itself at this moment can't be told from one that waits for its next row: it is cancelled.
        """
        self._receive.close()
        had_ended = self._task.done()
        if not self._is_closing:
            self._task.cancel()
        await wait_ended([self._task])
        problem = None if self._task.cancelled() else self._task.exception()
        return None if had_ended else problem  # an earlier exception is raised by `batches`


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


async def in_batches(items: Iterable[Any], count: int) -> AsyncIterator[list[Item]]:
    """The items of a plain iterable in batches of `count`. A batch in the iterable is passed on unchanged.

    Raises what the iterable raises, after the items that came before.
    """
    batch: list[Item] = []
    try:
        for item in items:
            if isinstance(item, Link | ObjectRef | str):
                batch.append(item)
            else:
                if batch:
                    yield batch
                yield list(flat(item))
                batch = []
            if len(batch) == count:
                yield batch
                batch = []
                await anyio.lowlevel.checkpoint()
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
