"""The bytes of a copy on their way: from memory, or from a response that still comes."""

from collections.abc import AsyncIterator

from bulkpresign.checksums import ExpectedDigest, Hasher, Verifier, digest_of, hasher, verify_whole
from bulkpresign.errors import TruncatedError
from bulkpresign.events import Listener
from bulkpresign.http.client import CHUNK_SIZE
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.uploads.store import SentBody


class HeldBody(SentBody):
    """Bytes in memory, which are verified already: they have the `expected` digest."""

    is_right = True

    def __init__(
        self, data: bytes | memoryview, emit: Listener, expected: ExpectedDigest, *, is_hashed: bool = True
    ) -> None:
        super().__init__(len(data), emit)
        self._data, self._expected, self.is_hashed = data, expected, is_hashed

    def hash_with(self, algorithm: str) -> None:
        """See SentBody. The bytes are hashed when their digest is asked for."""
        self.algorithm = algorithm

    async def whole(self) -> bytes:
        """See SentBody."""
        self.moved(self.size)
        return bytes(self._data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, self.size, CHUNK_SIZE):
            chunk = bytes(self._data[start : start + CHUNK_SIZE])
            self.moved(len(chunk))
            yield chunk

    @property
    def digest(self) -> bytes:
        """See SentBody."""
        return self._digest(self.algorithm)

    async def md5(self) -> bytes:
        """See SentBody."""
        return self._digest("md5")

    def _digest(self, algorithm: str) -> bytes:
        expected = self._expected
        is_known = expected.algorithm == algorithm and not expected.parts
        return expected.digest if is_known else digest_of(algorithm, self._data)


class RelayedBody(SentBody):
    """The body of a response, `size` bytes, sent on as it comes. Memory is one chunk of it.

    The last chunk is held back until the bytes are verified: a destination that lacks it stores nothing. `second` is a
    hasher of the caller's, which gets the bytes as well.
    """

    def __init__(
        self,
        response: Response,
        size: int,
        emit: Listener,
        limiter: RequestLimiter,
        *,
        expected: ExpectedDigest | None = None,
        second: Hasher | None = None,
    ) -> None:
        super().__init__(size, emit)
        self._response, self._limiter = response, limiter
        self._expected, self._second = expected, second
        self._verifier = None
        if expected is not None and not _is_md5(expected):  # the md5 is computed anyway
            self._verifier = Verifier(expected)
        self._md5: Hasher | None = None
        #: The name of the verification of all bytes, None where nothing is known of them, or not yet.
        self.verified_by: str | None = None
        #: True once all bytes have come, and are the object's as far as that is known.
        self.is_right = False

    def hash_with(self, algorithm: str) -> None:
        """See SentBody. The md5 is computed too: the bytes can't be read again."""
        super().hash_with(algorithm)
        self._md5 = hasher("md5")

    async def whole(self) -> bytes:
        """See SentBody."""
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limiter, last = self._limiter, b""

        def take(chunk: Chunk) -> bool:
            nonlocal last
            last = bytes(chunk)  # the transport may send it later, and the chunk is written over
            return True

        with limiter.moving_body():
            while await self._response.stream_to(take):
                self._add(last)
                await limiter.throttle(len(last))
                yield last
                limiter.moved(len(last))
        if not self.is_sent:
            raise TruncatedError("the body ended early", code="Truncated")

    def _add(self, chunk: bytes) -> None:
        if self.sent + len(chunk) > self.size:
            raise TruncatedError(f"the body has more than the {self.size:,} bytes that were announced", code="TooLong")
        self.count(chunk)
        for also in (self._verifier, self._second, self._md5):
            if also is not None:
                also.update(chunk)
        if self.is_sent:
            if self._expected is not None:
                self._verify(self._expected)
            self.is_right = True

    def _verify(self, expected: ExpectedDigest) -> None:
        if self._verifier is not None:
            self.verified_by = self._verifier.verify()
            return
        expected.check(self._md5_digest)
        self.verified_by = expected.name

    @property
    def _md5_digest(self) -> bytes:
        return self.digest if self._md5 is None else self._md5.digest()

    async def md5(self) -> bytes:
        """See SentBody."""
        return self._md5_digest


async def md5_of(response: Response, size: int, limiter: RequestLimiter) -> bytes:
    """The md5 of the body of a response, which is read for that alone. Raises TransferError."""
    body = RelayedBody(response, size, lambda _: None, limiter)
    async for _ in body:
        pass
    return await body.md5()


def verify_held(expected: ExpectedDigest, data: bytes) -> str | None:
    """The name of the verification of bytes in memory, see `Verifier`. Raises MismatchError where they are others."""
    return Verifier(expected).verified(lambda: (data,)) if expected.parts else verify_whole(expected, data)


def _is_md5(expected: ExpectedDigest) -> bool:
    return expected.algorithm == "md5" and not expected.parts
