"""PUT through a link from a file, and the etag that comes back compared with what went out."""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio.lowlevel

from bulkpresign.checksums import expectation_of, hasher
from bulkpresign.errors import NameRefusedError, RefusedError, StorageError, TransferError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.transfer.http import CHUNK_SIZE, Http
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.retrying import numbered, with_retries
from bulkpresign.transfer.storage import Folder

_ANY_OBJECT = ObjectRef("", "")
_STORED = frozenset({200, 201, 204})


class Putter:
    """Uploads files that lie below a folder."""

    def __init__(self, http: Http, folder: Folder, attempts: int, emit: Listener, *, pace: Pace) -> None:
        self._http = http
        self._folder = folder
        self._attempts = attempts
        self._emit = emit
        self._pace = pace

    async def __call__(self, link: Link) -> Outcome:
        """The outcome of one object; raises TransferError where it failed."""
        try:
            file = self._folder.source_file(link.object.place)
        except NameRefusedError as error:
            raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
        (size, verified_by), attempts = await with_retries(
            lambda: self._send(link, file), link.object, self._attempts, self._emit, self._pace
        )
        return Outcome(link.object, "done", size, attempts, verified_by, link=link)

    async def _send(self, link: Link, file: str) -> tuple[int, str | None]:
        """One attempt: the bytes that went out and what verified them."""
        with _opened(file) as descriptor:
            body = _FileBody(descriptor, file, self._emit, self._pace)
            try:
                return body.size, await self._exchange(link, body)
            except BaseException as error:
                body.take_back()
                if body.error is not None and isinstance(error, TransferError):
                    raise body.error from None
                raise

    async def _exchange(self, link: Link, body: "_FileBody") -> str | None:
        data = await body.whole() if body.size <= CHUNK_SIZE else body
        async with self._http.request(link, _headers(link, body.size), data) as answer:
            if answer.status not in _STORED:
                raise await answer.error(link)
            if answer.length != 0 and b"<Error>" in (said := await answer.beginning()):
                raise await answer.error(link, said)
        body.check_unchanged()
        expected = expectation_of(_ANY_OBJECT, answer.etag, answer.encryption)
        if expected.algorithm is None or expected.parts:
            return None
        expected.check(body.md5)
        return expected.name


class _FileBody:
    """A file's bytes on their way out; counts and hashes what went. Can be iterated once.

    What the file system refuses is raised, and kept as `error`, for aiohttp makes a broken connection of it.
    """

    def __init__(self, descriptor: int, file: str, emit: Listener, pace: Pace) -> None:
        self._descriptor, self._file, self._emit, self._pace = descriptor, file, emit, pace
        self._begun = os.fstat(descriptor)
        self._digest = hasher("md5")
        self._sent = 0
        self.size = self._begun.st_size
        self.error: StorageError | None = None

    @property
    def md5(self) -> bytes:
        return self._digest.digest()

    async def whole(self) -> bytes:
        """The whole body, for a small one."""
        await self._pace.spend(self.size)
        return b"".join(self._pieces())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            # A server that refuses early answers and hangs up; what we write then discards its answer, unless that was
            # read before: the loop looks for it in its first round, and reads it in its second.
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            await self._pace.spend(len(piece))
            yield piece

    def check_unchanged(self) -> None:
        """Raises StorageError where the file changed under us."""
        now = os.fstat(self._descriptor)
        if (now.st_size, now.st_mtime_ns) != (self._begun.st_size, self._begun.st_mtime_ns):
            raise StorageError(f"{self._file} changed while it was sent", code="FileChanged")

    def take_back(self) -> None:
        """Uncounts what went."""
        self._emit(BytesMoved(-self._sent))
        self._sent = 0

    def _pieces(self) -> Iterator[bytes]:
        while self._sent < self.size:
            piece = self._read()
            self._digest.update(piece)
            self._sent += len(piece)
            self._emit(BytesMoved(len(piece)))
            yield piece

    def _read(self) -> bytes:
        try:
            piece = os.read(self._descriptor, min(CHUNK_SIZE, self.size - self._sent))
        except OSError as error:
            self.error = StorageError(f"{self._file} can't be read: {error.strerror}", code="Unreadable")
            raise self.error from error
        if not piece:
            self.error = StorageError(f"{self._file} shrank while it was sent", code="FileChanged")
            raise self.error
        return piece


def _headers(link: Link, size: int) -> dict[str, str]:
    """The link's headers and the length, without which aiohttp sends in chunks, and S3 answers 501.

    Raises RefusedError where another length is signed.
    """
    headers = {name: value for name, value in link.headers.items() if name.lower() != "content-length"}
    if len(headers) < len(link.headers):
        (signed,) = link.headers.keys() - headers.keys()
        if link.headers[signed] != str(size):
            message = f"the link is signed for {link.headers[signed]} bytes, the file has {size:,}"
            raise RefusedError(message, code="LengthSigned")
    headers["Content-Length"] = str(size)
    return headers


@contextmanager
def _opened(file: str) -> Iterator[int]:
    """A descriptor of a regular file; anything else could keep us waiting for ever. Raises StorageError."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StorageError(f"{file} can't be read: {error.strerror}", code=type(error).__name__) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StorageError(f"{file} is not a file", code="NotAFile")
        yield descriptor
    finally:
        os.close(descriptor)
