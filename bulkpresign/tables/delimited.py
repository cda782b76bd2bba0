"""CSV (RFC 4180, UTF-8), with and without a header row."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from bulkpresign.errors import ManifestError
from bulkpresign.tables.columns import HEADERLESS, KNOWN
from bulkpresign.tables.files import line_blocks, not_empty
from bulkpresign.tables.rows import BATCH_ROWS, Rows

if TYPE_CHECKING:
    import _csv

_WORDS = {
    "unexpected end of data": "a quote is never closed",
    "field larger than": "a quote is never closed, or a field has over 128 KiB",
    "new-line character": "a carriage return without a line feed, outside quotes",
    "expected after": "something follows a closing quote",
}


def read_csv(file: str) -> Iterator[Rows]:
    """The rows of a CSV file in batches; blank lines are passed over. A header is a batch of its own, without rows."""
    lines = chain.from_iterable(io.StringIO(block, newline="\n") for block in not_empty(file, line_blocks(file)))
    reader = csv.reader(lines, strict=True)
    columns: tuple[str, ...] | None = None
    while True:
        before = reader.line_num
        cells = _take(file, reader, BATCH_ROWS if columns else 1)
        if not cells:
            return
        if columns is None and cells[0]:
            columns = _header(file, cells[0], before + 1)
            if columns:
                yield Rows(file, columns, [], ())
                continue
            columns = HEADERLESS
        if columns:
            yield _batch(file, columns, cells, range(before + 1, reader.line_num + 1))


def _take(file: str, reader: "_csv.Reader", count: int) -> list[list[str]]:
    before = reader.line_num
    rows: list[list[str]] = []
    try:
        rows.extend(islice(reader, count))  # keeps what came before an error, which tells the error's line
    except csv.Error as error:
        problem = next((ours for theirs, ours in _WORDS.items() if theirs in str(error)), str(error))
        raise ManifestError(problem, file=file, line=_starts(rows, before + 1)[-1]) from error
    return rows


def _starts(rows: Sequence[list[str]], first: int) -> list[int]:
    """The line on which each row begins, and the one on which the next would; quoted cells can hold line ends."""
    starts = [first]
    for row in rows:
        starts.append(starts[-1] + 1 + sum(cell.count("\n") for cell in row))
    return starts


def _batch(file: str, columns: tuple[str, ...], cells: list[list[str]], lines: Sequence[int]) -> Rows:
    """The rows that stand on `lines`. Each is looked at only where it may be blank, too short, or on several lines."""
    lengths = set(map(len, cells))
    if len(lines) != len(cells):
        lines = _starts(cells, lines[0])[:-1]
    if lengths != {len(columns)}:
        numbered = [(row, line) for row, line in zip(cells, lines, strict=True) if row]
        cells, lines = [row for row, _ in numbered], [line for _, line in numbered]
        _check_lengths(file, columns, cells, lines)
        cells = [[*row, *[""] * (len(columns) - len(row))] for row in cells]
    return Rows(file, columns, cells, lines)


def _check_lengths(file: str, columns: tuple[str, ...], cells: Sequence[list[str]], lines: Sequence[int]) -> None:
    least = 2 if columns is HEADERLESS else len(columns)
    for row, line in zip(cells, lines, strict=True):
        if not least <= len(row) <= len(columns):
            fields = "1 field" if len(row) == 1 else f"{len(row)} fields"
            problem = f"{fields} where {len(columns)} are expected ({','.join(columns)})"
            missing = columns[len(row)] if len(row) < least else None
            raise ManifestError(problem, file=file, line=line, column=missing)


def _header(file: str, row: Sequence[str], line: int) -> tuple[str, ...] | None:
    """The columns' names, or None where the first row is one of `bucket,key[,version_id]`."""
    names = tuple(name if (name := cell.strip()).lower() not in KNOWN else name.lower() for cell in row)
    if not KNOWN.intersection(names):
        if len(row) in {2, 3}:
            return None
        problem = "a header names a column key or url, a row without one is bucket,key[,version_id]"
        hint = "; a .txt has one key a line" if len(row) == 1 else ""
        raise ManifestError(f"{problem}{hint}", file=file, line=line, column="key")
    for name in names:
        if names.count(name) > 1:
            raise ManifestError("the header has it twice", file=file, line=line, column=name or "''")
    return names


def needs_quotes(text: str) -> bool:
    """True where a cell, or one of several that are joined, must be quoted."""
    return "," in text or '"' in text or "\n" in text or "\r" in text


def csv_cell(text: str) -> str:
    """A cell as it stands in a CSV line, quoted where it must be."""
    return '"' + text.replace('"', '""') + '"' if needs_quotes(text) else text
