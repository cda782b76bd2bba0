"""Small objects from one response into one file each, without a wait: see `engine.plain_jobs`.

It uses the names, digests and files of the general path, and leaves to it whatever needs more than one look: a file
that exists, bytes of an earlier run, composite digests.
"""

import time

from bulkpresign.errors import NameRefusedError, StorageError
from bulkpresign.http.client import PlainRequest
from bulkpresign.http.connection import Chunk
from bulkpresign.http.dates import unix_time
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.model import Outcome
from bulkpresign.transfer.disk.folder import Folder, Target
from bulkpresign.transfer.disk.temporary import store_whole
from bulkpresign.transfer.downloads.existing import evidence_of
from bulkpresign.transfer.downloads.plain_gets import PlainGets
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.plain_jobs import StoreSteps


class PlainDownloads:
    """Prepares downloads into files as plain jobs."""

    def __init__(self, gets: PlainGets, folder: Folder) -> None:
        self.gets = gets
        self._folder = folder

    def prepare(self, job: Job) -> "PlainDownload | None":
        """A plain job with its request, None for another one: see PlainWork."""
        source, file, now = job.source, job.target, time.monotonic()
        if type(source) is not RenewableLink or type(file) is not LocalFile or job.checkpoint is not None:
            return None
        request = self.gets.request(source.link, now)
        target = None if request is None else self._target(file.path)
        return None if target is None or request is None else PlainDownload(self.gets, job, target, request, now)

    def _target(self, path: str) -> Target | None:
        """The file of an object; None where its name is refused, or where something has its name."""
        try:
            target = self._folder.target(path)
            return target if self._folder.was_empty or target.found() is None else None
        except (NameRefusedError, StorageError):
            return None


class PlainDownload:
    """One object: see PlainJob."""

    __slots__ = ("_began", "_gets", "_target", "job", "request")

    def __init__(self, gets: PlainGets, job: Job, target: Target, request: PlainRequest, began: float) -> None:
        self.job, self.request = job, request
        self._gets, self._target, self._began = gets, target, began

    def close(self) -> None:
        """Nothing is open: see PlainJob."""

    def store(self, response: ResponseParser, body: Chunk) -> StoreSteps:
        """The outcome of a job whose whole response is here: see PlainJob."""
        link = self.job.link
        verified = self._gets.verified(link, response, body)
        if verified is None:
            return None
        yield
        found = store_whole(self._target, body, unix_time(response.headers.get("last-modified")))
        evidence = evidence_of(found, verified.expected, verified.etag or link.object.etag)
        seconds = time.monotonic() - self._began
        return Outcome(link.object, "done", len(body), 1, verified.by, link=link, seconds=seconds, evidence=evidence)
