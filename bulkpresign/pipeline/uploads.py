"""Multipart uploads with own credentials: opened, found again by a later run, and ended where nobody holds them."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import groupby

import anyio
import msgspec

from bulkpresign.errors import CredentialsError, LinkExpiredError, ListingError, SigningError, TransferError
from bulkpresign.events import Listener, UploadLeftOpen, broadcast
from bulkpresign.http.client import HttpClient
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper
from bulkpresign.model import BatchMethod, Link, ObjectRef, ResumePoint, Upload
from bulkpresign.pipeline.renewing import signed_again
from bulkpresign.pipeline.sources import rows_of
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.parts import check_part_size, least_part_size, part_size_problem
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import Table
from bulkpresign.tasks import run_workers
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.uploads.requests import abort_upload, composite_etag, create_upload, etag_under, finish_soon

#: Uploads that are opened, or ended, at a time.
OPENED_AT_ONCE = 32
#: Seconds for ending what was opened in vain, while the run itself is being ended.
_CLEAN_UP_TIMEOUT = 30.0


#: What a row is signed for: an object, or the old link of one, which is signed again.
Item = ObjectRef | Link
#: Signs what takes one request: objects, or links again.
SignSingle = Callable[[Sequence[Item]], list[Link]]
#: Signs links again, each given with its line in a table.
SignAgain = Callable[[Sequence[tuple[Link, int]]], list[Link]]


class MultipartCreator:
    """Opens uploads and signs their links; `headers` are those of the object, `options` what else it carries by name.

    An upload is opened through a link as everything else, so that all requests go one way.
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

    async def open(self, item: Item) -> str:
        """The id of a new upload, with the headers of an old link. Raises TransferError where it can't be opened."""
        ref = object_of(item)

        async def create() -> str:
            return await create_upload(self._context.http, self._signed(item, "POST", {"uploads": ""}))

        await self._presigner.prepare([ref])
        upload_id, _ = await self._context.retried(create, ref)
        return upload_id

    def signed(self, item: Item, upload_id: str, part_size: int) -> Upload:
        """The links of an upload that is open."""
        headers = self._signed(item, "PUT").headers
        return self._presigner.sign_upload(object_of(item), upload_id, part_size, headers=headers)

    def _signed(self, item: Item, method: BatchMethod, query: Mapping[str, str] | None = None) -> Link:
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


class MultipartResumer:
    """Opens the uploads of a folder's files as their turn comes, or finds those that an earlier run left open."""

    def __init__(self, creator: MultipartCreator, presigner: Presigner, part_size: int) -> None:
        self._creator = creator
        self._presigner = presigner
        self._part_size = part_size

    async def open_upload(self, upload: Upload, known: ResumePoint | None, kept: Mapping[int, str]) -> Upload:
        """The upload, open, with its links. `known` is what the journal has of an earlier one for the same file.

        `kept` are the etags of that one's parts, by number.
        """
        ref = upload.object
        try:
            await self._presigner.prepare([ref])
            (get_link,) = self._presigner.sign_batch([ref], "GET")
            opened = await self._found(ref, known, kept, get_link) if known is not None and known.part_size else None
            if opened is None:
                part_size = max(self._part_size, least_part_size(ref.size or 0))
                opened = self._creator.signed(ref, await self._creator.open(ref), part_size)
        except CredentialsError as error:
            raise LinkExpiredError(f"it can't be signed: {error}", code="RenewalFailed") from error
        return msgspec.structs.replace(opened, created_by_us=True, get_link=get_link)

    async def _found(
        self, ref: ObjectRef, known: ResumePoint, kept: Mapping[int, str], get_link: Link
    ) -> Upload | None:
        """An earlier run's upload and which parts it has, None where it is gone, or was for a file of another size.

        One that is gone may have become its object: a run that is killed between the two does not come to tell.
        """
        upload = self._creator.signed(ref, known.etag, known.part_size)
        if known.size != ref.size:
            await self.end_upload(ref, known)
            return None
        try:
            parts = await self._presigner.aws.list_parts(ref.bucket, ref.key, known.etag)
        except ListingError:  # not everyone who may upload may list; the journal knows as well what is there
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


