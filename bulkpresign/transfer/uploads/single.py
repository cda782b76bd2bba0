"""PUT of a file through a link, in one request."""

from bulkpresign.events import Listener
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Evidence, Link, Outcome
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.engine.retries import with_retries
from bulkpresign.transfer.uploads.body import FileBody, Stored, opened, store


class Uploader:
    """Uploads files that lie below a folder."""

    def __init__(
        self, http: HttpClient, folder: Folder, attempts: int, emit: Listener, *, limiter: AdaptiveLimiter
    ) -> None:
        self._http = http
        self._folder = folder
        self._attempts = attempts
        self._emit = emit
        self._limiter = limiter

    async def __call__(self, link: Link) -> Outcome:
        """The outcome of one object; raises TransferError where it failed."""
        (stored, evidence), attempts = await with_retries(
            lambda: self._send(link), link.object, self._attempts, self._emit, self._limiter
        )
        verified_by = stored.verified_by
        return Outcome(link.object, "done", evidence.size, attempts, verified_by, link=link, evidence=evidence)

    async def _send(self, link: Link) -> tuple[Stored, Evidence]:
        """One attempt: what the server said of the bytes that went out, and how their file was."""
        with opened(self._folder, link.object.file_path) as file:
            stored = await store(self._http, link, FileBody(file, self._emit, self._limiter))
            return stored, file.evidence(stored.etag, stored.checksum)
