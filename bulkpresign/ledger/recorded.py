"""The record of an object that is done, and whether a row contradicts it."""

import msgspec

from bulkpresign.model import ObjectRef


class Recorded(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the journal has of an object that is done.

    `size`, `mtime_ns` and `ctime_ns` are those of its file (None: there is none); `said` is what its row claimed, where
    that differs from what was found.
    """

    status: str
    verified_by: str | None
    size: int | None
    mtime_ns: int | None
    ctime_ns: int | None
    etag: str | None
    checksum: str | None
    part_size: int | None
    said: str | None


#: The columns of a record, the object's name first.
RECORDED_COLUMNS = "id, status, verified_by, size, mtime, ctime, etag, checksum, part_size, said"


def contradicts(ref: ObjectRef, recorded: Recorded) -> bool:
    """True where a row says something else of its object than what was recorded.

    A row that knows nothing contradicts nothing, and neither does one that says what it said when the object was done.
    """
    if (
        (ref.etag is None or ref.etag == recorded.etag or recorded.etag is None)
        and (ref.size is None or ref.size == recorded.size or recorded.size is None)
        and not _checksums_differ(ref.checksum, recorded.checksum)
    ):
        return False
    return recorded.said != claims_of(ref)


def _checksums_differ(said: str | None, recorded: str | None) -> bool:
    """True for two values of one algorithm and one kind, of the whole or of parts, that are not the same."""
    if said is None or recorded is None or said == recorded:
        return False
    return said.partition(":")[0] == recorded.partition(":")[0] and ("-" in said) == ("-" in recorded)


def claims_of(ref: ObjectRef) -> str:
    """The size, etag and checksum that a row claims, as one text."""
    return f"{'' if ref.size is None else ref.size} {ref.etag or ''} {ref.checksum or ''}"
