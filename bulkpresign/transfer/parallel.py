"""The parts of one object on their way into one file, as many at a time as pay.

A lane fetches one part after another, each by its own request with its own attempts. The plan says which part is next,
the run's `Lanes` how many lanes there should be; each chunk that comes is the moment to open one or to close one.
"""

import time
from functools import partial
from typing import Protocol

import anyio

from bulkpresign.checksums import Expectation, Verifier
from bulkpresign.errors import LinkExpiredError, MismatchError, TransferError, TruncatedError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import Link, Part, Parts
from bulkpresign.transfer.connection import Chunk
from bulkpresign.transfer.dates import unix_time
from bulkpresign.transfer.exchange import Answer
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.lanes import Lanes
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.ranges import Piece, Plan
from bulkpresign.transfer.resuming import NO_PART
from bulkpresign.transfer.retrying import with_retries
from bulkpresign.transfer.storage import Folder, PartFile, Stretch, allocate

#: An object's bytes, None where the file that is there is the object; and what verified them.
Moved = tuple[int | None, str | None]


class Means(Protocol):
    """What a run moves objects with."""

    http: Http
    folder: Folder
    attempts: int
    emit: Listener
    pace: Pace
    parts: Parts | None
    lanes: Lanes


class Download(Protocol):
    """What the parts of an object share with one that comes in one stream."""

    link: Link

    def may_replace(self) -> None:
        """Raises StorageError where another file stands under the name and has to stay."""
        ...

    def expectation(self, answer: Answer, part: Part | None = None) -> Expectation:
        """What the object's bytes must be, by an answer with all of them, or with some of a `part`'s."""
        ...

    async def store(self, answer: Answer) -> Moved:
        """Stores an answer that has the whole object."""
        ...

    async def verified(self, verifier: Verifier, part: PartFile) -> str | None:
        """What verified the bytes of a part that is whole. Raises MismatchError."""
        ...


