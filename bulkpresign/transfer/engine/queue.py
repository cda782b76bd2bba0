"""The jobs of a run, read as they are used."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

import anyio

from bulkpresign.transfer.engine.jobs import Job

_NEVER = datetime.max.replace(tzinfo=UTC)


class OutcomeSlots(Protocol):
    """A bound for objects whose outcomes someone has to take: one place each."""

    async def reserve(self) -> None:
        """Waits for a place."""
        ...

    def release(self) -> None:
        """Gives a place back that was not needed; one that was is given back where its outcome is taken."""
        ...


class JobQueue:
    """Hands out leases one at a time to any number of workers; reads its input a batch at a time, as it is used.

    Within a batch those closest to their end go first. With `is_callers` the input is a program's own iterable: waiting
    for it can be cancelled, and what was not read of it is left to that program. `places` bounds what is handed out and
    not consumed yet.
    """

    def __init__(
        self, batches: AsyncIterable[Sequence[Job]], *, is_callers: bool = False, places: "OutcomeSlots | None" = None
    ) -> None:
        self._is_callers = is_callers
        self._places = places
        self._batches: AsyncIterator[Sequence[Job]] = aiter(batches)
        self._lock = anyio.Lock()
        self._ended = False
        self.ready: deque[Job] = deque()

    async def take(self) -> Job | None:
        """The next lease, None at the end."""
        if self._places is None:
            return await self._next()
        await self._places.reserve()
        job = await self._next()
        if job is None:
            self._places.release()
        return job

    async def _next(self) -> Job | None:
        while not self.ready:
            async with self._lock:
                if not self.ready and not await self._refill():
                    return None
        return self.ready.popleft()

    async def _refill(self) -> bool:
        if self._ended:
            return False
        with anyio.CancelScope(
            shield=not self._is_callers
        ):  # cut off while it waits, the input could not tell the rest
            batch = await anext(self._batches, None)
        self._ended = batch is None
        self.ready.extend(_by_end(batch or ()))
        return not self._ended

    async def rest(self) -> AsyncIterator[Sequence[Job]]:
        """What was not handed out, for a run that ends early."""
        yield list(self.ready)
        self.ready.clear()
        while not self._is_callers and await self._refill():
            yield list(self.ready)
            self.ready.clear()


def _by_end(batch: Sequence[Job]) -> Sequence[Job]:
    if len({job.link.expires_at for job in batch}) <= 1:
        return batch
    return sorted(batch, key=lambda job: job.link.expires_at or _NEVER)
