"""GET through a link into a file that appears when it is whole and verified."""

from collections.abc import Mapping

import anyio.to_thread

from bulkpresign.errors import MismatchError, NameRefusedError, StorageError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.transfer.digest import check_md5, check_size, file_md5, md5, md5_of_etag
from bulkpresign.transfer.http import Answer, Http
from bulkpresign.transfer.retrying import numbered, with_retries
from bulkpresign.transfer.storage import Folder, PartFile, regular_file_size

_INLINE_BYTES = 256 * 1024


class Getter:
    """Downloads objects below a folder. What is there and matches is skipped, what differs is replaced."""

    def __init__(self, http: Http, folder: Folder, attempts: int, emit: Listener) -> None:
        self._http = http
        self._folder = folder
        self._attempts = attempts
        self._emit = emit

    async def __call__(self, link: Link) -> Outcome:
        """The outcome of one object; raises TransferError where it failed."""
        ref = link.object
        path = ref.place
        if ref.size == 0 and ref.key.endswith("/"):
            return Outcome(ref, "skipped", attempts=0, message="a folder marker has no file", link=link)
        try:
            self._folder.check(path)
        except NameRefusedError as error:
            raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
        existing = None if self._folder.is_new else await self._existing(ref, path)
        if existing == ref.etag is not None:
            return Outcome(ref, "skipped", attempts=0, verified_by="md5", link=link)
        condition = {"If-None-Match": f'"{existing}"'} if existing else None
        (size, verified_by), attempts = await with_retries(
            lambda: self._fetch(link, path, condition), ref, self._attempts, self._emit
        )
        return Outcome(ref, "skipped" if size is None else "done", size or 0, attempts, verified_by, link=link)

    async def _existing(self, ref: ObjectRef, path: str) -> str | None:
        """The md5 of the file that stands there already, where it can be the object."""
        file = self._folder.file(path)
        size = regular_file_size(file)
        if size is None or (ref.size is not None and size != ref.size):
            return None
        try:
            if size <= _INLINE_BYTES:
                return file_md5(file)
            return await anyio.to_thread.run_sync(file_md5, file, abandon_on_cancel=True)
        except OSError:  # what can't be read is replaced, or whoever replaces it says why it can't be
            return None

    async def _fetch(self, link: Link, path: str, condition: Mapping[str, str] | None) -> tuple[int | None, str | None]:
        """One attempt: the bytes that came (None: the file that is there is the object) and what verified them."""
        async with self._http.request(link, condition) as answer:
            if answer.status == 304 and condition:
                return None, "md5"
            if answer.status != 200:
                raise await answer.error(link)
            return await self._store(link.object, path, answer)

    async def _store(self, ref: ObjectRef, path: str, answer: Answer) -> tuple[int, str]:
        if answer.length is not None:
            check_size(answer.length, ref.size)
        expected = md5_of_etag(ref.etag or answer.etag, answer.headers)
        digest = md5() if expected else None
        with PartFile(self._folder, path) as part:
            try:
                while chunk := await answer.read():
                    part.write(chunk)
                    if digest:
                        digest.update(chunk)
                    self._emit(BytesMoved(len(chunk)))
                check_size(part.written, ref.size)
                if digest and expected:
                    check_md5(digest.hexdigest(), expected)
            except BaseException as error:
                self._emit(BytesMoved(-part.written))
                if isinstance(error, MismatchError):
                    part.discard()
                raise
            part.commit()
        return part.written, "md5" if digest else "size"