class Parallel:
    """One object in parts, from the first answer on until its file has its name."""

    def __init__(self, means: Means, download: Download, plan: Plan) -> None:
        self._means, self._download, self._plan = means, download, plan
        self._place = download.link.object.place
        self._group: anyio.abc.TaskGroup | None = None
        self._moved: Moved | None = None
        self._error: TransferError | None = None
        self._modified_at: float | None = None
        self._is_kept = False
        self._bytes = self._finished_bytes = 0
        #: The most that one request took.
        self.attempts = 1

    async def begin(self, answer: Answer) -> None:
        """Takes the first part from an answer that has the whole object, and leaves the rest of it."""
        piece = self._plan.take()
        assert piece is not None  # noqa: S101 - nothing was taken before
        await self._open(answer)
        await self._receive(answer, piece)

    async def run(self) -> Moved:
        """Fetches what is left, and gives the file its name. Raises the TransferError that ended it.

        Where a link is over, parts that are on their way come to their end first; after other errors they are given up.
        """
        try:
            async with anyio.create_task_group() as self._group:
                self._widen()
        finally:
            self._means.lanes.objects.discard(self._plan)
        if self._error is not None:
            if isinstance(self._error, LinkExpiredError):
                self._error.has_served = self._is_kept and self._finished_bytes > 0
            raise self._error
        return self._moved or await self._commit()

    def give_up(self, error: BaseException) -> None:
        """Takes back what nobody goes on with; after a mismatch that is all of it."""
        is_wrong = isinstance(error, MismatchError)
        is_kept = self._is_kept and self._plan.has_finished and not is_wrong
        self._means.lanes.objects.discard(self._plan)
        self._means.emit(BytesMoved((self._finished_bytes if is_kept else 0) - self._bytes))
        if is_wrong or (self._plan.is_open and not is_kept):
            self._means.folder.remove_part(self._place)

    def _widen(self) -> None:
        """Opens as many lanes as should be."""
        plan, means = self._plan, self._means
        while self._group and self._error is None and plan.in_flight < means.lanes.allowed:
            if plan.in_flight and not means.pace.has_room:  # others wait for their turn already
                return
            piece = plan.take()
            if piece is None:
                return
            self._group.start_soon(self._lane, piece)

    async def _lane(self, piece: Piece | None) -> None:
        means = self._means
        try:
            while piece is not None:
                fetch = partial(self._fetch, piece)
                ref = self._download.link.object
                _, number = await with_retries(fetch, ref, means.attempts, means.emit, means.pace, is_ours=is_of_a_part)
                self.attempts = max(self.attempts, number)
                piece = self._plan.take() if self._plan.in_flight < means.lanes.allowed else None
        except TransferError as error:
            self._fail(error)

    def _fail(self, error: TransferError) -> None:
        self._plan.close()
        if not isinstance(error, LinkExpiredError) and self._group is not None:
            self._error = error
            self._group.cancel_scope.cancel()
        elif self._error is None:
            self._error = error

    async def _fetch(self, piece: Piece) -> None:
        """One request for what is left of a part."""
        plan = self._plan
        async with self._means.http.request(self._download.link, plan.headers(piece)) as answer:
            if answer.status == 200 and not plan.is_open:  # a server that knows no ranges
                self._moved = await self._download.store(answer)
                plan.close()
                return
            if answer.status not in {200, 206, 412, 416}:
                raise await answer.error(self._download.link)
            plan.check(piece, answer.status, answer.headers, answer.etag, answer.length)
            if not plan.is_open:
                await self._open(answer)
            await self._receive(answer, piece)

    async def _open(self, answer: Answer) -> None:
        """The first answer: from here on there is a file for the parts, and a note of which object they are of."""
        plan, download, parts = self._plan, self._download, self._means.parts
        download.may_replace()
        self._means.lanes.objects.add(plan)
        etag = answer.etag or plan.etag
        is_whole = answer.status == 200
        plan.open(download.expectation(answer, None if is_whole else Part(etag or "", plan.size)), etag)
        self._modified_at = unix_time(answer.headers.get("last-modified"))
        self._is_kept = parts is not None and plan.etag is not None
        if plan.has_finished:
            return
        if parts is not None:
            kept = NO_PART if plan.etag is None else Part(plan.etag, plan.size, plan.part_size)
            parts.begin_part(download.link, kept)
        await anyio.to_thread.run_sync(allocate, self._means.folder, self._place, plan.size)

    async def _receive(self, answer: Answer, piece: Piece) -> None:
        """Stores what is left of a part, or less where a lane is to be closed."""
        emit, pace, lanes, plan = self._means.emit, self._means.pace, self._means.lanes, self._plan
        is_slow, waits, has_more = plan.is_slow, plan.is_slow or pace.limits_rate, answer.status == 200
        taken: Chunk = b""

        def take(chunk: Chunk) -> bool:
            nonlocal taken
            taken = chunk = chunk[: piece.left]
            part.write(chunk)
            emit(BytesMoved(len(chunk)))
            self._bytes += len(chunk)
            lanes.bytes += len(chunk)
            if not is_slow:
                piece.update(chunk)
            lanes.look(time.monotonic())
            return waits or plan.in_flight != lanes.allowed or (has_more and not piece.left)

        with Stretch(self._means.folder, self._place, piece.at) as part:
            while await answer.pour(take):
                if is_slow:
                    await anyio.to_thread.run_sync(piece.update, taken)
                await pace.spend(len(taken))
                if has_more and not piece.left:
                    break
                if plan.in_flight < lanes.allowed:
                    self._widen()
                elif piece.left and plan.in_flight > lanes.allowed:
                    plan.put_back(piece)
                    return
        if piece.left:
            raise TruncatedError("the body ended early", code="Truncated")
        self._finish(piece)

    def _finish(self, piece: Piece) -> None:
        proof = self._plan.finish(piece)
        self._finished_bytes += piece.stop - piece.start
        if self._is_kept and self._means.parts is not None and not self._plan.is_finished:
            self._means.parts.finish_part(self._download.link, piece.number, proof)

    async def _commit(self) -> Moved:
        with Stretch(self._means.folder, self._place, 0) as part:
            verified_by = await self._download.verified(self._plan.verifier(), part)
            part.commit(self._modified_at)
        return self._plan.size, verified_by


def is_of_a_part(error: TransferError) -> bool:
    """True where asking for the part again can help; what does not fit makes the whole object start again."""
    return not is_mismatch(error)


def is_mismatch(error: TransferError) -> bool:
    """True where bytes, or the object they are of, are not what they should be."""
    return isinstance(error, MismatchError)
