"""Workers over a queue: any number of jobs, a bounded number of them at a time."""

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bulkpresign.errors import BulkpresignError, TransferError
from bulkpresign.events import BytesMoved, Listener, ObjectsFinished
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.clock import Clock
from bulkpresign.model import INTERRUPTED, Outcome
from bulkpresign.redact import redacted, secrets_of
from bulkpresign.transfer.engine.breaker import CircuitBreaker
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.plain_jobs import PlainJobRunner, PlainWork
from bulkpresign.transfer.engine.pool import WorkerPool
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import internal_error

#: Outcomes of plain jobs that are emitted together.
_MOST_PENDING = 64

_logger = logging.getLogger(__name__)

#: Moves one object. Links that expire are renewed through the LinkRenewer. Raises TransferError where it fails.
Work = Callable[[Job, LinkRenewer], Awaitable[Outcome]]


class Engine:
    """Runs the jobs of a queue, and emits their outcomes.

    `concurrency` bounds the objects in flight; with `is_fixed` there are exactly as many, else as the limiter has room.
    A failed object is an outcome, and so is one that is cancelled: no object goes missing. A run in which everything
    fails the same way ends with BreakerError.
    """

    def __init__(
        self,
        queue: JobQueue,
        work: Work,
        emit: Listener,
        clock: Clock,
        limiter: RequestLimiter,
        *,
        plain_work: PlainWork | None = None,
    ) -> None:
        self._queue = queue
        self._work, self._plain_work = work, plain_work
        self._emit = emit
        self._renewer = LinkRenewer(queue.ready, clock)
        self._breaker = CircuitBreaker()
        self._limiter = limiter
        self._finished: list[Outcome] = []

    async def run(self, concurrency: int, *, is_fixed: bool = True) -> None:
        """Runs to the end of the queue. While it runs, `emit_pending` has to be called a few times a second."""
        try:
            await WorkerPool(self._limiter, concurrency, self._worker, is_fixed=is_fixed).run()
        finally:
            self.emit_pending()

    def emit_pending(self) -> None:
        """Emits outcomes of plain jobs. Many together take a fraction of the time of each on its own."""
        outcomes, self._finished = self._finished, []
        if outcomes:
            try:
                self._finish(outcomes)
            finally:
                self._emit(BytesMoved(sum(outcome.bytes for outcome in outcomes)))

    async def _worker(self, is_needed: Callable[[], bool]) -> bool:
        while (job := await self._queue.get()) is not None:
            left: Job | None = job
            sent: DirectRequest | None = None
            if self._plain_work is not None:
                left, sent = await self._plain_jobs(self._plain_work, job, is_needed)
            if left is not None:
                await self._job(left, sent)
            if not is_needed():
                return False
        return True

    async def _job(self, job: Job, sent: DirectRequest | None) -> None:
        began = time.monotonic()
        try:
            outcome = await self._outcome(job, sent)
        except BaseException:  # cancelled, or the run is broken: the object is not done
            self._emit_interrupted(job)
            raise
        finally:
            if sent is not None and sent.has_slot:  # the general path failed before it came to the request
                sent.close()
                self._limiter.release()
        self._finish([msgspec.structs.replace(outcome, seconds=time.monotonic() - began)])

    async def _plain_jobs(
        self, work: PlainWork, job: Job, is_needed: Callable[[], bool]
    ) -> tuple[Job | None, DirectRequest | None]:
        """Runs plain jobs from one on. Returns the job that is left, and its request if that was sent."""
        runner = PlainJobRunner(work, self._queue, self._limiter, is_needed, self._finish_later)
        runner.current = first = runner.prepared(job)
        if first is None:
            return job, None
        try:
            return await runner.run(first)
        except BaseException:
            for unfinished in (runner.current.job if runner.current is not None else None, runner.left):
                if unfinished is not None:
                    self._emit_interrupted(unfinished)
            raise

    def _finish_later(self, outcome: Outcome) -> None:
        self._finished.append(outcome)
        if len(self._finished) >= _MOST_PENDING or self._queue.has_consumer:
            self.emit_pending()

    def _finish(self, outcomes: Sequence[Outcome]) -> None:
        self._emit(ObjectsFinished(outcomes))
        self._breaker.record(outcomes)

    def _emit_interrupted(self, job: Job) -> None:
        self._emit(ObjectsFinished([interrupted_outcome(job)]))

    async def _outcome(self, job: Job, sent: DirectRequest | None) -> Outcome:
        try:
            if sent is not None and self._plain_work is not None:
                return await self._plain_work.go_on(job, self._renewer, sent)
            return await self._work(job, self._renewer)
        except TransferError as error:
            return failed_outcome(job, error)
        except BulkpresignError:  # the run itself can't go on
            raise
        except Exception as error:  # noqa: BLE001 - one object's trouble is that object's outcome
            link = job.link
            trace = redacted("".join(traceback.format_exception(error)), secrets_of(link.url, link.headers))
            _logger.debug("%s: unexpected error\n%s", link.object.uri, trace)
            return failed_outcome(job, internal_error(error))


def interrupted_outcome(job: Job) -> Outcome:
    """The outcome of a job whose run ended before it did."""
    return failed_outcome(job, TransferError("the run was interrupted", code=INTERRUPTED))


def failed_outcome(job: Job, error: TransferError) -> Outcome:
    """The outcome of a job that ended with an error."""
    link = job.link
    return Outcome(
        link.object,
        "expired" if error.retry == "fresh_link" else "failed",
        attempts=error.attempt,
        code=error.code,
        message=str(error),
        link=link,
        upload=job.upload,
    )
