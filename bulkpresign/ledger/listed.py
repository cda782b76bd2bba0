"""The objects of a listing, looked up by key, in flat memory and in whatever order they came."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, Self

from bulkpresign.errors import OutputError
from bulkpresign.ledger.paths import temporary_database
from bulkpresign.model import ObjectRef

_LOOK_UP = 1000


class Listed(NamedTuple):
    """Size (bytes) and etag (without quotes) of an object, as its listing tells."""

    size: int
    etag: str


class ListedObjects:
    """An index of listed objects. Use as a context manager; nothing is left behind however the run ends."""

    def __init__(self) -> None:
        self._database = temporary_database()
        self._database.execute("CREATE TABLE listed (key TEXT PRIMARY KEY, size INTEGER, etag TEXT) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add(self, refs: Sequence[ObjectRef]) -> None:
        """Adds a page. Raises OutputError where the temporary file can't be written."""
        rows = [(ref.key, ref.size, ref.etag or "") for ref in refs]
        try:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?, ?)", rows)
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise OutputError(f"the temporary index of a listing: {error}; TMPDIR tells where it goes") from error

    def find(self, keys: Sequence[str]) -> dict[str, Listed]:
        """Those of some keys that are listed."""
        found: dict[str, Listed] = {}
        for at in range(0, len(keys), _LOOK_UP):
            some = keys[at : at + _LOOK_UP]
            query = f"SELECT key, size, etag FROM listed WHERE key IN ({','.join('?' * len(some))})"  # noqa: S608
            found.update((key, Listed(size, etag)) for key, size, etag in self._database.execute(query, some))
        return found
