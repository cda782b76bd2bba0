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
    reader = _Reader(file)
    columns: tuple[str, ...] | None = None
    while True:
        before = reader.line_num
        cells = reader.take(BATCH_ROWS if columns else 1)
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


class _Reader:
    """The rows of a file; `line_num` is the last line of those taken.

    Up to the first quote or carriage return a row is what stands between line ends, split at commas: for long rows,
    such as links, that is four times as quick as the csv module, which takes over from there.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._blocks = not_empty(file, line_blocks(file))
        self._lines: list[str] = []
        self._taken = 0  # of those
        self._lines_before = 0  # the csv module's first
        self._rest: _csv.Reader | None = None

    @property
    def line_num(self) -> int:
        return self._lines_before + (self._rest.line_num if self._rest else 0)

    def take(self, count: int) -> list[list[str]]:
        """The next rows, at most `count`; none at the end. Raises ManifestError for what is no CSV."""
        while self._rest is None and len(self._lines) - self._taken < count and self._read_block():
            pass
        lines = self._lines[self._taken : self._taken + count]
        rows = [line.split(",") if line else [] for line in lines]
        self._taken += len(rows)
        self._lines_before += len(rows)
        if self._rest is not None and len(rows) < count:
            rows += self._parse(self._rest, count - len(rows))
        return rows

    def _read_block(self) -> bool:
        """Takes the lines of one more block, or leaves it and all that follow to the csv module; False at the end."""
        block = next(self._blocks, None)
        if block is None:
            return False
        if '"' in block or "\r" in block:
            lines = chain.from_iterable(io.StringIO(some, newline="\n") for some in chain((block,), self._blocks))
            self._rest = csv.reader(lines, strict=True)
        else:
            self._lines = self._lines[self._taken :] + block.removesuffix("\n").split("\n")
            self._taken = 0
        return True

    def _parse(self, reader: "_csv.Reader", count: int) -> list[list[str]]:
        first = self.line_num + 1
        rows: list[list[str]] = []
        try:
            rows.extend(islice(reader, count))  # keeps what came before an error, which tells the error's line
        except csv.Error as error:
            problem = next((ours for theirs, ours in _WORDS.items() if theirs in str(error)), str(error))
            raise ManifestError(problem, file=self._file, line=_starts(rows, first)[-1]) from error
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
