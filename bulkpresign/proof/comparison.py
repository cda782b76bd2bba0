"""Compares two objects by what is known of them, without their bytes."""

import msgspec

from bulkpresign.checksums import ExpectedDigest, expected_digest
from bulkpresign.model import ObjectRef
from bulkpresign.text import counted

ETAG_MISMATCH = "EtagMismatch"
_HINT = " (or one of them is encrypted with a key of KMS or the customer, and its etag is not an md5)"


class Comparison(msgspec.Struct, frozen=True):
    """The result of a comparison. Both are None where only the bytes can tell.

    `verified_by` is the value that is the same: `md5`, `crc64nvme-parts`, or `size` for empty objects. `difference`
    says what differs, `code` is its code: SizeMismatch, ChecksumMismatch or EtagMismatch.
    """

    verified_by: str | None = None
    difference: str | None = None
    code: str = ""


UNKNOWN = Comparison()


def compared(first: ObjectRef, second: ObjectRef) -> Comparison:
    """Compares two objects by size, and by a checksum or an etag that both have.

    Values of parts tell only that two objects are the same: another value can mean parts of other sizes, unless both
    sizes are known.
    """
    if first.size is not None and second.size is not None:
        if first.size != second.size:
            difference = f"{counted(second.size, 'byte')} where there are {first.size:,}"
            return Comparison(difference=difference, code="SizeMismatch")
        if first.size == 0:
            return Comparison(verified_by="size")
    for kind in (_checksum, _etag):
        found = _by_digest(kind(first), kind(second))
        if found is not UNKNOWN:
            return found
    return UNKNOWN


def _checksum(ref: ObjectRef) -> ExpectedDigest:
    return expected_digest(ref) if ref.checksum else ExpectedDigest()


def _etag(ref: ObjectRef) -> ExpectedDigest:
    return expected_digest(msgspec.structs.replace(ref, checksum=None))


def _by_digest(first: ExpectedDigest, second: ExpectedDigest) -> Comparison:
    if first.algorithm is None or (first.algorithm, first.parts) != (second.algorithm, second.parts):
        return UNKNOWN
    if first.digest == second.digest:
        return Comparison(verified_by=first.name)
    if not first.is_split_known or first.part_size != second.part_size:
        return UNKNOWN
    if first.parts == 1 and first.source == "etag":  # MinIO has random ones: see `checksums.sources`
        return UNKNOWN
    difference = f"{first.source} {second.shown(second.digest)} where there is {first.shown(first.digest)}"
    if first.source == "etag":
        return Comparison(difference=difference + _HINT, code=ETAG_MISMATCH)
    return Comparison(difference=difference, code="ChecksumMismatch")
