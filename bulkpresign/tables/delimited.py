"""CSV (RFC 4180), with and without a header row, also as spreadsheets write it: see `dialect`."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from bulkpresign.errors import ManifestError
from bulkpresign.model import bucket_problem
from bulkpresign.tables.columns import HEADERLESS, KNOWN
from bulkpresign.tables.dialect import dialect_of
from bulkpresign.tables.files import line_blocks, not_empty
from bulkpresign.tables.rows import BATCH_LENGTH, BATCH_ROWS, MAX_COLUMNS, Rows

if TYPE_CHECKING:
    import _csv

_MAX_ROW = 1 << 20
_TOO_LONG = "row too long"
#: Rows that the csv module parses before it is seen how long they are.
_STEP = 16
#: Names of columns in the tables of others: a first row that begins with one is a header that names no key.
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
    _TOO_LONG: f"a row of over {_MAX_ROW >> 20} MiB; is a quote never closed?",
    "unexpected end of data": "a quote is never closed",
    "field larger than": "a quote is never closed, or a field has over 128 KiB",
    "new-line character": "a carriage return without a line feed, outside quotes",
    "expected after": "something follows a closing quote",
}


def read_csv(file: str) -> Iterator[Rows]:
    """The rows of a CSV file in batches; blank lines are passed over. A header is a batch of its own, without rows."""
    reader = _Reader(file)
    while True:
        before = reader.line_num
        cells = reader.take(1)
        if not cells:
            return
        if cells[0]:
            break
    columns = _header(file, cells[0], before + 1)
    if columns:
        yield Rows(file, columns, [], ())
        before, cells = reader.line_num, []
    else:
        columns = HEADERLESS
    while cells := cells + reader.take(BATCH_ROWS - len(cells)):
        yield _batch(file, columns, cells, range(before + 1, reader.line_num + 1))
        before, cells = reader.line_num, []


class _Reader:
    """The rows of a file; `line_num` is the last line of those taken.

    Up to the first quote or carriage return a row is what stands between line ends, split at separators: for long rows,
    such as links, that is four times as quick as the csv module, which takes over from there.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._blocks = not_empty(file, line_blocks(file))
        self._lines: list[str] = []
        self._taken = 0  # of those
        self._lines_before = 0  # the csv module's first
        self._rest: _csv.Reader | None = None
        self._parsed: list[list[str]] = []  # by the csv module, in the present batch
        self._fed = 0  # characters that it got for that
        self._separator = ","
        self._open()

    def _open(self) -> None:
        """Reads as far as the first row, and goes past what stands before it."""
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
        return self._lines_before + (self._rest.line_num if self._rest else 0)

    def take(self, count: int) -> list[list[str]]:
        """The next rows, at most `count`, fewer where they are long; none at the end.

        Raises ManifestError for what is no CSV.
        """
        read = 0
        while self._rest is None and len(self._lines) - self._taken < count and read < BATCH_LENGTH:
            length = self._read_block()
            if not length:
                break
            read += length
        lines = self._lines[self._taken : self._taken + count]
        rows = [line.split(self._separator) if line else [] for line in lines]
        self._taken += len(rows)
        self._lines_before += len(rows)
        if self._rest is not None and len(rows) < count:
            rows += self._parse(self._rest, count - len(rows))
        return rows

    def _read_block(self) -> int:
        """Takes the lines of one more block, or leaves it and all that follow to the csv module.

        Gives the block's length, 0 at the end.
        """
        block = next(self._blocks, "")
        if '"' in block or "\r" in block:
            lines = chain.from_iterable(io.StringIO(some, newline="\n") for some in self._feed(block))
            self._rest = csv.reader(lines, delimiter=self._separator, strict=True)
        elif block:
            self._lines = self._lines[self._taken :] + block.removesuffix("\n").split("\n")
            self._taken = 0
        return len(block)

    def _feed(self, first: str) -> Iterator[str]:
        """The blocks for the csv module. Raises csv.Error where one row goes on over blocks without an end."""
        rows, length = self._parsed, -1
        inside = last = 0
        for block in chain((first,), self._blocks):
            ended = rows is not self._parsed or length != len(self._parsed)
            inside = 0 if ended else inside + last
            if inside > _MAX_ROW:
                raise csv.Error(_TOO_LONG)
            rows, length, last = self._parsed, len(self._parsed), len(block)
            self._fed += last
            yield block

    def _parse(self, reader: "_csv.Reader", count: int) -> list[list[str]]:
        first = self.line_num + 1
        rows = self._parsed = []
        self._fed = 0
        try:
            while self._fed < BATCH_LENGTH and (left := min(_STEP, count - len(rows))):
                before = len(rows)
                rows.extend(islice(reader, left))  # keeps what came before an error, which tells the error's line
                if len(rows) == before:
                    break
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
            problem = f"{fields} where {len(columns)} are expected ({','.join(columns)[:200]})"
            missing = columns[len(row)] if len(row) < least else None
            raise ManifestError(problem, file=file, line=line, column=missing)


def _header(file: str, row: Sequence[str], line: int) -> tuple[str, ...] | None:
    """The columns' names, or None where the first row is one of `bucket,key[,version_id]`."""
    if len(row) > MAX_COLUMNS:
        raise ManifestError(f"{len(row):,} columns; a table has at most {MAX_COLUMNS:,}", file=file, line=line)
    names = tuple(name if (name := cell.strip()).lower() not in KNOWN else name.lower() for cell in row)
    if KNOWN.isdisjoint(names):
        _check_headerless(file, row, line)
        return None
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ManifestError("the header has it twice", file=file, line=line, column=name or "''")
        seen.add(name)
    return names


def _check_headerless(file: str, row: Sequence[str], line: int) -> None:
    """Raises ManifestError where a first row without any known column can't be one of objects either."""
    if any("\0" in cell for cell in row):
        raise ManifestError("it has NUL characters, as UTF-16 without its mark: save it as UTF-8", file=file, line=line)
    if len(row) not in {2, 3}:
        problem = "a header names a column key or url, a row without one is bucket,key[,version_id]"
        hint = "; a .txt has one key a line" if len(row) == 1 else ""
        raise ManifestError(f"{problem}{hint}", file=file, line=line, column="key")
    if cause := _bucket_problem(row[0]):
        hint = "no column is named key or url: name the columns in a header, such as bucket,key"
        raise ManifestError(f"{cause}, and {hint}", file=file, line=line, column="bucket")


def _bucket_problem(cell: str) -> str | None:
    if cell.lower() in _TITLES:
        return f"{cell!r} reads as the name of a column, not of a bucket"
    return bucket_problem(cell) if cell else None  # an empty one leaves it to --bucket


def needs_quotes(text: str) -> bool:
    """True where a cell, or one of several that are joined, must be quoted."""
    return "," in text or '"' in text or "\n" in text or "\r" in text


def csv_cell(text: str) -> str:
    """A cell as it stands in a CSV line, quoted where it must be."""
    return '"' + text.replace('"', '""') + '"' if needs_quotes(text) else text
