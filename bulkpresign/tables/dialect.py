"""Detects the variant of a CSV file: the lines before the header, and the separator of cells."""

import csv
import re
from collections.abc import Iterator

import msgspec

from bulkpresign.errors import ManifestError

_SEPARATORS = ",;\t|"
#: The first line of Excel, which names the separator, and of PowerShell, which names a type.
_SEPARATOR_LINE = re.compile(r'"?sep=(.?)"?\Z', re.IGNORECASE)
#: The start of a list or object in JSON. A bucket or a column can't have such a name.
_JSON = re.compile(r'\s*(?:\{\s*(?:"|\Z)|\[\s*(?:[{"]|\Z))')
_TYPE_LINE = re.compile(r"#TYPE(?: |\Z)", re.IGNORECASE)


class Dialect(msgspec.Struct, frozen=True):
    """The separator of cells, and the number of lines and characters before the first row."""

    separator: str
    lines: int
    length: int


def dialect_of(file: str, text: str) -> Dialect | None:
    """The dialect of a file that starts with `text`, None if `text` has no row.

    The separator is the one in a line `sep=`, else a comma, unless the first row is a valid header only with another
    separator. Raises ManifestError if that is ambiguous, for an unsupported separator, and for JSON.
    """
    separator = None
    for number, (start, line) in enumerate(_lines(text)):
        if found := _SEPARATOR_LINE.match(line):
            separator = _declared(file, found[1], number + 1)
        elif _JSON.match(line):
            problem = "the rows are JSON, not CSV: name their format by --from-format, or by the extension of the file"
            raise ManifestError(problem, file=file, line=number + 1)
        elif line and not _TYPE_LINE.match(line):
            return Dialect(separator or _detected(file, line, number + 1), number, start)
    return None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) % (len(text) + 1)
        yield start, text[start:end].removesuffix("\r")
        start = end + 1


def _declared(file: str, separator: str, line: int) -> str:
    if not separator or separator not in _SEPARATORS:
        raise ManifestError(f"sep={separator} is not supported: use , ; | or tab", file=file, line=line)
    return separator


def _detected(file: str, header: str, line: int) -> str:
    if _is_header(header, ","):
        return ","
    found = [separator for separator in ";\t" if _is_header(header, separator)]
    if len(found) > 1:
        problem = "the header has a column key or url both with ';' and with tabs as separator"
        raise ManifestError(f"{problem}: start the file with a line sep=; to choose one", file=file, line=line)
    return found[0] if found else ","


def _is_header(line: str, separator: str) -> bool:
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return False
    return not {"key", "url"}.isdisjoint(cell.strip().lower() for cell in cells)
