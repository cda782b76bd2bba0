"""Small files through one request each, without a wait: see `engine.plain_jobs`.

A file is read as a whole before its request is sent, and looked at again when the response is here. The headers and
checks are those of the general path, which takes files that are looked up at their destination first.
"""

import os
import stat
import time
from collections.abc import Mapping
from typing import NamedTuple

from bulkpresign.checksums import ExpectedDigest, digest_of
from bulkpresign.errors import NameRefusedError, RefusedError
from bulkpresign.http.callback_connection import MAX_WHOLE_BODY
from bulkpresign.http.client import PlainRequest
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.http.response import etag_of
from bulkpresign.http.s3_errors import check_is_of_s3
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.plain_jobs import ExpiryMargin, StoreSteps
from bulkpresign.transfer.uploads.body import OpenFile
from bulkpresign.transfer.uploads.store import STORED, signed_checksum, upload_headers, verified_by_answer


class PlainUploads:
    """Prepares uploads as plain jobs."""

    def __init__(self, context: TransferContext, folder: Folder, coordinator: Coordinator, clock: Clock) -> None:
        self.http = context.http
        self.clock = clock
        self._folder, self._coordinator = folder, coordinator
        self._ends_soon = ExpiryMargin(clock)

    def prepare(self, job: Job) -> "PlainUpload | None":
        """A plain job with its request, None for another one: see PlainWork."""
        source, target, now = job.source, job.target, time.monotonic()
        if type(source) is not LocalFile or type(target) is not RenewableLink or job.checkpoint is not None:
            return None
        link = target.link
        if link.method != "PUT" or self._ends_soon(link, now) or self._may_be_present(link.object.key):
            return None
        file = self._open(source.path)
        if file is None:
            return None
        upload = self._upload(job, link, file, now)
        if upload is None:
            os.close(file.descriptor)
        return upload

    def _may_be_present(self, key: str) -> bool:
        """True for a file that has to be looked up at its destination first."""
        coordinator = self._coordinator
        if coordinator.find_present is None:
            return False
        return coordinator.may_be_present is None or coordinator.may_be_present(key)

    def _open(self, path: str) -> OpenFile | None:
        """A small file, open; None for anything else. It stays open until the response shows what became of it."""
        try:
            descriptor = self._folder.open_source(path)
        except (NameRefusedError, OSError):
            return None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_WHOLE_BODY:
            os.close(descriptor)
            return None
        return OpenFile(self._folder.file(path), descriptor, found)

    def _upload(self, job: Job, link: Link, file: OpenFile, began: float) -> "PlainUpload | None":
        try:
            data = os.pread(file.descriptor, file.size, 0)
            headers = upload_headers(link, file.size)
        except (OSError, RefusedError):
            return None
        signed = signed_checksum(link)
        if len(data) != file.size or not _is_signed_for(signed, data):
            return None
        request = self.http.plain_request(link, headers, data)
        return None if request is None else PlainUpload(self, job, OpenBytes(file, data, signed), request, began)


def _is_signed_for(signed: ExpectedDigest, data: bytes) -> bool:
    """True where the link signs no checksum, or that of the bytes."""
    return signed.algorithm is None or digest_of(signed.algorithm, data) == signed.digest


class OpenBytes(NamedTuple):
    """An open file, all of its bytes, and the checksum of them that the link signs."""

    file: OpenFile
    data: bytes
    signed: ExpectedDigest

    def verified_by(self, etag: str | None, headers: Mapping[str, str]) -> str | None:
        """The name of what proves that the server stored these bytes. Raises MismatchError where it stored others."""
        return verified_by_answer(self.signed, etag, headers, self.data)


class PlainUpload:
    """One file: see PlainJob."""

    __slots__ = ("_began", "_body", "_uploads", "job", "request")

    def __init__(self, uploads: PlainUploads, job: Job, body: OpenBytes, request: PlainRequest, began: float) -> None:
        self.job, self.request = job, request
        self._uploads, self._body, self._began = uploads, body, began

    def close(self) -> None:
        """Closes the file: see PlainJob."""
        os.close(self._body.file.descriptor)

    def store(self, response: ResponseParser, body: Chunk) -> StoreSteps:
        """The outcome of a job whose whole response is here: see PlainJob."""
        uploads, link, headers, file = self._uploads, self.job.link, response.headers, self._body.file
        if not uploads.clock.is_set:
            uploads.clock.learn(headers.get("date"), link.url)
        if response.status not in STORED or len(body):
            return None
        etag = etag_of(headers, link)
        if etag is None:
            check_is_of_s3(response.status, headers, link)
        verified_by = self._body.verified_by(etag, headers)
        yield
        file.check_unchanged()
        evidence, seconds = file.evidence(etag, self._body.signed.checksum), time.monotonic() - self._began
        return Outcome(link.object, "done", file.size, 1, verified_by, link=link, seconds=seconds, evidence=evidence)
