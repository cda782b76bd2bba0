"""The parts of one object on their way into one file, as many at a time as pay.

A worker fetches one part after another, each by its own request with its own attempts. The plan says which part is
next, the run's `PartConcurrencyTuner` how many workers there should be; it is asked at each chunk.
"""

import time
from contextlib import suppress
from functools import partial
from math import inf
from typing import Protocol

import anyio

from bulkpresign.checksums import ExpectedDigest, Verifier
from bulkpresign.errors import LinkExpiredError, MismatchError, StorageError, TransferError, TruncatedError
from bulkpresign.events import BytesMoved
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import NO_RESUME_POINT, Link, ResumePoint
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.disk.folder import Target
from bulkpresign.transfer.disk.temporary import TemporaryFile, remove_temporary
from bulkpresign.transfer.downloads.ranges import RangePart, RangePlan

#: The pause after a wait for the disk, as a multiple of what it took.
_SYNC_PAUSE = 20

#: An object's bytes, None where the file that is there is the object; and what verified them.
Moved = tuple[int | None, str | None]


class Download(Protocol):
    """What the parts of an object share with one that comes in one stream."""

    context: TransferContext
    link: Link
    target: Target

    def may_replace(self) -> None:
        """Raises StorageError where another file stands under the name and has to stay."""
        ...

    def expected_digest_of(self, response: Response, part: ResumePoint | None = None) -> ExpectedDigest:
        """What the object's bytes must be, by an answer with all of them, or with some of a `part`'s."""
        ...

    async def store(self, response: Response) -> Moved:
        """Stores an answer that has the whole object."""
        ...

    async def verified(self, verifier: Verifier, file: TemporaryFile) -> str | None:
        """What verified the bytes of a file that is whole. Raises MismatchError."""
        ...

    async def commit(self, file: TemporaryFile, modified: str | None, verifier: Verifier, etag: str | None) -> None:
        """Gives a file its name, and keeps how it and its object are."""
        ...

    def check_length(self, length: int | None) -> None:
        """Raises RefusedError for an object over the bound."""
        ...

    def begin(self, resumed: int) -> None:
        """Tells once how many bytes an earlier run left."""
        ...

    def set_resume_point(self, point: ResumePoint) -> None:
        """Records what the bytes that follow belong to."""
        ...

    def add_finished_part(self, number: int, proof: str) -> None:
        """Records that a part is on the disk."""
        ...

    def begin_anew(self) -> None:
        """Takes back what an earlier run left: it is discarded."""
        ...


