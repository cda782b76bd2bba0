"""PUT through a link from a file, and the etag that comes back compared with what went out."""

import os
from collections.abc import AsyncIterator
from typing import BinaryIO

from bulkpresign.errors import MismatchError, NameRefusedError, StorageError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.digest import md5, md5_of_etag
from bulkpresign.transfer.http import CHUNK_SIZE, Http
from bulkpresign.transfer.retrying import with_retries
from bulkpresign.transfer.storage import Folder


class Putter:
    """Uploads files that lie below a folder."""

    def __init__(self, http: Http, folder: Folder, attempts: int, emit: Listener) -> None:
        self._http = http
        self._folder = folder
        self._attempts = attempts
        self._emit = emit

    async def __call__(self, link: Link) -> Outcome:
        """The outcome of one object; raises TransferError where it failed."""
        path = link.object.place
        try:
            file = self._folder.source_file(path)
        except NameRefusedError as error:
            raise StorageError(str(error), code="NameRefused") from error
        (size, verified_by), attempts = await with_retries(
            lambda: self._send(link, file), link.object, self._attempts, self._emit
        )
        return Outcome(link.object, "done", size, attempts, verified_by, link=link)

    async def _send(self, link: Link, file: str) -> tuple[int, str | None]:
        """One attempt: the bytes that went out and what verified them."""
        with _opened(file) as stream:
            body = _FileBody(stream, file, self._emit)
            headers = {"Content-Length": str(body.size)}
            try:
                async with self._http.request(link, headers, body.whole() or body.chunks()) as answer:
                    if answer.status not in {200, 201, 204}:
                        raise await answer.error(link)
                    expected = md5_of_etag(answer.etag, answer.headers)
            except BaseException:
                self._emit(BytesMoved(-body.sent))
                raise
        if expected is None:
            return body.sent, None
        if expected != body.md5:
            self._emit(BytesMoved(-body.sent))
            raise MismatchError(f"md5 {body.md5} was sent, the etag is {expected}", code="EtagMismatch")
        return body.sent, "md5"


class _FileBody:
    """A file's bytes on their way out; counts and hashes what went."""

    def __init__(self, stream: BinaryIO, file: str, emit: Listener) -> None:
        self._stream, self._file, self._emit = stream, file, emit
        self._digest = md5()
        self.size = os.fstat(stream.fileno()).st_size
        self.sent = 0

    @property
    def md5(self) -> str:
        return self._digest.hexdigest()

    def whole(self) -> bytes | None:
        """The whole body where it is small, None where it has to be streamed."""
        return self._read() if self.size <= CHUNK_SIZE else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises StorageError where the file grew or shrank under us."""
        while self.sent < self.size:
            yield self._read()

    def _read(self) -> bytes:
        try:
            chunk = self._stream.read(min(CHUNK_SIZE, self.size - self.sent))
        except OSError as error:
            raise StorageError(f"{self._file} can't be read: {error.strerror}", code="Unreadable") from error
        if not chunk and self.size:
            raise StorageError(f"{self._file} shrank while it was sent", code="FileChanged")
        self._digest.update(chunk)
        self.sent += len(chunk)
        self._emit(BytesMoved(len(chunk)))
        return chunk


def _opened(file: str) -> BinaryIO:
    try:
        stream = open(file, "rb", buffering=0)  # noqa: PTH123, SIM115 - the caller closes it
    except OSError as error:
        raise StorageError(f"{file} can't be read: {error.strerror}", code=type(error).__name__) from error
    return stream
