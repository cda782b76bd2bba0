"""One upload in parts: its parts are sent in parallel, and then made one object, which is verified."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio

from bulkpresign.errors import MismatchError, RefusedError, TransferError
from bulkpresign.events import BytesResumed
from bulkpresign.model import NO_RESUME_POINT, Link, Upload, UploadPart
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Guard
from bulkpresign.transfer.engine.jobs import NOTHING, Job, MultipartUpload, RenewableLink
from bulkpresign.transfer.engine.limiter import PartOffer
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import numbered
from bulkpresign.transfer.uploads.parts import PartProgress, PartSource
from bulkpresign.transfer.uploads.requests import (
    GONE,
    Completed,
    abort_upload,
    check_completed,
    complete_upload,
    composite_etag,
    condition_of,
    etag_under,
    read_parts_etag,
    without_condition,
)

T = TypeVar("T")

#: Seconds for aborting an upload when the run is cancelled.
_ABORT_TIMEOUT = 10.0
#: Error codes of a completion whose list of parts does not match.
_OF_THE_PARTS = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
#: Scaleway and some installations of Scality take no more parts of an upload; S3 takes 10,000.
_FEWER_PARTS = 1000
_OF_THEIR_NUMBER = frozenset({"InvalidArgument", "InvalidPart"})


class ServerEtags:
    """The etags that a server gives objects in parts: as S3 does, of the md5s of these, unless `are_own`."""

    def __init__(self) -> None:
        self.are_own = False


class PartsUpload:
    """The upload of one object, from its first part to its completion."""

    def __init__(
        self,
        context: TransferContext,
        target: MultipartUpload,
        renewer: LinkRenewer,
        source: PartSource,
        progress: PartProgress,
        *,
        guard: Guard | None,
        server_etags: ServerEtags,
    ) -> None:
        self._context, self._guard, self._server_etags = context, guard, server_etags
        self._upload, self._renew = target.upload, target.renew
        self._renewer = renewer
        self._source = source
        self._progress = progress
        self._etags: dict[int, str] = {}
        self._waiting: deque[Job] = deque()
        self._parts: dict[int, UploadPart] = {}
        #: The highest number of attempts of one of its requests.
        self.attempts = 1
        self.is_open = True
        #: The etag of the completed object, None if it is unknown.
        self.etag: str | None = None
        self.checksums: Mapping[str, str] = {}
        self.etag_kind: Mapping[str, str] = {}

    async def run(self, part_concurrency: int | None) -> str | None:
        """Sends the parts that are missing, and completes the upload. Returns what verified the object."""
        await self._begin()
        missing = [part for part in self._upload.parts if part.number not in self._etags]
        self._waiting.extend(_PartJob(NOTHING, RenewableLink(part.link, self._renew), part=part) for part in missing)
        await self._send_parts(part_concurrency)
        self._source.check_unchanged()
        return await self._complete()

    async def give_up(self, error: TransferError, *, aborts: bool) -> None:
        """Aborts an upload of this run, or discards its checkpoint, if it `aborts` or no later run can continue it."""
        upload = self._upload
        if error.code == GONE:
            self.is_open = False
            if upload.created_by_us:  # the next run opens another one
                self._progress.reset(NO_RESUME_POINT)
        elif self.is_open and upload.created_by_us and upload.abort is not None and (aborts or error.retry == "never"):
            with anyio.move_on_after(_ABORT_TIMEOUT, shield=True), suppress(TransferError):
                await abort_upload(self._context.http, upload.abort)
                self.is_open = False
            if aborts:
                self._progress.reset(NO_RESUME_POINT)

    async def _begin(self) -> None:
        """Determines the uploaded parts whose bytes are unchanged in the source."""
        upload, progress = self._upload, self._progress
        progress.begin(upload)
        recorded = progress.etags
        self._etags = dict(recorded) if upload.found is None else await self._still_there(recorded, upload.found)
        if resumed := sum(part.size for part in upload.parts if part.number in self._etags):
            self._context.emit(BytesResumed(resumed))

    async def _still_there(self, recorded: Mapping[int, str], found: Mapping[int, str]) -> dict[int, str]:
        """The parts that the server has and whose bytes are the source's: as recorded, or by their md5."""
        there = {}
        for part in self._upload.parts:
            etag = found.get(part.number)
            if etag is None:
                continue
            if recorded.get(part.number) == etag:
                there[part.number] = etag
            elif await self._source.md5(part) == etag:
                there[part.number] = etag
                self._progress.finish(part.number, etag)
        return there

    async def _send_parts(self, part_concurrency: int | None) -> None:
        """Sends the parts that wait: a worker for each of `part_concurrency`, else as the limiter has slots."""
        if not self._waiting:
            return
        limiter = self._context.limiter
        with ungrouped():
            async with anyio.create_task_group() as group:

                def start() -> bool:
                    if len(self._waiting) > offer.starting:
                        group.start_soon(self._offered_worker, offer)
                        return True
                    return False

                if part_concurrency is not None:
                    for _ in range(min(part_concurrency, len(self._waiting))):
                        group.start_soon(self._worker)
                    return
                with limiter.offering_parts(start) as offer:
                    await self._worker()

    async def _offered_worker(self, offer: PartOffer) -> None:
        offer.part_started()
        await self._worker(leaves=True)

    async def _worker(self, *, leaves: bool = False) -> None:
        while self._waiting and not (leaves and self._context.limiter.has_too_many_parts):
            job = self._waiting.popleft()
            assert isinstance(job, _PartJob)  # noqa: S101 - this queue has no others
            assert job.renewable is not None  # noqa: S101 - its target is a link
            part = job.part
            etag = await self._renewer.call(job.renewable, partial(self._put, part), self._waiting)
            self._etags[part.number] = etag
            self._progress.finish(part.number, etag)

    async def _put(self, part: UploadPart, link: Link) -> str:
        etag = await self._retried(partial(self._source.store, link, part))
        if not etag:
            message = f"part {part.number} was stored without an etag, so the upload can't be completed"
            raise RefusedError(message, code="NoEtag")
        return etag

    async def _complete(self) -> str | None:
        """Completes the upload. Returns what verified the object."""
        self.etag = composite_etag(self._etags)
        if self._upload.is_complete:
            self.is_open = False
            return "md5-parts"
        try:
            completed = await self._completed()
        except RefusedError as error:
            get_link = self._upload.get_link
            if error.code == GONE and get_link is not None and await self._is_whole(get_link):
                self.is_open = False
                return "md5-parts"
            if error.code in _OF_THE_PARTS and self._progress.point is not None:
                self._progress.reset(self._progress.point)  # the next run sends the parts again
            raise
        self.etag, self.checksums = completed.etag or self.etag, completed.checksums
        self.etag_kind = completed.etag_kind
        return await self._check(completed)

    async def _check(self, completed: Completed) -> str | None:
        """The name of the verification of the completed object, None if its etag proves nothing.

        Some servers have etags of another form. The first object whose etag does not follow from its parts is read: if
        its bytes are those of the parts, later etags are not compared. Raises MismatchError for other bytes.
        """
        try:
            return check_completed(completed, self._etags)
        except MismatchError:
            if self._server_etags.are_own:
                return None
            if self._guard is not None:
                self._guard.wrote(self._upload.object)
            if not await self._has_our_bytes():
                raise
        self._server_etags.are_own = True
        return "md5-parts"

    @property
    def parts_etag(self) -> str | None:
        """The etag that the parts make at S3, where this server makes others; else that of the object."""
        return composite_etag(self._etags) if self._server_etags.are_own else self.etag

    async def _has_our_bytes(self) -> bool:
        """True where all bytes of the object, which are read, are those of our parts."""
        get_link = self._upload.get_link
        if get_link is None:
            return False
        http, part_size = self._context.http, self._upload.parts[0].size
        try:
            etag = await self._renewer.call(
                RenewableLink(get_link, self._renew),
                lambda link: self._retried(lambda: read_parts_etag(http, link, part_size)),
            )
        except TransferError:  # not everyone who may write may read
            return False
        return etag == composite_etag(self._etags)

    async def _completed(self) -> Completed:
        """Completes the upload, again where the server does not support the condition of that."""
        guard, complete = self._guard, RenewableLink(self._upload.complete, self._renew)
        try:
            completed = await self._renewer.call(complete, self._request_completion)
        except RefusedError as error:
            condition = condition_of(complete.link)
            if guard is None or not condition:
                raise
            async with guard.settled(self._upload.object, condition, error, {self.etag}) as found:
                if found is not None:
                    await self._end()
                    return Completed(found, {})
                complete.link = without_condition(complete.link)
                await self._renewer.renew(complete)
                completed = await self._renewer.call(complete, self._request_completion)
        self.is_open = False
        return completed

    async def _end(self) -> None:
        """Aborts the upload of an object that is there already: another run made it, if not our own completion."""
        upload = self._upload
        if not upload.created_by_us or upload.abort is None:
            return
        try:
            await self._renewer.call(
                RenewableLink(upload.abort, self._renew),
                lambda link: self._retried(lambda: abort_upload(self._context.http, link)),
            )
        except TransferError as error:  # the object is there all the same
            self.is_open = error.code != GONE
        else:
            self.is_open = False

    async def _request_completion(self, link: Link) -> Completed:
        found = ((number, self._source.checksum(number)) for number in self._etags)
        checksums = {number: checksum for number, checksum in found if checksum is not None}
        return await self._retried(lambda: complete_upload(self._context.http, link, self._etags, checksums))

    async def _is_whole(self, get_link: Link) -> bool:
        """True where the object is there, made of our parts: an earlier completion succeeded, its response was lost."""
        etag = await self._renewer.call(
            RenewableLink(get_link, self._renew),
            lambda link: self._retried(lambda: etag_under(self._context.http, link)),
        )
        ours = composite_etag(self._etags)
        return ours is not None and etag == ours

    async def _retried(self, once: Callable[[], Awaitable[T]]) -> T:
        try:
            result, attempts = await self._context.retried(once, self._upload.object)
        except RefusedError as error:
            raise _explained(error, self._upload) from error
        self.attempts = max(self.attempts, attempts)
        return result


class _PartJob(Job, frozen=True, gc=False, kw_only=True):
    """The upload of one part."""

    part: UploadPart


def _explained(error: RefusedError, upload: Upload) -> TransferError:
    """The same error, with advice if the upload or one of its parts no longer exists, or if there are many parts."""
    advice = _advice(error.code, upload)
    if advice is None:
        return error
    message = f"{error} (the upload {upload.upload_id}: {advice})"
    return numbered(RefusedError(message, code=error.code, status=error.status), error.attempt)


def _advice(code: str, upload: Upload) -> str | None:
    if code == GONE:
        then = "run this again" if upload.created_by_us else "see whether the object is there, else sign it anew"
        return f"it was ended, or completed before; {then}"
    if code not in _OF_THEIR_NUMBER:
        return None
    advice = ["a part of it is gone; run this again"] if code == "InvalidPart" else []
    if len(upload.parts) > _FEWER_PARTS:
        advice.append(f"it has {len(upload.parts):,} parts; where a server takes fewer, --part-size makes them larger")
    return "; ".join(advice) or None
