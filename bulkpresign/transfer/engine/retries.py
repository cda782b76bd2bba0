"""The attempts of a request: how many, and how long to wait between them (full jitter, or Retry-After).

While the whole server can't be reached, attempts are repeated and not counted: see `ConnectionFailedError.is_outage`.
"""

import random
from typing import TypeVar

from bulkpresign.errors import ConnectionFailedError, TransferError
from bulkpresign.events import Listener, ObjectRetried
from bulkpresign.model import ObjectRef

Failure = TypeVar("Failure", bound=TransferError)

BASE_DELAY = 0.2
MAX_DELAY = 20.0
#: The longest Retry-After; a request with a longer one is not retried.
MAX_RETRY_AFTER = 300.0
#: The text of CPython's RuntimeError where the system allows no more threads.
_NO_THREAD = "can't start new thread"


def delay_before(attempt: int, error: TransferError) -> float | None:
    """Seconds to wait before attempt `attempt` (from 2) after `error`, or None where trying again can't help.

    Full jitter spreads the returning requests evenly (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    if error.retry != "same_link":
        return None
    if error.retry_after is not None:
        return error.retry_after + random.uniform(0, BASE_DELAY) if error.retry_after <= MAX_RETRY_AFTER else None
    return random.uniform(0, min(MAX_DELAY, BASE_DELAY * 2.0 ** min(attempt - 1, 100)))  # 2.0 ** 1024 overflows


class Attempts:
    """The attempts of one request, at most `most`; `number` is the one that runs, from 1."""

    __slots__ = ("_emit", "_most", "_outages", "_ref", "number")

    def __init__(self, ref: ObjectRef, most: int, emit: Listener, number: int = 1) -> None:
        self._ref, self._most, self._emit = ref, most, emit
        self._outages = 0
        self.number = number

    def delay_after(self, error: TransferError) -> float:
        """Counts a failed attempt. Returns the seconds to wait before the next one; raises the error of the last."""
        number = self.number
        is_outage = isinstance(error, ConnectionFailedError) and error.is_outage and self._most > 1
        self._outages += is_outage
        delay = delay_before(number + 1 + self._outages, error) if is_outage or number < self._most else None
        if number > 1:
            numbered(error, max(number, error.attempt))
        if delay is None:
            raise error
        self._emit(ObjectRetried(self._ref, number, delay, error.code, str(error)))
        self.number += not is_outage
        return delay


def internal_error(error: Exception) -> TransferError:
    """The error of an object for an unexpected one. Its text can hold anything, so the message has its type alone.

    A container or a service may have only so many threads and so much memory; Python's errors do not say so.
    """
    if isinstance(error, MemoryError) or str(error) == _NO_THREAD:
        lacks = "memory" if isinstance(error, MemoryError) else "threads"
        advice = f"allow more {lacks} (ulimit, the limits of the container or service), or run fewer at a time"
        return TransferError(f"no more {lacks}: {advice}", code="NoResources")
    message = f"unexpected {type(error).__name__}: please report it, with what -vv prints"
    return TransferError(message, code="Internal")


def numbered(error: Failure, attempt: int) -> Failure:
    """Sets the attempt of an error, and returns the error. 0: no request was sent."""
    error.attempt = attempt
    return error
