"""Signs an iterable of objects in batches."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from itertools import islice
from typing import Self

import anyio.lowlevel

from bulkpresign.model import Link, ObjectRef

Objects = AsyncIterable[ObjectRef] | Iterable[ObjectRef]
#: Signs objects, one link each.
Sign = Callable[[list[ObjectRef]], Awaitable[list[Link]]]


class SignedBatches:
    """The links of objects in batches of `size`: an async iterator with `aclose`, as a generator is one."""

    def __init__(self, objects: Objects, size: int, sign: Sign) -> None:
        self._sign = sign
        self._unsigned: list[ObjectRef] = []
        self._links = _links_of(objects, size, sign, self._unsigned)  # holds no `self`, whose deletion closes it

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Link]:
        return await anext(self._links)

    async def aclose(self) -> None:
        """Ends the iteration."""
        await self._links.aclose()

    async def rest(self) -> list[Link]:
        """The links of the objects that were read and not signed, because the iteration was cancelled meanwhile."""
        return await self._sign(self._unsigned) if self._unsigned else []


async def _links_of(
    objects: Objects, size: int, sign: Sign, unsigned: list[ObjectRef]
) -> AsyncGenerator[list[Link], None]:
    async with aclosing(_batches_of(objects, size, unsigned)) as batches:
        async for batch in batches:
            links = await sign(batch)
            unsigned.clear()
            yield links
            await anyio.lowlevel.checkpoint()


async def _batches_of(objects: Objects, size: int, batch: list[ObjectRef]) -> AsyncGenerator[list[ObjectRef], None]:
    """The objects in their order, in the list `batch`, which has at most `size` and is cleared by the consumer.

    Raises what `objects` raises, after those before it.
    """
    try:
        if isinstance(objects, AsyncIterable):
            async for ref in objects:
                batch.append(ref)
                if len(batch) == size:
                    yield batch
        else:
            rows = iter(objects)
            batch.extend(islice(rows, size))
            while len(batch) == size:
                yield batch
                batch.extend(islice(rows, size))
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
