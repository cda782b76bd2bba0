"""Reads CSV (RFC 4180), with or without a header row. `dialect` has the variants of spreadsheets."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING

from bulkpresign.errors import ManifestError
from bulkpresign.model import bucket_problem
from bulkpresign.tables.columns import HEADERLESS, KNOWN, column_name
from bulkpresign.tables.dialect import dialect_of
from bulkpresign.tables.files import line_blocks, not_empty
from bulkpresign.tables.rows import BATCH_LENGTH, BATCH_ROWS, MAX_COLUMNS, Rows
from bulkpresign.text import counted

if TYPE_CHECKING:
    import _csv

_MAX_ROW = 1 << 20
_TOO_LONG = "row too long"
#: The csv module parses so many rows at a time; after that, their length is checked.
_STEP = 16
#: Characters of a key in a message.
_SHOWN = 1024
#: So many rows below the first one are searched for the header.
_TITLE_ROWS = 8
_SEPARATOR = re.compile(r"[,;\t|]")
#: Column names in tables of other tools. A first row that starts with one is a header without a column key.
_TITLES = frozenset(
    (
        *("bucket_name", "bucketname", "date", "description", "email", "file", "file_name", "file_path", "filename"),
        *(
            "filepath",
            "files",
            "folder",
            "href",
            "item",
            "key_name",
            "keyname",
            "keys",
            "link",
            "links",
            "name",
            "names",
        ),
        *("number", "object", "object_key", "object_name", "objectkey", "objects", "partner", "path_name", "pathname"),
        *("prefix", "s3_bucket", "s3_key", "s3_path", "s3_uri", "s3_url", "title", "type", "uri", "urls", "user"),
    )
)
_WORDS = {
    _TOO_LONG: f"a row of over {_MAX_ROW >> 20} MiB; is a quote not closed?",
    "unexpected end of data": "a quote is not closed",
    "field larger than": "a quote is not closed, or a field has over 128 KiB",
    "new-line character": "a carriage return without a line feed, outside quotes",
    "expected after": "something follows a closing quote",
}


def read_csv(file: str) -> Iterator[Rows]:
    """The rows of a CSV file in batches, without blank lines. A header is a batch without rows.

    Raises ManifestError for invalid CSV, and for links whose last row is cut off.
    """
    reader = _Reader(file, not_empty(file, line_blocks(file)))
    reader.detect_dialect()
    while True:
        before = reader.line_num
        cells = reader.read(1)
        if not cells:
            return
        if cells[0]:
            break
    try:
        columns = _header(file, cells[0], before + 1)
    except ManifestError:
        if below := _header_below(reader):
            problem = f"line {below} looks like the header: delete the lines above it"
            raise ManifestError(problem, file=file, line=before + 1) from None
        raise
    if columns:
        yield Rows(file, columns, [], ())
        before, cells = reader.line_num, []
    else:
        columns = HEADERLESS
    while cells := cells + reader.read(BATCH_ROWS - len(cells)):
        last = reader.line_num
        following = reader.read(1) if reader.lacks_line_end else []
        if reader.lacks_line_end and not following:
            _check_last_row(file, columns, cells[-1], last)
        yield _batch(file, columns, _trimmed(cells, len(columns)), range(before + 1, last + 1))
        before, cells = last, following


def read_csv_of(file: str, columns: tuple[str, ...]) -> Iterator[Rows]:
    """The rows of a CSV file without a header, which has these columns and commas between them. It may be empty."""
    blocks, before = line_blocks(file), 0
    for block in blocks:
        cells = _quoted_cells(block, len(columns))
        if not cells:
            blocks = chain((block,), blocks)
            break
        for at in range(0, len(cells), BATCH_ROWS):
            some = cells[at : at + BATCH_ROWS]
            yield Rows(file, columns, some, range(before + 1, before + len(some) + 1))
            before += len(some)
    reader = _Reader(file, blocks, before)
    while cells := reader.read(BATCH_ROWS):
        yield _batch(file, columns, cells, range(before + 1, reader.line_num + 1))
        before = reader.line_num


def _quoted_cells(block: str, fields: int) -> list[list[str]]:
    """The rows of a block in which all cells are quoted and hold no quotes; an empty list for another block.

    Inventories are written so. Splitting them takes a third of the time of the csv module.
    """
    lines = block.removesuffix("\n")
    cells = [line.split('","') for line in lines[1:-1].split('"\n"')]
    is_plain = (
        lines[:1] == lines[-1:] == '"'
        and lines.count('"') == 2 * fields * len(cells)
        and lines.count("\n") == len(cells) - 1
        and "\r" not in lines
        and set(map(len, cells)) == {fields}
    )
    return cells if is_plain else []


class _Reader:
    """Reads the rows of a file. `line_num` is the last line of the rows that were read.

    `lacks_line_end` is True once the last block was read, if the file does not end in a line end.

    Up to the first quote or carriage return, lines are split at separators. For long rows, such as links, that is four
    times as fast as the csv module, which reads the rest.
    """

    def __init__(self, file: str, blocks: Iterator[str], lines_before: int = 0) -> None:
        self._file = file
        self._blocks = blocks
        self._lines: list[str] = []
        self._used = 0  # the number of those lines that were returned as rows
        self._lines_before = lines_before  # those before the first line of the csv module
        self._csv: _csv.Reader | None = None
        self._parsed: list[list[str]] = []  # rows of the csv module in this batch
        self._parsed_length = 0  # characters that it read for this batch
        self._separator = ","
        self.lacks_line_end = False

    def detect_dialect(self) -> None:
        """Detects the dialect from the first lines, and skips the lines before the first row."""
        text = ""
        for block in self._blocks:
            text += block
            dialect = dialect_of(self._file, text)
            if dialect is not None:
                self._separator, self._lines_before = dialect.separator, dialect.lines
                self._blocks = chain((text[dialect.length :],), self._blocks)
                return

    @property
    def line_num(self) -> int:
        return self._lines_before + (self._csv.line_num if self._csv else 0)

    def read(self, count: int) -> list[list[str]]:
        """The next rows: at most `count`, fewer if they are long, an empty list at the end.

        Raises ManifestError for invalid CSV.
        """
        read = 0
        while self._csv is None and len(self._lines) - self._used < count and read < BATCH_LENGTH:
            length = self._read_block()
            if not length:
                break
            read += length
        lines = self._lines[self._used : self._used + count]
        rows = [line.split(self._separator) if line else [] for line in lines]
        self._used += len(rows)
        self._lines_before += len(rows)
        if self._csv is not None and len(rows) < count:
            rows += self._parse(self._csv, count - len(rows))
        return rows

    def _read_block(self) -> int:
        """Reads one more block; with a quote or carriage return in it, it and all later ones go to the csv module.

        Returns the block's length, 0 at the end.
        """
        block = next(self._blocks, "")
        self._look_at_end(block)
        if '"' in block or "\r" in block:
            lines = chain.from_iterable(io.StringIO(some, newline="\n") for some in self._csv_blocks(block))
            self._csv = csv.reader(lines, delimiter=self._separator, strict=True)
        elif block:
            self._lines = self._lines[self._used :] + block.removesuffix("\n").split("\n")
            self._used = 0
        return len(block)

    def _look_at_end(self, block: str) -> None:
        if block and block[-1] not in "\r\n":  # only the last one
            self.lacks_line_end = True

    def _csv_blocks(self, first: str) -> Iterator[str]:
        """The blocks for the csv module. Raises csv.Error for a row over `_MAX_ROW`."""
        rows, length = self._parsed, -1
        inside = last = 0
        for block in chain((first,), self._blocks):
            ended = rows is not self._parsed or length != len(self._parsed)
            inside = 0 if ended else inside + last
            if inside > _MAX_ROW:
                raise csv.Error(_TOO_LONG)
            rows, length, last = self._parsed, len(self._parsed), len(block)
            self._parsed_length += last
            self._look_at_end(block)
            yield block

    def _parse(self, reader: "_csv.Reader", count: int) -> list[list[str]]:
        first = self.line_num + 1
        rows = self._parsed = []
        self._parsed_length = 0
        try:
            while self._parsed_length < BATCH_LENGTH and (left := min(_STEP, count - len(rows))):
                before = len(rows)
                rows.extend(islice(reader, left))  # the rows before an error give its line number
                if len(rows) == before:
                    break
        except csv.Error as error:
            problem = next((ours for theirs, ours in _WORDS.items() if theirs in str(error)), str(error))
            raise ManifestError(problem, file=self._file, line=_starts(rows, first)[-1]) from error
        return rows


def _starts(rows: Sequence[list[str]], first: int) -> list[int]:
    """The line on which each row starts, and the line after the last row. Quoted cells can contain line ends."""
    starts = [first]
    for row in rows:
        starts.append(starts[-1] + 1 + sum(cell.count("\n") for cell in row))
    return starts


def _trimmed(cells: list[list[str]], count: int) -> list[list[str]]:
    """The rows without the empty cells that a spreadsheet adds at their end. A row of such cells alone is a blank line.

    A cell that is alone in its row stays: pandas writes a missing value so.
    """
    if max(map(len, cells)) <= count and (count == 1 or [""] * count not in cells):
        return cells
    return [row if len(row) == 1 or any(row[count:]) else row[:count] if any(row) else [] for row in cells]


def _batch(file: str, columns: tuple[str, ...], cells: list[list[str]], lines: Sequence[int]) -> Rows:
    """The rows on `lines`. Single rows are checked only if some are blank, too short, or on several lines."""
    lengths = set(map(len, cells))
    if len(lines) != len(cells):
        lines = _starts(cells, lines[0])[:-1]
    if lengths != {len(columns)}:
        numbered = [(row, line) for row, line in zip(cells, lines, strict=True) if row]
        cells, lines = [row for row, _ in numbered], [line for _, line in numbered]
        _check_lengths(file, columns, cells, lines)
        cells = [[*row, *[""] * (len(columns) - len(row))] for row in cells]
    return Rows(file, columns, cells, lines)


def _check_last_row(file: str, columns: tuple[str, ...], row: Sequence[str], line: int) -> None:
    """Raises ManifestError for the last row of links, on `line` and without a line end, if it was cut off in its path.

    `sign` writes paths in the last column, each of them the key or the end of the key. A part of one would name another
    file. Spreadsheets may leave out the last line end, so a row with a whole path is valid.
    """
    if "url" not in columns or "key" not in columns or columns[-1] != "path" or len(row) != len(columns):
        return
    key, path = row[columns.index("key")], row[-1]
    if path and f"/{path}" in f"/{key}" and not f"/{key}".endswith(f"/{path}"):
        problem = f"the last row is cut off: {path!r} is not the end of key {key[:_SHOWN]!r}"
        hint = "fetch the file again, or write a line break after the row if it is whole"
        raise ManifestError(f"{problem}: {hint}", file=file, line=line, column="path")


def _check_lengths(file: str, columns: tuple[str, ...], cells: Sequence[list[str]], lines: Sequence[int]) -> None:
    least = 2 if columns is HEADERLESS else len(columns)
    for row, line in zip(cells, lines, strict=True):
        if not least <= len(row) <= len(columns):
            problem = f"{counted(len(row), 'field')} where {len(columns)} are expected ({','.join(columns)[:200]})"
            missing = columns[len(row)] if len(row) < least else None
            raise ManifestError(problem, file=file, line=line, column=missing)


def _header(file: str, row: Sequence[str], line: int) -> tuple[str, ...] | None:
    """The column names, or None if the first row is not a header but `bucket,key[,version_id]`."""
    if len(row) > MAX_COLUMNS:
        raise ManifestError(f"{len(row):,} columns; a table has at most {MAX_COLUMNS:,}", file=file, line=line)
    names = tuple(column_name(cell.strip()) for cell in row)
    if KNOWN.isdisjoint(names):
        _check_headerless(file, row, line)
        return None
    while not names[-1]:
        names = names[:-1]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ManifestError("the header has this column twice", file=file, line=line, column=name or "''")
        seen.add(name)
    return names


def _header_below(reader: _Reader) -> int:
    """The line of a header that is one of the next rows, below a title as spreadsheets have it; 0 for none."""
    with suppress(ManifestError):
        for _ in range(_TITLE_ROWS):
            for row in reader.read(1):
                names = {column_name(cell.strip()) for cell in _SEPARATOR.split(",".join(row))}
                if not names.isdisjoint({"key", "url"}):
                    return reader.line_num
    return 0


def _check_headerless(file: str, row: Sequence[str], line: int) -> None:
    """Raises ManifestError if a first row without known column names is not a valid row of an object."""
    if any("\0" in cell for cell in row):
        problem = "the row has NUL characters, like UTF-16 without a byte order mark: save the file as UTF-8"
        raise ManifestError(problem, file=file, line=line)
    if len(row) not in {2, 3}:
        problem = "a header needs a column key or url; without a header, rows are bucket,key[,version_id]"
        hint = "; one key or link a line is a .txt, or --from-format txt" if len(row) == 1 else ""
        if len(row) > len(HEADERLESS) and _bucket_problem(row[0]) is None:
            hint = "; the data files of an S3 Inventory are read through its manifest.json"
        raise ManifestError(f"{problem}{hint}", file=file, line=line, column="key")
    if cause := _bucket_problem(row[0]):
        hint = "no column is named key or url: add a header, such as bucket,key"
        raise ManifestError(f"{cause}, and {hint}", file=file, line=line, column="bucket")


def _bucket_problem(cell: str) -> str | None:
    if cell.lower() in _TITLES:
        return f"{cell!r} looks like a column name, not a bucket"
    return bucket_problem(cell) if cell else None  # --bucket replaces an empty cell


def needs_quotes(text: str) -> bool:
    """True if a cell must be quoted, or one of several joined cells."""
    return "," in text or '"' in text or "\n" in text or "\r" in text


def csv_cell(text: str) -> str:
    """A cell of a CSV line, quoted if necessary."""
    return '"' + text.replace('"', '""') + '"' if needs_quotes(text) else text
