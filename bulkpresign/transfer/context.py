"""The objects that all transfers of a run share."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import msgspec

from bulkpresign.errors import TransferError
from bulkpresign.events import Listener
from bulkpresign.http.client import DirectRequest, HttpClient
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.engine.limiter import RequestLimiter, Turn
from bulkpresign.transfer.engine.retries import Attempts

T = TypeVar("T")


class TransferContext(msgspec.Struct, frozen=True):
    """The client, the limiters and the listener that all objects of a run share.

    `attempts` bounds the attempts of each request. `keeps_checkpoints`: a journal records resume points and finished
    parts, so unfinished bytes stay on disk, and uploads stay open, for the next run. `is_left`: the program that
    consumes the outcomes has left the run, which leaves no unfinished bytes.
    """

    http: HttpClient
    emit: Listener
    limiter: RequestLimiter
    attempts: int = 5
    keeps_checkpoints: bool = False
    is_left: Callable[[], bool] = bool  # False

    def attempts_of(self, ref: ObjectRef, number: int = 1) -> Attempts:
        """The attempts of a request for an object, from attempt `number` on."""
        return Attempts(ref, self.attempts, self.emit, number)

    async def retried(
        self, once: Callable[[], Awaitable[T]], ref: ObjectRef, sent: DirectRequest | None = None
    ) -> tuple[T, int]:
        """The result of `once`, and the number of the attempt that gave it. Raises the last attempt's TransferError.

        Each attempt takes its turn in the limiter, except the first one if a request was `sent`, in a slot. An object
        that waits for its next attempt is not in flight.
        """
        attempts = self.attempts_of(ref)
        while True:
            try:
                if sent is None or not sent.has_slot:
                    await self.limiter.acquire()
                else:
                    sent.has_slot = False
                with Turn(self.limiter):
                    return await once(), attempts.number
            except TransferError as error:
                delay = attempts.delay_after(error)
            await anyio.sleep(delay)
