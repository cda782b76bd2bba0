"""Reads JSON lists and JSON lines, one value at a time."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.tables.files import STDIN, line_blocks, not_empty, text_blocks
from bulkpresign.tables.rows import Rows, batched, mapping_of_text, rows_of_mappings

_MAX_ITEM = 4 << 20
_LONGEST_WORD = len("-Infinity")
_SPACE = " \t\r\n"

#: The line on which a value starts, the value, and the length of its text.
_Item = tuple[int, Any, int]


def read_jsonl(file: str) -> Iterator[Rows]:
    """The rows of a JSONL file in batches: one object or string per line. An empty file has no rows."""
    return _batches(file, _line_items(file))


def read_json(file: str) -> Iterator[Rows]:
    """The rows of a JSON file in batches. The file is one list of objects or strings, decoded item by item.

    Objects without a list are read one after another: jq, DuckDB and Spark write JSON lines to `.json`.
    """
    return _batches(file, _list_items(file))


def _batches(file: str, items: Iterator[_Item]) -> Iterator[Rows]:
    for lines, values in batched(items):
        mappings = [_mapping(file, line, value) for line, value in zip(lines, values, strict=True)]
        yield rows_of_mappings(file, mappings, lines)


def _mapping(file: str, line: int, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return mapping_of_text(file, line, value)
    raise ManifestError(f"an object or a string is expected, not {json.dumps(value)[:40]}", file=file, line=line)


def _line_items(file: str) -> Iterator[_Item]:
    decode = msgspec.json.Decoder().decode
    number = 0
    for block in line_blocks(file):
        for text in block.removesuffix("\n").split("\n"):
            number += 1
            if text and not text.isspace():
                try:
                    value = decode(text)
                except (msgspec.DecodeError, RecursionError) as error:
                    raise ManifestError(f"not JSON: {error}", file=file, line=number) from error
                yield number, value, len(text)


class _Scanner:
    """Decodes the items of a JSON list from blocks of text. Holds at most one item and one block in memory."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._blocks = not_empty(file, text_blocks(file))
        self._text, self._at, self.line = "", 0, 1
        self._decode = json.JSONDecoder().raw_decode

    def error(self, problem: str, at: int | None = None) -> ManifestError:
        """An error on the line of the character at index `at`, by default of the next character."""
        line = self.line + (self._text.count("\n", self._at, at) if at is not None else 0)
        return ManifestError(problem, file=self._file, line=line)

    def peek(self) -> str:
        """The next character that is not white space, or `""` at the end."""
        while True:
            end = self._at
            while end < len(self._text) and self._text[end] in _SPACE:
                end += 1
            self._advance(end)
            if end < len(self._text):
                return self._text[end]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Skips the character that `peek` returned."""
        self._advance(self._at + 1)

    def value(self) -> tuple[Any, int]:
        """The object or string that starts here, and the length of its text."""
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_cut(error):
                    raise self._no_value(error) from error
                if len(self._text) - self._at > _MAX_ITEM:
                    problem = f"one value of over {_MAX_ITEM >> 20} MiB"
                    raise self.error(f"{problem}; if it holds a list, take that out: jq '.Contents[]'") from error
                if not self._more():
                    raise self._no_value(error) from error
            except (RecursionError, ValueError) as error:  # ValueError: a number of over 4,300 digits
                raise self.error(f"this JSON can't be read: {error}") from error
            else:
                self._check_unicode(value, end)
                length = end - self._at
                self._advance(end)
                return value, length

    def _more(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self._text, self._at = self._text[self._at :] + block, 0
        return True

    def _advance(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """True if the text ends in the middle of the value, and the next block may continue it."""
        return error.msg.startswith("Unterminated") or error.pos >= len(self._text.rstrip()) - _LONGEST_WORD

    def _no_value(self, error: json.JSONDecodeError) -> ManifestError:
        ended = "Unterminated" in error.msg or error.pos >= len(self._text.rstrip())
        return self.error(f"not JSON: {'it ends in the middle of a value' if ended else error.msg}", error.pos)

    def _check_unicode(self, value: Any, end: int) -> None:
        r"""Raises ManifestError for half of a surrogate pair, as in `\ud800`, which can't be encoded."""
        if self._text.find("\\u", self._at, end) >= 0:
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError as error:
                raise self.error("half of a surrogate pair is not valid Unicode") from error


def _consecutive(scanner: _Scanner) -> Iterator[_Item]:
    while scanner.peek():
        line = scanner.line
        yield line, *scanner.value()


def _list_items(file: str) -> Iterator[_Item]:
    scanner = _Scanner(file)
    opening = scanner.peek()
    if not opening and file == STDIN:
        return
    if opening == "{":
        yield from _consecutive(scanner)
        return
    if opening == "n" and scanner.value()[0] is None and not scanner.peek():
        return  # aws prints null for an empty list
    if opening != "[":
        raise scanner.error("a list of objects is expected: [ {...}, ... ]")
    scanner.skip()
    if scanner.peek() != "]":
        while True:
            scanner.peek()
            line = scanner.line
            yield line, *scanner.value()
            separator = scanner.peek()
            if separator == "]":
                break
            if separator != ",":
                raise scanner.error("',' or ']' is expected" if separator else "it ends in the middle of the list")
            scanner.skip()
    scanner.skip()
    if scanner.peek():
        raise scanner.error("something follows the list")
