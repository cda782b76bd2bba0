"""Cuts an iterable of objects into batches."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from itertools import islice

from bulkpresign.model import ObjectRef


async def batches_of(
    objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef], size: int
) -> AsyncGenerator[list[ObjectRef], None]:
    """The objects in lists of at most `size`, in their order."""
    if isinstance(objects, AsyncIterable):
        batch: list[ObjectRef] = []
        async for ref in objects:
            batch.append(ref)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
        return
    rows = iter(objects)
    while batch := list(islice(rows, size)):
        yield batch
