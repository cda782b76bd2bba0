"""Creates the multipart uploads of `sign`, and aborts them if the run fails."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import groupby

import anyio

from bulkpresign.errors import CredentialsError, SigningError, TransferError
from bulkpresign.events import Listener, UploadLeftOpen, broadcast
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.run.multipart import MultipartCreator
from bulkpresign.pipeline.sources.given_rows import Row, object_of
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.parts import check_part_size, part_size_problem
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tasks import finish_soon, run_workers
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter

#: Uploads that are created, or aborted, at a time.
OPENED_AT_ONCE = 32
#: Seconds to abort the unused uploads when the run fails.
_CLEAN_UP_TIMEOUT = 30.0


#: Returns the uploads of a server whose links a presigner signs: see `signing_uploads`.
OpeningUploads = Callable[[Presigner], AbstractAsyncContextManager["SigningUploads"]]
#: Signs objects that need one request, or signs their links again.
SignSingle = Callable[[Sequence[Row]], list[Link]]


class SigningUploads:
    """Creates an upload for every object larger than `part_size`, and returns the rows of all objects.

    `opened` is the number of created uploads. `end_all` aborts the unused ones if the run fails: all of them, or with
    `as_they_come` only those whose rows are not written yet.
    """

    def __init__(self, presigner: Presigner, opener: MultipartCreator, part_size: int, *, as_they_come: bool) -> None:
        self.opened = 0
        self._presigner = presigner
        self._opener = opener
        self._part_size = part_size
        self._as_they_come = as_they_come
        self.size_problem = size_problem_of(part_size)
        self._untaken: dict[str, ObjectRef] = {}

    async def rows(self, items: Sequence[Row], single: SignSingle) -> AsyncIterator[list[Link]]:
        """The rows of some objects, in order, one upload at a time. `single` signs the objects that need one request.

        Raises SigningError if the server does not create an upload, and for a size that is not valid.
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

    def _is_large(self, item: Row) -> bool:
        return (object_of(item).size or 0) > self._part_size

    async def _open_all(self, items: Sequence[Row]) -> list[str]:
        found: dict[int, str] = {}
        waiting = iter(enumerate(items))

        async def worker() -> None:
            for index, item in waiting:
                found[index] = await finish_soon(partial(self._open, item))

        await run_workers(min(OPENED_AT_ONCE, len(items)), worker)
        return [found[index] for index in range(len(items))]

    async def _open(self, item: Row) -> str:
        ref = object_of(item)
        try:
            upload_id = await self._opener.open(item)
        except TransferError as error:
            raise SigningError(f"{ref.uri}: no upload can be opened: {error}") from error
        self._untaken[upload_id] = ref
        self.opened += 1
        return upload_id

    async def end_all(self, emit: Listener) -> None:
        """Aborts the unused uploads; emits UploadLeftOpen for each that can't be aborted."""
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
    """The uploads of `sign`. If the block fails, the unused uploads are aborted."""
    emit = broadcast(listeners)
    async with HttpClient(OPENED_AT_ONCE, ca_bundle=ca_bundle) as http:
        context = TransferContext(http, emit, RequestLimiter(ConcurrencyController(fixed=OPENED_AT_ONCE)))
        opener = MultipartCreator(presigner, context, headers=headers, options=options)
        uploads = SigningUploads(presigner, opener, part_size, as_they_come=as_they_come)
        try:
            yield uploads
        except BaseException:
            await uploads.end_all(emit)
            raise


def size_problem_of(part_size: int) -> Callable[[int | None], str | None]:
    """Returns a function: the error for an object's size (None: unknown) with parts of `part_size` bytes, or None.

    Raises ParameterError for a part size that is not valid.
    """
    check_part_size(part_size)

    def problem(size: int | None) -> str | None:
        if size is None:
            return "with --part-size an object needs its size"
        return part_size_problem(size, part_size)

    return problem
