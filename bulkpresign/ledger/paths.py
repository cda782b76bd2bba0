"""An index of file paths that finds duplicates, in constant memory."""

import sqlite3
import unicodedata
from collections.abc import Sequence
from typing import Self

from bulkpresign.errors import OutputError
from bulkpresign.tables.temporary import temporary_database


class PathIndex:
    """Finds two rows with the same file path. If it `ignores_case`, paths that differ only by case are the same."""

    def __init__(self, *, ignores_case: bool = False) -> None:
        self.ignores_case = ignores_case
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
        keys = [(folded(path), location) for path, location in rows] if self.ignores_case else rows
        try:
            index = None if self._add_all(keys) else self._first_duplicate(keys)
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the temporary index of paths can't be written: {error}; TMPDIR sets its folder"
            ) from error
        if index is None:
            return None
        (first,) = self._database.execute("SELECT location FROM used WHERE path = ?", (keys[index][0],)).fetchone()
        path, second = rows[index]
        return path, first, second

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

    def _first_duplicate(self, rows: Sequence[tuple[str, str]]) -> int | None:
        """Adds paths up to the first duplicate, and returns its index."""
        for index, row in enumerate(rows):
            try:
                self._database.execute("INSERT INTO used VALUES (?, ?)", row)
            except sqlite3.IntegrityError:
                return index
        return None


def folded(path: str) -> str:
    """The same text for all paths that are one file where case is ignored. Their Unicode form is ignored there, too."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
