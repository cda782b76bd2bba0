"""Retry delays (full jitter, or Retry-After) and the loop that retries."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from bulkpresign.errors import TransferError
from bulkpresign.events import Listener, ObjectRetried
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter

T = TypeVar("T")
Failure = TypeVar("Failure", bound=TransferError)

BASE_DELAY = 0.2
MAX_DELAY = 20.0
#: The longest Retry-After; a request with a longer one is not retried.
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


def always(_: TransferError) -> bool:
    """Retries every error that a retry can fix."""
    return True


async def with_retries(
    once: Callable[[], Awaitable[T]],
    ref: ObjectRef,
    attempts: int,
    emit: Listener,
    limiter: AdaptiveLimiter | None,
    *,
    should_retry: Callable[[TransferError], bool] = always,
) -> tuple[T, int]:
    """The result of `once`, and the number of the attempt that gave it. Raises the last attempt's TransferError.

    Each attempt takes its turn in the `limiter` (None: `once` takes its own). An object that waits for its next attempt
    is not in flight. An error that `should_retry` refuses is raised at once.
    """
    number = 1
    while True:
        try:
            return await _limited_once(once, limiter), number
        except TransferError as error:
            delay = delay_before(number + 1, error) if number < attempts and should_retry(error) else None
            if number > 1:
                numbered(error, max(number, error.attempt))
            if delay is None:
                raise
            emit(ObjectRetried(ref, number, delay, error.code, str(error)))
        await anyio.sleep(delay)
        number += 1


async def _limited_once(once: Callable[[], Awaitable[T]], limiter: AdaptiveLimiter | None) -> T:
    if limiter is None:
        return await once()
    await limiter.acquire()
    error: TransferError | None = None
    try:
        return await once()
    except TransferError as failed:
        error = failed
        raise
    finally:
        limiter.release(error)


def numbered(error: Failure, attempt: int) -> Failure:
    """Sets the attempt of an error, and returns the error. 0: no request was sent."""
    error.attempt = attempt
    return error
