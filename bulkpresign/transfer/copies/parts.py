"""The parts of a copy: ranges of an object elsewhere, each sent on as it comes."""

from binascii import a2b_base64
from contextlib import AsyncExitStack

from bulkpresign.checksums import Verifier, base64_of, combined_digest, expected_digest, segment_hasher
from bulkpresign.model import Link, ObjectRef, UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.copies.body import RelayedBody
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.source import SourceReader, changed
from bulkpresign.transfer.downloads.content_range import check_range
from bulkpresign.transfer.uploads.store import store

#: Digest and size in bytes of a part.
_Segment = tuple[bytes, int]


class ObjectParts:
    """An object as the source of the parts of an upload: see PartSource.

    Every request names the object's etag, so that parts of two objects are never mixed. With `is_hashed` False the
    bytes are not hashed: the etag of the copy, which is made of those of its parts, is to be the object's.
    """

    def __init__(self, context: TransferContext, reader: SourceReader, head: ObjectHead, *, is_hashed: bool) -> None:
        self._context, self._reader, self._head, self._is_hashed = context, reader, head, is_hashed
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
        if not rest or not self._head.condition or etag != self._head.etag:
            return False
        size, _, digest = rest.partition(" ")
        self._segments[number] = a2b_base64(digest), int(size)
        return True

    async def md5(self, part: UploadPart) -> None:
        """Unknown: the part would have to be read."""

    async def store(self, link: Link, part: UploadPart) -> str | None:
        """Sends the bytes of a part on as they come."""
        start, stop, head, context = part.offset, part.offset + part.size, self._head, self._context
        segment = segment_hasher(head.expected, start) if self._is_hashed else None
        async with AsyncExitStack() as stack:
            response = await self._reader.open(stack, {"Range": f"bytes={start}-{stop - 1}", **head.condition})
            if response.etag not in {None, head.etag}:  # some servers ignore If-Match
                raise changed()
            check_range(response.headers, start, stop, self._size)
            body = RelayedBody(response, part.size, context.emit, context.limiter, second=segment)
            body.is_hashed = self._is_hashed
            stored = await store(context.http, link, body)
        self._segments[part.number] = (b"" if segment is None else segment.digest()), part.size
        return stored.etag

    def check_etag(self, etag: str | None) -> None:
        """Raises MismatchError where the etag alone can tell whether a copy is right, and says that it is not."""
        structure = self._head.structure
        if not self._is_hashed and etag != self._head.etag and etag is not None:
            digest = expected_digest(ObjectRef("", "", etag=etag))
            if digest.parts == structure.parts:
                structure.check(digest.digest)

    def check_unchanged(self) -> None:
        """Raises MismatchError where the bytes of all parts are not the object's."""
        segments = [self._segments[number] for number in sorted(self._segments)]
        digest = None
        if sum(size for _, size in segments) == self._size and all(digest for digest, _ in segments):
            digest = combined_digest(self._head.expected, segments)
        self.verified_by = Verifier.of_parts(self._head.expected, self._size, digest).verify()
