"""Copies an object from a GET link to a PUT link: in one request, or in parts."""

from bulkpresign.errors import RefusedError
from bulkpresign.model import Evidence, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.multipart import MultipartCopies
from bulkpresign.transfer.copies.plain import Begun, PlainCopies
from bulkpresign.transfer.copies.proof import Copied
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.copies.single import SingleCopies
from bulkpresign.transfer.copies.source import SourceReader
from bulkpresign.transfer.copies.tag_settler import TagSettler
from bulkpresign.transfer.engine.jobs import Job, MultipartUpload, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.uploads.multipart import MultipartUploader

#: The status for tags that a server does not take, such as more than it allows, and those of servers that know none.
_OF_THIS_OBJECT = 400
_REFUSES_TAGS = frozenset({_OF_THIS_OBJECT, 405, 501})


class Copier:
    """Copies objects from GET links to PUT links or multipart uploads.

    The response to a plain GET tells everything that is needed: how large the object is, which digest its bytes have,
    and the headers that its copy has too. These are signed into the PUT link just before it is sent, if the coordinator
    signs; else the link is sent as it is. `plain` makes the first attempt where the server does not make the copies;
    None: the general path does.
    """

    def __init__(
        self,
        context: TransferContext,
        coordinator: Coordinator,
        uploader: MultipartUploader,
        settings: CopySettings,
        plain: PlainCopies | None = None,
    ) -> None:
        self._context, self._coordinator = context, coordinator
        self._settings, self._plain = settings, plain
        self._single = SingleCopies(context, coordinator, settings)
        self._multipart = MultipartCopies(context, coordinator, uploader, settings)
        self._tags = TagSettler(context, coordinator, settings)

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Copies the object of one job. Raises TransferError where it fails."""
        source, target = job.source, job.target
        assert isinstance(source, RenewableLink)  # noqa: S101 - as the dispatch has it
        assert isinstance(target, RenewableLink | MultipartUpload)  # noqa: S101 - likewise
        find_present = self._coordinator.find_present
        present = None if find_present is None else await find_present(source.link, target.object.key)
        reads_tags = self._settings.takes_tags is not False
        reader = SourceReader(self._context, self._coordinator, renewer, source, reads_tags=reads_tags)
        if present is not None:
            if job.checkpoint is not None and present.evidence is not None and present.evidence.etag == job.object.etag:
                await self._tags.settle_present(reader, target.object)
            return present
        copied, attempts = await self._copied(job, reader, target, renewer)
        await self._tags.settle(copied, job.object, target.object)
        evidence = Evidence(copied.size, 0, 0, copied.etag, copied.checksum)
        return Outcome(job.object, "done", copied.size, attempts, copied.verified_by, link=job.link, evidence=evidence)

    async def _copied(
        self, job: Job, reader: SourceReader, target: RenewableLink | MultipartUpload, renewer: LinkRenewer
    ) -> tuple[Copied, int]:
        """The copy, and the number of attempts. It is made again without tags where the destination refuses these."""
        try:
            return await self._made(job, reader, target, renewer)
        except RefusedError as error:
            if not reader.has_read_tags or error.status not in _REFUSES_TAGS:
                raise
            refused = error
        reader.reads_tags = False
        copied, attempts = await self._made(job, reader, target, renewer)
        if refused.status != _OF_THIS_OBJECT:
            self._settings.learn_no_tags(reader.object, refused, self._context.emit)
        return copied, attempts

    async def _made(
        self, job: Job, reader: SourceReader, target: RenewableLink | MultipartUpload, renewer: LinkRenewer
    ) -> tuple[Copied, int]:
        if isinstance(target, MultipartUpload):
            head, _ = await self._context.retried(reader.head, reader.object)
            return await self._multipart.copy(job, reader, renewer, head, target)
        begun: Begun | None = None
        if self._plain is not None and not self._settings.on_server and job.checkpoint is None:
            found = await self._plain.copy(reader.source, target)
            if isinstance(found, Copied):
                return found, 1
            begun = found
        copied, attempts = await self._single.copy(reader, renewer, target, begun)
        if isinstance(copied, ObjectHead):
            return await self._multipart.copy_to_new(job, reader, renewer, copied, target)
        return copied, attempts
