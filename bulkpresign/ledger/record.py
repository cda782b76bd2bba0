"""The journal's record of an object that is done, and its comparison with a row."""

import sqlite3
from collections.abc import Sequence

import msgspec

from bulkpresign.ledger.identity import identity_of
from bulkpresign.model import ObjectRef

_EARLIER = "FROM earlier JOIN outcomes USING (number)"
_IS_FINISHED = "AND status IN ('done', 'skipped') AND message IS NULL"
_MAX_IDS = 1000


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The journal's record of an object that is done.

    `size`, `mtime_ns` and `ctime_ns` are those of its file (None: there is no file). `claims` are the row's size, etag
    and checksum if they differ from those of the object, see `claims_of`.
    """

    status: str
    verified_by: str | None
    size: int | None
    mtime_ns: int | None
    ctime_ns: int | None
    etag: str | None
    checksum: str | None
    part_size: int | None
    claims: str | None


#: The columns of a record; the first one is the object's identity.
_COLUMNS = "outcomes.id, status, verified_by, size, mtime, ctime, etag, checksum, part_size, said"


def find_records(database: sqlite3.Connection, identities: Sequence[str]) -> dict[str, Record]:
    """The records of those objects that earlier runs completed, by identity.

    An object that was skipped because of an option, such as `--if-exists keep`, is not done.
    """
    found: dict[str, Record] = {}
    for start in range(0, len(identities), _MAX_IDS):
        ids = identities[start : start + _MAX_IDS]
        marks = ",".join("?" * len(ids))
        query = f"SELECT {_COLUMNS} {_EARLIER} WHERE earlier.id IN ({marks}) {_IS_FINISHED}"
        found.update((row[0], Record(*row[1:])) for row in database.execute(query, ids))
    return found


def records_of(database: sqlite3.Connection, endpoint: str, refs: Sequence[ObjectRef]) -> dict[int, Record]:
    """The records of those objects of an endpoint that are done, by their index in `refs`."""
    identities = [identity_of(ref, endpoint) for ref in refs]
    found = find_records(database, identities)
    return {index: found[identity] for index, identity in enumerate(identities) if identity in found}


def contradicts(ref: ObjectRef, record: Record) -> bool:
    """True if a row has another size, etag or checksum than the record.

    Unknown values contradict nothing. Neither does a row with the same claims as when the object was done.
    """
    etag = _etag_of(record)
    if (
        (ref.etag is None or ref.etag == etag or etag is None)
        and (ref.size is None or ref.size == record.size or record.size is None)
        and not checksums_differ(ref.checksum, record.checksum)
    ):
        return False
    return record.claims != claims_of(ref)


def _etag_of(record: Record) -> str | None:
    """The etag of the object, or else that of its row: not every server answers a PUT with an etag."""
    if record.etag is not None or record.claims is None:
        return record.etag
    return record.claims.partition(" ")[2].rpartition(" ")[0] or None


def claims_of(ref: ObjectRef) -> str:
    """The size, etag and checksum of a row, as one text."""
    return f"{'' if ref.size is None else ref.size} {ref.etag or ''} {ref.checksum or ''}"


def checksums_differ(row: str | None, recorded: str | None) -> bool:
    """True for different values of one algorithm, both composite or both of the whole object."""
    if row is None or recorded is None or row == recorded:
        return False
    return row.partition(":")[0] == recorded.partition(":")[0] and ("-" in row) == ("-" in recorded)
