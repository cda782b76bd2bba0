"""Downloads an object through a link into memory, verified."""

from bulkpresign.checksums import Verifier
from bulkpresign.errors import RefusedError
from bulkpresign.events import BytesMoved
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.downloads.rehash import in_thread
from bulkpresign.transfer.downloads.responses import TOO_LARGE, check_row_size, digest_of_whole, refusal
from bulkpresign.transfer.engine.jobs import Job, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer


class MemoryReader:
    """Reads objects of at most `max_object_size` bytes, and gives them to the coordinator."""

    def __init__(self, context: TransferContext, coordinator: Coordinator, max_object_size: int) -> None:
        self._context = context
        self._coordinator = coordinator
        self._max_object_size = max_object_size

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Reads the object of one job. Raises TransferError where it fails."""
        return await self.go_on(job, renewer, None)

    async def go_on(self, job: Job, renewer: LinkRenewer, sent: DirectRequest | None) -> Outcome:
        """Reads the object of one job, whose first request may have been sent already, in a slot of the limiter."""
        assert isinstance(job.source, RenewableLink)  # noqa: S101 - as the dispatch has it
        first = iter((sent,))
        return await renewer.call(job.source, lambda link: self._read(link, next(first, None)))

    async def _read(self, link: Link, sent: DirectRequest | None) -> Outcome:
        first = iter((sent,))
        (data, verified_by), attempts = await self._context.retried(
            lambda: self._attempt(link, next(first, None)), link.object, sent
        )
        self._context.emit(BytesMoved(len(data)))
        receive = self._coordinator.receive
        assert receive is not None  # noqa: S101 - a run into memory has it
        receive(link, data)
        return Outcome(link.object, "done", len(data), attempts, verified_by, link=link)

    async def _attempt(self, link: Link, sent: DirectRequest | None) -> tuple[bytes, str | None]:
        async with sent or self._context.http.request(link) as response:
            if response.status != 200:
                raise await refusal(link, response, self._coordinator.refuse_checksum_mode)
            check_row_size(link.object, response.etag, response.length)
            expected = digest_of_whole(link, response.etag, response.headers, response.length)
            if response.length is not None:
                self._check_size(response.length)
            data = await self._body(response)
        return data, await in_thread(len(data), Verifier(expected).verified, lambda: (data,))

    async def _body(self, response: Response) -> bytes:
        body, limiter = bytearray(), self._context.limiter
        last = 0

        def append(chunk: Chunk) -> bool:
            nonlocal last
            last = len(chunk)
            self._check_size(len(body) + last)
            body.extend(chunk)
            return limiter.limits_rate

        while await response.stream_to(append):
            await limiter.throttle(last)
        return bytes(body)

    def _check_size(self, size: int) -> None:
        bound = self._max_object_size
        if size > bound:
            raise RefusedError(f"the object has {size:,} bytes or more; {bound:,} are allowed", code=TOO_LARGE)
