"""When to try again, and how long to wait: full jitter, or what the server asked for."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bulkpresign.errors import TransferError
from bulkpresign.events import Listener, ObjectRetried
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.pace import Pace

T = TypeVar("T")
Failure = TypeVar("Failure", bound=TransferError)

BASE_DELAY = 0.2
MAX_DELAY = 20.0
#: A server that asks for a longer pause than this is not waited for.
MAX_RETRY_AFTER = 300.0


def delay_before(attempt: int, error: TransferError) -> float | None:
    """Seconds to wait before attempt `attempt` (from 2) after `error`, or None where trying again can't help.

    Full jitter spreads the returning requests evenly (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    if error.retry != "same_link":
        return None
    if error.retry_after is not None:
        return error.retry_after + random.uniform(0, BASE_DELAY) if error.retry_after <= MAX_RETRY_AFTER else None
    return random.uniform(0, min(MAX_DELAY, BASE_DELAY * 2 ** (attempt - 1)))


async def with_retries(
    once: Callable[[], Awaitable[T]],
    ref: ObjectRef,
    attempts: int,
    emit: Listener,
    pace: Pace | None,
    *,
    is_ours: Callable[[TransferError], bool] = lambda _: True,
) -> tuple[T, int]:
    """What `once` gives, and the number of the attempt that gave it. Raises the last attempt's TransferError.

    Each attempt takes its turn in the `pace` (None: what it does takes turns of its own); while it waits to try again
    an object is not in flight. What is not `is_ours` to try again is raised at once. The machinery of retries costs a
    third of a small object's whole transfer, so it starts with a failure in hand.
    """
    try:
        return await _paced(once, pace), 1
    except TransferError as error:
        if attempts == 1 or not is_ours(error) or delay_before(2, error) is None:
            raise
        first: TransferError | None = error

    import stamina  # only runs in which something fails spend the time

    number = 1

    def backoff(error: Exception) -> float | bool:
        if not isinstance(error, TransferError) or number >= attempts or not is_ours(error):
            return False
        delay = delay_before(number + 1, error)
        if delay is None:
            return False
        emit(ObjectRetried(ref, number, delay, error.code, str(error)))
        return delay

    async for attempt in stamina.retry_context(on=backoff, attempts=attempts, timeout=None):
        number = attempt.num
        with attempt:
            if first is not None:
                failed, first = first, None
                raise failed
            try:
                return await _paced(once, pace), number
            except TransferError as error:
                raise numbered(error, max(number, error.attempt)) from None
    raise AssertionError("stamina gives up by raising")  # pragma: no cover


async def _paced(once: Callable[[], Awaitable[T]], pace: Pace | None) -> T:
    if pace is None:
        return await once()
    await pace.acquire()
    error: TransferError | None = None
    try:
        return await once()
    except TransferError as failed:
        error = failed
        raise
    finally:
        pace.release(error)


def numbered(error: Failure, attempt: int) -> Failure:
    """The same error as that of an attempt; 0: no request was sent."""
    error.attempt = attempt
    return error
