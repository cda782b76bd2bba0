"""Reads the rows of CSV (RFC 4180): as lists of cells, or as blocks of text that are not split."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from bulkpresign.errors import ManifestError
from bulkpresign.tables.dialect import dialect_of
from bulkpresign.tables.rows import BATCH_LENGTH

if TYPE_CHECKING:
    import _csv

_MAX_ROW = 1 << 20
_TOO_LONG = "row too long"
#: The csv module parses so many rows at a time; after that, their length is checked.
_STEP = 16
#: Characters after which a block that is not split ends with the row.
_LEAST_BLOCK = 1 << 18
_WORDS = {
    _TOO_LONG: f"a row of over {_MAX_ROW >> 20} MiB; is a quote not closed?",
    "unexpected end of data": "a quote is not closed",
    "field larger than": "a quote is not closed, or a field has over 128 KiB",
    "new-line character": "a carriage return without a line feed, outside quotes",
    "expected after": "something follows a closing quote",
}


class CsvReader:
    """Reads the rows of a file from its `blocks` of whole lines.

    `lacks_line_end` is True once the last block was read, if the file does not end in a line end.

    Up to the first quote, or carriage return within a line, lines are split at separators. For long rows, such as
    links, that is four times as fast as the csv module, which reads the rest.
    """

    def __init__(self, file: str, blocks: Iterator[str], lines_before: int = 0, separator: str = ",") -> None:
        self._file = file
        self._blocks = blocks
        self._lines: list[str] = []
        self._used = 0  # the number of those lines that were returned as rows
        self._rest = ""  # rows that are not returned in a block yet
        self._lines_before = lines_before  # those before the first line of the csv module
        self._csv: _csv.Reader | None = None
        self._parsed: list[list[str]] = []  # rows of the csv module in this batch
        self._parsed_length = 0  # characters that it read for this batch
        self.separator = separator
        self.lacks_line_end = False

    def detect_dialect(self) -> None:
        """Detects the dialect from the first lines, and skips the lines before the first row."""
        text = ""
        for block in self._blocks:
            text += block
            dialect = dialect_of(self._file, text)
            if dialect is not None:
                self.separator, self._lines_before = dialect.separator, dialect.lines
                self._blocks = chain((text[dialect.length :],), self._blocks)
                return

    @property
    def line_num(self) -> int:
        """The last line of the rows that were read."""
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
        rows = [line.split(self.separator) if line else [] for line in lines]
        self._used += len(rows)
        self._lines_before += len(rows)
        if self._csv is not None and len(rows) < count:
            rows += self._parse(self._csv, count - len(rows))
        return rows

    def block(self) -> str:
        """The next rows as text; empty where the csv module reads on, and at the end."""
        if self._used < len(self._lines):
            text = "\n".join(self._lines[self._used :]) + ("" if self.lacks_line_end else "\n")
            self._lines, self._used = [], 0
        else:
            text = self._rest or ("" if self._csv else self._plain_block())
        end = text.find("\n", _LEAST_BLOCK) + 1 or len(text)
        block, self._rest = text[:end], text[end:]
        self._lines_before += block.count("\n") + (block[-1:] not in {"", "\n"})
        return block

    def _read_block(self) -> int:
        """Reads one more block, and returns its length, 0 at the end."""
        block = self._plain_block()
        if block:
            self._lines = self._lines[self._used :] + block.removesuffix("\n").split("\n")
            self._used = 0
        return len(block)

    def _plain_block(self) -> str:
        """The next block; its lines end in a line feed alone.

        One with a quote, or a carriage return elsewhere, goes to the csv module, and so do all later ones.
        """
        block = next(self._blocks, "")
        self._look_at_end(block)
        plain = block.replace("\r\n", "\n") if "\r" in block else block  # Excel and Python's csv module write \r\n
        if '"' not in block and "\r" not in plain:
            return plain
        lines = chain.from_iterable(io.StringIO(some, newline="\n") for some in self._csv_blocks(block))
        self._csv = csv.reader(lines, delimiter=self.separator, strict=True)
        return ""

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
            raise ManifestError(problem, file=self._file, line=line_starts(rows, first)[-1]) from error
        return rows


def line_starts(rows: Sequence[list[str]], first: int) -> list[int]:
    """The line on which each row starts, and the line after the last row. Quoted cells can contain line ends."""
    starts = [first]
    for row in rows:
        starts.append(starts[-1] + 1 + sum(cell.count("\n") for cell in row))
    return starts
