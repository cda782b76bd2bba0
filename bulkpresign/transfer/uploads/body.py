"""A file as the source of an upload: the whole of it, or its parts."""

import os
import stat
from binascii import a2b_base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import anyio.lowlevel
import anyio.to_thread
import msgspec

from bulkpresign.checksums import ExpectedDigest, Hasher, base64_of, combined_digest, hasher
from bulkpresign.errors import NameRefusedError, RefusedError, StorageError
from bulkpresign.events import Listener
from bulkpresign.http.client import CHUNK_SIZE
from bulkpresign.model import Evidence, Link, UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import SignPut
from bulkpresign.transfer.disk.folder import Folder, storage_error
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.retries import numbered
from bulkpresign.transfer.uploads.store import REFUSES_HEADERS, SentBody, store


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
        raise storage_error(f"{file} can't be read", error) from error
    try:
        begun = os.fstat(descriptor)
        if not stat.S_ISREG(begun.st_mode):
            raise StorageError(f"{file} is not a file", code="NotAFile")
        yield OpenFile(file, descriptor, begun)
    finally:
        os.close(descriptor)


class FileBody(SentBody):
    """A file as a body, or `size` bytes of it from `offset`.

    A read error is also stored in `error`, because aiohttp turns it into a connection error.
    """

    def __init__(
        self, file: OpenFile, emit: Listener, limiter: RequestLimiter, offset: int = 0, size: int | None = None
    ) -> None:
        super().__init__(file.size if size is None else size, emit)
        self._file, self._limiter = file, limiter
        self._offset = offset

    async def md5(self) -> bytes:
        """The md5 of the bytes that were sent; the file is read again where they were hashed with another algorithm."""
        return self.digest if self.algorithm == "md5" else await anyio.to_thread.run_sync(self._md5_again)

    def _md5_again(self) -> bytes:
        again, at = hasher("md5"), 0
        while at < self.size:
            chunk = self._read(at)
            again.update(chunk)
            at += len(chunk)
        return again.digest()

    async def whole(self) -> bytes:
        """See SentBody."""
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
        """See SentBody."""
        self._file.check_unchanged()

    def _chunks(self) -> Iterator[bytes]:
        while self.sent < self.size:
            chunk = self._read(self.sent)
            self.count(chunk)
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


class PartChecksums(NamedTuple):
    """The checksums that parts are sent with: their algorithm, and the function that signs the links of parts."""

    algorithm: str
    sign: SignPut


class FileParts:
    """A file as the source of the parts of an upload: see PartSource.

    With `checksums`, each part is read, and then sent with its own. That of all bytes is combined from them.
    """

    def __init__(self, file: OpenFile, context: TransferContext, checksums: PartChecksums | None = None) -> None:
        self._file, self._context, self._checksums = file, context, checksums
        self._state = file.state
        self._are_sent = checksums is not None  # False once the server refused one
        self._segments: dict[int, tuple[bytes, int]] = {}  # digest and size of each part

    def note(self, number: int) -> str:
        """The state of the file, and the size and the checksum of the part where there is one."""
        if self._checksums is None or number not in self._segments:
            return self._state
        digest, size = self._segments[number]
        return f"{self._state} {size} {self._checksums.algorithm}:{base64_of(digest)}"

    def is_current(self, number: int, note: str) -> bool:
        """True where the file was in the same state."""
        if not f"{note} ".startswith(f"{self._state} "):
            return False
        size, _, checksum = note[len(self._state) + 1 :].partition(" ")
        algorithm, _, digest = checksum.partition(":")
        if self._checksums is not None and algorithm == self._checksums.algorithm:
            self._segments[number] = a2b_base64(digest), int(size)
        return True

    def forget(self) -> None:
        """See PartSource."""
        self._segments.clear()

    @property
    def whole_checksum(self) -> str | None:
        """The checksum of the file as `algorithm:base64`, None where that of a part is not known."""
        segments = [self._segments[number] for number in sorted(self._segments)]
        if self._checksums is None or sum(size for _, size in segments) != self._file.size:
            return None
        algorithm = self._checksums.algorithm
        return f"{algorithm}:{base64_of(combined_digest(ExpectedDigest(algorithm=algorithm), segments))}"

    def checksum(self, number: int) -> str | None:  # noqa: ARG002 - other sources need it
        """Returns None: the checksum of all bytes is not made of those of the parts."""
        return None

    async def md5(self, part: UploadPart) -> str | None:
        """The md5 of a part's bytes in hex, None where they can't be read."""
        digest = hasher("md5")
        try:
            await self._read(part, digest)
        except OSError:
            return None
        return digest.digest().hex()

    async def store(self, link: Link, part: UploadPart) -> str | None:
        """Sends the bytes of a part."""
        if self._checksums is None:
            return await self._sent(link, part)
        header = await self._header(part, self._checksums.algorithm)
        if self._are_sent:
            try:
                return await self._sent(await self._checksums.sign(link, header), part)
            except RefusedError as error:
                self._file.check_unchanged()
                if error.status not in REFUSES_HEADERS:
                    raise
            self._are_sent = False
        return await self._sent(link, part)

    async def _header(self, part: UploadPart, algorithm: str) -> dict[str, str]:
        """The header with the checksum of a part."""
        try:
            if part.number not in self._segments:  # else it is sent again, and known
                await self._read(part)
        except OSError as error:
            raise storage_error(f"{self._file.name} can't be read", error) from error
        return {f"x-amz-checksum-{algorithm}": base64_of(self._segments[part.number][0])}

    async def _sent(self, link: Link, part: UploadPart) -> str | None:
        context = self._context
        body = FileBody(self._file, context.emit, context.limiter, part.offset, part.size)
        return (await store(context.http, link, body)).etag

    async def _read(self, part: UploadPart, also: Hasher | None = None) -> None:
        """Reads a part, and keeps its checksum. `also` gets the bytes as well. Raises OSError."""
        own = None if self._checksums is None else hasher(self._checksums.algorithm)
        hashers = [one for one in (own, also) if one is not None]
        at, end = part.offset, part.offset + part.size
        while at < end and (block := os.pread(self._file.descriptor, min(CHUNK_SIZE, end - at), at)):
            for each in hashers:
                each.update(block)
            at += len(block)
            await anyio.lowlevel.checkpoint()
        if own is not None:
            self._segments[part.number] = own.digest(), part.size

    def check_unchanged(self) -> None:
        """Raises StorageError where the file changed since it was opened."""
        self._file.check_unchanged()
