"""The parts of a copy: ranges of an object elsewhere, each sent on as it comes."""

from binascii import a2b_base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bulkpresign.checksums import Verifier, base64_of, combined_digest, segment_hasher
from bulkpresign.model import UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.copies.body import RelayedBody
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.source import SourceReader, changed
from bulkpresign.transfer.downloads.content_range import check_range
from bulkpresign.transfer.uploads.store import SentBody

#: Digest and size in bytes of a part.
_Segment = tuple[bytes, int]


class ObjectParts:
    """An object as the source of the parts of an upload: see PartSource.

    Every request names the object's etag, so that parts of two objects are never mixed.
    """

    def __init__(self, context: TransferContext, reader: SourceReader, head: ObjectHead) -> None:
        self._context, self._reader, self._head = context, reader, head
        self._size = head.size or 0
        self._segments: dict[int, _Segment] = {}
        #: The name of the verification of all bytes, None where nothing is known of them, or not yet.
        self.verified_by: str | None = None

    def note(self, number: int) -> str:
        """The object's etag, and the part's size and digest: the digest of all bytes is combined of them."""
        digest, size = self._segments.get(number, (b"", 0))
        return f"{self._head.etag or ''} {size} {base64_of(digest)}"

    def is_current(self, number: int, note: str) -> bool:
        """True for a part of this very object."""
        etag, _, rest = note.partition(" ")
        if not self._head.condition or etag != self._head.etag:
            return False
        size, _, digest = rest.partition(" ")
        self._segments[number] = a2b_base64(digest), int(size)
        return True

    async def md5(self, part: UploadPart) -> None:
        """Unknown: the part would have to be read."""

    @asynccontextmanager
    async def body(self, part: UploadPart) -> AsyncIterator[SentBody]:
        """The bytes of a part, as they come."""
        start, stop, head = part.offset, part.offset + part.size, self._head
        segment = segment_hasher(head.expected, start)
        async with AsyncExitStack() as stack:
            asked = {"Range": f"bytes={start}-{stop - 1}", **head.condition}
            response = await self._reader.open(stack, asked)
            if response.etag not in {None, head.etag}:  # some servers ignore If-Match
                raise changed()
            check_range(response.headers, start, stop, self._size)
            yield RelayedBody(response, part.size, self._context.emit, self._context.limiter, segment=segment)
        self._segments[part.number] = (b"" if segment is None else segment.digest()), part.size

    def check_unchanged(self) -> None:
        """Raises MismatchError where the bytes of all parts are not the object's."""
        segments = [self._segments[number] for number in sorted(self._segments)]
        digest = None
        if sum(size for _, size in segments) == self._size and all(digest for digest, _ in segments):
            digest = combined_digest(self._head.expected, segments)
        self.verified_by = Verifier.of_parts(self._head.expected, self._size, digest).verify()
