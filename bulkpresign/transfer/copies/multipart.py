"""Copies in parts: ranges of an object become the parts of a multipart upload, which has its checksum and headers."""

from collections.abc import Mapping, Sequence
from functools import partial

import anyio
import msgspec

from bulkpresign.checksums import CHANGED, expected_digest
from bulkpresign.errors import MismatchError, RefusedError, TransferError
from bulkpresign.model import Link, Upload, UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.composite import HELD_PARTS, LARGEST_HELD_PART, Composite, signed_composite
from bulkpresign.transfer.copies.head import ObjectHead, whole_checksum_headers
from bulkpresign.transfer.copies.on_server import ServerParts, is_unsupported
from bulkpresign.transfer.copies.parts import HeldObjectParts, ObjectParts
from bulkpresign.transfer.copies.proof import Copied, proof
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.copies.source import SourceReader
from bulkpresign.transfer.copies.tags import with_tags_hint
from bulkpresign.transfer.engine.jobs import Job, MultipartUpload, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.multipart import MultipartUploader, PartsSent
from bulkpresign.transfer.uploads.parts import PartProgress
from bulkpresign.transfer.uploads.requests import without_condition
from bulkpresign.transfer.uploads.store import ANY_OBJECT, REFUSES_HEADERS


class MultipartCopies:
    """Copies objects in parts. Each part takes a slot of the limiter, and one chunk of memory, or all its bytes.

    All its bytes are held where each part is sent with its digest: at most HELD_PARTS of them at the same time.
    """

    def __init__(
        self, context: TransferContext, coordinator: Coordinator, uploader: MultipartUploader, settings: CopySettings
    ) -> None:
        self._context, self._coordinator = context, coordinator
        self._uploader, self._settings = uploader, settings
        self._hold = anyio.Semaphore(HELD_PARTS)
        #: False once the destination gave an object in parts an etag that is not made of their md5s.
        self._etags_tell_bytes = True

    async def copy_to_new(
        self, job: Job, reader: SourceReader, renewer: LinkRenewer, head: ObjectHead, target: RenewableLink
    ) -> tuple[Copied, int]:
        """Copies an object into an upload that is opened when its first part is sent. See `copy`."""
        head = await self._split(reader.link, head)
        head, _ = await self._context.retried(partial(reader.with_tags, head), reader.object)
        is_on_server = self._settings.copies_parts
        try:
            return await self.copy(job, reader, renewer, head, self._unopened(target, head))
        except RefusedError as error:
            if not (is_on_server and (is_unsupported(error) or error.status in REFUSES_HEADERS)):
                raise with_tags_hint(error, has_tags=bool(head.tags)) from error
        self._settings.parts_on_server = False
        job = msgspec.structs.replace(job, checkpoint=None)  # its upload has ended
        try:
            return await self.copy(job, reader, renewer, head, self._unopened(target, head))
        except TransferError:  # the refusal was of this object
            self._settings.parts_on_server = True
            raise

    async def copy(
        self, job: Job, reader: SourceReader, renewer: LinkRenewer, head: ObjectHead, target: MultipartUpload
    ) -> tuple[Copied, int]:
        """The copy, and the number of attempts. If the parts are not the object, all are sent again.

        Raises TransferError.
        """
        attempts, checkpoint = self._context.attempts_of(job.object), job.checkpoint
        given = target.upload.parts
        part_size = given[0].size if given else head.part_size(self._settings.part_size)
        # by the etag of the copy
        is_proven = head.is_split_known and part_size == head.structure.part_size and self._etags_tell_bytes
        is_proven &= head.expected.changed is None  # else by the etag of the row
        while True:
            is_hashed, composite = attempts.number > 1 or not is_proven, self._composite(given, head, part_size)
            parts = self._parts(reader, head, part_size, is_hashed=is_hashed, composite=composite)
            progress = PartProgress(job.link, checkpoint, parts, self._context.emit)
            try:
                sent = await self._uploader.send(target, parts, progress, renewer)
                self._learn_etags(sent)
                self._check(parts, sent, head, target)
                break
            except MismatchError as error:
                if error.code == CHANGED:
                    raise
                if not self._coordinator.condition(target.object):
                    target = _unconditional(target)
                if progress.point is not None:
                    progress.reset(progress.point)
                checkpoint = None
                delay = attempts.delay_after(error)
            await anyio.sleep(delay)
        etag = sent.etag if sent.verified_by is None else sent.parts_etag
        verified_by = proof(head, etag, parts.verified_by, sent.verified_by)
        if head.expected.checksum in {f"{algorithm}:{value}" for algorithm, value in sent.checksums.items()}:
            verified_by = head.expected.name  # computed by the server
        size, lacks_tags = head.size or 0, head.has_unknown_tags
        copied = Copied(size, sent.etag, verified_by, lacks_tags=lacks_tags, tags=head.tags, may_lack_tags=True)
        return copied, max(sent.attempts, attempts.number)

    async def _split(self, link: Link, head: ObjectHead) -> ObjectHead:
        """The head with the part size of an object that was uploaded in parts, as far as its server tells it."""
        ask = self._coordinator.ask_part_size
        return head if ask is None or head.structure.parts < 2 else head.split(await ask(link))

    def _unopened(self, target: RenewableLink, head: ObjectHead) -> MultipartUpload:
        """An upload that is opened when its first part is sent, with the headers and the part size of the object."""
        put, part_size = target.link, head.part_size(self._settings.part_size)
        extra = {"part_size": part_size}
        ref = msgspec.structs.replace(put.object, size=head.size, extra={**(put.object.extra or {}), **extra})
        kind = _checksum_algorithm(head, self._composite_algorithm(head, part_size))
        headers = {**head.headers, **kind, **self._coordinator.condition(put.object)}
        link = Link("PUT", put.url, headers, None, ref)
        return MultipartUpload(Upload(ref, "", (), link), target.renew)

    def _composite_algorithm(self, head: ObjectHead, part_size: int | None) -> str | None:
        """The algorithm of the checksum of parts that the copy has, None where it has none.

        Parts that pass here have to be held for it, and their links signed with their checksums.
        """
        can_keep = self._coordinator.sign_put is not None and (self._settings.copies_parts or _is_held(part_size))
        return head.composite_algorithm if can_keep else None

    def _composite(self, given: Sequence[UploadPart], head: ObjectHead, part_size: int | None) -> Composite | None:
        """The checksums of the parts: those that the links of `given` parts sign, or those that the copy keeps."""
        if given:
            return signed_composite(given)
        kept = self._composite_algorithm(head, part_size)
        return None if kept is None else Composite(kept)

    def _parts(
        self,
        reader: SourceReader,
        head: ObjectHead,
        part_size: int | None,
        *,
        is_hashed: bool,
        composite: Composite | None,
    ) -> ObjectParts | ServerParts:
        sign, settings, context = self._coordinator.sign_put, self._settings, self._context
        if settings.copies_parts and sign is not None:
            head.expected.settled(None)  # no bytes come here that prove another etag
            return ServerParts(context, sign, reader.object, head, composite)
        if sign is not None and (composite is not None or (settings.sends_md5 and _is_held(part_size))):
            return HeldObjectParts(
                context,
                reader,
                head,
                settings,
                compares_etags=is_hashed,
                composite=composite,
                hold=self._hold,
                sign=sign,
            )
        return ObjectParts(context, reader, head, settings, is_hashed=is_hashed, composite=composite, sign=sign)

    def _learn_etags(self, sent: PartsSent) -> None:
        """Notes whether the etag of an object that was completed tells its bytes."""
        expected = expected_digest(ANY_OBJECT, sent.etag, sent.etag_kind)
        self._etags_tell_bytes &= expected.parts > 0 and sent.etag == sent.parts_etag

    def _check(
        self, parts: ObjectParts | ServerParts, sent: PartsSent, head: ObjectHead, target: MultipartUpload
    ) -> None:
        """Raises MismatchError where the etag or the checksum of an object that was completed is not the source's."""
        try:
            parts.check_etag(sent.parts_etag, sent.etag_kind)
            _check_checksum(head, sent)
            if parts.composite is not None:
                parts.composite.check(sent.checksums, sent.parts)
        except MismatchError:
            if self._coordinator.guard is not None:
                self._coordinator.guard.wrote(target.object)
            raise


