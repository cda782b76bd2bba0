"""A file as the source of an upload: the whole of it, or its parts."""

import os
import stat
from binascii import a2b_base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio.lowlevel
import anyio.to_thread
import msgspec

from bulkpresign.checksums import ExpectedDigest, Hasher, base64_of, combined_digest, hasher
from bulkpresign.errors import NameRefusedError, StorageError
from bulkpresign.events import Listener
from bulkpresign.http.client import CHUNK_SIZE
from bulkpresign.model import Evidence, Link, UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.disk.folder import Folder, storage_error
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.retries import numbered
from bulkpresign.transfer.uploads.store import SentBody, store


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
    """A file as a body, or `size` bytes of it from `offset`. `second` is a hasher that gets the bytes as well.

    A read error is also stored in `error`, because aiohttp turns it into a connection error.
    """

    def __init__(
        self,
        file: OpenFile,
        emit: Listener,
        limiter: RequestLimiter,
        offset: int = 0,
        size: int | None = None,
        *,
        second: Hasher | None = None,
    ) -> None:
        super().__init__(file.size if size is None else size, emit)
        self._file, self._limiter = file, limiter
        self._offset, self._second = offset, second

    async def md5(self) -> bytes:
        """The md5 of the bytes that were sent; the file is read again where they were hashed with another algorithm."""
        return self.digest if self.algorithm == "md5" else await anyio.to_thread.run_sync(self._md5_again)

    def _md5_again(self) -> bytes:
        again = hasher("md5")
        for at in range(0, self.size, CHUNK_SIZE):
            again.update(self._read(at))
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
            if self._second is not None:
                self._second.update(chunk)
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


class FileParts:
    """A file as the source of the parts of an upload: see PartSource.

    `algorithm` is that of the checksum of all bytes, which is combined from those of the parts; None: there is none.
    """

    def __init__(self, file: OpenFile, context: TransferContext, algorithm: str | None = None) -> None:
        self._file, self._context, self.algorithm = file, context, algorithm
        self._state = file.state
        self._segments: dict[int, tuple[bytes, int]] = {}  # digest and size of each part

    def note(self, number: int) -> str:
        """The state of the file, and the size and the checksum of the part where there is one."""
        if number not in self._segments:
            return self._state
        digest, size = self._segments[number]
        return f"{self._state} {size} {self.algorithm}:{base64_of(digest)}"

    def is_current(self, number: int, note: str) -> bool:
        """True where the file was in the same state."""
        if not f"{note} ".startswith(f"{self._state} "):
            return False
        size, _, checksum = note[len(self._state) + 1 :].partition(" ")
        algorithm, _, digest = checksum.partition(":")
        if digest and algorithm == self.algorithm:
            self._segments[number] = a2b_base64(digest), int(size)
        return True

    @property
    def whole_checksum(self) -> str | None:
        """The checksum of the file in base64, None where that of a part is not known."""
        segments = [self._segments[number] for number in sorted(self._segments)]
        if self.algorithm is None or sum(size for _, size in segments) != self._file.size:
            return None
        return base64_of(combined_digest(ExpectedDigest(algorithm=self.algorithm), segments))

    def checksum(self, number: int) -> str | None:
        """Returns None: the parts of a file are sent without checksums."""

    async def md5(self, part: UploadPart) -> str | None:
        """The md5 of a part's bytes in hex, None where they can't be read."""
        digest, second = hasher("md5"), self._second()
        at, end = part.offset, part.offset + part.size
        try:
            while at < end and (block := os.pread(self._file.descriptor, min(CHUNK_SIZE, end - at), at)):
                digest.update(block)
                if second is not None:
                    second.update(block)
                at += len(block)
                await anyio.lowlevel.checkpoint()
        except OSError:
            return None
        self._keep(part, second)
        return digest.digest().hex()

    async def store(self, link: Link, part: UploadPart) -> str | None:
        """Sends the bytes of a part."""
        context, second = self._context, self._second()
        body = FileBody(self._file, context.emit, context.limiter, part.offset, part.size, second=second)
        etag = (await store(context.http, link, body)).etag
        self._keep(part, second)
        return etag

    def _second(self) -> Hasher | None:
        return None if self.algorithm is None else hasher(self.algorithm)

    def _keep(self, part: UploadPart, second: Hasher | None) -> None:
        if second is not None:
            self._segments[part.number] = second.digest(), part.size

    def check_unchanged(self) -> None:
        """Raises StorageError where the file changed since it was opened."""
        self._file.check_unchanged()
