"""PUT of a file through a link, in one request."""

from bulkpresign.errors import NameRefusedError, StorageError
from bulkpresign.events import Listener
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.transfer.bodies import FileBody, opened, store
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.retrying import numbered, with_retries
from bulkpresign.transfer.storage import Folder


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
        file = source_file(self._folder, link.object)
        (size, verified_by), attempts = await with_retries(
            lambda: self._send(link, file), link.object, self._attempts, self._emit, self._pace
        )
        return Outcome(link.object, "done", size, attempts, verified_by, link=link)

    async def _send(self, link: Link, name: str) -> tuple[int, str | None]:
        """One attempt: the bytes that went out and what verified them."""
        with opened(name) as file:
            stored = await store(self._http, link, FileBody(file, self._emit, self._pace))
            return file.size, stored.verified_by


def source_file(folder: Folder, ref: ObjectRef) -> str:
    """The file that is to become an object. Raises StorageError for one outside of the folder."""
    try:
        return folder.source_file(ref.place)
    except NameRefusedError as error:
        raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
