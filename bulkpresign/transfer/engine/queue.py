"""The jobs of a run, read on demand."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import anyio

from bulkpresign.tasks import wait_ended
from bulkpresign.transfer.engine.jobs import Job

#: `read_ahead` keeps at least so many jobs ready.
_LEAST_READY = 256
_NEVER = datetime.max.replace(tzinfo=UTC)


class OutcomeSlots(Protocol):
    """Bounds the outcomes that the consumer has not received yet: each job needs a free slot before it starts."""

    async def reserve(self) -> None:
        """Waits for a free slot."""
        ...

    def try_reserve(self) -> bool:
        """Takes a slot if one is free."""
        ...

    def release(self) -> None:
        """Frees a slot that was not needed. The consumer frees the other slots when it receives outcomes."""
        ...


class JobQueue:
    """Hands out jobs one at a time to any number of workers. Reads its input on demand, a batch at a time.

    Each batch is sorted by the expiry of its links, the earliest first. `close_input` closes an input that is an
    iterable of the calling program: that is never read ahead, waiting for it can be cancelled, and its unread rows are
    left to that program. `slots` bounds the outcomes that wait for the consumer.
    """

    def __init__(
        self,
        batches: AsyncIterable[Sequence[Job]],
        *,
        close_input: Callable[[], Awaitable[None]] | None = None,
        slots: OutcomeSlots | None = None,
    ) -> None:
        self._close_input = close_input
        self._slots = slots
        #: True where a consumer waits for outcomes, of which only so many may be pending.
        self.has_consumer = slots is not None
        self._batches: AsyncIterator[Sequence[Job]] = aiter(batches)
        self._reading: asyncio.Task[Sequence[Job] | None] | None = None
        self._lock = anyio.Lock()
        self._ended = False
        self._is_low = anyio.Event()
        self.ready: deque[Job] = deque()

    async def get(self) -> Job | None:
        """The next job, None at the end of the input."""
        if self._slots is None:
            return await self._next()
        await self._slots.reserve()
        job = await self._next()
        if job is None:
            self._slots.release()
        return job

    def get_ready(self) -> Job | None:
        """The next job if it can be had without waiting."""
        if not self.ready or not (self._slots is None or self._slots.try_reserve()):
            return None
        return self._pop()

    async def read_ahead(self) -> None:
        """Reads the next batch before the jobs run out, to the end of the input: then few workers have to wait."""
        while not self._ended and self._close_input is None:
            if len(self.ready) >= _LEAST_READY:
                self._is_low = anyio.Event()
                await self._is_low.wait()
            async with self._lock:
                if len(self.ready) < _LEAST_READY:
                    await self._refill()

    async def take(self, amount: float, amount_of: Callable[[Job], float]) -> list[Job]:
        """The next jobs, of about this amount together, or fewer; none at the end of the input."""
        first = await self.get()
        if first is None:
            return []
        jobs, ready, slots = [first], self.ready, self._slots
        amount -= amount_of(first)
        while ready and amount > 0 and (slots is None or slots.try_reserve()):
            jobs.append(job := ready.popleft())
            amount -= amount_of(job)
        self._note_low()
        return jobs

    async def _next(self) -> Job | None:
        return self._pop() if await self._has_ready() else None

    def _pop(self) -> Job:
        job = self.ready.popleft()
        self._note_low()
        return job

    def _note_low(self) -> None:
        """Lets `read_ahead` go on if few jobs are ready."""
        if len(self.ready) < _LEAST_READY:
            self._is_low.set()

    async def _has_ready(self) -> bool:
        """Waits until a job is ready; False at the end of the input."""
        while not self.ready:
            async with self._lock:
                if not self.ready and not await self._refill():
                    return False
        return True

    async def _refill(self) -> bool:
        if self._ended:
            return False
        batch = await self._read()
        self._ended = batch is None
        self.ready.extend(sorted(batch or (), key=_expiry))
        return not self._ended

    async def _read(self) -> Sequence[Job] | None:
        """The next batch. A cancellation within the read would end the input, and drain() could not read its rest.

        It does not wait for the read either: a listing waits for its server.
        """
        self._reading = self._reading or asyncio.create_task(self._next_batch())
        await asyncio.wait([self._reading])  # cancelled, the read goes on, and the next call has its batch
        reading, self._reading = self._reading, None
        return reading.result()

    async def _next_batch(self) -> Sequence[Job] | None:
        return await anext(self._batches, None)

    async def drain(self) -> AsyncIterator[Sequence[Job]]:
        """The jobs that were not handed out, for a run that stops early. The iterable of a program is closed first.

        That can't give again those of its rows that were read.
        """
        if self._close_input is not None:
            await self._close_input()
        yield list(self.ready)
        self.ready.clear()
        while await self._refill():
            yield list(self.ready)
            self.ready.clear()

    async def close(self) -> None:
        """Ends the reading, for a run that stops early and does not drain."""
        if self._reading is not None:
            self._reading.cancel()
            await wait_ended([self._reading])


def _expiry(job: Job) -> datetime:
    return job.link.expires_at or _NEVER
