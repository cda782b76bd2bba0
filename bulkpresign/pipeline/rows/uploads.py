"""Multipart uploads that `sign` opens, and ends where the run fails."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import groupby

import anyio

from bulkpresign.errors import CredentialsError, SigningError, TransferError
from bulkpresign.events import Listener, UploadLeftOpen, broadcast
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.run.multipart import Item, MultipartCreator, object_of
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.parts import check_part_size, part_size_problem
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tasks import run_workers
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.limiter import AdaptiveLimiter
from bulkpresign.transfer.uploads.requests import finish_soon

#: Uploads that are opened, or ended, at a time.
OPENED_AT_ONCE = 32
#: Seconds for ending what was opened in vain, while the run itself is being ended.
_CLEAN_UP_TIMEOUT = 30.0


#: Signs objects that take one request, or their links again.
SignSingle = Callable[[Sequence[Item]], list[Link]]


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


def size_problem_of(part_size: int) -> Callable[[int | None], str | None]:
    """Tells why an object's size will not do for parts of that size. Raises ParameterError where no parts have it."""
    check_part_size(part_size)

    def problem(size: int | None) -> str | None:
        if size is None:
            return "with --part-size an object needs its size"
        return part_size_problem(size, part_size)

    return problem
