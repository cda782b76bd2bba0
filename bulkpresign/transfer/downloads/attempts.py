"""The retry policy of downloads.

Each request has its own attempts. With a renewed link the count starts again. A mismatch makes the object start from
its first byte, and counts as a failed attempt of its request. The parts of a ranged download are retried one by one.
"""

from types import TracebackType
from typing import Self

from bulkpresign.errors import TransferError
from bulkpresign.events import ObjectRetried
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.engine.retries import delay_before, numbered


class Attempts:
    """The attempts of one request; `number` is the one that runs, from 1."""

    __slots__ = ("_context", "_ref", "number")

    def __init__(self, context: TransferContext, ref: ObjectRef, number: int = 1) -> None:
        self._context, self._ref = context, ref
        self.number = number

    def delay_after(self, error: TransferError) -> float:
        """Counts a failed attempt. Returns the seconds to wait before the next one; raises the error of the last."""
        context, number = self._context, self.number
        delay = delay_before(number + 1, error) if number < context.attempts else None
        if number > 1:
            numbered(error, max(number, error.attempt))
        if delay is None:
            raise error
        context.emit(ObjectRetried(self._ref, number, delay, error.code, str(error)))
        self.number += 1
        return delay


class Turn:
    """Gives a request's place in the limiter back: a context manager for after `limiter.acquire()`.

    `error` is what went wrong where that is not raised.
    """

    __slots__ = ("_limiter", "error")

    def __init__(self, limiter: AdaptiveLimiter) -> None:
        self._limiter = limiter
        self.error: TransferError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter.release(error if isinstance(error, TransferError) else self.error)
