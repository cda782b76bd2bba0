"""A file goes up in parts: PUT links in parallel, then one request that makes an object of them.

Where the links come from makes no difference here: they stood in a manifest, or were signed as the upload was opened.
"""

import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio
import anyio.lowlevel

from bulkpresign.checksums import hasher
from bulkpresign.errors import RefusedError, StorageError, TransferError
from bulkpresign.events import BytesResumed, Listener
from bulkpresign.http.client import CHUNK_SIZE, HttpClient
from bulkpresign.model import CheckpointStore, Link, Outcome, ResumePoint, Upload, UploadPart
from bulkpresign.text import counted
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.resume import NO_RESUME_POINT
from bulkpresign.transfer.engine.jobs import Job
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import numbered, with_retries
from bulkpresign.transfer.engine.workers import first_error
from bulkpresign.transfer.uploads.body import FileBody, OpenFile, opened, store
from bulkpresign.transfer.uploads.requests import (
    GONE,
    Completed,
    abort_upload,
    check_completed,
    complete_upload,
    composite_etag,
    etag_under,
    finish_soon,
)

T = TypeVar("T")

#: Seconds for ending an upload while the run itself is being ended.
ABORT_TIMEOUT = 10.0

#: What a completion is refused for where the parts are not those that it names.
_OF_THE_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})

#: Opens an upload; of one that an earlier run opened (None: there was none), finds what is there. It is told the etags
#: of the parts that such a run sent, by number.
Open = Callable[[Upload, ResumePoint | None, Mapping[int, str]], Awaitable[Upload]]


#: The outcome of a file whose bytes stand at its destination already, None where they don't, or nothing tells.
IsThere = Callable[[Link, OpenFile], Awaitable[Outcome | None]]


class MultipartUploader:
    """Uploads files that lie below a folder, in parts of which `part_concurrency` are in flight for each.

    `parts` keeps over runs what is there. `opener` opens uploads that have no id yet. `is_there` finds files that need
    not be sent. A part that goes wrong is sent again; where the object fails, the upload stays open for another run,
    unless it is ours and no other run could do better.
    """

    def __init__(
        self,
        http: HttpClient,
        folder: Folder,
        attempts: int,
        emit: Listener,
        *,
        limiter: AdaptiveLimiter,
        part_concurrency: int,
        parts: CheckpointStore | None = None,
        opener: Open | None = None,
        is_there: IsThere | None = None,
    ) -> None:
        self.http = http
        self.emit = emit
        self.limiter = limiter
        self.part_concurrency = part_concurrency
        self.parts = parts
        self.attempts = attempts
        #: Uploads that were opened and neither completed nor ended.
        self.left_open = 0
        self._folder = folder
        self._opener = opener
        self._is_there = is_there

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """The outcome of one object; raises TransferError where it failed."""
        assert job.upload is not None  # noqa: S101 - others are put in one request
        upload = job.upload
        with opened(self._folder, upload.object.file_path) as file:
            _check_size(upload, file)
            if there := await self._found_there(upload, file):
                return there
            if not upload.upload_id:
                upload = await self._opened(upload, file)
            sending = _MultipartUpload(self, upload, job, renewer, file)
            try:
                verified_by = await sending.run()
            except TransferError as error:
                await sending.give_up(error)
                raise
            finally:
                self.left_open += sending.is_open
            evidence = file.evidence(sending.etag, part_size=upload.parts[0].size)
        ref, attempts = upload.object, sending.attempts
        return Outcome(ref, "done", file.size, attempts, verified_by, link=upload.complete, evidence=evidence)

    async def _found_there(self, upload: Upload, file: OpenFile) -> Outcome | None:
        """The outcome where the object is there already, and no upload of it is open: that has to be completed."""
        known = self.parts.part(upload.complete) if self.parts is not None else None
        if self._is_there is None or (known is not None and known.part_size):
            return None
        return await self._is_there(upload.complete, file)

    async def _opened(self, upload: Upload, file: OpenFile) -> Upload:
        opener, parts = self._opener, self.parts
        assert opener is not None  # noqa: S101 - whoever gives us uploads without an id opens them
        opened: list[Upload] = []

        async def open_it() -> None:
            known = parts.part(upload.complete) if parts is not None else None
            found = await opener(upload, known, _kept(upload, parts, file))
            _remember(found, parts)
            opened.append(found)

        try:
            await finish_soon(open_it)
        except BaseException:
            self.left_open += len(opened)
            raise
        return opened[0]


