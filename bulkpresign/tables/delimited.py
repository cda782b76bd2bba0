"""CSV (RFC 4180, UTF-8), with and without a header row."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from bulkpresign.errors import ManifestError
from bulkpresign.tables.columns import HEADERLESS, KNOWN
from bulkpresign.tables.files import text_blocks
from bulkpresign.tables.rows import BATCH_ROWS, Rows


def read_csv(file: str) -> Iterator[Rows]:
    """The rows of a CSV file in batches. The first batch may be empty: a header with nothing below it."""
    lines = chain.from_iterable(io.StringIO(block, newline="\n") for block in text_blocks(file))
    reader = csv.reader(lines, strict=True)
    first = _take(file, reader, 1, 0)
    if not first:
        return
    columns, is_header = _columns(file, first[0])
    pending, before = ([] if is_header else first), (reader.line_num if is_header else 0)
    while True:
        cells = pending + _take(file, reader, BATCH_ROWS - len(pending), before, pending)
        if not cells and not is_header:
            return
        yield _batch(file, columns, cells, before, reader.line_num)
        pending, before, is_header = [], reader.line_num, False


def _take(
    file: str, reader: "csv._reader", count: int, before: int, taken: Sequence[list[str]] = ()
) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        rows.extend(islice(reader, count))  # keeps what came before an error, which tells the error's line
    except csv.Error as error:
        line = _starts([*taken, *rows], before)[-1]
        what = "a quote is never closed" if "unexpected end" in str(error) or "limit" in str(error) else str(error)
        raise ManifestError(what, file=file, line=line) from error
    return rows


def _starts(rows: Sequence[list[str]], before: int) -> list[int]:
    """The line on which each row begins, and the one on which the next would; quoted cells can hold line ends."""
    starts = [before + 1]
    for row in rows:
        starts.append(starts[-1] + 1 + sum(cell.count("\n") for cell in row))
    return starts


def _batch(file: str, columns: tuple[str, ...], cells: list[list[str]], before: int, after: int) -> Rows:
    lines: Sequence[int] = range(before + 1, after + 1)
    if len(lines) != len(cells) or [] in cells:
        numbered = [(row, line) for row, line in zip(cells, _starts(cells, before), strict=False) if row]
        cells, lines = [row for row, _ in numbered], [line for _, line in numbered]
    if cells and set(map(len, cells)) != {len(columns)}:
        _complain_of_length(file, columns, cells, lines)
        cells = [[*row, *[""] * (len(columns) - len(row))] for row in cells]
    return Rows(file, columns, list(cells), lines)


def _complain_of_length(file: str, columns: tuple[str, ...], cells: list[list[str]], lines: Sequence[int]) -> None:
    for row, line in zip(cells, lines, strict=True):
        enough = range(2, 4) if columns is HEADERLESS else (len(columns),)
        if len(row) not in enough:
            expected = ", ".join(columns)
            raise ManifestError(f"{len(row)} fields where {len(columns)} are expected ({expected})", file=file, line=line)


def _columns(file: str, row: list[str]) -> tuple[tuple[str, ...], bool]:
    """The columns' names, and whether the first row gave them."""
    names = tuple(cell.strip().lower() if cell.strip().lower() in KNOWN else cell.strip() for cell in row)
    if not KNOWN.intersection(names):
        if len(row) in {2, 3}:
            return HEADERLESS, False
        if len(row) == 1:
            return ("key",), False
        raise ManifestError(
            f"a header row needs a column key or url, a row without a header is bucket,key[,version_id]: {len(row)} fields",
            file=file,
            line=1,
        )
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ManifestError(f"column {', '.join(sorted(repeated))} stands there twice", file=file, line=1)
    return names, True


def csv_cell(text: str) -> str:
    """A cell as it stands in a CSV line, quoted where it must be."""
    if any(char in text for char in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
