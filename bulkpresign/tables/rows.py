"""A batch of rows, and where each of them stands in its file."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bulkpresign.errors import ManifestError

#: Rows read, signed and written at a time. More than 700 would start a garbage collection with every batch.
BATCH_ROWS = 512


class Rows(msgspec.Struct):
    """Some rows of a table: cells as they stand in the file, in the order of `columns`.

    Cells are text; absent ones are `""`. JSON may bring other values in columns that are carried through. `lines[i]` is
    the line (from 1) on which row i begins.
    """

    file: str
    columns: tuple[str, ...]
    cells: Sequence[Sequence[Any]]
    lines: Sequence[int]

    def column(self, name: str) -> Sequence[Any] | None:
        """One column's cells, or None where the table does not have it."""
        if name not in self.columns:
            return None
        index = self.columns.index(name)
        return [row[index] for row in self.cells]

    def error(self, row: int, problem: str, column: str | None = None) -> ManifestError:
        """An error that names row `row` (from 0, in this batch)."""
        return ManifestError(problem, file=self.file, line=self.lines[row], column=column)


def rows_of_mappings(file: str, mappings: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> Rows:
    """Rows whose columns are the union of the mappings' names; null and absent become `""`."""
    columns = tuple(dict.fromkeys(name for mapping in mappings for name in mapping))
    cells = [["" if (value := row.get(name)) is None else value for name in columns] for row in mappings]
    return Rows(file, columns, cells, lines)


def mapping_of_text(file: str, line: int, text: str) -> dict[str, str]:
    """What one line of text, or one JSON string, names: a link, an `s3://` uri, or a key.

    Raises ManifestError for a uri that names no bucket or no key; an empty bucket would become that of `--bucket`.
    """
    if text.startswith(("http://", "https://")):
        return {"url": text}
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
        if not bucket or not key:
            missing = "key" if bucket else "bucket"
            raise ManifestError(f"{text!r} names no {missing}", file=file, line=line, column=missing)
        return {"bucket": bucket, "key": key}
    return {"key": text}
