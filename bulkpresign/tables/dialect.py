"""How a program wrote a CSV file: what stands before the header, and what separates the cells."""

import csv
import re
from collections.abc import Iterator

import msgspec

from bulkpresign.errors import ManifestError

_SEPARATORS = ",;\t|"
#: Excel's first line, which names the separator, and PowerShell's, which names a type.
_SEPARATOR_LINE = re.compile(r'"?sep=(.?)"?\Z', re.IGNORECASE)
_TYPE_LINE = re.compile(r"#TYPE(?: |\Z)", re.IGNORECASE)


class Dialect(msgspec.Struct, frozen=True):
    """The separator of cells, and how many lines and characters stand before the first row."""

    separator: str
    lines: int
    length: int


def dialect_of(file: str, text: str) -> Dialect | None:
    """The dialect that the first lines of a file tell, None where no row is among them.

    Without a line that names it, the separator is a comma, unless the first row is a header only with another one.
    Raises ManifestError where that is ambiguous, and for a separator that is not read.
    """
    separator = None
    for number, (start, line) in enumerate(_lines(text)):
        if found := _SEPARATOR_LINE.match(line):
            separator = _named(file, found[1], number + 1)
        elif line and not _TYPE_LINE.match(line):
            return Dialect(separator or _sniffed(file, line, number + 1), number, start)
    return None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) % (len(text) + 1)
        yield start, text[start:end].removesuffix("\r")
        start = end + 1


def _named(file: str, separator: str, line: int) -> str:
    if not separator or separator not in _SEPARATORS:
        raise ManifestError(f"sep={separator} names no separator that is read: , ; | or tab", file=file, line=line)
    return separator


def _sniffed(file: str, header: str, line: int) -> str:
    if _is_header(header, ","):
        return ","
    found = [separator for separator in ";\t" if _is_header(header, separator)]
    if len(found) > 1:
        problem = "the header has a column key or url with ';' and with tabs between cells"
        raise ManifestError(f"{problem}: begin the file with a line sep=; to tell which", file=file, line=line)
    return found[0] if found else ","


def _is_header(line: str, separator: str) -> bool:
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return False
    return not {"key", "url"}.isdisjoint(cell.strip().lower() for cell in cells)
