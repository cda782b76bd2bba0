"""Which paths are taken, for any number of them in flat memory."""

import sqlite3
from collections.abc import Sequence
from typing import Self

from bulkpresign.errors import OutputError

#: SQLite's page cache in KiB; the index itself lies in a temporary file.
_CACHE_KIB = 32 * 1024


def temporary_database() -> sqlite3.Connection:
    """A database that spills to a file without a name, so nothing is left behind however the run ends."""
    database = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode=MEMORY", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")
    return database


class PathIndex:
    """Finds two rows that would land on one path."""

    def __init__(self) -> None:
        self._database = temporary_database()
        self._database.execute("CREATE TABLE taken (path TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add(self, rows: Sequence[tuple[str, str]]) -> tuple[str, str, str] | None:
        """Takes paths, each with its place (`keys.csv:3`), up to the first that is taken.

        Returns that path, the place that has it, and the place that wants it; None where all were free. Raises
        OutputError where the temporary file can't be written.
        """
        try:
            clash = None if self._add_all(rows) else self._add_each(rows)
        except sqlite3.OperationalError as error:
            raise OutputError(f"the temporary index of paths: {error}; TMPDIR tells where it goes") from error
        return clash

    def _add_all(self, rows: Sequence[tuple[str, str]]) -> bool:
        """Takes all paths at once, or none of them where one is taken."""
        self._database.execute("BEGIN")
        try:
            self._database.executemany("INSERT INTO taken VALUES (?, ?)", rows)
        except sqlite3.IntegrityError:
            self._database.execute("ROLLBACK")
            return False
        self._database.execute("COMMIT")
        return True

    def _add_each(self, rows: Sequence[tuple[str, str]]) -> tuple[str, str, str] | None:
        for path, place in rows:
            try:
                self._database.execute("INSERT INTO taken VALUES (?, ?)", (path, place))
            except sqlite3.IntegrityError:
                (first,) = self._database.execute("SELECT place FROM taken WHERE path = ?", (path,)).fetchone()
                return path, first, place
        return None