class _MultipartUpload:
    """One upload on its way."""

    def __init__(
        self, uploader: MultipartUploader, upload: Upload, job: Job, renewer: LinkRenewer, file: OpenFile
    ) -> None:
        self._uploader = uploader
        self._upload = upload
        self._renew = job.renew
        self._renewer = renewer
        self._file = file
        self._etags: dict[int, str] = {}
        self._line: deque[Job] = deque()
        #: The most that one of its requests took.
        self.attempts = 1
        self.is_open = True
        #: The object's, once it is complete; None where nothing tells.
        self.etag: str | None = None

    async def run(self) -> str | None:
        """Sends what is not there yet, and completes it; gives what verified the object."""
        await self._begin()
        self._line.extend(
            Job(part.link, self._renew, part=part) for part in self._upload.parts if part.number not in self._etags
        )
        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(self._uploader.part_concurrency, len(self._line))):
                    group.start_soon(self._worker)
        except BaseExceptionGroup as failed:
            raise first_error(failed) from None
        self._file.check_unchanged()
        return await self._complete()

    async def give_up(self, error: TransferError) -> None:
        """Ends, or forgets, an upload of ours that no other run could go on with."""
        upload = self._upload
        if error.code == GONE:
            self.is_open = False
            if upload.created_by_us and self._uploader.parts is not None:  # the next run opens another one
                self._uploader.parts.set_resume_point(upload.complete, NO_RESUME_POINT)
        elif self.is_open and upload.created_by_us and upload.abort is not None and error.retry == "never":
            with anyio.move_on_after(ABORT_TIMEOUT, shield=True), suppress(TransferError):
                await abort_upload(self._uploader.http, upload.abort)
                self.is_open = False

    async def _begin(self) -> None:
        """Learns which parts are there, as they are in the file now."""
        parts, upload = self._uploader.parts, self._upload
        if parts is None:
            return
        _remember(upload, parts)
        kept = _kept(upload, parts, self._file)
        self._etags = kept if upload.found is None else await self._still_there(kept, upload.found)
        if resumed := sum(part.size for part in upload.parts if part.number in self._etags):
            self._uploader.emit(BytesResumed(resumed))

    async def _still_there(self, kept: Mapping[int, str], found: Mapping[int, str]) -> dict[int, str]:
        """Of the parts that the server has, those whose bytes are the file's; what we know of needs no look."""
        there = {}
        for part in self._upload.parts:
            etag = found.get(part.number)
            if etag is None:
                continue
            if kept.get(part.number) == etag:
                there[part.number] = etag
            elif await _md5(self._file, part) == etag:
                there[part.number] = etag
                self._keep(part, etag)
        return there

    async def _worker(self) -> None:
        while self._line:
            job = self._line.popleft()
            part = job.part
            assert part is not None  # noqa: S101 - there are none but parts in this line
            etag = await self._renewer.call(job, partial(self._put, part), self._line)
            self._etags[part.number] = etag
            self._keep(part, etag)

    async def _put(self, part: UploadPart, link: Link) -> str:
        etag = await self._retried(lambda: self._store(link, part))
        if not etag:
            message = f"part {part.number} was stored without an etag, and nothing can be made of it"
            raise RefusedError(message, code="NoEtag")
        return etag

    async def _store(self, link: Link, part: UploadPart) -> str | None:
        body = FileBody(self._file, self._uploader.emit, self._uploader.limiter, part.offset, part.size)
        return (await store(self._uploader.http, link, body)).etag

    async def _complete(self) -> str | None:
        """Makes the object, and gives what verified it."""
        self.etag = composite_etag(self._etags)
        if self._upload.is_complete:
            self.is_open = False
            return "md5-parts"
        try:
            completed = await self._renewer.call(Job(self._upload.complete, self._renew), self._request_completion)
        except RefusedError as error:
            if error.code == GONE and self._upload.get_link is not None and await self._is_whole(self._upload.get_link):
                self.is_open = False
                return "md5-parts"
            if error.code in _OF_THE_PARTS:
                self._forget()
            raise
        self.is_open = False
        self.etag = completed.etag or self.etag
        return check_completed(completed, self._etags)

    async def _request_completion(self, link: Link) -> Completed:
        return await self._retried(lambda: complete_upload(self._uploader.http, link, self._etags))

    async def _is_whole(self, get_link: Link) -> bool:
        """True where the object is there, of our parts: an earlier completion went well, and its answer was lost."""
        etag = await self._renewer.call(
            Job(get_link, self._renew), lambda link: self._retried(lambda: etag_under(self._uploader.http, link))
        )
        ours = composite_etag(self._etags)
        return ours is not None and etag == ours

    async def _retried(self, once: Callable[[], Awaitable[T]]) -> T:
        uploader = self._uploader
        try:
            result, attempts = await with_retries(
                once, self._upload.object, uploader.attempts, uploader.emit, uploader.limiter
            )
        except RefusedError as error:
            raise _explained(error, self._upload) from error
        self.attempts = max(self.attempts, attempts)
        return result

    def _keep(self, part: UploadPart, etag: str) -> None:
        parts = self._uploader.parts
        if parts is not None:
            parts.add_finished_part(self._upload.complete, part.number, f"{etag} {self._file.state}")

    def _forget(self) -> None:
        """What was known of the parts did not make an object: the next run sends them again."""
        parts = self._uploader.parts
        if parts is not None and (known := parts.part(self._upload.complete)) is not None:
            parts.set_resume_point(self._upload.complete, known)


