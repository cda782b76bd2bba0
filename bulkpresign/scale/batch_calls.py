"""Calls of workers with batches: each is answered, or its worker is lost."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import anyio

from bulkpresign.errors import BreakerError, WorkerLostError
from bulkpresign.redact import redacted
from bulkpresign.scale.messages import Batch, BatchResult, decode_result, encode_batch
from bulkpresign.scale.worker import run_batch
from bulkpresign.scale.workers import Workers, submitted

_logger = logging.getLogger(__name__)

#: So many batches in a row, beside those that were out together, whose workers were lost end the run.
_LOSSES_IN_A_ROW = 8
#: Seconds that interrupted workers have to say what they finished.
_GRACE = 5.0


class BatchCalls:
    """Calls the workers of a run with batches. `ahead` tells how many are out at a time, which changes with them."""

    def __init__(self, workers: Workers, ahead: Callable[[], int]) -> None:
        self._workers, self._ahead = workers, ahead
        self._losses = 0
        #: True once a call was cancelled: no other one is to be made.
        self.are_stopping = False

    async def result(self, batch: Batch) -> BatchResult | None:
        """The result of a batch; None if its worker was lost.

        Cancellation interrupts all workers, and gives what they finished until then, if they say so soon. Raises
        BreakerError where no worker is left that works.
        """
        future = submitted(self._workers, run_batch, encode_batch(batch))
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(_retrieve)
        try:
            return decode_result(await asyncio.shield(answer))
        except asyncio.CancelledError:
            if answer.cancelled():  # by the executor, whose workers are gone
                self._note_loss(WorkerLostError("the executor cancelled its work"))
                return None
            self.are_stopping = True
            if future.cancel():
                raise
            self._workers.interrupt()
            with anyio.move_on_after(_GRACE, shield=True), suppress(Exception):
                return decode_result(await asyncio.shield(answer))
            raise
        except Exception as error:  # noqa: BLE001 - each executor has its own errors for a lost worker
            self._note_loss(error)
            return None

    def forget_losses(self) -> None:
        """A batch has a result: the workers before it are no longer lost in a row."""
        self._losses = 0

    def _note_loss(self, error: Exception) -> None:
        """Raises BreakerError where no worker is left that works."""
        self._losses += 1
        reason = redacted(str(error) or type(error).__name__)
        _logger.debug("a worker was lost: %s", reason)
        if self._losses > _LOSSES_IN_A_ROW + self._ahead():
            raise BreakerError(f"stopped: the workers of the last {self._losses} batches were lost: {reason}")


def _retrieve(answer: "asyncio.Future[bytes]") -> None:
    """Takes the error of an answer that nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()
