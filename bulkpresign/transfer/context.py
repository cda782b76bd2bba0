"""The objects that all transfers of a run share."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from bulkpresign.errors import TransferError
from bulkpresign.events import Listener
from bulkpresign.http.client import HttpClient
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.downloads.part_concurrency import PartConcurrencyTuner
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.engine.retries import always, with_retries

T = TypeVar("T")


class TransferContext(msgspec.Struct, frozen=True):
    """The client, the limiters and the listener that all objects of a run share.

    `attempts` bounds the attempts of each request. `keeps_checkpoints`: a journal records resume points and finished
    parts, so unfinished bytes stay on disk, and uploads stay open, for the next run.
    """

    http: HttpClient
    emit: Listener
    limiter: AdaptiveLimiter
    attempts: int = 5
    tuner: PartConcurrencyTuner = msgspec.field(default_factory=lambda: PartConcurrencyTuner(1))
    keeps_checkpoints: bool = False

    async def retried(
        self,
        once: Callable[[], Awaitable[T]],
        ref: ObjectRef,
        *,
        should_retry: Callable[[TransferError], bool] = always,
    ) -> tuple[T, int]:
        """The result of one request, and the number of the attempt that gave it. Raises its last TransferError."""
        return await with_retries(once, ref, self.attempts, self.emit, self.limiter, should_retry=should_retry)