def _remember(upload: Upload, parts: CheckpointStore | None) -> None:
    """Keeps which upload is open for an object, before anything of it is sent."""
    whole = ResumePoint(upload.upload_id, upload.object.size or 0, upload.parts[0].size)
    if parts is not None and parts.part(upload.complete) != whole:
        parts.set_resume_point(upload.complete, whole)


def _kept(upload: Upload, parts: CheckpointStore | None, file: OpenFile) -> dict[int, str]:
    """The etags of the parts that an earlier run sent, without those of which the file was changed since."""
    kept = {}
    for number, proof in parts.finished_parts(upload.complete).items() if parts is not None else ():
        etag, _, state = proof.partition(" ")
        if state == file.state:
            kept[number] = etag
    return kept


def _check_size(upload: Upload, file: OpenFile) -> None:
    """Raises StorageError where the upload is for a file of another size."""
    if upload.object.size != file.size:
        message = f"{file.name} has {counted(file.size, 'byte')}, its upload is for {upload.object.size or 0:,}"
        raise StorageError(message, code="FileChanged")


def _explained(error: RefusedError, upload: Upload) -> TransferError:
    """The same error, with what to do where the upload is not what it was."""
    if error.code not in {GONE, "InvalidPart"}:
        return error
    what = "it was ended, or completed before" if error.code == GONE else "a part of it is gone"
    then = "run this again" if upload.created_by_us else "see whether the object is there, else sign it anew"
    message = f"{error} (the upload {upload.upload_id}: {what}; {then})"
    return numbered(RefusedError(message, code=error.code, status=error.status), error.attempt)


async def _md5(file: OpenFile, part: UploadPart) -> str | None:
    """The md5 of a part's bytes in hex, None where they can't be read."""
    digest = hasher("md5")
    at, end = part.offset, part.offset + part.size
    try:
        while at < end and (piece := os.pread(file.descriptor, min(CHUNK_SIZE, end - at), at)):
            digest.update(piece)
            at += len(piece)
            await anyio.lowlevel.checkpoint()
    except OSError:
        return None
    return digest.digest().hex()
