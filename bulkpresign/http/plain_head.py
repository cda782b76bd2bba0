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
    rb"HTTP/1\.1 (200|201) [\t -~\x80-\xff]*+\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[ ]?[!-~\x80-\xff][ -~\x80-\xff]*+\r\n)++)\r\n"
)
#: More digits are left to the parser.
_MAX_DIGITS = 15
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
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > _MAX_DIGITS:
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    if not _CHANGES_FRAMING.isdisjoint(headers):
        return None
    return PlainHead(int(found[1]), headers, int(length), found.end())


@lru_cache(maxsize=256)  # most lines are those of the response before
def _field(line: str) -> tuple[str, str]:
    """The name in lower case, and the value, of a header."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip(" ")
