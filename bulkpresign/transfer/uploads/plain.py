"""Small files through one request each, without a wait: see `engine.lane`.

A file is read as a whole before its request is sent. It uses the headers and checks of the general path, and leaves to
it files that are looked up at their destination first, and links that sign a checksum.
"""

import os
import stat
import time
from typing import NamedTuple

from bulkpresign.checksums import expected_digest, hasher
from bulkpresign.errors import NameRefusedError, RefusedError
from bulkpresign.events import BytesMoved
from bulkpresign.http.client import PlainRequest
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import MAX_EXCHANGED, Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.http.response import etag_of
from bulkpresign.model import Evidence, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.lane import ExpiryMargin
from bulkpresign.transfer.uploads.body import ANY_OBJECT, STORED, signed_checksum, upload_headers


class PlainUploads:
    """Prepares uploads for lanes."""

    def __init__(self, context: TransferContext, folder: Folder, coordinator: Coordinator, clock: Clock) -> None:
        self.http = context.http
        self.emit, self.clock = context.emit, clock
        self._folder, self._looks_first = folder, coordinator.find_present is not None
        self._ends_soon = ExpiryMargin(clock)

    def prepare(self, job: Job) -> "PlainUpload | None":
        """A plain job with its request, None for another one: see PlainWork."""
        source, target, now = job.source, job.target, time.monotonic()
        if type(source) is not LocalFile or type(target) is not RenewableLink or job.checkpoint is not None:
            return None
        link = target.link
        if self._looks_first or link.method != "PUT" or self._ends_soon(link, now):
            return None
        if link.headers and signed_checksum(link).algorithm is not None:
            return None
        file = self._read(source.path)
        if file is None:
            return None
        try:
            headers = upload_headers(link, len(file.data))
        except RefusedError:
            return None
        request = self.http.plain_request(link, headers, file.data)
        return None if request is None else PlainUpload(self, job, file, request, now)

    def _read(self, path: str) -> "SmallFile | None":
        """The bytes of a small file and its state; None for anything else, or where it changes meanwhile."""
        try:
            descriptor = self._folder.open_source(path)
        except (NameRefusedError, OSError):
            return None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_EXCHANGED:
                return None
            data = os.read(descriptor, found.st_size)
            after = os.fstat(descriptor)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        is_same = (found.st_mtime_ns, found.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
        return SmallFile(data, found) if is_same and len(data) == found.st_size else None


class SmallFile(NamedTuple):
    """The bytes of a file, and its state when they were read."""

    data: bytes
    found: os.stat_result


class PlainUpload:
    """One file for a lane: see PlainJob."""

    __slots__ = ("_began", "_file", "_uploads", "job", "request")

    def __init__(self, uploads: PlainUploads, job: Job, file: SmallFile, request: PlainRequest, began: float) -> None:
        self.job, self.request = job, request
        self._uploads, self._file, self._began = uploads, file, began

    def store(self, response: ResponseParser, body: Chunk) -> Outcome | None:
        """The outcome of a job whose whole response is here: see PlainJob."""
        uploads, link, headers, found = self._uploads, self.job.link, response.headers, self._file.found
        if not uploads.clock.is_set:
            uploads.clock.learn(headers.get("date"))
        if response.status not in STORED or len(body):
            return None
        etag = etag_of(headers, link)
        expected = expected_digest(ANY_OBJECT, etag, headers)
        verified_by = None
        if expected.algorithm is not None and not expected.parts:
            digest = hasher(expected.algorithm)
            digest.update(self._file.data)
            expected.check(digest.digest())
            verified_by = expected.name
        uploads.emit(BytesMoved(found.st_size))
        evidence = Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns, etag, None, 0)
        seconds = time.monotonic() - self._began
        return Outcome(
            link.object, "done", found.st_size, 1, verified_by, link=link, seconds=seconds, evidence=evidence
        )