class RangedDownload:
    """One object in parts, from the first answer on until its file has its name."""

    def __init__(self, download: Download, plan: RangePlan) -> None:
        self._context, self._download, self._plan = download.context, download, plan
        self._file = TemporaryFile(download.target, is_kept=plan.has_finished)
        self._group: anyio.abc.TaskGroup | None = None
        self._moved: Moved | None = None
        self._error: TransferError | None = None
        self._modified: str | None = None
        self._is_kept = False
        self._unsynced: list[tuple[int, str]] = []
        self._sync_at = 0.0
        self._bytes = self._finished_bytes = 0
        #: The most that one request took.
        self.attempts = 1

    async def begin(self, response: Response) -> None:
        """Takes the first part from an answer that has the whole object, and leaves the rest of it."""
        piece = self._plan.take()
        assert piece is not None  # noqa: S101 - nothing was taken before
        await self._open(response)
        await self._receive(response, piece)

    async def run(self) -> Moved:
        """Fetches what is left, and gives the file its name. Raises the TransferError that ended it.

        Where a link is over, parts that are on their way come to their end first; after other errors they are given up.
        """
        try:
            async with anyio.create_task_group() as self._group:
                self._widen()
        finally:
            self._context.tuner.objects.discard(self._plan)
        if self._error is not None:
            if isinstance(self._error, LinkExpiredError):
                self._error.has_served = self._is_kept and self._finished_bytes > 0
            raise self._error
        return self._moved or await self._commit()

    async def give_up(self, error: BaseException) -> None:
        """Takes back what nobody goes on with; after a mismatch that is all of it."""
        is_wrong = isinstance(error, MismatchError)
        is_kept = self._is_kept and self._plan.has_finished and not is_wrong
        self._context.tuner.objects.discard(self._plan)
        self._context.emit(BytesMoved((self._finished_bytes if is_kept else 0) - self._bytes))
        if not is_kept:
            self._file.discard()
        elif self._unsynced:
            with anyio.CancelScope(shield=True), suppress(StorageError):  # then the next run fetches these again
                await self._sync()
        self._file.__exit__()
        if is_wrong:
            remove_temporary(self._download.target)
            self._download.begin_anew()

    def _widen(self) -> None:
        """Opens as many lanes as should be."""
        plan, context = self._plan, self._context
        while self._group and self._error is None and plan.in_flight < context.tuner.allowed:
            if plan.in_flight and not context.limiter.has_room:  # others wait for their turn already
                return
            piece = plan.take()
            if piece is None:
                return
            self._group.start_soon(self._lane, piece)

    async def _lane(self, piece: RangePart | None) -> None:
        context = self._context
        try:
            while piece is not None:
                fetch = partial(self._fetch, piece)
                ref = self._download.link.object
                _, number = await context.retried(fetch, ref, should_retry=is_of_a_part)
                self.attempts = max(self.attempts, number)
                piece = self._plan.take() if self._plan.in_flight < context.tuner.allowed else None
        except TransferError as error:
            self._fail(error)

    def _fail(self, error: TransferError) -> None:
        self._plan.close()
        if not isinstance(error, LinkExpiredError) and self._group is not None:
            self._error = error
            self._group.cancel_scope.cancel()
        elif self._error is None:
            self._error = error

    async def _fetch(self, piece: RangePart) -> None:
        """One request for what is left of a part."""
        plan = self._plan
        async with self._context.http.request(self._download.link, plan.headers(piece)) as response:
            if response.status == 200 and not plan.is_open:  # a server that knows no ranges
                self._download.check_length(response.length)
                self._moved = await self._download.store(response)
                plan.close()
                return
            if response.status not in {200, 206, 412, 416}:
                raise await response.error(self._download.link)
            plan.check(piece, response.status, response.headers, response.etag, response.length)
            if not plan.is_open:
                await self._open(response)
            await self._receive(response, piece)

    async def _open(self, response: Response) -> None:
        """The first answer: from here on there is a file for the parts, and a note of which object they are of."""
        plan, download = self._plan, self._download
        download.may_replace()
        self._context.tuner.objects.add(plan)
        etag = response.etag or plan.etag
        is_whole = response.status == 200
        plan.open(download.expected_digest_of(response, None if is_whole else ResumePoint(etag or "", plan.size)), etag)
        self._modified = response.headers.get("last-modified")
        self._is_kept = self._context.keeps_checkpoints and plan.etag is not None
        download.check_length(plan.size)
        self._file.__enter__()
        download.begin(plan.finished_bytes)
        if plan.has_finished:
            return
        if self._context.keeps_checkpoints:
            point = NO_RESUME_POINT if plan.etag is None else ResumePoint(plan.etag, plan.size, plan.part_size)
            download.set_resume_point(point)
        await anyio.to_thread.run_sync(self._file.allocate, plan.size)

    async def _receive(self, response: Response, piece: RangePart) -> None:
        """Stores what is left of a part, or less where a lane is to be closed."""
        emit, limiter, tuner, plan = self._context.emit, self._context.limiter, self._context.tuner, self._plan
        is_slow, waits, has_more = plan.is_slow, plan.is_slow or limiter.limits_rate, response.status == 200
        file, at = self._file, piece.at
        taken: Chunk = b""

        def take(chunk: Chunk) -> bool:
            nonlocal taken, at
            taken = chunk = chunk[: piece.left]
            file.write_at(at, chunk)
            at += len(chunk)
            emit(BytesMoved(len(chunk)))
            self._bytes += len(chunk)
            tuner.bytes += len(chunk)
            if not is_slow:
                piece.update(chunk)
            tuner.update(time.monotonic())
            return waits or plan.in_flight != tuner.allowed or (has_more and not piece.left)

        while await response.stream_to(take):
            if is_slow:
                await anyio.to_thread.run_sync(piece.update, taken)
            await limiter.throttle(len(taken))
            if has_more and not piece.left:
                break
            if plan.in_flight < tuner.allowed:
                self._widen()
            elif piece.left and plan.in_flight > tuner.allowed:
                plan.put_back(piece)
                return
        if piece.left:
            raise TruncatedError("the body ended early", code="Truncated")
        self._finish(piece)

    def _finish(self, piece: RangePart) -> None:
        """A part is there. The journal hears of it once it is on the disk: a power cut leaves zeros in its place."""
        self._unsynced.append((piece.number, self._plan.finish(piece)))
        self._finished_bytes += piece.stop - piece.start
        if self._group is None or not self._is_kept or self._plan.is_finished:
            return
        if time.monotonic() >= self._sync_at:
            self._sync_at = inf
            self._group.start_soon(self._sync_beside)

    async def _sync_beside(self) -> None:
        """Syncs while parts go on."""
        try:
            await self._sync()
        except TransferError as error:
            self._fail(error)

    async def _sync(self) -> None:
        """Waits for the disk, and tells the journal. It may take a small share of the time; parts share one wait."""
        began = time.monotonic()
        finished, self._unsynced = self._unsynced, []
        try:
            await anyio.to_thread.run_sync(self._file.sync)
        except BaseException:
            self._unsynced = finished + self._unsynced
            raise
        finally:
            ended = time.monotonic()
            self._sync_at = ended + (ended - began) * _SYNC_PAUSE
        self._record(finished)

    def _record(self, finished: list[tuple[int, str]]) -> None:
        for number, proof in finished:
            self._download.add_finished_part(number, proof)

    async def _commit(self) -> Moved:
        verifier = self._plan.verifier()
        verified_by = await self._download.verified(verifier, self._file)
        await self._download.commit(self._file, self._modified, verifier, self._plan.etag)
        return self._plan.size, verified_by


def is_of_a_part(error: TransferError) -> bool:
    """True where asking for the part again can help; what does not fit makes the whole object start again."""
    return not is_mismatch(error)


def is_mismatch(error: TransferError) -> bool:
    """True where bytes, or the object they are of, are not what they should be."""
    return isinstance(error, MismatchError)
