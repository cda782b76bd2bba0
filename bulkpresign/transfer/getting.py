"""GET through a link into a file that appears when it is whole and verified."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args

import anyio.to_thread

from bulkpresign.checksums import Expectation, Verifier, expectation_of, file_blocks, hasher, verify_blocks
from bulkpresign.errors import MismatchError, NameRefusedError, StorageError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import Link, Outcome, Part, Parts
from bulkpresign.transfer.dates import unix_time
from bulkpresign.transfer.exchange import Answer
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.resuming import NO_PART, RESUMABLE_BYTES, Resume, resume_of
from bulkpresign.transfer.retrying import numbered, with_retries
from bulkpresign.transfer.storage import Folder, PartFile, regular_file_size

_INLINE_BYTES = 256 * 1024

T = TypeVar("T")

IfExists = Literal["replace", "keep", "fail"]
IF_EXISTS = get_args(IfExists)


class Getter:
    """Downloads objects below a folder.

    A file that is there already is skipped where it matches; else `if_exists` tells what becomes of it. `parts` knows
    of which objects the parts on disk are, so that large ones go on where they were; without it all start from zero.
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
        if_exists: IfExists = "replace",
    ) -> None:
        self.http = http
        self.folder = folder
        self.emit = emit
        self.pace = pace
        self.parts = parts
        self.if_exists = if_exists
        self._attempts = attempts

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
        size = regular_file_size(self.folder.file(ref.place))
        if size is not None and (skipped := await self._existing(link, size, download)):
            self.folder.remove_part(ref.place)
            return skipped
        (moved, verified_by), attempts = await with_retries(download.attempt, ref, self._attempts, self.emit, self.pace)
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
        self._link = link
        self._found: str | None = None
        #: True where another file stands under the name.
        self.replaces = False
        #: The md5 of that file, where it can be the object.
        self.existing: str | None = None

    async def attempt(self) -> tuple[int | None, str | None]:
        """One request: the object's bytes (None: the file that is there is the object) and what verified them."""
        resume = self._resume()
        headers = resume.headers if resume else self._condition()
        async with self._getter.http.request(self._link, headers) as answer:
            if answer.status == 200:
                self._may_replace()
                return await self._store(answer, None)
            if resume is not None and answer.status in {206, 412, 416}:
                return await self._continue(answer, resume)
            if answer.status == 304 and self.existing:
                return None, "md5"
            raise await answer.error(self._link)

    def _condition(self) -> Mapping[str, str] | None:
        return {"If-None-Match": f'"{self.existing}"'} if self.existing else None

    def _resume(self) -> Resume | None:
        parts = self._getter.parts
        known = parts.part(self._link) if parts is not None else None
        if known is None:
            return None
        return resume_of(known, regular_file_size(self._getter.folder.part(self._link.object.place)))

    def _may_replace(self) -> None:
        if self.replaces and self._getter.if_exists == "fail":
            raise StorageError("another file of that name is there", code="FileExists")

    async def _continue(self, answer: Answer, resume: Resume) -> tuple[int, str | None]:
        """Stores the rest. A part that is of no use is given up, so that the next attempt starts from zero."""
        try:
            if answer.status != 206 or answer.etag not in {None, resume.part.etag}:  # not every server minds If-Match
                raise MismatchError("the object changed since its part was fetched", code="ObjectChanged")
            resume.check(answer.headers)
        except MismatchError:
            with PartFile(self._getter.folder, self._link.object.place):
                pass
            raise
        self._may_replace()
        return await self._store(answer, resume)

    async def _store(self, answer: Answer, resume: Resume | None) -> tuple[int, str | None]:
        verifier = Verifier(self._expectation(answer, resume))
        begun = resume.at if resume else 0
        with PartFile(self._getter.folder, self._link.object.place, begun) as part:
            is_kept = resume is not None or self._begin_part(answer)
            try:
                await _in_thread(begun, _feed, verifier, part.name, begun)
                await self._receive(answer, part, verifier)
                verified_by = await self._verified(verifier, part)
            except BaseException as error:
                if isinstance(error, MismatchError):
                    part.discard()
                if not (is_kept and part.size):
                    self._getter.emit(BytesMoved(begun - verifier.bytes))
                raise
            part.commit(unix_time(answer.headers.get("Last-Modified")))
        return part.size, verified_by

    def _expectation(self, answer: Answer, resume: Resume | None) -> Expectation:
        """What the object's bytes must be; an answer of another size than the manifest says is refused right away."""
        ref = self._link.object
        if resume is None:
            expected, size = expectation_of(ref, answer.etag, answer.headers, answer.length), answer.length
        else:  # checksums in an answer with a range may be the range's
            size = resume.part.size
            expected = expectation_of(ref, resume.part.etag, answer.encryption, size)
        if size is not None:
            expected.check_size(size)
        return expected

    def _begin_part(self, answer: Answer) -> bool:
        """Keeps of which object the part will be, where going on with it pays; a weak etag can't guard it."""
        parts, etag, size = self._getter.parts, answer.etag, answer.length
        if parts is None:
            return False
        pays = size is not None and size >= RESUMABLE_BYTES and etag is not None and not etag.startswith("W/")
        if pays or parts.part(self._link) is not None:  # what was known of an earlier part is not true of this one
            parts.begin_part(self._link, Part(etag or "", size or 0) if pays else NO_PART)
        return pays

    async def _receive(self, answer: Answer, part: PartFile, verifier: Verifier) -> None:
        emit, pace = self._getter.emit, self._getter.pace
        while chunk := await answer.read():
            part.write(chunk)
            verifier.update(chunk)
            emit(BytesMoved(len(chunk)))
            if pace.limits_rate:
                await pace.spend(len(chunk))

    async def _verified(self, verifier: Verifier, part: PartFile) -> str | None:
        """What verified the bytes.

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
