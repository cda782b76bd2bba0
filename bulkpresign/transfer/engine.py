"""Workers over an iterator: any length of input, a bounded number of objects in flight."""

import logging
import time
import traceback
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import anyio
import msgspec

from bulkpresign.errors import BulkpresignError, TransferError
from bulkpresign.events import Listener, ObjectFinished
from bulkpresign.model import Link, Outcome
from bulkpresign.redact import redacted, secrets_of
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.leases import Lease, Renewals
from bulkpresign.transfer.pace import Breaker

_logger = logging.getLogger(__name__)
_NEVER = datetime.max.replace(tzinfo=UTC)

#: What one link's object becomes.
Work = Callable[[Link], Awaitable[Outcome]]
#: What one object becomes that takes several links; it renews each of them by itself.
UploadWork = Callable[[Lease, Renewals], Awaitable[Outcome]]


class Places(Protocol):
    """A bound for objects whose outcomes someone has to take: one place each."""

    async def reserve(self) -> None:
        """Waits for a place."""
        ...

    def release(self) -> None:
        """Gives a place back that was not needed; one that was is given back where its outcome is taken."""
        ...


class Feed:
    """Hands out leases one at a time to any number of workers; reads its input a batch at a time, as it is used.

    Within a batch those closest to their end go first. With `is_callers` the input is a program's own iterable: waiting
    for it can be cancelled, and what was not read of it is left to that program. `places` bounds what is handed out and
    not consumed yet.
    """

    def __init__(
        self, batches: AsyncIterable[Sequence[Lease]], *, is_callers: bool = False, places: "Places | None" = None
    ) -> None:
        self._is_callers = is_callers
        self._places = places
        self._batches: AsyncIterator[Sequence[Lease]] = aiter(batches)
        self._lock = anyio.Lock()
        self._ended = False
        self.ready: deque[Lease] = deque()

    async def take(self) -> Lease | None:
        """The next lease, None at the end."""
        if self._places is None:
            return await self._next()
        await self._places.reserve()
        lease = await self._next()
        if lease is None:
            self._places.release()
        return lease

    async def _next(self) -> Lease | None:
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

    async def rest(self) -> AsyncIterator[Sequence[Lease]]:
        """What was not handed out, for a run that ends early."""
        yield list(self.ready)
        self.ready.clear()
        while not self._is_callers and await self._refill():
            yield list(self.ready)
            self.ready.clear()


class Engine:
    """Puts leases through `work`, `concurrency` objects at a time, and emits their outcomes; uploads through `uploads`.

    An object that fails is an outcome. One that is cut off by cancellation is one as well: nothing goes missing. A run
    in which everything fails the same way ends with BreakerError.
    """

    def __init__(self, feed: Feed, work: Work, emit: Listener, clock: Clock, uploads: UploadWork | None = None) -> None:
        self._feed = feed
        self._work = work
        self._uploads = uploads
        self._emit = emit
        self._renewals = Renewals(feed.ready, clock)
        self._breaker = Breaker()

    async def run(self, concurrency: int) -> None:
        """Runs to the end of the feed."""
        try:
            async with anyio.create_task_group() as group:
                for _ in range(concurrency):
                    group.start_soon(self._worker)
        except BaseExceptionGroup as failed:
            raise first_error(failed) from None

    async def _worker(self) -> None:
        while (lease := await self._feed.take()) is not None:
            began = time.monotonic()
            try:
                outcome = await self._outcome(lease)
            except BaseException:  # cancelled, or the run is broken: what it was at is not done
                interrupted = TransferError("the run was interrupted", code="Interrupted")
                self._emit(ObjectFinished(_failed(lease, lease.link, interrupted)))
                raise
            outcome = msgspec.structs.replace(outcome, seconds=time.monotonic() - began)
            self._emit(ObjectFinished(outcome))
            self._breaker.note(outcome)

    async def _outcome(self, lease: Lease) -> Outcome:
        used = lease.link

        async def work(link: Link) -> Outcome:
            nonlocal used
            used = link
            return await self._work(link)

        try:
            if lease.upload is not None and self._uploads is not None:
                return await self._uploads(lease, self._renewals)
            return await self._renewals.through(lease, work)
        except TransferError as error:
            return _failed(lease, used, error)
        except BulkpresignError:  # the run itself can't go on
            raise
        except Exception as error:  # noqa: BLE001 - one object's trouble is that object's outcome
            trace = redacted("".join(traceback.format_exception(error)), secrets_of(used.url, used.headers))
            _logger.debug("%s: unexpected error\n%s", used.object.uri, trace)
            return _failed(lease, used, _internal(error))


def _internal(error: Exception) -> TransferError:
    """An error that nobody foresaw. Its text can hold anything, so the type alone is told."""
    message = f"unexpected {type(error).__name__}: please report it, with what -vv prints"
    return TransferError(message, code="Internal")


def _failed(lease: Lease, link: Link, error: TransferError) -> Outcome:
    return Outcome(
        link.object,
        "expired" if error.retry == "fresh_link" else "failed",
        attempts=error.attempt,
        code=error.code,
        message=str(error),
        link=link,
        upload=lease.upload,
    )


def _by_end(batch: Sequence[Lease]) -> Sequence[Lease]:
    if len({lease.link.expires_at for lease in batch}) <= 1:
        return batch
    return sorted(batch, key=lambda lease: lease.link.expires_at or _NEVER)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended a group of tasks; the others fell with it."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
