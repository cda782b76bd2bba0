"""Reads the head of the usual response to a small request in one step. Pure functions.

`ResponseParser` reads every response, in a dozen calls of Python functions. For small objects these calls are a large
part of the work, and nearly all of their responses have one form: a status of success, a Content-Length, no transfer
encoding, no header twice, and a connection that stays. Whatever has another form is left to the parser. Most lines are
those of the response before, and are not read again.
Source: RFC 9112.
"""

import re
from functools import lru_cache

import msgspec

from bulkpresign.http.protocol import MAX_HEADERS

_STATUS = re.compile(r"HTTP/1\.1 (20[014]) [\t -~\x80-\xff]*")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([!-~\x80-\xff](?:[ -~\x80-\xff]*[!-~\x80-\xff])?)")
#: A larger head, and a length of more digits, are left to the parser.
_MAX_SIZE, _MAX_DIGITS = 8 * 1024, 15
#: A response with this status has no body, and no Content-Length.
_NO_CONTENT = 204
_CHANGES_FRAMING = frozenset({"transfer-encoding", "upgrade", "trailer"})
_OTHER = ("", "")


class PlainHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a response: names of `headers` in lower case, `length` of the body, `size` of the head, in bytes."""

    status: int
    headers: dict[str, str]
    length: int
    size: int


def plain_head(data: bytes | memoryview) -> PlainHead | None:
    """The head at the start of `data`; None where it has another form, or is not complete."""
    start = bytes(data[:_MAX_SIZE])
    end = start.find(b"\r\n\r\n")
    lines = start[: max(end, 0)].decode("latin-1").split("\r\n")
    status = _status(lines[0])
    if not status:
        return None
    del lines[0]
    headers = dict(map(_field, lines))
    if not len(headers) == len(lines) <= MAX_HEADERS or "" in headers:
        return None
    length = _length(status, headers.get("content-length"))
    return None if length is None else PlainHead(status, headers, length, end + 4)


def _length(status: int, text: str | None) -> int | None:
    """The bytes of the body, None where they are not known for certain."""
    if status == _NO_CONTENT or text is None:
        return 0 if status == _NO_CONTENT and text is None else None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


@lru_cache(maxsize=16)
def _status(line: str) -> int:
    """The status, 0 for a line of another form."""
    found = _STATUS.fullmatch(line)
    return 0 if found is None else int(found[1])


@lru_cache(maxsize=256)
def _field(line: str) -> tuple[str, str]:
    """The name of a header in lower case, and its value; `_OTHER` for one that needs the parser."""
    found = _FIELD.fullmatch(line)
    if found is None:
        return _OTHER
    name, value = found[1].lower(), found[2]
    needs_parser = name in _CHANGES_FRAMING or (name == "connection" and value.lower() != "keep-alive")
    return _OTHER if needs_parser else (name, value)
