"""The objects of a comparison: entries of a side, as rows that are sorted by path, and pairs of both sides."""

import msgspec

from bulkpresign.checksums import expected_digest
from bulkpresign.checksums.sources import PART_SIZE_COLUMN
from bulkpresign.model import Link, ObjectRef
from bulkpresign.tables.sorting import Keyed

#: The algorithm for objects of which no checksum is known.
ALGORITHM = "sha256"


class _StoredRef(ObjectRef, frozen=True, array_like=True, gc=False):
    """An object without the names of its fields, which takes a third of the space."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An object of a side. Its path is the key of its row, and not stored twice.

    `link` is the GET link that a manifest has for it. `location` is the row of a manifest, such as `keys.csv:3`. With
    `is_left_out`, it does not pass the filters. With `is_told`, its server was asked, so that its etag is of its bytes.
    """

    stored: _StoredRef
    location: str = ""
    link: Link | None = None
    is_file: bool = False
    is_left_out: bool = False
    is_told: bool = False

    @property
    def name(self) -> str:
        """Its name in messages: the location of its row, or its uri."""
        return self.location or self.stored.uri

    @property
    def has_md5(self) -> bool:
        """True if its etag is known to be the md5 of its bytes, and not one of parts, whose sizes may be guessed."""
        return self.is_told and "-" not in (self.stored.etag or "")

    @property
    def can_be_read(self) -> bool:
        """True if its bytes can be requested from a server."""
        return self.link is not None or bool(self.stored.bucket and self.stored.key)

    @property
    def algorithm(self) -> str | None:
        """The algorithm of its checksum. None if that is unknown, or one of parts."""
        if self.stored.checksum is None:
            return None
        digest = expected_digest(self.stored)
        return None if digest.parts else digest.algorithm

    @property
    def size(self) -> int | None:
        """Its size in bytes, None if unknown."""
        return self.stored.size

    def ref(self, path: str) -> ObjectRef:
        """The object, with its path."""
        at = self.stored
        return ObjectRef(
            at.bucket, at.key, at.version_id, at.size, at.etag, at.checksum, at.content_type, path, at.extra
        )


class Pair(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An object on both sides."""

    one: Entry
    other: Entry

    @property
    def sides(self) -> tuple[Entry, Entry]:
        """Both."""
        return self.one, self.other

    @property
    def is_one_object(self) -> bool:
        """True if both are one object, as far as their servers are one, and neither has a link of its own."""
        (one, other), links = (entry.stored for entry in self.sides), (self.one.link, self.other.link)
        names = (one.bucket, one.key, one.version_id), (other.bucket, other.key, other.version_id)
        return bool(one.key) and names[0] == names[1] and links == (None, None)

    @property
    def has_file(self) -> bool:
        """True if one of them is a local file."""
        return self.one.is_file or self.other.is_file

    @property
    def etags_prove(self) -> bool:
        """True if different etags prove that the two differ: no reading is needed, or possible."""
        return all(entry.is_file or entry.has_md5 or not entry.can_be_read for entry in self.sides)

    def without_part_sizes(self) -> "Pair":
        """The same, to be read: an etag of parts of guessed sizes is no reason to refuse what was read."""
        return Pair(*map(_without_part_size, self.sides))

    @property
    def size(self) -> int | None:
        """The size of both, None if it is unknown."""
        return self.one.size if self.other.size is None else self.other.size

    @property
    def known(self) -> Entry | None:
        """The one with a checksum of all its bytes, which is not read; None if neither has one.

        If both have one, it is the one that can't be read, if there is such.
        """
        by_need = sorted(self.sides, key=lambda entry: entry.can_be_read)
        return next((entry for entry in by_need if entry.algorithm), None)

    @property
    def algorithm(self) -> str:
        """The algorithm of the digest by which the two are compared."""
        return (self.known and self.known.algorithm) or ALGORITHM

    @property
    def unread(self) -> list[Entry]:
        """Those that have to be read through links."""
        known = self.known
        return [entry for entry in self.sides if not entry.is_file and entry is not known]


def _without_part_size(entry: Entry) -> Entry:
    if PART_SIZE_COLUMN not in (extra := entry.stored.extra or {}):
        return entry
    others = {name: value for name, value in extra.items() if name != PART_SIZE_COLUMN}
    return msgspec.structs.replace(entry, stored=msgspec.structs.replace(entry.stored, extra=others or None))


def keyed(ref: ObjectRef, location: str = "", link: Link | None = None, *, is_file: bool = False) -> Keyed[Entry]:
    """The row of an object."""
    stored = _StoredRef(
        ref.bucket, ref.key, ref.version_id, ref.size, ref.etag, ref.checksum, ref.content_type, None, ref.extra
    )
    return key_of(ref.file_path), Entry(stored, location, link, is_file)


def key_of(path: str) -> bytes:
    """A path as the key of a row: UTF-8; names of files that are not UTF-8 keep their bytes."""
    return path.encode("utf-8", "surrogateescape")


def path_of(key: bytes) -> str:
    """The path of a row."""
    return key.decode("utf-8", "surrogateescape")
