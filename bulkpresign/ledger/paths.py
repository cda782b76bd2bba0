"""An index of file paths that finds duplicates, in constant memory."""

import sqlite3
from collections.abc import Sequence
from typing import Self

from bulkpresign.errors import OutputError
from bulkpresign.tables.temporary import temporary_database


class PathIndex:
    """Finds two rows with the same file path."""

    def __init__(self) -> None:
        self._database = temporary_database()
        self._database.execute("CREATE TABLE used (path TEXT PRIMARY KEY, location TEXT) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add(self, rows: Sequence[tuple[str, str]]) -> tuple[str, str, str] | None:
        """Adds paths, each with its location (`keys.csv:3`), up to the first duplicate.

        Returns the duplicate path, the location of its first row, and that of its second row; None if there is no
        duplicate. Raises OutputError if the temporary file can't be written.
        """
        try:
            duplicate = None if self._add_all(rows) else self._add_each(rows)
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the temporary index of paths can't be written: {error}; TMPDIR sets its folder"
            ) from error
        return duplicate

    def _add_all(self, rows: Sequence[tuple[str, str]]) -> bool:
        """Adds all paths at once, or none if one is a duplicate."""
        self._database.execute("BEGIN")
        try:
            self._database.executemany("INSERT INTO used VALUES (?, ?)", rows)
        except sqlite3.IntegrityError:
            self._database.execute("ROLLBACK")
            return False
        self._database.execute("COMMIT")
        return True

    def _add_each(self, rows: Sequence[tuple[str, str]]) -> tuple[str, str, str] | None:
        for path, location in rows:
            try:
                self._database.execute("INSERT INTO used VALUES (?, ?)", (path, location))
            except sqlite3.IntegrityError:
                (first,) = self._database.execute("SELECT location FROM used WHERE path = ?", (path,)).fetchone()
                return path, first, location
        return None
