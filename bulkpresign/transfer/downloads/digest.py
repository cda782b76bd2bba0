"""Reads an object through a link for its digest. The bytes are kept nowhere."""

from collections.abc import Mapping
from contextlib import nullcontext

import msgspec

from bulkpresign.checksums import CHANGED, ExpectedDigest, Verifier, base64_of, hasher
from bulkpresign.errors import MismatchError
from bulkpresign.events import BytesMoved
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import Link, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.downloads.content_range import check_range
from bulkpresign.transfer.downloads.part_size import with_part_size
from bulkpresign.transfer.downloads.ranges import is_strong
from bulkpresign.transfer.downloads.responses import RANGE_STATUSES, digest_of_whole, refusal
from bulkpresign.transfer.engine.jobs import Digest, Job, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer

#: The limiter measures the rate of larger bodies.
_SMALL_BYTES = 256 * 1024


class DigestReader:
    """Computes the digests of objects. The object of an outcome has the size and the checksum that were found.

    The bytes are also verified by the object's checksum or etag, as those of a file are. An attempt after a broken one
    goes on where that ended, if the server allows it; after a mismatch it begins with the first byte.
    """

    def __init__(self, context: TransferContext, coordinator: Coordinator) -> None:
        self._context = context
        self._refuse_checksum_mode = coordinator.refuse_checksum_mode
        self._ask_part_size = coordinator.ask_part_size

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Reads the object of one job. Raises TransferError where it fails."""
        return await self.go_on(job, renewer, None)

    async def go_on(self, job: Job, renewer: LinkRenewer, sent: DirectRequest | None) -> Outcome:
        """Reads the object of one job, whose first request may have been sent already, in a slot of the limiter."""
        assert isinstance(job.source, RenewableLink)  # noqa: S101 - as the dispatch has it
        assert isinstance(job.target, Digest)  # noqa: S101 - as above
        hashing, first = _Hashing(job.target.algorithm), iter((sent,))
        try:
            return await renewer.call(job.source, lambda link: self._read(hashing, link, next(first, None)))
        except BaseException:
            self._forget(hashing)
            raise

    async def _read(self, hashing: "_Hashing", link: Link, sent: DirectRequest | None) -> Outcome:
        first, split = iter((sent,)), await with_part_size(link, self._ask_part_size)
        verified_by, attempts = await self._context.retried(
            lambda: self._attempt(hashing, split, next(first, None)), link.object, sent
        )
        ref = msgspec.structs.replace(link.object, size=hashing.bytes, checksum=hashing.checksum)
        return Outcome(ref, "done", hashing.bytes, attempts, verified_by, link=link)

    async def _attempt(self, hashing: "_Hashing", link: Link, sent: DirectRequest | None) -> str | None:
        headers = hashing.rest
        try:
            async with sent or self._context.http.request(link, headers) as response:
                if response.status == 200:
                    self._begin(hashing, link, response)
                elif headers and response.status in RANGE_STATUSES:
                    hashing.check(response)
                else:
                    raise await refusal(link, response, self._refuse_checksum_mode)
                await self._take_body(hashing, response)
            return hashing.verifier.verify()
        except MismatchError:
            self._forget(hashing)
            raise

    def _begin(self, hashing: "_Hashing", link: Link, response: Response) -> None:
        """Begins with the first byte, and forgets those of earlier attempts."""
        self._forget(hashing)
        expected = digest_of_whole(link, response.etag, response.headers, response.length)
        hashing.begin(Verifier(expected), response.etag, response.length)

    def _forget(self, hashing: "_Hashing") -> None:
        """Forgets the bytes of earlier attempts."""
        if hashing.bytes:
            self._context.emit(BytesMoved(-hashing.bytes))
        hashing.forget()

    async def _take_body(self, hashing: "_Hashing", response: Response) -> None:
        limiter, emit = self._context.limiter, self._context.emit
        last = 0
        is_large = response.length is None or response.length > _SMALL_BYTES

        def take(chunk: Chunk) -> bool:
            nonlocal last
            last = len(chunk)
            hashing.update(chunk)
            emit(BytesMoved(last))
            if is_large:
                limiter.moved(last)
            return limiter.limits_rate

        with limiter.moving_body() if is_large else nullcontext():
            while await response.stream_to(take):
                await limiter.throttle(last)


class _Hashing:
    """The hashes of the bytes of one object so far, over all attempts."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm
        self.forget()

    def forget(self) -> None:
        """Forgets all bytes."""
        self.begin(Verifier(ExpectedDigest()), None, None)

    def begin(self, verifier: Verifier, etag: str | None, size: int | None) -> None:
        self._hasher, self.verifier = hasher(self._algorithm), verifier
        self._etag, self.size = etag, size or 0

    @property
    def bytes(self) -> int:
        return self.verifier.bytes

    @property
    def checksum(self) -> str:
        return f"{self._algorithm}:{base64_of(self._hasher.digest())}"

    @property
    def rest(self) -> Mapping[str, str]:
        """The headers that ask for the bytes that are missing; none if all bytes are read again."""
        if not 0 < self.bytes < self.size or not is_strong(self._etag):
            return {}
        return {"Range": f"bytes={self.bytes}-", "If-Match": f'"{self._etag}"'}

    def check(self, response: Response) -> None:
        """Raises MismatchError where a response to `rest` doesn't continue the bytes so far."""
        if response.status != 206 or response.etag not in {None, self._etag}:  # some servers ignore If-Match
            raise MismatchError("the object changed while it was read", code=CHANGED)
        check_range(response.headers, self.bytes, self.size, self.size)

    def update(self, chunk: Chunk) -> None:
        self._hasher.update(chunk)
        self.verifier.update(chunk)