def _is_held(part_size: int | None) -> bool:
    """True for parts that may be held in memory, where their digest has to be sent before their bytes."""
    return part_size is not None and part_size <= LARGEST_HELD_PART


def _unconditional(target: MultipartUpload) -> MultipartUpload:
    """The same upload without a condition: this run wrote what is there now."""
    upload = target.upload
    upload = msgspec.structs.replace(upload, complete=without_condition(upload.complete))
    return MultipartUpload(upload, target.renew)


def _check_checksum(head: ObjectHead, sent: PartsSent) -> None:
    """Raises MismatchError where the copy has another checksum of the same kind: of all bytes, or of the same parts."""
    expected = head.expected
    found = sent.checksums.get(expected.algorithm or "")
    if expected.checksum is None or found is None:
        return
    is_same_kind = "-" not in found
    if expected.parts:
        is_same_kind = (expected.parts, expected.part_size) == (sent.parts, sent.part_size)
    value = expected.shown(expected.digest)
    if is_same_kind and found != value:
        message = f"the copy has {expected.algorithm} {found}, the object {value}"
        raise MismatchError(message, code="ChecksumMismatch")


def _checksum_algorithm(head: ObjectHead, composite: str | None) -> Mapping[str, str]:
    """The headers with which an upload in parts has the kind of checksum that the object has, such as a `composite`."""
    if composite is not None:
        return {"x-amz-checksum-algorithm": composite.upper(), "x-amz-checksum-type": "COMPOSITE"}
    return whole_checksum_headers(head.expected)
