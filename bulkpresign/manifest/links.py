"""Manifests in: rows become links."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from bulkpresign.model import Link, ObjectRef
from bulkpresign.tables.objects import carried_of, complain, sizes_of, text_column
from bulkpresign.tables.rows import Rows

_URL = re.compile(r"https?://[^\s/?#\\]+[^\s]*\Z", re.ASCII)
_SIGNED_AT = re.compile(r"[?&]X-Amz-Date=(\d{8}T\d{6}Z)(?:&|$)")
_EXPIRES_IN = re.compile(r"[?&]X-Amz-Expires=(\d{1,9})(?:&|$)")
_METHODS = frozenset({"GET", "PUT", "HEAD", "DELETE", "POST"})


def links_of(rows: Rows) -> list[Link]:
    """The links of some rows. Raises ManifestError with the place of what is no link."""
    if not rows.cells:
        return []
    urls = text_column(rows, "url")
    if urls is None:
        raise rows.error(0, "no column url")
    if not all(map(_URL.match, urls)):
        complain(rows, "url", urls, _url_problem)
    return list(
        map(Link, _methods(rows), urls, _headers(rows), _expiries(rows, urls), _objects(rows, urls))
    )


def expiry_of(url: str) -> datetime | None:
    """When a SigV4 link ends by its own words, or None."""
    signed_at, expires_in = _SIGNED_AT.search(url), _EXPIRES_IN.search(url)
    if not (signed_at and expires_in):
        return None
    try:
        begin = datetime.strptime(signed_at[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return begin + timedelta(seconds=int(expires_in[1]))


def path_of(url: str) -> str:
    """Where a link's object goes when nothing else says so: the path of its url, unquoted."""
    return unquote(urlsplit(url).path).removeprefix("/")


def _url_problem(url: str) -> str | None:
    if _URL.match(url):
        return None
    return "the url is empty" if not url else "not an http(s) url"


def _methods(rows: Rows) -> Iterable[str]:
    cells = text_column(rows, "method")
    if cells is None:
        return repeat("GET")
    methods = [cell.upper() or "GET" for cell in cells]
    if not _METHODS.issuperset(methods):
        complain(rows, "method", methods, lambda method: None if method in _METHODS else f"no method {method!r}")
    return methods


def _headers(rows: Rows) -> Iterable[Mapping[str, str]]:
    cells = rows.column("headers")
    return repeat({}) if cells is None else [_header_map(rows, row, cell) for row, cell in enumerate(cells)]


def _header_map(rows: Rows, row: int, cell: Any) -> Mapping[str, str]:
    if cell in {"", "{}"} if isinstance(cell, str) else not cell:
        return _NO_HEADERS
    try:
        headers = msgspec.json.decode(cell, type=dict[str, str]) if isinstance(cell, str) else cell
        headers = msgspec.convert(headers, dict[str, str])
    except msgspec.MsgspecError as error:
        raise rows.error(row, f"not a JSON object of header names and values: {error}", "headers") from error
    if any("\n" in text or "\r" in text for item in headers.items() for text in item):
        raise rows.error(row, "a header's value is one line", "headers")
    return headers


_NO_HEADERS: Mapping[str, str] = {}


def _expiries(rows: Rows, urls: Sequence[str]) -> Iterable[datetime | None]:
    cells = text_column(rows, "expires_at")
    if cells is None:
        return map(expiry_of, urls)
    return [
        _moment(rows, row, cell) if cell else expiry_of(url)
        for row, (cell, url) in enumerate(zip(cells, urls, strict=True))
    ]


def _moment(rows: Rows, row: int, cell: str) -> datetime:
    moment = _parsed(cell)
    if moment is None:
        raise rows.error(row, f"{cell!r} is no time such as 2026-01-31T12:00:00Z", "expires_at")
    return moment


@lru_cache(maxsize=64)
def _parsed(cell: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _objects(rows: Rows, urls: Sequence[str]) -> Iterable[ObjectRef]:
    blank = [""] * len(urls)
    texts = {
        name: text_column(rows, name) or blank
        for name in ("bucket", "key", "version_id", "etag", "checksum", "content_type", "path")
    }
    paths = [
        path or key or path_of(url) for path, key, url in zip(texts["path"], texts["key"], urls, strict=True)
    ]
    optional = [[cell or None for cell in texts[name]] for name in ("etag", "checksum", "content_type")]
    versions = [cell or None for cell in texts["version_id"]]
    return map(
        ObjectRef, texts["bucket"], texts["key"], versions, sizes_of(rows), *optional, paths, carried_of(rows)
    )
