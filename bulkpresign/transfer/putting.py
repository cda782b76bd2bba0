"""PUT of a file through a link, in one request."""

from bulkpresign.events import Listener
from bulkpresign.model import Evidence, Link, Outcome
from bulkpresign.transfer.bodies import FileBody, Stored, opened, store
from bulkpresign.transfer.folder import Folder
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.pace import Pace
from bulkpresign.transfer.retrying import with_retries


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
        (stored, evidence), attempts = await with_retries(
            lambda: self._send(link), link.object, self._attempts, self._emit, self._pace
        )
        verified_by = stored.verified_by
        return Outcome(link.object, "done", evidence.size, attempts, verified_by, link=link, evidence=evidence)

    async def _send(self, link: Link) -> tuple[Stored, Evidence]:
        """One attempt: what the server said of the bytes that went out, and how their file was."""
        with opened(self._folder, link.object.place) as file:
            stored = await store(self._http, link, FileBody(file, self._emit, self._pace))
            return stored, file.evidence(stored.etag, stored.checksum)
