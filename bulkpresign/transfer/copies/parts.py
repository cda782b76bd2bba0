"""The parts of a copy: ranges of an object elsewhere, each sent on as it comes."""

from binascii import a2b_base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio

from bulkpresign.checksums import (
    ALGORITHMS,
    ExpectedDigest,
    Hasher,
    Verifier,
    base64_of,
    combined_digest,
    digest_of,
    expected_digest,
    segment_hasher,
)
from bulkpresign.errors import RefusedError, TruncatedError
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.http.s3_errors import NO_DIGEST
from bulkpresign.model import Link, UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import SignPut
from bulkpresign.transfer.copies.body import HeldBody, RelayedBody, md5_of
from bulkpresign.transfer.copies.composite import Composite
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.copies.source import SourceReader, changed
from bulkpresign.transfer.downloads.content_range import check_range
from bulkpresign.transfer.uploads.store import ANY_OBJECT, REFUSES_HEADERS, Stored, md5_header, store

#: Digest and size in bytes of a part.
_Segment = tuple[bytes, int]


class ObjectParts:
    """An object as the source of the parts of an upload: see PartSource.

    Every request names the object's etag, so that parts of two objects are never mixed. With `is_hashed` False the
    bytes are not hashed: the etag of the copy, which is made of those of its parts, is to be the object's. `composite`
    are the checksums of the parts, where they are sent with them. `sign` signs the links of parts with more headers,
    None where nobody can: with it, a part is read twice where the destination wants its md5 before its bytes.
    """

    def __init__(
        self,
        context: TransferContext,
        reader: SourceReader,
        head: ObjectHead,
        settings: CopySettings,
        *,
        is_hashed: bool,
        composite: Composite | None = None,
        sign: SignPut | None = None,
    ) -> None:
        self.composite = composite
        self._context, self._reader, self._head, self._is_hashed = context, reader, head, is_hashed
        self._settings, self._sign = settings, sign
        self._size = head.size or 0
        self._segments: dict[int, _Segment] = {}
        #: The name of the verification of all bytes, None where nothing is known of them, or not yet.
        self.verified_by: str | None = None

    def note(self, number: int) -> str:
        """The object's etag, and the part's size and digest: the digest of all bytes is combined of them.

        With a composite, the part's checksum follows.
        """
        digest, size = self._segments.get(number, (b"", 0))
        return f"{self._head.etag or ''} {size} {base64_of(digest)} {self.checksum(number) or ''}".rstrip()

    def is_current(self, number: int, note: str) -> bool:
        """True for a part of this very object, whose checksum is known where it is needed."""
        etag, *rest = note.split(" ")
        if not rest or not self._head.condition or etag != self._head.etag:
            return False
        size, digest, checksum = [*rest, "", ""][:3]
        if self.composite is not None and not self.composite.restore(number, checksum):
            return False
        self._segments[number] = a2b_base64(digest), int(size)
        return True

    def forget(self) -> None:
        """See PartSource."""
        self._segments.clear()
        if self.composite is not None:
            self.composite.forget()

    def checksum(self, number: int) -> str | None:
        """See PartSource."""
        return None if self.composite is None else self.composite.checksum(number)

    async def md5(self, part: UploadPart) -> None:
        """Unknown: the part would have to be read."""

    async def store(self, link: Link, part: UploadPart) -> str | None:
        """Sends the bytes of a part on, again with their md5 where the destination takes nothing without a digest."""
        try:
            return await self._hashed(link, part)
        except RefusedError as error:
            if self._sign is None or error.code != NO_DIGEST:
                raise
            self._settings.learn_md5(self._reader.object, error, self._context.emit)
        return await self._hashed(link, part)

    async def _hashed(self, link: Link, part: UploadPart) -> str | None:
        segment = segment_hasher(self._head.expected, part.offset) if self._is_hashed else None
        stored = await self._sent(link, part, segment)
        self._segments[part.number] = (b"" if segment is None else segment.digest()), part.size
        return stored.etag

    async def _sent(self, link: Link, part: UploadPart, segment: Hasher | None) -> Stored:
        """Sends the bytes of a part as they come. `segment` gets them as well."""
        context = self._context
        if self._settings.sends_md5 and self._sign is not None:
            async with self._opened(part) as response:
                md5 = await md5_of(response, part.size, context.limiter)
            link = await self._sign(link, md5_header(md5))
        async with self._opened(part) as response:
            body = RelayedBody(response, part.size, context.emit, context.limiter, second=segment)
            body.is_hashed = self._is_hashed
            return await store(context.http, link, body)

    @asynccontextmanager
    async def _opened(self, part: UploadPart) -> AsyncIterator[Response]:
        """The response with the bytes of a part."""
        start, stop = part.offset, part.offset + part.size
        async with AsyncExitStack() as stack:
            response = await self._reader.open(stack, {"Range": f"bytes={start}-{stop - 1}", **self._head.condition})
            if response.etag not in {None, self._head.etag}:  # some servers ignore If-Match
                raise changed()
            check_range(response.headers, start, stop, self._size)
            yield response

    def check_etag(self, etag: str | None, etag_kind: Mapping[str, str]) -> None:
        """Raises MismatchError where the etag alone can tell whether a copy is right, and says that it is not.

        `etag_kind` are the headers that tell whether it is made of md5s: under a key of KMS it is not.
        """
        structure = self._head.structure
        if not self._is_hashed and etag != self._head.etag:
            digest = expected_digest(ANY_OBJECT, etag, etag_kind)
            if digest.parts == structure.parts:
                structure.check(digest.digest)

    def check_unchanged(self) -> None:
        """Raises MismatchError where the bytes of all parts are not the object's."""
        segments = [self._segments[number] for number in sorted(self._segments)]
        digest = None
        if sum(size for _, size in segments) == self._size and all(digest for digest, _ in segments):
            digest = combined_digest(self._head.expected, segments)
        self.verified_by = Verifier.of_parts(self._head.expected, self._size, digest).verify()


