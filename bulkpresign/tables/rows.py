"""A batch of rows, with their line numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.tables.columns import KNOWN, column_name

#: Rows that are read, signed and written at a time. More than 700 would start a garbage collection per batch.
BATCH_ROWS = 512
#: Characters after which a batch ends, even with fewer rows.
BATCH_LENGTH = 8 << 20
#: Columns of a table. More columns would fill the memory with cells.
MAX_COLUMNS = 1_000
_MAX_DEPTH = 32
_JSON = msgspec.json.Encoder(enc_hook=str)

T = TypeVar("T")


class Rows(msgspec.Struct):
    """A batch of rows. Each row has one cell per column, in the order of `columns`.

    Cells are text; missing ones are `""`. In JSON, carried columns may have other values. `lines[i]` is the line (from
    1) on which row i starts.
    """

    file: str
    columns: tuple[str, ...]
    cells: Sequence[Sequence[Any]]
    lines: Sequence[int]

    def column(self, name: str) -> Sequence[Any] | None:
        """The cells of one column, or None if the table does not have it."""
        if name not in self.columns:
            return None
        index = self.columns.index(name)
        return [row[index] for row in self.cells]

    def some(self, rows: Iterable[int]) -> "Rows":
        """The rows with these indexes."""
        rows = list(rows)
        return Rows(self.file, self.columns, [self.cells[row] for row in rows], [self.lines[row] for row in rows])

    def without(self, name: str) -> "Rows":
        """The rows without a column."""
        kept = [index for index, column in enumerate(self.columns) if column != name]
        cells = [[row[index] for index in kept] for row in self.cells]
        return Rows(self.file, tuple(self.columns[index] for index in kept), cells, self.lines)

    def error(self, row: int, problem: str, column: str | None = None) -> ManifestError:
        """An error with the location of row `row` (from 0, in this batch)."""
        return ManifestError(problem, file=self.file, line=self.lines[row], column=column)


def joined(first: Rows, second: Rows) -> Rows:
    """The rows of two batches, with the columns of both."""
    if first.columns == second.columns:
        return Rows(first.file, first.columns, [*first.cells, *second.cells], [*first.lines, *second.lines])
    columns = tuple(dict.fromkeys([*first.columns, *second.columns]))
    cells = [
        [values.get(name, "") for name in columns]
        for rows in (first, second)
        for values in (dict(zip(rows.columns, row, strict=True)) for row in rows.cells)
    ]
    return Rows(first.file, columns, cells, [*first.lines, *second.lines])


def batched(items: Iterable[tuple[int, T, int]]) -> Iterator[tuple[list[int], list[T]]]:
    """Groups items of line number, value and length into batches of lines and values."""
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
    """Rows with the columns of all mappings. Null and missing values become `""`.

    Raises ManifestError for too many columns, for one that is there twice in another spelling, and for a carried value
    that is nested too deeply.
    """
    names = tuple(dict.fromkeys(name for mapping in mappings for name in mapping))
    if len(names) > MAX_COLUMNS:
        raise ManifestError(f"over {MAX_COLUMNS:,} columns", file=file, line=_line_of_excess(mappings, lines))
    columns = tuple(map(column_name, names))
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        spelled = " and as ".join(name for name in names if column_name(name) == twice)
        raise ManifestError(f"the column is there twice: as {spelled}", file=file, line=lines[0], column=twice)
    cells = [["" if (value := row.get(name)) is None else value for name in names] for row in mappings]
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
                raise rows.error(row, f"the value is nested more than {_MAX_DEPTH} levels deep", name)


def _is_deep(value: Any) -> bool:
    """True if lists and objects are nested more than `_MAX_DEPTH` levels deep. Not recursive: the value may be deep."""
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        outer = [one for one in level if isinstance(one, dict | list)]
        level = [one for some in outer for one in (some.values() if isinstance(some, dict) else some)]
        if not level:
            return False
    return True


def mapping_of_text(file: str, line: int, text: str) -> dict[str, str]:
    """The columns of one line of text, or one JSON string: a link, an `s3://` uri, or a key.

    Raises ManifestError for a uri without a bucket or key. An empty bucket would be replaced by `--bucket`.
    """
    if text.startswith(("http://", "https://")):
        return {"url": text.rstrip()}
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
        if not bucket or not key:
            missing = "key" if bucket else "bucket"
            raise ManifestError(f"{text!r} has no {missing}", file=file, line=line, column=missing)
        return {"bucket": bucket, "key": key}
    return {"key": text}


def json_text(value: Any) -> str:
    """A value as JSON for a cell of text, without the quotes of a string. What JSON does not have is its own text."""
    encoded = _JSON.encode(dict(value) if isinstance(value, Mapping) else value)
    return str(msgspec.json.decode(encoded)) if encoded[:1] == b'"' else encoded.decode()
