"""The digest and size that an object's bytes must have."""

from typing import Literal

import msgspec

from bulkpresign.checksums.algorithms import COMBINABLE, base64_of
from bulkpresign.checksums.part_size import part_sizes
from bulkpresign.errors import MismatchError, RefusedError
from bulkpresign.text import counted

#: The code of an object that is not the one of its row.
CHANGED = "ObjectChanged"


class ExpectedDigest(msgspec.Struct, frozen=True, gc=False):
    """The digest and size that an object's bytes must have.

    `size` in bytes, None if unknown. `algorithm` is None if only the size is known. `digest` is the binary value.
    `parts` is the number of parts of a composite value (0: a value of the whole object); each part has `part_size`
    bytes but the last (None: unknown). `source` tells whether the value was a checksum or an etag.
    `changed` is for an object whose etag is not that of its row (None: it is): bytes that nothing proves are those of
    another object, and this is the message of their RefusedError, which takes the place of a MismatchError.
    """

    size: int | None = None
    algorithm: str | None = None
    digest: bytes = b""
    parts: int = 0
    part_size: int | None = None
    source: Literal["checksum", "etag"] = "checksum"
    changed: str | None = None

    @property
    def name(self) -> str | None:
        """The name of the verification, if it succeeds: `crc64nvme`, `md5-parts`, `size`, or None for nothing."""
        if self.algorithm is None:
            return self.size_name
        return f"{self.algorithm}-parts" if self.parts else self.algorithm

    @property
    def is_split_known(self) -> bool:
        """True if another value proves other bytes: it is of the whole object, or of parts of a known size."""
        return not self.parts or self.part_size is not None

    @property
    def is_divisible(self) -> bool:
        """True if the value can be computed from parts that arrive in any order, or if no value is computed."""
        return self.algorithm is None or self.parts > 0 or self.algorithm in COMBINABLE

    @property
    def is_slow(self) -> bool:
        """True if hashing is slower than the transfer, at about 1 s per GB, so that it needs a thread of its own."""
        return self.algorithm is not None and self.algorithm not in COMBINABLE

    @property
    def likeliest_part_size(self) -> int | None:
        """The known or the likeliest part size of a composite value. None if it has no parts, or if no size fits."""
        if self.part_size is None and self.size is not None:
            return next(iter(part_sizes(self.size, self.parts)), None) if self.parts else None
        return self.part_size

    @property
    def checksum(self) -> str | None:
        """The value for a manifest's column `checksum`, as `algorithm:base64`. None if it is not a checksum."""
        return f"{self.algorithm}:{self.shown(self.digest)}" if self.algorithm and self.source == "checksum" else None

    @property
    def size_name(self) -> str | None:
        """`size`, or None if the size is unknown."""
        return None if self.size is None else "size"

    def shown(self, digest: bytes) -> str:
        """A binary value as S3 writes it: an etag in hex, a checksum in base64, the number of parts appended."""
        text = digest.hex() if self.source == "etag" else base64_of(digest)
        return f"{text}-{self.parts}" if self.parts else text

    def check_size(self, size: int) -> None:
        """Raises MismatchError for another size, and for fewer bytes than the value has parts."""
        if self.size is not None and size != self.size:
            found = f"there {'is' if size == 1 else 'are'} {counted(size, 'byte')}"
            raise self._error(f"{found} where {self.size:,} are expected", "SizeMismatch")
        if self.parts > max(size, 1):
            parts = f"the {self.source} is of {self.parts:,} parts, the object has {counted(size, 'byte')}"
            raise self._error(f"{parts}, so it is not this object's", self._mismatch)

    def check(self, digest: bytes) -> None:
        """Raises MismatchError if the bytes have another value."""
        if digest != self.digest:
            found, expected = self.shown(digest), self.shown(self.digest)
            message = f"the bytes have {self.name} {found}, the {self.source} is {expected}"
            raise self._error(message, self._mismatch)

    def settled(self, verified_by: str | None) -> str | None:
        """The name of the verification of all bytes. Raises RefusedError where they have to be proven, and are not."""
        if self.changed is not None and verified_by != self.name:
            raise RefusedError(self.changed, code=CHANGED)
        return verified_by

    def _error(self, message: str, code: str) -> MismatchError | RefusedError:
        if self.changed is not None:
            return RefusedError(self.changed, code=CHANGED)
        return MismatchError(message, code=code)

    @property
    def _mismatch(self) -> str:
        return "EtagMismatch" if self.source == "etag" else "ChecksumMismatch"
