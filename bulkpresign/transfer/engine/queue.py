"""The jobs of a run, read as they are used."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

import anyio

from bulkpresign.transfer.engine.jobs import Job

_NEVER = datetime.max.replace(tzinfo=UTC)


class OutcomeSlots(Protocol):
    """A bound for outcomes that a consumer has not taken yet: a job is handed out with a free slot."""

    async def reserve(self) -> None:
        """Waits for a free slot."""
        ...

    def release(self) -> None:
        """Frees a slot that was not needed. The consumer frees the others as it takes outcomes."""
        ...


class JobQueue:
    """Hands out jobs one at a time to any number of workers; reads its input a batch at a time, as it is used.

    Within a batch those that expire first go first. With `is_callers` the input is a program's own iterable: waiting
    for it can be cancelled, and what was not read of it is left to that program. `slots` bounds the outcomes that wait.
    """

    def __init__(
        self, batches: AsyncIterable[Sequence[Job]], *, is_callers: bool = False, slots: OutcomeSlots | None = None
    ) -> None:
        self._is_callers = is_callers
        self._slots = slots
        self._batches: AsyncIterator[Sequence[Job]] = aiter(batches)
        self._lock = anyio.Lock()
        self._ended = False
        self.ready: deque[Job] = deque()

    async def get(self) -> Job | None:
        """The next job, None at the end."""
        if self._slots is None:
            return await self._next()
        await self._slots.reserve()
        job = await self._next()
        if job is None:
            self._slots.release()
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
        # Cancelled while it waits, the input could not give the rest.
        with anyio.CancelScope(shield=not self._is_callers):
            batch = await anext(self._batches, None)
        self._ended = batch is None
        self.ready.extend(_by_expiry(batch or ()))
        return not self._ended

    async def drain(self) -> AsyncIterator[Sequence[Job]]:
        """The jobs that were not handed out, for a run that ends early."""
        yield list(self.ready)
        self.ready.clear()
        while not self._is_callers and await self._refill():
            yield list(self.ready)
            self.ready.clear()


def _by_expiry(batch: Sequence[Job]) -> Sequence[Job]:
    if len({job.link.expires_at for job in batch}) <= 1:
        return batch
    return sorted(batch, key=lambda job: job.link.expires_at or _NEVER)
