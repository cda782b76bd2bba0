"""Cuts an iterable of objects into batches."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from itertools import islice

from bulkpresign.model import ObjectRef


async def batches_of(
    objects: AsyncIterable[ObjectRef] | Iterable[ObjectRef], size: int
) -> AsyncGenerator[list[ObjectRef], None]:
    """The objects in lists of at most `size`, in their order. Raises what `objects` raises, after those before it."""
    batch: list[ObjectRef] = []
    try:
        if isinstance(objects, AsyncIterable):
            async for ref in objects:
                batch.append(ref)
                if len(batch) == size:
                    yield batch
                    batch = []
        else:
            rows = iter(objects)
            batch.extend(islice(rows, size))
            while len(batch) == size:
                yield batch
                batch = []
                batch.extend(islice(rows, size))
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
