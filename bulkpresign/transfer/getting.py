"""GET through a link into a file that appears when it is whole and verified."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args

import anyio.to_thread

from bulkpresign.checksums import Expectation, Verifier, expectation_of, file_blocks, hasher, verify_blocks
from bulkpresign.errors import MismatchError, NameRefusedError, StorageError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import Link, Outcome, Part, Parts
from bulkpresign.transfer.connection import Chunk
from bulkpresign.transfer.dates import unix_time
from bulkpresign.transfer.exchange import Answer
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.lanes import Lanes
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.parallel import Moved, Parallel, is_mismatch, is_of_a_part
from bulkpresign.transfer.ranges import Plan, kept_plan, likely_plan, told_plan
from bulkpresign.transfer.resuming import NO_PART, RANGE_MISMATCH, RESUMABLE_BYTES, Resume, resume_of
from bulkpresign.transfer.retrying import numbered, with_retries
from bulkpresign.transfer.storage import Folder, PartFile, regular_file_size

#: Objects over this size move in parts of it, unless another size is given.
PART_SIZE = 64 << 20
_INLINE_BYTES = 256 * 1024
#: From here on an object's md5 goes on in a thread: the loop then moves twice as many bytes a second, for a sixth more
#: time in all. For a small object the hops would cost more than they save.
_SLOW_BYTES = 1 << 20

T = TypeVar("T")

IfExists = Literal["replace", "keep", "fail"]
IF_EXISTS = get_args(IfExists)


class Getter:
    """Downloads objects below a folder.

    A file that is there already is skipped where it matches; else `if_exists` tells what becomes of it. Objects over
    `part_size` bytes move in parts where their value can be had of these, up to `part_concurrency` at a time. `parts`
    knows of which objects the bytes on disk are, so that large ones go on where they were; without it all start from
    zero.
    """

    def __init__(
        self,
        http: Http,
        folder: Folder,
        attempts: int,
        emit: Listener,
        *,
        pace: Pace,
        parts: Parts | None = None,
        part_size: int = PART_SIZE,
        part_concurrency: int = 1,
        if_exists: IfExists = "replace",
    ) -> None:
        self.http = http
        self.folder = folder
        self.emit = emit
        self.pace = pace
        self.parts = parts
        self.part_size = part_size
        self.if_exists = if_exists
        self.lanes = Lanes(part_concurrency)
        self.attempts = attempts

    async def __call__(self, link: Link) -> Outcome:
        """The outcome of one object; raises TransferError where it failed."""
        ref = link.object
        if ref.size == 0 and ref.key.endswith("/"):
            return _skipped(link, "a folder marker has no file")
        try:
            self.folder.check(ref.place)
        except NameRefusedError as error:
            raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
        download = _Download(self, link)
        size = None if self.folder.is_new else regular_file_size(self.folder.file(ref.place))
        if size is not None and (skipped := await self._existing(link, size, download)):
            self.folder.remove_part(ref.place)
            return skipped
        if not download.plan():
            (moved, verified_by), attempts = await with_retries(
                download.attempt, ref, self.attempts, self.emit, self.pace
            )
        if download.is_in_parts:  # which an attempt may have found out
            (moved, verified_by), attempts = await with_retries(
                download.in_parts, ref, self.attempts, self.emit, None, is_ours=is_mismatch
            )
            attempts = max(attempts, download.attempts)
        if moved is None:
            self.folder.remove_part(ref.place)
        return Outcome(ref, "skipped" if moved is None else "done", moved or 0, attempts, verified_by, link=link)

    async def _existing(self, link: Link, size: int, download: "_Download") -> Outcome | None:
        """The outcome where the file that is there settles it; else `download` knows of it."""
        if self.if_exists == "keep":
            return _skipped(link, "there is a file of that name")
        file = self.folder.file(link.object.place)
        expected = expectation_of(link.object)
        try:
            if expected.size not in {None, size}:
                download.replaces = True
            elif expected.algorithm is None:
                download.existing = await _in_thread(size, _file_md5, file)
            elif verified_by := await _in_thread(size, _matches, expected, file):
                return _skipped(link, None, verified_by)
        except OSError:  # what can't be read is replaced, or whoever replaces it says why it can't be
            pass
        download.replaces = True
        return None


class _Download:
    """One object on its way to its file, over its attempts."""

    def __init__(self, getter: Getter, link: Link) -> None:
        self._getter = getter
        self.link = link
        self._found: str | None = None
        self._parallel: Parallel | None = None
        self._has_ranges = True
        #: True where another file stands under the name.
        self.replaces = False
        #: The md5 of that file, where it can be the object.
        self.existing: str | None = None
        #: The most that one request for a part took.
        self.attempts = 1

    @property
    def is_in_parts(self) -> bool:
        """True where there is a plan by which the object moves in parts."""
        return self._parallel is not None

    def plan(self) -> bool:
        """Whether the object moves in parts, as far as that can be known before it is asked for.

        What an earlier run began in one stream goes on so.
        """
        plan = None
        if self._has_ranges:
            kept = self._kept()
            if kept is None or self._resume_of(kept) is None:
                plan = self._kept_plan(kept) or likely_plan(self.link.object, self._getter.part_size)
        self._parallel = None if plan is None else Parallel(self._getter, self, plan)
        return self._parallel is not None

    async def attempt(self) -> Moved:
        """One request: the object's bytes (None: the file that is there is the object) and what verified them.

        Where the answer tells that it is in parts, the first of them was moved, and the others follow `in_parts`.
        """
        kept = self._kept()
        resume = None if kept is None else self._resume_of(kept)
        headers = resume.headers if resume else self._condition()
        async with self._getter.http.request(self.link, headers) as answer:
            if answer.status == 200:
                plan = self._told_plan(answer)
                return await (self.store(answer) if plan is None else self._begin(plan, answer))
            if resume is not None and answer.status in {206, 412, 416}:
                return await self._continue(answer, resume)
            if answer.status == 304 and self.existing:
                return None, "md5"
            raise await answer.error(self.link)

    async def in_parts(self) -> Moved:
        """What is left of an object in parts; once something did not fit, all of it."""
        if self._parallel is None and not self.plan():
            return await self._anew()
        parallel, self._parallel = self._parallel, None
        assert parallel is not None  # noqa: S101 - it is in parts
        try:
            return await parallel.run()
        except BaseException as error:
            parallel.give_up(error)
            if not isinstance(error, MismatchError) or error.code != RANGE_MISMATCH:
                raise
        finally:
            self.attempts = max(self.attempts, parallel.attempts)
        self._has_ranges = False  # a server that gives no ranges, or not those that it is asked for
        return await self._anew()

    async def _anew(self) -> Moved:
        """All of the object, from a request for all of it on."""
        getter = self._getter
        moved, attempts = await with_retries(
            self.attempt, self.link.object, getter.attempts, getter.emit, getter.pace, is_ours=is_of_a_part
        )
        self.attempts = max(self.attempts, attempts)
        return await self.in_parts() if self.is_in_parts else moved

    def _kept(self) -> Part | None:
        """What an earlier run, or attempt, began."""
        parts = self._getter.parts
        return None if parts is None else parts.part(self.link)

    def _on_disk(self) -> int | None:
        return regular_file_size(self._getter.folder.part(self.link.object.place))

    def _resume_of(self, kept: Part) -> Resume | None:
        return resume_of(kept, self._on_disk())

    def _kept_plan(self, kept: Part | None) -> Plan | None:
        parts = self._getter.parts
        if parts is None or kept is None:
            return None
        finished = parts.finished_parts(self.link)
        return kept_plan(self.link.object, kept, self._on_disk(), finished, self._getter.part_size)

    def _told_plan(self, answer: Answer) -> Plan | None:
        size, part_size = answer.length or 0, self._getter.part_size
        if size <= part_size or not self._has_ranges:
            return None
        return told_plan(self.link.object, answer.etag, self.expectation(answer), size, part_size)

    async def _begin(self, plan: Plan, answer: Answer) -> Moved:
        self._parallel = Parallel(self._getter, self, plan)
        try:
            await self._parallel.begin(answer)
        except BaseException as error:
            self._parallel.give_up(error)
            self._parallel = None
            raise
        return None, None

    def _condition(self) -> Mapping[str, str] | None:
        return {"If-None-Match": f'"{self.existing}"'} if self.existing else None

    def may_replace(self) -> None:
        """Raises StorageError where another file stands under the name and has to stay."""
        if self.replaces and self._getter.if_exists == "fail":
            raise StorageError("another file of that name is there", code="FileExists")

    async def _continue(self, answer: Answer, resume: Resume) -> Moved:
        """Stores the rest. A part that is of no use is given up, so that the next attempt starts from zero."""
        try:
            if answer.status != 206 or answer.etag not in {None, resume.part.etag}:  # not every server minds If-Match
                raise MismatchError("the object changed since its part was fetched", code="ObjectChanged")
            resume.check(answer.headers)
        except MismatchError:
            with PartFile(self._getter.folder, self.link.object.place):
                pass
            raise
        return await self.store(answer, resume)

    async def store(self, answer: Answer, resume: Resume | None = None) -> Moved:
        """Stores an answer with the whole object, or with the rest of it."""
        self.may_replace()
        verifier = Verifier(self.expectation(answer, resume.part if resume else None))
        begun = resume.at if resume else 0
        with PartFile(self._getter.folder, self.link.object.place, begun) as part:
            is_kept = resume is not None or self._begin_part(answer)
            try:
                if begun:
                    await _in_thread(begun, _feed, verifier, part.name, begun)
                await self._receive(answer, part, verifier)
                verified_by = await self.verified(verifier, part)
            except BaseException as error:
                if isinstance(error, MismatchError):
                    part.discard()
                if not (is_kept and part.size):
                    self._getter.emit(BytesMoved(begun - verifier.bytes))
                raise
            part.commit(unix_time(answer.headers.get("last-modified")))
        return part.size, verified_by

    def expectation(self, answer: Answer, part: Part | None = None) -> Expectation:
        """What the object's bytes must be, by an answer with all of them, or with some of a `part`'s.

        An answer of another size than the manifest says is refused right away.
        """
        ref = self.link.object
        if part is None:
            size = answer.length
            expected = expectation_of(ref, answer.etag, answer.headers, size)
        else:  # checksums in an answer with a range may be the range's
            size = part.size
            expected = expectation_of(ref, part.etag, answer.encryption, size)
        if size is not None:
            expected.check_size(size)
        return expected

    def _begin_part(self, answer: Answer) -> bool:
        """Keeps of which object the part will be, where going on with it pays; a weak etag can't guard it."""
        parts, size = self._getter.parts, answer.length
        if parts is None:
            return False
        part = None
        if size is not None and size >= RESUMABLE_BYTES and (etag := answer.etag) and not etag.startswith("W/"):
            part = Part(etag, size)
        if part is not None or self._kept() is not None:  # what was known of an earlier part is not true of this one
            parts.begin_part(self.link, part or NO_PART)
        return part is not None

    async def _receive(self, answer: Answer, part: PartFile, verifier: Verifier) -> None:
        emit, pace, lanes = self._getter.emit, self._getter.pace, self._getter.lanes
        is_slow = verifier.expectation.is_slow
        taken: Chunk = b""

        def take(chunk: Chunk) -> bool:
            nonlocal taken
            taken = chunk
            part.write(chunk)
            emit(BytesMoved(len(chunk)))
            lanes.bytes += len(chunk)
            if is_slow and verifier.bytes >= _SLOW_BYTES:
                return True
            verifier.update(chunk)
            return pace.limits_rate

        while await answer.pour(take):
            if verifier.bytes < part.size:  # not hashed yet
                await anyio.to_thread.run_sync(verifier.update, taken)
            await pace.spend(len(taken))

    async def verified(self, verifier: Verifier, part: PartFile) -> str | None:
        """What verified the bytes of a part that is whole.

        Where no part size fits a value of parts, the bytes prove themselves by coming twice alike.
        """
        if not verifier.expectation.parts:
            return verifier.verify()
        verified_by = await _in_thread(verifier.bytes, verifier.verify, lambda: file_blocks(part.name))
        if verified_by != verifier.expectation.name and verifier.found != self._found:
            self._found = verifier.found
            raise MismatchError("the etag is of parts of unknown sizes: fetched again to compare", code="EtagMismatch")
        return verified_by


def _skipped(link: Link, message: str | None, verified_by: str | None = None) -> Outcome:
    return Outcome(link.object, "skipped", attempts=0, verified_by=verified_by, message=message, link=link)


def _file_md5(file: str) -> str:
    digest = hasher("md5")
    for block in file_blocks(file):
        digest.update(block)
    return digest.digest().hex()


def _matches(expected: Expectation, file: str) -> str | None:
    """What proves that a file is the object, None where it is another or nothing proves it."""
    try:
        verified_by = verify_blocks(expected, lambda: file_blocks(file))
    except MismatchError:
        return None
    return verified_by if verified_by == expected.name else None


def _feed(verifier: Verifier, file: str, count: int) -> None:
    """Gives a verifier the bytes that a part has already."""
    for block in file_blocks(file):
        verifier.update(block[: count - verifier.bytes])


async def _in_thread(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """Work on `size` bytes of a file: right here where they are few, for the hop to a thread costs more than that."""
    if size <= _INLINE_BYTES:
        return work(*arguments)
    return await anyio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)