class HeldObjectParts(ObjectParts):
    """The same, each part held in memory and sent with its checksum, or else its md5. `hold` is entered while it is.

    With `compares_etags`, the etag of each part is compared with the md5 of its bytes, which takes more time than all
    the rest: that is for copies whose own etag proves nothing.
    """

    def __init__(
        self,
        context: TransferContext,
        reader: SourceReader,
        head: ObjectHead,
        settings: CopySettings,
        *,
        compares_etags: bool,
        composite: Composite | None,
        hold: anyio.Semaphore,
        sign: SignPut,
    ) -> None:
        super().__init__(context, reader, head, settings, is_hashed=True, composite=composite, sign=sign)
        self._compares_etags, self._hold, self._sign_part = compares_etags, hold, sign

    async def _sent(self, link: Link, part: UploadPart, segment: Hasher | None) -> Stored:
        composite = self.composite
        if composite is None and not self._settings.sends_md5:
            return await super()._sent(link, part, segment)
        async with self._hold:
            data = await self._read(part)
            if segment is not None:
                segment.update(data)
            if composite is None:
                return await self._sent_with_md5(link, data, segment)
            digest = self._digest(composite.algorithm, data, segment)
            composite.add(part.number, digest)
            body = partial(self._body, data, composite.algorithm, digest)
            try:
                signed = await self._sign_part(link, composite.header(digest))
                return await store(self._context.http, signed, body())
            except RefusedError as error:
                if error.status not in REFUSES_HEADERS:
                    raise
            self.composite = None  # the server knows no such checksums
            return await store(self._context.http, link, body())

    async def _sent_with_md5(self, link: Link, data: memoryview, segment: Hasher | None) -> Stored:
        digest = self._digest("md5", data, segment)
        signed = await self._sign_part(link, md5_header(digest))
        return await store(self._context.http, signed, self._body(data, "md5", digest))

    async def _read(self, part: UploadPart) -> memoryview:
        """The bytes of a part."""
        limiter = self._context.limiter
        data, end, last = memoryview(bytearray(part.size)), 0, 0

        def take(chunk: Chunk) -> bool:
            nonlocal end, last
            last = len(chunk)
            end += last
            if end <= part.size:
                data[end - last : end] = chunk
                limiter.moved(last)
            return limiter.limits_rate or end > part.size

        async with self._opened(part) as response:
            with limiter.moving_body():
                while await response.stream_to(take) and end <= part.size:
                    await limiter.throttle(last)
        if end != part.size:
            raise TruncatedError(f"a part of {part.size:,} bytes came with {end:,}", code="Truncated")
        return data

    def _body(self, data: memoryview, algorithm: str, digest: bytes) -> HeldBody:
        known = ExpectedDigest(len(data), algorithm, digest)
        return HeldBody(data, self._context.emit, known, is_hashed=self._compares_etags)

    def _digest(self, algorithm: str, data: memoryview, segment: Hasher | None) -> bytes:
        """The digest of a part. `segment` has it already where the part is one part of the object."""
        if segment is not None and algorithm == self._head.expected.algorithm:
            digests = segment.digest()
            if len(digests) == ALGORITHMS[algorithm]:
                return digests
        return digest_of(algorithm, data)
