"""Small objects from one response into one file each, without a wait: see `engine.lane`.

It uses the names, digests and files of the general path, and leaves to it whatever needs more than one look: a file
that exists, bytes of an earlier run, composite digests.
"""

import time

from bulkpresign.checksums import expected_digest, verify_whole
from bulkpresign.errors import NameRefusedError, StorageError
from bulkpresign.http.client import PlainRequest
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import MAX_EXCHANGED, Chunk
from bulkpresign.http.dates import unix_time
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.http.response import etag_of
from bulkpresign.model import Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.disk.folder import Folder, Target
from bulkpresign.transfer.disk.temporary import store_whole
from bulkpresign.transfer.downloads.existing import evidence_of
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.lane import ExpiryMargin


class PlainDownloads:
    """Prepares downloads of at most `most` bytes for lanes."""

    def __init__(self, context: TransferContext, folder: Folder, clock: Clock, most: int = MAX_EXCHANGED) -> None:
        self.http = context.http
        self.clock = clock
        self.most = min(most, MAX_EXCHANGED)
        self._folder = folder
        self._ends_soon = ExpiryMargin(clock)

    def prepare(self, job: Job) -> "PlainDownload | None":
        """A plain job with its request, None for another one: see PlainWork."""
        source, file = job.source, job.target
        if type(source) is not RenewableLink or type(file) is not LocalFile or job.checkpoint is not None:
            return None
        link = source.link
        size, now = link.object.size, time.monotonic()
        if link.method != "GET" or self._ends_soon(link, now):
            return None
        if size is not None and not 0 < size <= self.most:
            return None
        target = self._target(file.path)
        request = None if target is None else self.http.plain_request(link)
        return None if target is None or request is None else PlainDownload(self, job, target, request, now)

    def _target(self, path: str) -> Target | None:
        """The file of an object; None where its name is refused, or where something has its name."""
        try:
            target = self._folder.target(path)
            return target if self._folder.is_new or target.found() is None else None
        except (NameRefusedError, StorageError):
            return None


class PlainDownload:
    """One object for a lane: see PlainJob."""

    __slots__ = ("_began", "_downloads", "_target", "job", "request")

    def __init__(
        self, downloads: PlainDownloads, job: Job, target: Target, request: PlainRequest, began: float
    ) -> None:
        self.job, self.request = job, request
        self._downloads, self._target, self._began = downloads, target, began

    def close(self) -> None:
        """Nothing is open: see PlainJob."""

    def store(self, response: ResponseParser, body: Chunk) -> Outcome | None:
        """The outcome of a job whose whole response is here: see PlainJob."""
        downloads, link, headers, size = self._downloads, self.job.link, response.headers, len(body)
        if not downloads.clock.is_set:
            downloads.clock.learn(headers.get("date"))
        if response.status != 200 or size > downloads.most:
            return None
        etag = etag_of(headers, link)
        expected = expected_digest(link.object, etag, headers, size)
        if expected.parts:
            return None
        verified_by = verify_whole(expected, body)
        found = store_whole(self._target, body, unix_time(headers.get("last-modified")))
        evidence = evidence_of(found, expected, etag or link.object.etag)
        seconds = time.monotonic() - self._began
        return Outcome(link.object, "done", size, 1, verified_by, link=link, seconds=seconds, evidence=evidence)
