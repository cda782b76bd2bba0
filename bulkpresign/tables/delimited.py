"""Tables in CSV, with or without a header row, whose rows `csv_reader` reads."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.model import bucket_problem
from bulkpresign.tables.columns import HEADERLESS, KNOWN, column_name
from bulkpresign.tables.csv_reader import CsvReader, line_starts
from bulkpresign.tables.files import line_blocks, not_empty
from bulkpresign.tables.rows import BATCH_ROWS, MAX_COLUMNS, Rows
from bulkpresign.tables.tool_lists import tool_list_problem
from bulkpresign.text import counted

#: Characters of a key in a message.
_SHOWN = 1024
#: So many rows below the first one are searched for the header.
_TITLE_ROWS = 8
_SEPARATOR = re.compile(r"[,;\t|]")
_WHOLE_LINES = "a spreadsheet kept whole lines in one column: import the file with , as the separator of its columns"
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


class CsvBlock(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Whole rows of a CSV file that are not split into cells yet: `lines` lines from `line` on. No cell is quoted.

    `columns` are those of the header, None without one.
    """

    file: str
    columns: tuple[str, ...] | None
    separator: str
    line: int
    lines: int
    text: str

    def rows(self) -> Iterator[Rows]:
        """The rows as `read_csv` gives them. Raises ManifestError as it does."""
        before = self.line - 1
        reader = CsvReader(self.file, iter((self.text,)), before, self.separator)
        return _batches(self.file, self.columns or HEADERLESS, reader, before, [])


def read_csv(file: str) -> Iterator[Rows]:
    """The rows of a CSV file in batches, without blank lines. A header is a batch without rows.

    Raises ManifestError for invalid CSV, and for links whose last row is cut off.
    """
    reader = CsvReader(file, not_empty(file, line_blocks(file)))
    if (begun := _first_row(reader)) is None:
        return
    before, row = begun
    columns = _columns(file, reader, before + 1, row)
    if columns:
        yield Rows(file, columns, [], ())
        yield from _batches(file, columns, reader, reader.line_num, [])
    else:
        yield from _batches(file, HEADERLESS, reader, before, [row])


def csv_blocks(file: str) -> Iterator[Rows | CsvBlock]:
    """The same rows. Those before the first quote are in blocks, which another process can split and check."""
    reader = CsvReader(file, not_empty(file, line_blocks(file)))
    if (begun := _first_row(reader)) is None:
        return
    before, row = begun
    columns = _columns(file, reader, before + 1, row)
    if columns is None:
        yield _batch(file, HEADERLESS, [row], range(before + 1, reader.line_num + 1))
    line = reader.line_num + 1
    while text := reader.block():
        yield CsvBlock(file, columns, reader.separator, line, reader.line_num + 1 - line, text)
        line = reader.line_num + 1
    yield from _batches(file, columns or HEADERLESS, reader, reader.line_num, [])


def _first_row(reader: CsvReader) -> tuple[int, list[str]] | None:
    """The first row, and the number of lines before it; None for a file without rows."""
    reader.detect_dialect()
    before = reader.line_num
    while cells := reader.read(1):
        if cells[0]:
            return before, cells[0]
        before = reader.line_num
    return None


def _columns(file: str, reader: CsvReader, line: int, row: Sequence[str]) -> tuple[str, ...] | None:
    """The column names if the first row is a header, else None. Raises ManifestError for one that is neither."""
    try:
        return _header(file, row, line)
    except ManifestError:
        below = list(_rows_below(reader))
        problem = tool_list_problem("\n".join(",".join(cells) for cells in [row, *(cells for _, cells in below[:1])]))
        if problem is None and (header := _header_among(below)):
            problem = f"line {header} looks like the header: delete the lines above it"
        if problem is not None:
            raise ManifestError(problem, file=file, line=line) from None
        raise


def _batches(
    file: str, columns: tuple[str, ...], reader: CsvReader, before: int, cells: list[list[str]]
) -> Iterator[Rows]:
    """The rows of a reader in batches. The first ones are `cells`, with so many lines before them."""
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
    reader = CsvReader(file, blocks, before)
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
        lines = line_starts(cells, lines[0])[:-1]
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
            if len(row) == 1 and least <= len(_split(row[0])) <= len(columns):
                raise ManifestError(_WHOLE_LINES, file=file, line=line)
            problem = f"{counted(len(row), 'field')} where {len(columns)} are expected ({','.join(columns)[:200]})"
            missing = columns[len(row)] if len(row) < least else None
            raise ManifestError(problem, file=file, line=line, column=missing)


def _header(file: str, row: Sequence[str], line: int) -> tuple[str, ...] | None:
    """The column names, or None if the first row is not a header but `bucket,key[,version_id]`."""
    if len(row) > MAX_COLUMNS:
        raise ManifestError(f"{len(row):,} columns; a table has at most {MAX_COLUMNS:,}", file=file, line=line)
    names = tuple(column_name(cell.strip()) for cell in row)
    if len(row) == 1 and _is_whole_line(row[0]):
        raise ManifestError(_WHOLE_LINES, file=file, line=line)
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


def _is_whole_line(cell: str) -> bool:
    """True for a cell that is a header of several columns, or `bucket,key[,version_id]`."""
    cells = _split(cell)
    if len(cells) > 1 and not {"key", "url"}.isdisjoint(column_name(each.strip()) for each in cells):
        return True
    return len(cells) in {2, 3} and _bucket_problem(cells[0]) is None


def _split(cell: str) -> list[str]:
    """The cells of a line that is in one cell; an empty list for text that is no line of CSV."""
    with suppress(csv.Error):
        return next(csv.reader([cell], strict=True), [])
    return []


def _rows_below(reader: CsvReader) -> Iterator[tuple[int, list[str]]]:
    """The next rows, each with its last line, up to one that is not valid."""
    with suppress(ManifestError):
        for _ in range(_TITLE_ROWS):
            for row in reader.read(1):
                yield reader.line_num, row


def _header_among(rows: list[tuple[int, list[str]]]) -> int:
    """The line of a header that is one of these rows, below a title as spreadsheets have it; 0 for none."""
    for line, row in rows:
        names = {column_name(cell.strip()) for cell in _SEPARATOR.split(",".join(row))}
        if not names.isdisjoint({"key", "url"}):
            return line
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
