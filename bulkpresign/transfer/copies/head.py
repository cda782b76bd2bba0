"""Reads what the response to a GET tells of the object that is copied, and decides how it is copied. No I/O.

Source: docs "GetObject", "PutObject".
"""

from collections.abc import Mapping

import msgspec

from bulkpresign.checksums import COMBINABLE, ExpectedDigest, expected_digest
from bulkpresign.http.response import etag_kind_of
from bulkpresign.limits import MAX_PART_SIZE, MAX_REQUEST_SIZE, allowed_part_size
from bulkpresign.model import Link, ObjectRef
from bulkpresign.transfer.copies.tags import TAGGING, has_tags, signs_tags
from bulkpresign.transfer.downloads.ranges import is_strong
from bulkpresign.transfer.downloads.responses import digest_of_whole
from bulkpresign.transfer.engine.part_sizes import LARGE_UPLOAD, usual_part_size
from bulkpresign.transfer.uploads.parts import full_object_headers

_KEPT = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_METADATA = "x-amz-meta-"
#: The encoding of a signed upload in chunks. Some servers store it with the object, whose bytes do not have it.
_TRANSFER_ENCODING = "aws-chunked"


class ObjectHead(msgspec.Struct, frozen=True):
    """The attributes of an object that a response with all of it tells.

    `size` is in bytes, None where it is not announced; `etag` has no quotes. `expected` is the digest of its bytes,
    `structure` that of the etag of its row, else of its own, which tells the parts that it was uploaded in. `kept` are
    the headers that its copy has too. `has_tags` is True for an object with tags; `tags` are these as
    `name=value&name=value`, quoted, once they were read.
    """

    size: int | None
    etag: str | None
    expected: ExpectedDigest
    structure: ExpectedDigest
    kept: Mapping[str, str]
    has_tags: bool = False
    tags: str | None = None

    @classmethod
    def of(cls, link: Link, size: int | None, etag: str | None, headers: Mapping[str, str]) -> "ObjectHead":
        """The head of a response with the object of a link. Raises the errors of `digest_of_whole`."""
        expected = digest_of_whole(link, etag, headers, size)
        structure = expected
        if expected.source == "checksum":
            structure = expected_digest(ObjectRef("", "", size=size), etag, etag_kind_of(headers))
        return cls(size, etag, expected, structure, kept_headers(headers), has_tags(headers))

    @property
    def condition(self) -> Mapping[str, str]:
        """The header with which a further request fails for any other object; none where its etag can't tell."""
        return {"If-Match": f'"{self.etag}"'} if is_strong(self.etag) else {}

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers with which the copy is stored: those that it keeps, and its tags."""
        return {**self.kept, TAGGING: self.tags} if self.tags else self.kept

    @property
    def has_unknown_tags(self) -> bool:
        """True if the object has tags, and they could not be read."""
        return self.has_tags and self.tags is None

    def loses_tags(self, link: Link) -> bool:
        """True if the object has tags, and a copy through this PUT link gets none."""
        return self.has_tags and not signs_tags(link)

    @property
    def is_split_known(self) -> bool:
        """True if a copy in the same parts must have the same etag, which then proves it."""
        return self.structure.parts > 1 and self.structure.part_size is not None and bool(self.condition)

    def split(self, part_size: int | None) -> "ObjectHead":
        """The same head, once the size of the parts of the object is known."""
        structure, size = self.structure, self.size or 0
        if self.expected.changed is not None and self.expected.source == "etag":  # the etag of the row: of other parts
            return self
        if part_size is None or -(-size // part_size) != structure.parts:
            return self
        structure = msgspec.structs.replace(structure, part_size=part_size)
        is_same = self.expected.parts == structure.parts
        expected = msgspec.structs.replace(self.expected, part_size=part_size) if is_same else self.expected
        return msgspec.structs.replace(self, structure=structure, expected=expected)

    @property
    def composite_algorithm(self) -> str | None:
        """The algorithm of a checksum of parts, None without one."""
        expected = self.expected
        return expected.algorithm if expected.checksum is not None and expected.parts else None

    def part_size(self, wanted: int | None) -> int | None:
        """Bytes of each part, None for an object that is copied in one request.

        An object that was uploaded in parts is copied in the same parts, so that both have the same etag. One whose
        only digest is that of all its bytes in order, such as an md5, is copied in one request, which proves it.
        `wanted` is a size that the caller gives. Parts are larger where there would be more of them than S3 allows.
        """
        size = self.size or 0
        if wanted is not None:
            return allowed_part_size(size, wanted) if size > wanted else None
        own = self.structure.likeliest_part_size if self.structure.parts else None
        if own is not None and own <= MAX_PART_SIZE and (own == allowed_part_size(size, own) or own >= size > 0):
            return own
        if size <= LARGE_UPLOAD or (size <= MAX_REQUEST_SIZE and not self.expected.is_divisible):
            return None
        return usual_part_size(size)


def is_copied_in_parts(ref: ObjectRef, wanted: int | None) -> bool:
    """True if the row of an object tells that its server can copy it in parts alone, or should."""
    size = ref.size or 0
    return expected_digest(ObjectRef("", "", etag=ref.etag)).parts > 0 or size > (wanted or MAX_REQUEST_SIZE)


def whole_checksum_headers(expected: ExpectedDigest) -> dict[str, str]:
    """The headers with which an upload in parts has the checksum of all bytes that its object has, none without one."""
    if expected.checksum is None or expected.parts or expected.algorithm not in COMBINABLE:
        return {}
    return full_object_headers(expected.algorithm)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an object that its copy has too: its type, how it is cached and shown, and its metadata.

    `headers` are those of a response, with names in lower case and values in latin-1. Servers send metadata outside of
    ASCII as UTF-8, and AWS as RFC 2047; either goes on as it came.
    """
    kept = {name: _sent(headers[name]) for name in _KEPT if headers.get(name)}
    kept.update((name, _sent(value)) for name, value in headers.items() if name.startswith(_METADATA))
    if "content-encoding" in kept:
        encodings = [one.strip() for one in kept.pop("content-encoding").split(",")]
        if own := [one for one in encodings if one and one != _TRANSFER_ENCODING]:
            kept["content-encoding"] = ",".join(own)
    return kept


def _sent(value: str) -> str:
    """The text whose bytes, in UTF-8, are those that came. Requests are sent in UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value
