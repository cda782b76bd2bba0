"""A file's bytes on their way out through a link, and what comes back compared with what went."""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio.to_thread
import msgspec

from bulkpresign.checksums import ExpectedDigest, expected_digest, hasher
from bulkpresign.errors import NameRefusedError, RefusedError, StorageError, TransferError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.http.client import CHUNK_SIZE, DirectRequest, HttpClient
from bulkpresign.http.response import Response
from bulkpresign.model import Evidence, Link, ObjectRef
from bulkpresign.text import counted
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.retries import numbered

ANY_OBJECT = ObjectRef("", "")
#: The statuses of responses to a PUT that stored the object.
STORED = frozenset({200, 201, 204})


class Stored(msgspec.Struct, frozen=True, gc=False):
    """The response to an upload: the etag without quotes, and the name of what verified the bytes.

    `checksum` is the one that the link signs, as `algorithm:base64`.
    """

    etag: str | None
    verified_by: str | None
    checksum: str | None = None


class OpenFile(msgspec.Struct, frozen=True):
    """An open regular file, with its state when it was opened."""

    name: str
    descriptor: int
    begun: os.stat_result

    @property
    def size(self) -> int:
        """The size in bytes when it was opened."""
        return self.begun.st_size

    @property
    def state(self) -> str:
        """A text that differs once the file changes; ctime also shows renames and restored mtimes."""
        return f"{self.begun.st_mtime_ns} {self.begun.st_ctime_ns}"

    def evidence(self, etag: str | None, checksum: str | None = None, part_size: int = 0) -> Evidence:
        """The evidence to record once these bytes are stored."""
        begun = self.begun
        return Evidence(begun.st_size, begun.st_mtime_ns, begun.st_ctime_ns, etag, checksum, part_size)

    def check_unchanged(self) -> None:
        """Raises StorageError where the file changed since it was opened."""
        if _state(os.fstat(self.descriptor)) != _state(self.begun):
            raise StorageError(f"{self.name} changed while it was sent", code="FileChanged")


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def opened(folder: Folder, path: str) -> Iterator[OpenFile]:
    """Opens a regular file below a folder. Raises StorageError for anything else, which could block."""
    file = folder.file(path)
    try:
        descriptor = folder.open_source(path)
    except NameRefusedError as error:
        raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
    except OSError as error:
        raise StorageError(f"{file} can't be read: {error.strerror}", code=type(error).__name__) from error
    try:
        begun = os.fstat(descriptor)
        if not stat.S_ISREG(begun.st_mode):
            raise StorageError(f"{file} is not a file", code="NotAFile")
        yield OpenFile(file, descriptor, begun)
    finally:
        os.close(descriptor)


class FileBody:
    """The body of an upload: a file, or `size` bytes of it from `offset`. Counts and hashes the bytes that are sent.

    Can be iterated once. A read error is also stored in `error`, because aiohttp turns it into a connection error.
    """

    def __init__(
        self, file: OpenFile, emit: Listener, limiter: RequestLimiter, offset: int = 0, size: int | None = None
    ) -> None:
        self._file, self._emit, self._limiter = file, emit, limiter
        self._offset = offset
        self._algorithm = "md5"
        self._hasher = hasher(self._algorithm)
        self._sent = 0
        self.size = file.size if size is None else size
        self.error: StorageError | None = None

    def hash_with(self, algorithm: str) -> None:
        """Hashes with another algorithm than md5; call it before the first read."""
        self._algorithm, self._hasher = algorithm, hasher(algorithm)

    @property
    def is_sent(self) -> bool:
        """True if all bytes were sent."""
        return self._sent == self.size

    @property
    def digest(self) -> bytes:
        """The digest of the bytes that were sent."""
        return self._hasher.digest()

    async def md5(self) -> bytes:
        """The md5 of the bytes that were sent; the file is read again where they were hashed with another algorithm."""
        return self.digest if self._algorithm == "md5" else await anyio.to_thread.run_sync(self._md5_again)

    def _md5_again(self) -> bytes:
        again = hasher("md5")
        for at in range(0, self.size, CHUNK_SIZE):
            again.update(self._read(at))
        return again.digest()

    async def whole(self) -> bytes:
        """The body as bytes, for small bodies."""
        await self._limiter.throttle(self.size)
        return b"".join(self._chunks())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limiter = self._limiter
        with limiter.moving_body():
            for chunk in self._chunks():
                if limiter.limits_rate:
                    await limiter.throttle(len(chunk))
                yield chunk
                limiter.moved(len(chunk))

    def check_unchanged(self) -> None:
        """Raises StorageError if the file has changed since it was opened."""
        self._file.check_unchanged()

    def take_back(self) -> None:
        """Subtracts the sent bytes from the progress."""
        self._emit(BytesMoved(-self._sent))
        self._sent = 0

    def _chunks(self) -> Iterator[bytes]:
        while self._sent < self.size:
            chunk = self._read(self._sent)
            self._hasher.update(chunk)
            self._sent += len(chunk)
            self._emit(BytesMoved(len(chunk)))
            yield chunk

    def _read(self, at: int) -> bytes:
        count = min(CHUNK_SIZE, self.size - at)
        try:
            chunk = os.pread(self._file.descriptor, count, self._offset + at)
        except OSError as error:
            self.error = StorageError(f"{self._file.name} can't be read: {error.strerror}", code="Unreadable")
            raise self.error from error
        if not chunk:
            self.error = StorageError(f"{self._file.name} shrank while it was sent", code="FileChanged")
            raise self.error
        return chunk


