"""An index of a listing's objects by key, in constant memory, in any order."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from bulkpresign.errors import OutputError
from bulkpresign.model import ObjectRef
from bulkpresign.tables.temporary import temporary_database

_MAX_KEYS = 1000


class ListedObject(NamedTuple):
    """The size (bytes) and etag (without quotes) of an object in a listing."""

    size: int
    etag: str


class ListingIndex:
    """An index of listed objects in a temporary file without a name. Use as a context manager."""

    def __init__(self) -> None:
        self._database = temporary_database()
        #: True if no object was listed.
        self.is_empty = True
        self._database.execute(
            "CREATE TABLE listed (key TEXT PRIMARY KEY, size INTEGER, etag TEXT, marked) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add(self, refs: Sequence[ObjectRef]) -> None:
        """Adds a page of objects. Raises OutputError if the temporary file can't be written."""
        rows = [(ref.key, ref.size, ref.etag or "") for ref in refs]
        self.is_empty = self.is_empty and not rows
        try:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?, ?, NULL)", rows)
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the temporary index of a listing can't be written: {error}; TMPDIR sets its folder"
            ) from error

    def find(self, keys: Sequence[str]) -> dict[str, ListedObject]:
        """The listed objects among some keys, by key."""
        found: dict[str, ListedObject] = {}
        for at in range(0, len(keys), _MAX_KEYS):
            some = keys[at : at + _MAX_KEYS]
            query = f"SELECT key, size, etag FROM listed WHERE key IN ({','.join('?' * len(some))})"  # noqa: S608
            found.update((key, ListedObject(size, etag)) for key, size, etag in self._database.execute(query, some))
        return found

    def mark(self, keys: Sequence[str]) -> None:
        """Marks those keys that are listed."""
        self._database.execute("BEGIN")
        self._database.executemany("UPDATE listed SET marked = 1 WHERE key = ?", [(key,) for key in keys])
        self._database.execute("COMMIT")

    def unmarked(self) -> Iterator[list[tuple[str, ListedObject]]]:
        """The listed keys that are not marked, in order, in batches."""
        rows = self._database.execute("SELECT key, size, etag FROM listed WHERE marked IS NULL ORDER BY key")
        while some := rows.fetchmany(_MAX_KEYS):
            yield [(key, ListedObject(size, etag)) for key, size, etag in some]
