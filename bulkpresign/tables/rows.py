"""A batch of rows, and where each of them stands in its file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.tables.columns import KNOWN

#: Rows read, signed and written at a time. More than 700 would start a garbage collection with every batch.
BATCH_ROWS = 512
#: Fewer rows where they are long: a batch ends at about so many characters.
BATCH_LENGTH = 8 << 20
#: Columns of a table: more are no manifest, and cells would fill the memory.
MAX_COLUMNS = 1_000
_MAX_DEPTH = 32

T = TypeVar("T")


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


def batched(items: Iterable[tuple[int, T, int]]) -> Iterator[tuple[list[int], list[T]]]:
    """Items of a line number, a value and its length, in batches: the lines, and the values."""
    lines: list[int] = []
    values: list[T] = []
    left = BATCH_LENGTH
    for line, value, length in items:
        lines.append(line)
        values.append(value)
        left -= length
        if left <= 0 or len(lines) >= BATCH_ROWS:
            yield lines, values
            lines, values, left = [], [], BATCH_LENGTH
    if lines:
        yield lines, values


def rows_of_mappings(file: str, mappings: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> Rows:
    """Rows whose columns are the union of the mappings' names; null and absent become `""`.

    Raises ManifestError for too many columns, and for a carried value that is nested too deep to be written again.
    """
    columns = tuple(dict.fromkeys(name for mapping in mappings for name in mapping))
    if len(columns) > MAX_COLUMNS:
        raise ManifestError(f"over {MAX_COLUMNS:,} columns", file=file, line=_line_of_excess(mappings, lines))
    cells = [["" if (value := row.get(name)) is None else value for name in columns] for row in mappings]
    rows = Rows(file, columns, cells, lines)
    for name in columns:
        if name not in KNOWN:
            _check_carried(rows, name)
    return rows


def _line_of_excess(mappings: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> int:
    names: set[str] = set()
    for mapping, line in zip(mappings, lines, strict=True):
        names.update(mapping)
        if len(names) > MAX_COLUMNS:
            return line
    return lines[-1]


def _check_carried(rows: Rows, name: str) -> None:
    values = rows.column(name) or ()
    if set(map(type, values)) - {str}:
        for row, value in enumerate(values):
            if _is_deep(value):
                raise rows.error(row, f"the value is nested more than {_MAX_DEPTH} deep", name)


def _is_deep(value: Any) -> bool:
    """True where lists and objects are nested more than `_MAX_DEPTH` deep. No recursion: it may be a thousand deep."""
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        outer = [one for one in level if isinstance(one, dict | list)]
        level = [one for some in outer for one in (some.values() if isinstance(some, dict) else some)]
        if not level:
            return False
    return True


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
