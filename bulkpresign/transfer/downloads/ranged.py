"""The parts of one object into the sink, several at a time, each by a request with attempts of its own."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

import anyio
import anyio.to_thread

from bulkpresign.errors import LinkExpiredError, MismatchError, TransferError, TruncatedError
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import Link
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.downloads.part_checkpoints import PartCheckpoints
from bulkpresign.transfer.downloads.part_concurrency import PartLimit
from bulkpresign.transfer.downloads.ranges import RangePart, RangePlan
from bulkpresign.transfer.downloads.responses import RANGE_STATUSES, check_allowed, digest_of
from bulkpresign.transfer.downloads.sink import Sink, Stored
from bulkpresign.transfer.downloads.steps import ResponseHead
from bulkpresign.transfer.engine.limiter import Turn
from bulkpresign.transfer.engine.retries import Attempts

T = TypeVar("T")


class RangedDownload:
    """One attempt at an object in parts.

    `start` runs the first request; `begin` takes its response and receives the first part from it, while other parts
    are fetched; `run` fetches what is left and commits. An object whose first response has all of it needs no `start`.
    `attempts` is the most that one of the parts took; `first_error` is why the first part broke off.
    """

    def __init__(self, context: TransferContext, link: Link, sink: Sink, plan: RangePlan) -> None:
        self._context, self._link, self._sink, self._plan = context, link, sink, plan
        self._limit = PartLimit(context.tuner, context.limiter, plan)
        part = plan.take()
        assert part is not None  # noqa: S101 - a plan has a part
        self._first = part
        self._first_attempts: Attempts
        self._first_delay = 0.0
        self._group: anyio.abc.TaskGroup | None = None
        self._error: TransferError | None = None
        self._has_finished = False
        self._head: ResponseHead
        self.attempts = 1
        self.first_error: TransferError | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the first request."""
        return self._plan.headers(self._first)

    async def begin(self, response: Response, head: ResponseHead, number: int) -> None:
        """Opens the sink, and receives the first part from a response with it or with the whole object.

        `number` is the attempt that gave the response. Where the part breaks off, `run` fetches the rest of it.
        Raises TransferError.
        """
        plan, part, ref = self._plan, self._first, self._link.object
        self._head, self._first_attempts = head, self._context.attempts_of(ref, number)
        if head.status == 200:
            etag, expected = head.etag, digest_of(ref, head.etag, head.headers, head.length)
        else:
            plan.check(part, head.status, head.headers, head.etag, head.length)
            etag = head.etag or plan.etag
            expected = digest_of(ref, etag or "", response.encryption, plan.size)
        plan.open(expected, etag)
        check_allowed(plan.size, self._sink.max_object_size)
        await self._sink.open_parts(plan)
        with self._limit if self._group is None else nullcontext():
            try:
                await self._receive(response, part, has_more=head.status == 200)
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
        with self._limit, ungrouped():
            async with anyio.create_task_group() as self._group:
                result = await first()
                if result is self:
                    self._continue()
        return result

    def _continue(self) -> None:
        """Fetches the rest of the first part, where it broke off, and other parts."""
        if self._group is not None and self.first_error is not None:
            self._group.start_soon(self._worker, self._first, self._first_attempts, self._first_delay)
        self._start_workers()

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
        return await self._sink.commit(self._head, self._plan.etag, self._plan.verifier())

    def _start_workers(self) -> None:
        """Starts as many workers as parts may be in flight."""
        while self._group and self._error is None and self._limit.allows_more:
            part = self._plan.take()
            if part is None:
                return
            self._group.start_soon(self._worker, part, self._context.attempts_of(self._link.object), 0.0)

    async def _worker(self, part: RangePart | None, attempts: Attempts, delay: float) -> None:
        """Fetches one part after another."""
        try:
            while part is not None:
                await self._fetch(part, attempts, delay)
                part = self._plan.take() if self._limit.has_room else None
                attempts, delay = self._context.attempts_of(self._link.object), 0.0
        except TransferError as error:
            self._fail(error)

    def _fail(self, error: TransferError) -> None:
        """Takes no more parts. The first error counts, but one that is no expiry cancels the parts in flight."""
        self._plan.close()
        if not isinstance(error, LinkExpiredError) and self._group is not None:
            self._error = error
            self._group.cancel_scope.cancel()
        elif self._error is None:
            self._error = error

    async def _fetch(self, part: RangePart, attempts: Attempts, delay: float) -> None:
        """Fetches what is left of a part, in as many requests as it takes. A mismatch concerns the whole object."""
        while True:
            if delay:
                await anyio.sleep(delay)
            try:
                await self._request(part)
                return
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
        with Turn(context.limiter):
            async with context.http.request(self._link, plan.headers(part)) as response:
                if response.status not in RANGE_STATUSES:
                    raise await response.error(self._link)
                plan.check(part, response.status, response.headers, response.etag, response.length)
                await self._receive(response, part, has_more=False)

    async def _receive(self, response: Response, part: RangePart, *, has_more: bool) -> None:
        """Stores what is left of a part, or less where too many are in flight. `has_more`: the body goes on after."""
        limit, sink, throttle = self._limit, self._sink, self._context.limiter.throttle
        is_slow = self._plan.is_slow
        waits = is_slow or self._context.limiter.limits_rate
        offset, last = part.at, b""  # type: int, Chunk

        def write(chunk: Chunk) -> bool:
            nonlocal last, offset
            last = chunk = chunk[: part.stop - offset]
            sink.write_at(offset, chunk)
            offset += len(chunk)
            if not is_slow:
                part.update(chunk)
            limit.update()
            return waits or not limit.is_exact or (has_more and not part.left)

        while await response.stream_to(write):
            if is_slow:
                await anyio.to_thread.run_sync(part.update, last)
            await throttle(len(last))
            if has_more and not part.left:
                break
            self._start_workers()
            if part.left and limit.is_exceeded:
                self._plan.put_back(part)
                return
        if part.left:
            raise TruncatedError("the body ended early", code="Truncated")
        self._finish(part)

    def _finish(self, part: RangePart) -> None:
        """Takes note of a part that is there, and syncs the finished ones while others go on."""
        self._has_finished = True
        self._sink.finish_part(part.number, part.stop - part.start, self._plan.finish(part))
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
