"""Workers over an iterator: any length of input, a bounded number of objects in flight."""

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel

from bulkpresign.errors import LinkExpiredError, TransferError
from bulkpresign.events import Listener, ObjectFinished
from bulkpresign.model import Link, Outcome, utc_now
from bulkpresign.transfer.retrying import numbered

#: Gives fresh links for some whose lease is over, in the same order.
Renew = Callable[[Sequence[Link]], Awaitable[Sequence[Link]]]
Work = Callable[[Link], Awaitable[Outcome]]


class Feed:
    """Hands out links one at a time to any number of workers; reads its input a batch at a time, as it is used."""

    def __init__(self, batches: AsyncIterable[Sequence[Link]]) -> None:
        self._batches: AsyncIterator[Sequence[Link]] = aiter(batches)
        self._ready: deque[Link] = deque()
        self._lock = anyio.Lock()
        self._ended = False

    async def take(self) -> Link | None:
        """The next link, None at the end."""
        while not self._ready:
            async with self._lock:
                if not self._ready and not await self._refill():
                    return None
        return self._ready.popleft()

    async def _refill(self) -> bool:
        if self._ended:
            return False
        with anyio.CancelScope(shield=True):  # cut off while it waits, the input could not tell the rest
            batch = await anext(self._batches, None)
        self._ended = batch is None
        self._ready.extend(batch or ())
        return not self._ended

    async def rest(self) -> AsyncIterator[Sequence[Link]]:
        """What was not handed out, for a run that ends early."""
        yield list(self._ready)
        self._ready.clear()
        while await self._refill():
            yield list(self._ready)
            self._ready.clear()


async def run(feed: Feed, work: Work, concurrency: int, emit: Listener, renew: Renew | None = None) -> None:
    """Puts every link of a feed through `work` and emits its outcome; `concurrency` objects are in flight at a time.

    A link that waited so long that its lease is over is renewed where `renew` is given. An object that fails is an
    outcome. One that is cut off by cancellation is one as well: nothing goes missing.
    """

    async def worker() -> None:
        while (link := await feed.take()) is not None:
            try:
                outcome = await _outcome(link, work, renew)
            except anyio.get_cancelled_exc_class():
                emit(ObjectFinished(_failed(link, "Interrupted", "the run was interrupted")))
                raise
            emit(ObjectFinished(outcome))

    try:
        async with anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(worker)
    except BaseExceptionGroup as failed:
        raise _first(failed) from None


async def _outcome(link: Link, work: Work, renew: Renew | None) -> Outcome:
    try:
        if link.lapsed(utc_now()):
            await anyio.lowlevel.checkpoint()
            if renew is None:
                message = f"the link ended at {link.expires_at:%Y-%m-%d %H:%M:%SZ}"
                raise numbered(LinkExpiredError(message, code="LinkExpired"), 0)
            (link,) = await renew([link])
        return await work(link)
    except TransferError as error:
        return _failed(link, error.code, str(error), error)


def _failed(link: Link, code: str, message: str, error: TransferError | None = None) -> Outcome:
    expired = error is not None and error.retry == "fresh_link"
    return Outcome(
        link.object,
        "expired" if expired else "failed",
        attempts=error.attempt if error else 1,
        code=code,
        message=message,
        link=link,
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the run; the others fell with it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
