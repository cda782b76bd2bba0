"""The head of a request, byte for byte as the link was signed: pure functions."""

import re
from collections.abc import Mapping
from functools import lru_cache

from bulkpresign import __version__
from bulkpresign.errors import RefusedError
from bulkpresign.http.connection import Body
from bulkpresign.http.origin import Origin
from bulkpresign.model import HEADER_NAME, Link

#: The headers that every request has, unless the link has them.
OWN_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"bulkpresign/{__version__}"}
_OWN_NAMES = frozenset({"host", *(name.lower() for name in OWN_HEADERS)})
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
#: Characters that would end a line of the head, or a word of its first line.
_BREAKS_LINE = re.compile(r"[\x00\r\n]")
_BREAKS_WORD = re.compile(r"[\x00-\x20\x7f]")


def request_head(
    link: Link, origin: Origin, target: str, headers: Mapping[str, str] | None, body: Body | None
) -> bytes:
    """The head: the headers of the link and `headers`, and of our own those that they lack.

    Raises RefusedError for a header that can't be sent.
    """
    if not headers and body is None and link.method in _BODILESS:
        lines = _lines(origin.name, tuple(link.headers.items())) if link.headers else origin.head
        return f"{link.method} {target} HTTP/1.1\r\n{lines}\r\n".encode()
    sent = {**link.headers, **(headers or {})}
    names = {name.lower() for name in sent}
    if "content-length" not in names and (isinstance(body, bytes) or (body is None and link.method not in _BODILESS)):
        sent["Content-Length"] = str(len(body or b""))
    if len(names) == len(link.headers) + len(headers or {}) and _OWN_NAMES.isdisjoint(names):
        lines = origin.head + header_lines(sent)
    else:
        lines = header_lines(merged({"Host": origin.name, **OWN_HEADERS}, sent))
    return f"{link.method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


@lru_cache(maxsize=16)  # links that were signed together have the same headers
def _lines(host: str, headers: tuple[tuple[str, str], ...]) -> str:
    """Our own headers and those of a link."""
    return header_lines(merged({"Host": host, **OWN_HEADERS}, dict(headers)))


def merged(*headers: Mapping[str, str]) -> dict[str, str]:
    """All headers. If names differ in case alone, the last one counts."""
    last = {name.lower(): (name, value) for some in headers for name, value in some.items()}
    return dict(last.values())


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises RefusedError for a header that would not be one line."""
    if HEADER_NAME.match("".join(headers)) and "" not in headers and not _BREAKS_LINE.search("".join(headers.values())):
        return
    for name, value in headers.items():  # one of them is not right
        if _BREAKS_LINE.search(value) or not HEADER_NAME.match(name):
            raise RefusedError(f"header {name!r} can't be sent: it is not one line of text", code="InvalidHeader")


def header_lines(headers: Mapping[str, str]) -> str:
    """Headers as lines. Raises RefusedError for one that would not be one line."""
    check_headers(headers)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def check_target(target: str) -> None:
    """Raises RefusedError for a path and query that would break the first line."""
    if _BREAKS_WORD.search(target):
        raise RefusedError("the url has white space or control characters", code="InvalidUrl")
