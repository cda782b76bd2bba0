"""Small jobs one after another on one connection, each finished in the callbacks that bring its bytes, without a task.

A task, a future and a coroutine for each object take more time than a small object itself. So a worker hands its job
to a PlainJobRunner, which goes on with further jobs of the queue as long as each is plain: one small response of the
usual form, and nothing to wait for. Everything else goes back to the worker, with the response that is there. All
runners whose responses came together verify them, then store them, then send the next requests: see
`http.step_scheduler`.
"""

from collections.abc import Callable, Generator
from datetime import timedelta
from math import inf
from typing import Protocol

from bulkpresign.errors import BulkpresignError, TransferError
from bulkpresign.http.callback_connection import HandlerSteps
from bulkpresign.http.client import DirectRequest, HttpClient, PlainRequest
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Chunk
from bulkpresign.http.origin import Origin
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.model import EXPIRY_MARGIN, Link, Outcome
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import internal_error

#: Links that expire within this time are left to the general path, which renews them.
_MARGIN = timedelta(seconds=30)
#: Seconds for which the time is not asked again.
_TIME_KEPT = 1.0


#: Stores an object in steps (see `http.step_scheduler`), and returns its outcome.
StoreSteps = Generator[None, None, Outcome | None]


class ExpiryMargin:
    """Tells whether a link expires soon, by the server's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._soon, self._soon_until, self._skew = clock.now(), -inf, clock.skew
        self._later = self._soon  # a link that expires later than this does not expire soon

    def __call__(self, link: Link, now: float) -> bool:
        """True for a link that expires soon; `now` is the monotonic clock."""
        clock, expires_at = self._clock, link.expires_at
        if now >= self._soon_until or clock.skew is not self._skew:
            self._soon, self._soon_until, self._skew = clock.now() + _MARGIN, now + _TIME_KEPT, clock.skew
            self._later = self._soon + EXPIRY_MARGIN
        return expires_at is not None and expires_at <= self._later and link.expires_by(self._soon)


class PlainJob(Protocol):
    """A job that is ready to be sent, and stored when its response is here."""

    job: Job
    request: PlainRequest

    def close(self) -> None:
        """Gives back what the job holds. Called once, whatever became of it."""

    def store(self, response: ResponseParser, body: Chunk) -> StoreSteps:
        """The outcome by a response, in steps. None, and nothing is stored, for a response that is not plain.

        Raises TransferError.
        """


class PlainWork(Protocol):
    """Prepares plain jobs. The general path runs those that it does not prepare, and the rest of others."""

    http: HttpClient

    def prepare(self, job: Job) -> PlainJob | None:
        """The same job, ready to be sent; None for one that is not plain."""

    async def go_on(self, job: Job, renewer: LinkRenewer, sent: DirectRequest) -> Outcome:
        """Moves the object of a job by the general path, which begins with a request that was sent, in its slot."""


class PlainJobRunner:
    """Runs plain jobs from a first one on. `current` is the one whose request is in flight, None between two."""

    def __init__(
        self,
        work: PlainWork,
        queue: JobQueue,
        limiter: RequestLimiter,
        is_needed: Callable[[], bool],
        finish: Callable[[Outcome], None],
    ) -> None:
        self._work, self._queue, self._limiter = work, queue, limiter
        self._is_needed, self._finish = is_needed, finish
        self._origin: Origin
        self._error: TransferError | None = None
        self.current: PlainJob | None = None
        #: A job that was taken from the queue, and is left for the general path.
        self.left: Job | None = None

    def prepared(self, job: Job) -> PlainJob | None:
        """The job ready to be sent, None for the general path: also where something unexpected happens."""
        try:
            return self._work.prepare(job)
        except BulkpresignError:
            raise
        except Exception:  # noqa: BLE001 - the general path meets it as well, and makes it the object's outcome
            return None

    async def run(self, first: PlainJob) -> tuple[Job | None, DirectRequest | None]:
        """Runs jobs, in one slot of the limiter. Returns the job that is left for the general path, if there is one.

        With it comes its request if that was sent: then the job keeps the slot.
        """
        self.current, self._origin = first, first.request.origin
        http, link = self._work.http, first.job.link
        try:
            await self._limiter.acquire()
            sent = await http.send_each(link, first.request, self._handle)
        finally:
            if self.current is not None:
                self.current.close()
        if sent is None and self._error is not None:
            sent = http.failed(link, self._error)
        if sent is None:
            return self.left, None
        sent.link, sent.has_slot = self.current.job.link, True
        return self.current.job, sent

    def _handle(self, response: ResponseParser, body: Chunk, latency: float) -> HandlerSteps:
        """Stores an object, and returns the next request: a ResponseHandler."""
        current = self.current
        assert current is not None  # noqa: S101 - its request is in flight
        try:
            outcome = yield from current.store(response, body)
        except TransferError as error:
            self._error = error
            return b""
        except BulkpresignError:
            raise
        except Exception as error:  # noqa: BLE001 - one object's trouble is that object's outcome
            self._error = internal_error(error)
            return b""
        if outcome is None:
            return None
        self.current = None
        current.close()
        yield
        has_slot = self._limiter.passed_on(latency, outcome.bytes)
        self._finish(outcome)
        return self._next() if has_slot else b""

    def _next(self) -> bytes:
        """The request of the next job. Without one the slot is returned."""
        job = self._queue.get_ready() if self._is_needed() else None
        plain = None if job is None else self.prepared(job)
        if plain is None or plain.request.origin is not self._origin:
            self.left = job
            if plain is not None:
                plain.close()
            self._limiter.release()
            return b""
        self.current = plain
        return plain.request.data
