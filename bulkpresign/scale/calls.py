"""Calls of functions in the workers of an executor, whose arguments and results are bytes."""

import asyncio
import logging
from collections.abc import Callable

from bulkpresign.errors import BreakerError
from bulkpresign.redact import redacted
from bulkpresign.scale.workers import Workers, check_workers, submitted

_logger = logging.getLogger(__name__)

#: How often a call is made whose worker is lost.
_MOST_LOSSES = 3
#: Seconds between two checks of whether there are workers left.
_LOOK_INTERVAL = 2.0
#: Calls for each worker: one that it works on, and one that waits.
_CALLS_AHEAD = 2


class Calls:
    """Calls functions in the workers of an executor. Where a worker is lost, its call is made again."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @property
    def most(self) -> int:
        """The calls to make at a time."""
        return _CALLS_AHEAD * self._workers.count

    async def __call__(self, function: Callable[[bytes], bytes], data: bytes) -> bytes:
        """The function's result. Raises BreakerError where no worker gives one."""
        for _ in range(_MOST_LOSSES):
            answer = asyncio.wrap_future(submitted(self._workers, function, data))
            try:
                await self._end_of(answer)
            except BaseException:
                answer.cancel()  # and with it the call; nobody waits for its exception
                raise
            reason = _loss(answer)
            if reason is None:
                return answer.result()
            _logger.debug("a worker was lost: %s", reason)
        raise BreakerError(f"stopped: a worker was lost {_MOST_LOSSES} times with the same work: {reason}")

    async def _end_of(self, answer: "asyncio.Future[bytes]") -> None:
        """Waits for an answer, which it leaves alone. Raises BreakerError where no call ends any more."""
        while not answer.done():
            await asyncio.wait({answer}, timeout=_LOOK_INTERVAL)
            check_workers(self._workers)


def _loss(answer: "asyncio.Future[bytes]") -> str | None:
    """Why there is no result, None if there is one. Each executor has its own errors for a lost worker."""
    if answer.cancelled():  # by the executor, whose workers are gone
        return "the executor cancelled its work"
    error = answer.exception()
    return None if error is None else redacted(str(error) or type(error).__name__)
