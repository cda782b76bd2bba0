"""Workers over an iterator: any length of input, a bounded number of objects in flight."""

import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import LinkExpiredError, TransferError
from bulkpresign.events import Listener, ObjectFinished
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.leases import Lease, Renewals
from bulkpresign.transfer.pace import Breaker
from bulkpresign.transfer.retrying import numbered

#: How often one object gets a fresh link. A link that is refused as soon as it is fresh would go on for ever.
MAX_RENEWALS = 10

_NEVER = datetime.max.replace(tzinfo=UTC)

Work = Callable[[Link], Awaitable[Outcome]]


class Feed:
    """Hands out leases one at a time to any number of workers; reads its input a batch at a time, as it is used.

    Within a batch those closest to their end go first.
    """

    def __init__(self, batches: AsyncIterable[Sequence[Lease]]) -> None:
        self._batches: AsyncIterator[Sequence[Lease]] = aiter(batches)
        self._lock = anyio.Lock()
        self._ended = False
        self.ready: deque[Lease] = deque()

    async def take(self) -> Lease | None:
        """The next lease, None at the end."""
        while not self.ready:
            async with self._lock:
                if not self.ready and not await self._refill():
                    return None
        return self.ready.popleft()

    async def _refill(self) -> bool:
        if self._ended:
            return False
        with anyio.CancelScope(shield=True):  # cut off while it waits, the input could not tell the rest
            batch = await anext(self._batches, None)
        self._ended = batch is None
        self.ready.extend(_by_end(batch or ()))
        return not self._ended

    async def rest(self) -> AsyncIterator[Sequence[Lease]]:
        """What was not handed out, for a run that ends early."""
        yield list(self.ready)
        self.ready.clear()
        while await self._refill():
            yield list(self.ready)
            self.ready.clear()


class Engine:
    """Puts leases through `work`, `concurrency` objects at a time, and emits their outcomes.

    An object that fails is an outcome. One that is cut off by cancellation is one as well: nothing goes missing. A run
    in which everything fails the same way ends with BreakerError.
    """

    def __init__(self, feed: Feed, work: Work, emit: Listener, clock: Clock) -> None:
        self._feed = feed
        self._work = work
        self._emit = emit
        self._clock = clock
        self._renewals = Renewals(feed.ready, clock)
        self._breaker = Breaker()

    async def run(self, concurrency: int) -> None:
        """Runs to the end of the feed."""
        try:
            async with anyio.create_task_group() as group:
                for _ in range(concurrency):
                    group.start_soon(self._worker)
        except BaseExceptionGroup as failed:
            raise _first(failed) from None

    async def _worker(self) -> None:
        while (lease := await self._feed.take()) is not None:
            began = time.monotonic()
            try:
                outcome = await self._outcome(lease)
            except BaseException:  # cancelled, or the run is broken: what it was at is not done
                interrupted = TransferError("the run was interrupted", code="Interrupted")
                self._emit(ObjectFinished(_failed(lease.link, interrupted)))
                raise
            outcome = msgspec.structs.replace(outcome, seconds=time.monotonic() - began)
            self._emit(ObjectFinished(outcome))
            self._breaker.note(outcome)

    async def _outcome(self, lease: Lease) -> Outcome:
        link = lease.link
        renewals_left = MAX_RENEWALS if lease.renew is not None else 0
        while True:
            try:
                return await self._attempt(link)
            except LinkExpiredError as error:
                if not renewals_left:
                    return _failed(link, error)
                try:
                    link = await self._renewals.fresh(Lease(link, lease.renew))
                except LinkExpiredError as refused:
                    return _failed(link, numbered(refused, error.attempt))
                renewals_left -= 1
            except TransferError as error:
                return _failed(link, error)

    async def _attempt(self, link: Link) -> Outcome:
        if link.lapsed(self._clock.now()):
            await anyio.lowlevel.checkpoint()
            message = f"the link ended at {link.expires_at:%Y-%m-%d %H:%M:%SZ}"
            raise numbered(LinkExpiredError(message, code="LinkExpired"), 0)
        return await self._work(link)


def _failed(link: Link, error: TransferError) -> Outcome:
    return Outcome(
        link.object,
        "expired" if error.retry == "fresh_link" else "failed",
        attempts=error.attempt,
        code=error.code,
        message=str(error),
        link=link,
    )


def _by_end(batch: Sequence[Lease]) -> Sequence[Lease]:
    if len({lease.link.expires_at for lease in batch}) <= 1:
        return batch
    return sorted(batch, key=lambda lease: lease.link.expires_at or _NEVER)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the run; the others fell with it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
