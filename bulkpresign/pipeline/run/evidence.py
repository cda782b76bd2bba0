"""The checksums that a journal recorded when objects were downloaded, for a later check of their files."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from bulkpresign.errors import JournalError
from bulkpresign.ledger.journal import open_read_only
from bulkpresign.ledger.record import Record, contradicts, records_of
from bulkpresign.pipeline.run.journals import journal_of
from bulkpresign.proof.files import Row


class JournalEvidence:
    """Adds to rows the checksums, etags and part sizes that a download recorded. Use as a context manager.

    The journal is the one beside the folder, if there is one, or the one given. Raises JournalError for a given file
    that is not a journal.
    """

    def __init__(self, given: str | os.PathLike[str] | None, folder: Path) -> None:
        self._database: sqlite3.Connection | None = None
        self._endpoints: list[str] = []
        self._given, self._folder = given, folder

    def __enter__(self) -> Self:
        file = self._file()
        if file is not None:
            try:
                self._database = open_read_only(file)
                self._endpoints = list(_endpoints(self._database))
            except JournalError:
                if self._given is not None:
                    raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._database is not None:
            self._database.close()

    def _file(self) -> Path | None:
        if self._given is not None:
            return Path(self._given)
        if not Path(os.path.realpath(self._folder)).name:
            return None
        file = journal_of(None, "get", self._folder, "").file
        return file if file.is_file() else None

    def added_to(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The same rows, with what the journal has of them where the row does not say otherwise."""
        if self._database is None:
            return rows
        known: dict[int, Record] = {}
        for endpoint in self._endpoints:
            found = records_of(self._database, endpoint, [row.ref for row in rows])
            known.update((index, found[index]) for index in found)
        return [_with(row, known.get(index)) for index, row in enumerate(rows)]


def _with(row: Row, recorded: Record | None) -> Row:
    """The row with what was recorded.

    An etag that proved nothing when the bytes came, such as one under a key of KMS, proves nothing of the file.
    """
    ref = row.ref
    if recorded is None or contradicts(ref, recorded):
        return row
    known = msgspec.structs.replace(
        ref,
        size=recorded.size if ref.size is None else ref.size,
        etag=None if recorded.verified_by == "size" else ref.etag or recorded.etag,
        checksum=ref.checksum or recorded.checksum,
    )
    return row._replace(recorded=known, part_size=recorded.part_size or None)


def _endpoints(database: sqlite3.Connection) -> Iterator[str]:
    """The endpoints of all objects: each is the beginning of their names, so the next one is found by one look."""
    after = ""
    while found := database.execute("SELECT id FROM earlier WHERE id >= ? ORDER BY id LIMIT 1", (after,)).fetchone():
        endpoint = found[0].partition("\0")[0]
        yield endpoint
        after = f"{endpoint}\1"
