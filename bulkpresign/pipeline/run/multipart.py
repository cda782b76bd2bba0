"""Multipart uploads with own credentials: opened, found again by a later run, and ended."""

from collections.abc import Mapping
from contextlib import suppress

import msgspec

from bulkpresign.checksums import part_size_of_row
from bulkpresign.errors import CredentialsError, LinkExpiredError, ListingError, RefusedError, TransferError
from bulkpresign.limits import allowed_part_size
from bulkpresign.model import BatchMethod, Link, ObjectRef, ResumePoint, Upload
from bulkpresign.pipeline.sources.given_rows import Row, object_of
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.part_sizes import usual_part_size
from bulkpresign.transfer.uploads.requests import abort_upload, composite_etag, create_upload, etag_under
from bulkpresign.transfer.uploads.store import REFUSES_HEADERS

_CHECKSUM = "x-amz-checksum-"


class MultipartCreator:
    """Opens uploads and signs their links; `headers` are those of the object, `options` what else it carries by name.

    Uploads are opened through links, because all requests are sent by links.
    """

    def __init__(
        self,
        presigner: Presigner,
        context: TransferContext,
        *,
        headers: Mapping[str, str] | None,
        options: LinkOptions | None = None,
    ) -> None:
        self._presigner = presigner
        self._context = context
        self._headers = headers
        self._options = options

    async def open(self, item: Row) -> str:
        """The id of a new upload, with the headers of an old link. Raises TransferError where it can't be opened.

        A server that refuses the headers that ask for a checksum is asked without them.
        """
        await self._presigner.prepare([object_of(item)])
        try:
            return await self._created(item)
        except RefusedError as error:
            bare = _without_checksum(item)
            if bare is None or error.status not in REFUSES_HEADERS:
                raise
        return await self._created(bare)

    async def _created(self, item: Row) -> str:
        async def create() -> str:
            return await create_upload(self._context.http, self._signed(item, "POST", {"uploads": ""}))

        upload_id, _ = await self._context.retried(create, object_of(item))
        return upload_id

    def signed(self, item: Row, upload_id: str, part_size: int) -> Upload:
        """The links of an upload that is open."""
        headers = self._signed(item, "PUT").headers
        return self._presigner.sign_upload(object_of(item), upload_id, part_size, headers=headers)

    def _signed(self, item: Row, method: BatchMethod, query: Mapping[str, str] | None = None) -> Link:
        sign = self._presigner.sign_again if isinstance(item, Link) else self._presigner.sign_batch
        (link,) = sign([item], method, headers=self._headers, query=query, options=self._options)  # type: ignore[list-item]
        return link

    async def etag(self, get_link: Link) -> str | None:
        """The etag of the object that a GET link leads to, None where there is none. Raises TransferError."""
        etag, _ = await self._context.retried(lambda: etag_under(self._context.http, get_link), get_link.object)
        return etag

    async def end(self, ref: ObjectRef, upload_id: str) -> None:
        """Ends an upload, through a link that is fresh. Raises TransferError."""
        (link,) = self._presigner.sign_batch([ref], "DELETE", query={"uploadId": upload_id})
        await self._context.retried(lambda: abort_upload(self._context.http, link), ref)


def _without_checksum(item: Row) -> Link | None:
    """The link without the headers that ask for a checksum of the upload, None where it has none."""
    if not isinstance(item, Link):
        return None
    headers = {name: value for name, value in item.headers.items() if not name.startswith(_CHECKSUM)}
    return msgspec.structs.replace(item, headers=headers) if len(headers) < len(item.headers) else None


class MultipartResumer:
    """Opens the uploads of large objects as their turn comes, or finds those that an earlier run left open."""

    def __init__(self, creator: MultipartCreator, presigner: Presigner, part_size: int | None) -> None:
        self._creator = creator
        self._presigner = presigner
        self._part_size = part_size

    async def open_upload(self, upload: Upload, known: ResumePoint | None, kept: Mapping[int, str]) -> Upload:
        """The upload, open, with its links. `known` is what the journal has of an earlier one for the same object.

        `kept` are the etags of that one's parts, by number. The link that completes the upload may have the headers of
        the object, and its row the size of the parts.
        """
        ref = upload.object
        item = upload.complete if upload.complete.headers else ref
        try:
            await self._presigner.prepare([ref])
            (get_link,) = self._presigner.sign_batch([ref], "GET")
            opened = await self._found(item, known, kept, get_link) if known is not None and known.part_size else None
            if opened is None:
                size = ref.size or 0
                wanted = self._part_size or part_size_of_row(ref) or usual_part_size(size)
                upload_id = await self._creator.open(item)
                opened = self._creator.signed(item, upload_id, allowed_part_size(size, wanted))
        except CredentialsError as error:
            raise LinkExpiredError(f"it can't be signed: {error}", code="RenewalFailed") from error
        return msgspec.structs.replace(opened, created_by_us=True, get_link=get_link)

    async def _found(self, item: Row, known: ResumePoint, kept: Mapping[int, str], get_link: Link) -> Upload | None:
        """An earlier run's upload and which parts it has, None where it is gone, or was for an object of another size.

        An upload that is gone may have been completed: a run that was killed after that could not record it.
        """
        ref = object_of(item)
        upload = self._creator.signed(item, known.etag, known.part_size)
        if known.size != ref.size:
            await self.end_upload(ref, known)
            return None
        try:
            parts = await self._presigner.aws.list_parts(ref.bucket, ref.key, known.etag)
        except ListingError:  # not everyone who may upload may list; the journal has the parts as well
            return upload
        if parts is None:
            became = len(kept) == len(upload.parts) and await self._is_under(get_link, composite_etag(kept))
            return msgspec.structs.replace(upload, is_complete=True) if became else None
        sizes = {part.number: part.size for part in upload.parts}
        return msgspec.structs.replace(
            upload, found={number: etag for number, (etag, size) in parts.items() if sizes.get(number) == size}
        )

    async def _is_under(self, get_link: Link, etag: str | None) -> bool:
        """True where the object that a link leads to has that etag. Not everyone who may upload may look."""
        try:
            return etag is not None and await self._creator.etag(get_link) == etag
        except TransferError:
            return False

    async def end_upload(self, ref: ObjectRef, known: ResumePoint) -> None:
        """Ends an upload that an earlier run opened for the same file. `abort` can end it later."""
        with suppress(TransferError, CredentialsError):
            await self._creator.end(ref, known.etag)
