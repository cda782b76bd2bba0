"""Which paths are taken, for any number of them in flat memory."""

import sqlite3
from collections.abc import Iterable
from typing import Self

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
        self.has_parts = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add(self, rows: Iterable[tuple[str, str]]) -> tuple[str, str, str] | None:
        """Takes paths, each with its place (`keys.csv:3`), up to the first that is taken.

        Returns that path, the place that has it, and the place that wants it; None where all were free.
        """
        execute = self._database.execute
        execute("BEGIN")
        try:
            for path, place in rows:
                raw = path.encode()
                if raw.endswith(b".part"):
                    self.has_parts = True
                try:
                    execute("INSERT INTO taken VALUES (?, ?)", (raw, place))
                except sqlite3.IntegrityError:
                    (first,) = execute("SELECT place FROM taken WHERE path = ?", (raw,)).fetchone()
                    return path, first, place
        finally:
            execute("COMMIT")
        return None