async def store(http: HttpClient, link: Link, body: FileBody, sent: DirectRequest | None = None) -> Stored:
    """Sends a body in one attempt, unless that was `sent` already.

    Raises TransferError; the sent bytes are subtracted from the progress then.
    """
    try:
        return await _exchange(http, link, body, sent)
    except BaseException as error:
        body.take_back()
        if body.error is not None and isinstance(error, TransferError):
            raise body.error from None
        raise


async def _exchange(http: HttpClient, link: Link, body: FileBody, sent: DirectRequest | None) -> Stored:
    signed = signed_checksum(link)
    if signed.algorithm is not None:
        body.hash_with(signed.algorithm)
    data = await body.whole() if body.size <= CHUNK_SIZE else body
    async with sent or http.request(link, upload_headers(link, body.size), data) as response:
        if signed.algorithm is not None and body.is_sent:
            _check_signed(signed, body.digest)
        if response.status not in STORED:
            raise await response.error(link)
        if response.length != 0 and b"<Error>" in (said := await response.read()):
            raise await response.error(link, said)
    body.check_unchanged()
    return Stored(response.etag, await _verified(signed, response, body), signed.checksum)


async def _verified(signed: ExpectedDigest, response: Response, body: FileBody) -> str | None:
    """The name of what proves that the server stored the bytes that were sent.

    That is the checksum that the link signs, where the server repeats it: then it has compared it. Else the etag.
    """
    if signed.algorithm is not None:
        signed.check(body.digest)  # differs where the answer came before all of it went
        if response.headers.get(f"x-amz-checksum-{signed.algorithm}") == signed.shown(signed.digest):
            return signed.name
    expected = expected_digest(ANY_OBJECT, response.etag, response.encryption)
    if expected.algorithm is None or expected.parts:
        return None
    expected.check(await body.md5())
    return expected.name


def _check_signed(signed: ExpectedDigest, found: bytes) -> None:
    """Raises RefusedError if the link is signed for other bytes: no retry can help."""
    if found != signed.digest:
        message = (
            f"the link is signed for bytes with {signed.name} {signed.shown(signed.digest)}, "
            f"the file's is {signed.shown(found)}"
        )
        raise RefusedError(message, code="ChecksumSigned")


def signed_checksum(link: Link) -> ExpectedDigest:
    """The checksum that a link signs."""
    return expected_digest(ANY_OBJECT, headers={name.lower(): value for name, value in link.headers.items()})


def upload_headers(link: Link, size: int) -> dict[str, str]:
    """The link's headers and the length, without which aiohttp sends in chunks, and S3 answers 501.

    Raises RefusedError where another length is signed.
    """
    headers = {name: value for name, value in link.headers.items() if name.lower() != "content-length"}
    if len(headers) < len(link.headers):
        (signed,) = link.headers.keys() - headers.keys()
        if link.headers[signed] != str(size):
            message = f"the link is signed for a length of {link.headers[signed]}, the file has {counted(size, 'byte')}"
            raise RefusedError(message, code="LengthSigned")
    headers["Content-Length"] = str(size)
    return headers
