"""Workers over an iterator: any length of input, a bounded number of objects in flight."""

import logging
import time
import traceback
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from bulkpresign.errors import BulkpresignError, TransferError
from bulkpresign.events import Listener, ObjectFinished
from bulkpresign.http.clock import Clock
from bulkpresign.model import Link, Outcome
from bulkpresign.redact import redacted, secrets_of
from bulkpresign.transfer.engine.breaker import CircuitBreaker
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import LinkRenewer

_logger = logging.getLogger(__name__)

#: What one link's object becomes.
Work = Callable[[Link], Awaitable[Outcome]]
#: What one object becomes that takes several links; it renews each of them by itself.
UploadWork = Callable[[Job, LinkRenewer], Awaitable[Outcome]]


class Engine:
    """Puts leases through `work`, `concurrency` objects at a time, and emits their outcomes; uploads through `uploads`.

    An object that fails is an outcome. One that is cut off by cancellation is one as well: nothing goes missing. A run
    in which everything fails the same way ends with BreakerError.
    """

    def __init__(
        self, queue: JobQueue, work: Work, emit: Listener, clock: Clock, uploads: UploadWork | None = None
    ) -> None:
        self._queue = queue
        self._work = work
        self._uploads = uploads
        self._emit = emit
        self._renewer = LinkRenewer(queue.ready, clock)
        self._breaker = CircuitBreaker()

    async def run(self, concurrency: int) -> None:
        """Runs to the end of the feed."""
        try:
            async with anyio.create_task_group() as group:
                for _ in range(concurrency):
                    group.start_soon(self._worker)
        except BaseExceptionGroup as failed:
            raise first_error(failed) from None

    async def _worker(self) -> None:
        while (job := await self._queue.take()) is not None:
            began = time.monotonic()
            try:
                outcome = await self._outcome(job)
            except BaseException:  # cancelled, or the run is broken: what it was at is not done
                interrupted = TransferError("the run was interrupted", code="Interrupted")
                self._emit(ObjectFinished(_failed(job, job.link, interrupted)))
                raise
            outcome = msgspec.structs.replace(outcome, seconds=time.monotonic() - began)
            self._emit(ObjectFinished(outcome))
            self._breaker.note(outcome)

    async def _outcome(self, job: Job) -> Outcome:
        used = job.link

        async def work(link: Link) -> Outcome:
            nonlocal used
            used = link
            return await self._work(link)

        try:
            if job.upload is not None and self._uploads is not None:
                return await self._uploads(job, self._renewer)
            return await self._renewer.call(job, work)
        except TransferError as error:
            return _failed(job, used, error)
        except BulkpresignError:  # the run itself can't go on
            raise
        except Exception as error:  # noqa: BLE001 - one object's trouble is that object's outcome
            trace = redacted("".join(traceback.format_exception(error)), secrets_of(used.url, used.headers))
            _logger.debug("%s: unexpected error\n%s", used.object.uri, trace)
            return _failed(job, used, _internal(error))


def _internal(error: Exception) -> TransferError:
    """An error that nobody foresaw. Its text can hold anything, so the type alone is told."""
    message = f"unexpected {type(error).__name__}: please report it, with what -vv prints"
    return TransferError(message, code="Internal")


def _failed(job: Job, link: Link, error: TransferError) -> Outcome:
    return Outcome(
        link.object,
        "expired" if error.retry == "fresh_link" else "failed",
        attempts=error.attempt,
        code=error.code,
        message=str(error),
        link=link,
        upload=job.upload,
    )


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended a group of tasks; the others fell with it."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