class SigningUploads:
    """Opens an upload for every object over `part_size`, and gives the rows of all.

    `opened` counts them. What is of no use where the run fails is ended by `end_all`: all of them, or, `as_they_come`,
    those whose rows were not taken yet.
    """

    def __init__(self, presigner: Presigner, opener: MultipartCreator, part_size: int, *, as_they_come: bool) -> None:
        self.opened = 0
        self._presigner = presigner
        self._opener = opener
        self._part_size = part_size
        self._as_they_come = as_they_come
        self.size_problem = size_problem_of(part_size)
        self._untaken: dict[str, ObjectRef] = {}

    async def rows(self, items: Sequence[Item], single: SignSingle) -> AsyncIterator[list[Link]]:
        """The rows of some objects, in their order, an upload at a time; those of small ones are made by `single`.

        Raises SigningError where the server opens no upload, and for a size that will not do.
        """
        for ref in map(object_of, items):
            if problem := self.size_problem(ref.size):
                raise SigningError(f"{ref.uri}: {problem}")
        upload_ids = iter(await self._open_all([item for item in items if self._is_large(item)]))
        for is_large, some in groupby(items, self._is_large):
            if not is_large:
                yield single(list(some))
                continue
            for item in some:
                upload_id = next(upload_ids)
                yield self._opener.signed(item, upload_id, self._part_size).links
                if self._as_they_come:
                    del self._untaken[upload_id]

    def _is_large(self, item: Item) -> bool:
        return (object_of(item).size or 0) > self._part_size

    async def _open_all(self, items: Sequence[Item]) -> list[str]:
        found: dict[int, str] = {}
        waiting = iter(enumerate(items))

        async def open_one(index: int, item: Item) -> None:
            found[index] = await self._open(item)

        async def worker() -> None:
            for index, item in waiting:
                await finish_soon(partial(open_one, index, item))

        await run_workers(min(OPENED_AT_ONCE, len(items)), worker)
        return [found[index] for index in range(len(items))]

    async def _open(self, item: Item) -> str:
        ref = object_of(item)
        try:
            upload_id = await self._opener.open(item)
        except TransferError as error:
            raise SigningError(f"{ref.uri}: no upload can be opened: {error}") from error
        self._untaken[upload_id] = ref
        self.opened += 1
        return upload_id

    async def end_all(self, emit: Listener) -> None:
        """Ends what was opened in vain, and tells of each upload that can't be ended."""
        waiting = iter(list(self._untaken.items()))

        async def worker() -> None:
            for upload_id, ref in waiting:
                with suppress(TransferError, CredentialsError):
                    await self._opener.end(ref, upload_id)
                    del self._untaken[upload_id]

        with anyio.move_on_after(_CLEAN_UP_TIMEOUT, shield=True), suppress(CredentialsError):
            await self._presigner.refresh()
            await run_workers(OPENED_AT_ONCE, worker)
        for upload_id, ref in self._untaken.items():
            emit(UploadLeftOpen(ref, upload_id))


@asynccontextmanager
async def signing_uploads(
    presigner: Presigner,
    part_size: int,
    headers: Mapping[str, str] | None,
    options: LinkOptions,
    *,
    as_they_come: bool,
    ca_bundle: str | None = None,
    listeners: Sequence[Listener],
) -> AsyncIterator[SigningUploads]:
    """Uploads for `sign`: where the block fails, those that were opened in vain are ended."""
    emit = broadcast(listeners)
    async with HttpClient(OPENED_AT_ONCE, ca_bundle=ca_bundle) as http:
        context = TransferContext(http, emit, AdaptiveLimiter(OPENED_AT_ONCE))
        opener = MultipartCreator(presigner, context, headers=headers, options=options)
        uploads = SigningUploads(presigner, opener, part_size, as_they_come=as_they_come)
        try:
            yield uploads
        except BaseException:
            await uploads.end_all(emit)
            raise


async def rows_again(table: Table, presigner: Presigner, singles: SignAgain) -> AsyncIterator[list[Link]]:
    """The rows of a table of links that has uploads, for a new time: an upload's for the same upload.

    What is up of it stays of use. Other rows are signed by `singles`. Raises ManifestError for rows that are no upload,
    SigningError for one that can't be signed.
    """
    gathering = UploadGrouper(table.file)
    async for rows in rows_of(table):
        async for links in _rows_again(gathering.add(links_of(rows), rows.lines), presigner, singles):
            yield links
    async for links in _rows_again(gathering.end(), presigner, singles):
        yield links


async def _rows_again(
    gathered: Iterable[tuple[Link | Upload, int]], presigner: Presigner, singles: SignAgain
) -> AsyncIterator[list[Link]]:
    await presigner.refresh()
    for is_single, some in groupby(gathered, lambda found: isinstance(found[0], Link)):
        if not is_single:
            for upload, _ in some:
                yield [await _again(presigner, link) for link in (upload.links if isinstance(upload, Upload) else ())]
            continue
        alone = [(link, line) for link, line in some if isinstance(link, Link)]
        await presigner.prepare([link.object for link, _ in alone])
        yield singles(alone)


def object_of(item: Item) -> ObjectRef:
    """The object that is signed for."""
    return item.object if isinstance(item, Link) else item


async def _again(presigner: Presigner, link: Link) -> Link:
    fresh_link = await signed_again(presigner, link)
    if fresh_link is None:
        raise SigningError(f"{link.object.uri}: this row of an upload can't be signed again")
    return fresh_link


def size_problem_of(part_size: int) -> Callable[[int | None], str | None]:
    """Tells why an object's size will not do for parts of that size. Raises ParameterError where no parts have it."""
    check_part_size(part_size)

    def problem(size: int | None) -> str | None:
        if size is None:
            return "with --part-size an object needs its size"
        return part_size_problem(size, part_size)

    return problem
