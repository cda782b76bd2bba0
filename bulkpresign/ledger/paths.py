"""Which paths are taken, for any number of them in flat memory."""

import sqlite3
from collections.abc import Iterable
from typing import Self

from bulkpresign.errors import OutputError

#: SQLite's page cache in KiB; the index itself lies in a temporary file.
_CACHE_KIB = 32 * 1024


class PathIndex:
    """Finds two rows that would land on one path.

    SQLite's temporary database spills to a file that has no name, so nothing is left behind however the run ends.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE taken (path BLOB PRIMARY KEY, place TEXT) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add(self, rows: Iterable[tuple[str, str]]) -> tuple[str, str, str] | None:
        """Takes paths, each with its place (`keys.csv:3`), up to the first that is taken.

        Returns that path, the place that has it, and the place that wants it; None where all were free. Raises
        OutputError where the temporary file can't be written.
        """
        try:
            self._database.execute("BEGIN")
            clash = self._add(rows)
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise OutputError(f"the temporary index of paths: {error}; TMPDIR tells where it goes") from error
        return clash

    def _add(self, rows: Iterable[tuple[str, str]]) -> tuple[str, str, str] | None:
        execute = self._database.execute
        for path, place in rows:
            raw = path.encode()
            try:
                execute("INSERT INTO taken VALUES (?, ?)", (raw, place))
            except sqlite3.IntegrityError:
                (first,) = execute("SELECT place FROM taken WHERE path = ?", (raw,)).fetchone()
                return path, first, place
        return None
