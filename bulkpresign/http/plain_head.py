"""Reads the head of the usual response to a small request in one step. Pure functions.

`ResponseParser` reads every response, in a dozen calls of Python functions. For small objects these calls are a large
part of the work, and nearly all of their responses have one form: a status of success, a Content-Length, no transfer
encoding, no header twice, and a connection that stays. Whatever has another form is left to the parser.
Source: RFC 9112.
"""

import re
from functools import lru_cache

import msgspec

from bulkpresign.http.protocol import MAX_HEAD, MAX_HEADERS

_HEAD = re.compile(
    rb"HTTP/1\.1 (20[014]) [\t -~\x80-\xff]*+\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[ ]?[!-~\x80-\xff](?:[ -~\x80-\xff]*[!-~\x80-\xff])?+\r\n)++)\r\n"
)
#: More digits are left to the parser.
_MAX_DIGITS = 15
#: A response with this status has no body, and no Content-Length.
_NO_CONTENT = 204
_CHANGES_FRAMING = frozenset({"transfer-encoding", "upgrade", "trailer"})


class PlainHead(msgspec.Struct, frozen=True, gc=False):
    """The head of a response: names of `headers` in lower case, `length` of the body, `size` of the head, in bytes."""

    status: int
    headers: dict[str, str]
    length: int
    size: int


def plain_head(data: bytes | memoryview) -> PlainHead | None:
    """The head at the start of `data`; None where it has another form, or is not complete."""
    found = _HEAD.match(data)
    if found is None or found.end() > MAX_HEAD:
        return None
    lines = found[2].decode("latin-1").split("\r\n")
    del lines[-1]
    headers = dict(map(_field, lines))
    if not len(headers) == len(lines) <= MAX_HEADERS:
        return None
    status = int(found[1])
    length = _length(status, headers.get("content-length"))
    if length is None:
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    if not _CHANGES_FRAMING.isdisjoint(headers):
        return None
    return PlainHead(status, headers, length, found.end())


def _length(status: int, text: str | None) -> int | None:
    """The bytes of the body, None where they are not known for certain."""
    if status == _NO_CONTENT or text is None:
        return 0 if status == _NO_CONTENT and text is None else None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


@lru_cache(maxsize=256)  # most lines are those of the response before
def _field(line: str) -> tuple[str, str]:
    """The name in lower case, and the value, of a header."""
    name, _, value = line.partition(":")
    return name.lower(), value.lstrip(" ")
