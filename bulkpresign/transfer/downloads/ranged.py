"""The parts of one object into the sink, several at a time, each by a request with attempts of its own."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from bulkpresign.errors import LinkExpiredError, MismatchError, TransferError, TruncatedError
from bulkpresign.events import ObjectRetried
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import Link
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.downloads import slow_parts
from bulkpresign.transfer.downloads.content_range import size_in_range
from bulkpresign.transfer.downloads.ordered_hash import OrderedHash
from bulkpresign.transfer.downloads.part_checkpoints import PartCheckpoints
from bulkpresign.transfer.downloads.ranges import RangePart, RangePlan
from bulkpresign.transfer.downloads.responses import RANGE_STATUSES, check_allowed, check_row_size, digest_of
from bulkpresign.transfer.downloads.sink import Sink, Stored
from bulkpresign.transfer.downloads.slow_parts import SlowParts
from bulkpresign.transfer.downloads.steps import ResponseHead
from bulkpresign.transfer.engine.limiter import PartOffer, Turn
from bulkpresign.transfer.engine.retries import Attempts

T = TypeVar("T")


class RangedDownload:
    """One attempt at an object in parts.

    `start` runs the first request; `begin` takes its response and receives the first part from it, while other parts
    are fetched; `run` fetches what is left and commits. An object whose first response has all of it needs no `start`.
    `part_concurrency` parts are in flight; None: as many as the limiter has room for. `attempts` is the most that one
    of the parts took; `first_error` is why the first part broke off.
    """

    def __init__(
        self, context: TransferContext, link: Link, sink: Sink, plan: RangePlan, part_concurrency: int | None = None
    ) -> None:
        self._context, self._link, self._sink, self._plan = context, link, sink, plan
        self._part_concurrency = part_concurrency
        self._offer: PartOffer
        part = plan.take()
        assert part is not None  # noqa: S101 - a plan has a part
        self._first = part
        self._first_attempts: Attempts
        self._first_delay = 0.0
        self._group: anyio.abc.TaskGroup | None = None
        self._error: TransferError | None = None
        self._has_finished = False
        self._hash: OrderedHash | None = None
        self._requests: dict[RangePart, anyio.CancelScope] = {}
        self._head: ResponseHead
        self.attempts = 1
        self.first_error: TransferError | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the first request."""
        return self._plan.headers(self._first)

    async def begin(self, response: Response, head: ResponseHead, number: int) -> None:
        """Opens the sink, and receives the first part, or the start of it from a response with the whole object.

        `number` is the attempt that gave the response. `run` fetches the rest of a part that breaks off. Raises
        TransferError.
        """
        plan, part, ref = self._plan, self._first, self._link.object
        self._head, self._first_attempts = head, self._context.attempts_of(ref, number)
        if head.status == 200:
            etag, expected = head.etag, digest_of(ref, head.etag, head.headers, head.length)
        else:
            told = head.etag or (None if ref.etag else plan.etag)
            total = size_in_range(head.headers)
            check_row_size(ref, told, total)
            size = total or plan.size
            expected = digest_of(ref, told, response.etag_kind, size)  # first: another object needs no retry
            plan.check(part, head.status, head.headers, head.etag, head.length)
            etag = head.etag or plan.etag
        plan.open(expected, etag)
        check_allowed(plan.size, self._sink.max_object_size)
        await self._sink.open_parts(plan)
        self._follow()
        self._start_workers()
        try:
            with self._replaceable(part):
                await self._receive(response, part, is_whole=head.status == 200)
        except MismatchError:
            raise
        except TransferError as error:
            self.first_error = error
            self._first_delay = self._delay_after(error, self._first_attempts)

    async def start(self, first: Callable[[], Awaitable[T]]) -> "T | RangedDownload":
        """The result of the first request, or this download where another part failed meanwhile.

        Once the request has begun the download, further parts are fetched, until none is left.
        """
        result: T | RangedDownload = self
        with self._context.limiter.offering_parts(self._start_offered) as self._offer, ungrouped():
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._watch)
                async with anyio.create_task_group() as self._group:
                    result = await first()
                    if result is self:
                        self._continue()
                watch.cancel_scope.cancel()
        return result

    def _continue(self) -> None:
        """Fetches the rest of the first part, where it broke off, and other parts."""
        self._follow()
        if self._group is not None and self._first.left:
            self._group.start_soon(self._worker, self._first, self._first_attempts, self._first_delay)
        self._start_workers()

    async def _watch(self) -> None:
        """Lets other connections take over the parts whose own is far slower than the others."""
        slow, ref = SlowParts(self._plan.count), self._link.object
        while not self._context.limiter.limits_rate:
            await anyio.sleep(slow_parts.INTERVAL)
            for part in slow.look(self._requests):
                message = f"the connection of part {part.number} is far slower than the others: another one goes on"
                self._context.emit(ObjectRetried(ref, 1, 0.0, "SlowConnection", message))
                self._requests[part].cancel()

    async def _itself(self) -> "RangedDownload":
        return self

    async def run(self) -> Stored:
        """Fetches what is left, and gives the file its name. Raises the TransferError that ended it.

        Where the link has expired, parts in flight are finished first; other errors cancel them.
        """
        if self._group is None:
            await self.start(self._itself)
        if self._error is not None:
            if isinstance(self._error, LinkExpiredError):
                self._error.has_served = self._sink.is_resumable and self._has_finished
            raise self._error
        verifier = self._plan.verifier() if self._hash is None else self._hash.verifier
        return await self._sink.commit(self._head, self._plan.etag, verifier)

    def _follow(self) -> None:
        """Starts to hash the parts of an open plan where their digests can't be combined."""
        if self._group is not None and self._hash is None and self._plan.is_open and self._plan.is_ordered:
            self._hash = OrderedHash(self._plan, self._sink, self._start_workers)
            self._group.start_soon(self._run_hash, self._hash)

    async def _run_hash(self, ordered: OrderedHash) -> None:
        try:
            await ordered.run()
        except TransferError as error:
            self._fail(error)

    def _start_workers(self) -> None:
        """Starts as many workers as parts may be in flight; the limiter offers slots for more."""
        most = self._part_concurrency or 1
        while self._plan.in_flight < most and self._start_worker(self._worker):
            pass

    def _start_offered(self) -> bool:
        """Starts a worker for a slot that the limiter offers. False where there is no part for it."""
        return self._part_concurrency is None and self._start_worker(self._offered_worker)

    def _start_worker(self, worker: Callable[[RangePart, Attempts, float], Coroutine[Any, Any, None]]) -> bool:
        if self._group is None or self._error is not None or self._group.cancel_scope.cancel_called:
            return False
        part = self._plan.take()
        if part is None:
            return False
        self._group.start_soon(worker, part, self._context.attempts_of(self._link.object), 0.0)
        return True

    async def _offered_worker(self, part: RangePart, attempts: Attempts, delay: float) -> None:
        self._offer.part_started()
        await self._worker(part, attempts, delay)

    async def _worker(self, part: RangePart | None, attempts: Attempts, delay: float) -> None:
        """Fetches one part after another, as long as its slot is worth it."""
        try:
            while part is not None:
                await self._fetch(part, attempts, delay)
                part = None if self._is_superfluous else self._plan.take()
                attempts, delay = self._context.attempts_of(self._link.object), 0.0
        except TransferError as error:
            self._fail(error)

    @property
    def _is_superfluous(self) -> bool:
        """True where the parts that other workers fetch are enough."""
        is_last = self._plan.in_flight == 0
        return self._part_concurrency is None and not is_last and self._context.limiter.has_too_many_parts

    def _fail(self, error: TransferError) -> None:
        """Takes no more parts. The first error counts, but one that is no expiry cancels the parts in flight."""
        self._plan.close()
        if self._hash is not None:
            self._hash.close()
        if not isinstance(error, LinkExpiredError) and self._group is not None:
            self._error = error
            self._group.cancel_scope.cancel()
        elif self._error is None:
            self._error = error

    async def _fetch(self, part: RangePart, attempts: Attempts, delay: float) -> None:
        """Fetches what is left of a part, in as many requests as it takes. A mismatch concerns the whole object."""
        while part.left:
            if delay:
                await anyio.sleep(delay)
            try:
                await self._request(part)
            except MismatchError:
                raise
            except TransferError as error:
                delay = self._delay_after(error, attempts)

    def _delay_after(self, error: TransferError, attempts: Attempts) -> float:
        delay = attempts.delay_after(error)
        self.attempts = max(self.attempts, attempts.number)
        return delay

    async def _request(self, part: RangePart) -> None:
        plan, context = self._plan, self._context
        await context.limiter.acquire()
        with Turn(context.limiter), self._replaceable(part):
            async with context.http.request(self._link, plan.headers(part)) as response:
                if response.status not in RANGE_STATUSES:
                    raise await response.error(self._link)
                plan.check(part, response.status, response.headers, response.etag, response.length)
                await self._receive(response, part)

    @contextmanager
    def _replaceable(self, part: RangePart) -> Iterator[None]:
        """Within the block `_watch` may end the request for a part."""
        with anyio.CancelScope() as scope:
            self._requests[part] = scope
            try:
                yield
            finally:
                del self._requests[part]

    async def _receive(self, response: Response, part: RangePart, *, is_whole: bool = False) -> None:
        """Stores what is left of a part. Of a response with the whole object only a start: the parts are faster."""
        limiter, sink = self._context.limiter, self._sink
        is_slow = self._plan.is_slow
        waits = is_slow or limiter.limits_rate
        offset, last = part.at, b""  # type: int, Chunk

        def write(chunk: Chunk) -> bool:
            nonlocal last, offset
            last = chunk = chunk[: part.stop - offset]
            sink.write_at(offset, chunk)
            offset += len(chunk)
            if not is_slow:
                part.update(chunk)
                if self._hash is not None:
                    self._hash.update()
            return waits or is_whole

        with limiter.moving_body():
            while await response.stream_to(write):
                if is_slow:
                    with anyio.CancelScope(shield=True):  # so that all written bytes are hashed
                        await anyio.to_thread.run_sync(part.update, last)
                await limiter.throttle(len(last))
                if is_whole:
                    break
        if not part.left:
            self._finish(part)
        elif not is_whole:
            raise TruncatedError("the body ended early", code="Truncated")

    def _finish(self, part: RangePart) -> None:
        """Takes note of a part that is there, and syncs the finished ones while others go on."""
        self._has_finished = True
        self._sink.finish_part(part.number, part.stop - part.start, self._plan.finish(part))
        if self._hash is not None:
            self._hash.update()
        if self._group is None or self._plan.is_finished:
            return
        checkpoints = self._sink.due_checkpoints
        if checkpoints is not None:
            self._group.start_soon(self._sync, checkpoints)

    async def _sync(self, checkpoints: PartCheckpoints) -> None:
        try:
            await checkpoints.sync()
        except TransferError as error:
            self._fail(error)
