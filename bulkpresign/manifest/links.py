"""Reads manifests: converts rows into links."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import islice, repeat
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

import msgspec

from bulkpresign.manifest.rewritten import name_before
from bulkpresign.manifest.times import EARLIEST, LATEST, is_local, moment_of
from bulkpresign.model import HEADER_NAME, Link, ObjectRef, is_signed_for_s3, without_query
from bulkpresign.tables.objects import complain, located_keys, refs_of, text_column
from bulkpresign.tables.rows import Rows

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_MAX_HOST = 253
_HOST = rf"(?=[^/?#:]{{1,{_MAX_HOST + 1}}}(?:[/?#:]|\Z)){_LABEL}(?:\.{_LABEL})*\.?"
_PORT = r"(?::(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
#: A url whose host is a plain name, as almost all are.
_PLAIN_URL = re.compile(rf"https?://{_HOST}{_PORT}(?:[/?#]|\Z)", re.ASCII)
#: Any url: its host is in brackets, or may need IDNA encoding.
_ANY_URL = re.compile(rf"https?://(?:\[([^\]]*)\]|([^/?#\\@:\[\]]+)){_PORT}(?:[/?#]|\Z)", re.ASCII)
_SCHEME = len("https://")
_PLAIN_HOST = re.compile(rf"{_HOST}\Z", re.ASCII)
_BLANK = bytes(range(0x21)) + b"\x7f"
_BROKEN_VALUE = re.compile(r"[\x00\r\n]")
_SIGNED_AT = re.compile(r"[?&]X-(?:Amz|Goog)-Date=(\d{8}T\d{6}Z)(?:&|$)")
_SIGNED_HEADERS = re.compile(r"[?&]X-(?:Amz|Goog)-SignedHeaders=([^&]*)")
_EXPIRES_IN = re.compile(r"[?&]X-(?:Amz|Goog)-Expires=(\d{1,9})(?:&|$)")
#: Unix time, in links of version 2 of S3's signatures, which boto3 makes by default, and in those of CloudFront.
_EXPIRES_AT = re.compile(r"[?&]Expires=(\d{10})(?:&|$)")
_SORTED = ", as after one column was sorted: restore the cells"
#: Characters of a key in a message: keys may differ at their end only.
_SHOWN = 1024
_EXAMPLE = "2026-01-31T12:00:00Z"
_NUMBERS = frozenset({int, float})
_HEADERS_DECODER = msgspec.json.Decoder(dict[str, str | None])
_METHODS = frozenset({"GET", "PUT", "HEAD", "DELETE", "POST"})


def links_of(rows: Rows) -> list[Link]:
    """The links of some rows. Raises ManifestError, with file and line, for a row that is not a link."""
    if not rows.cells:
        return []
    urls = text_column(rows, "url")
    if urls is None:
        raise rows.error(0, "the column is missing", "url")
    if "fields" in rows.columns and "method" not in rows.columns:
        raise rows.error(0, "an upload form is not a link: it is for browsers and curl", "fields")
    if not (all(map(_PLAIN_URL.match, _starts(urls))) and _has_no_blank("".join(urls))):
        complain(rows, "url", urls, _url_problem)
    _check_paths(rows, urls)
    _check_keys(rows, urls)
    _check_buckets(rows, urls)
    _check_versions(rows, urls)
    return list(map(Link, _methods(rows), urls, _headers(rows), _expiries(rows, urls), _objects(rows, urls)))


def _starts(urls: Sequence[str]) -> set[str]:
    """The starts of urls, up to their paths: those of many rows are the same."""
    return {url[: url.find("/", _SCHEME) + 1] or url for url in urls}


def expiry_of(url: str) -> datetime | None:
    """The time at which a link expires, from its query, or None."""
    if "Expires=" not in url:
        return None
    signed_at, expires_in = _SIGNED_AT.search(url), _EXPIRES_IN.search(url)
    if signed_at and expires_in:
        return _end(signed_at[1], expires_in[1])
    expires_at = _EXPIRES_AT.search(url)
    return datetime.fromtimestamp(int(expires_at[1]), UTC) if expires_at else None


def signed_at_of(url: str) -> datetime | None:
    """The time at which a SigV4 link was signed, from its query, or None."""
    signed_at = _SIGNED_AT.search(url)
    return _end(signed_at[1], "0") if signed_at else None


@lru_cache(maxsize=64)  # the links of a batch were signed at one time
def _end(signed_at: str, expires_in: str) -> datetime | None:
    try:
        begin = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        end = begin + timedelta(seconds=int(expires_in))
    except (ValueError, OverflowError):
        return None
    return end if EARLIEST <= begin <= end <= LATEST else None


def missing_headers(link: Link) -> list[str]:
    """The headers, in lower case, that a SigV4 link is signed with, and that its row does not have."""
    found = _SIGNED_HEADERS.search(link.url)
    signed = unquote(found[1]).split(";") if found else []
    return [name for name in signed if name != "host" and name not in map(str.lower, link.headers)]


def path_of(url: str) -> str:
    """The default path of a link's object: the path of its url, unquoted."""
    return unquote(urlsplit(url).path).removeprefix("/")


def _url_problem(url: str) -> str | None:
    if not url:
        return "the url is empty"
    found = _ANY_URL.match(url)
    if found is None or not _has_no_blank(url):
        return f"{without_query(url)[:80]!r} is not an http(s) url"
    problem = _address_problem(found[1]) if found[2] is None else _host_problem(found[2])
    return problem and f"{without_query(url)[:80]!r} is not an http(s) url: {problem}"


def _check_keys(rows: Rows, urls: Sequence[str]) -> None:
    """Raises ManifestError for a row whose url is for another key: its cells were moved or rewritten by a spreadsheet.

    Only links of S3 tell their key.
    """
    for row, (key, url) in enumerate(zip(text_column(rows, "key") or (), urls, strict=False)):
        if f"/{key}?" not in url and key and "?" in url and not _is_for(key, url) and is_signed_for_s3(url):
            problem = f"the url is for {path_of(url)[:_SHOWN]!r}, not for key {key[:_SHOWN]!r}"
            hint = "restore the cells of the row; another name for its file goes into column path"
            raise rows.error(row, f"{problem}: {hint}", "key")


def _check_buckets(rows: Rows, urls: Sequence[str]) -> None:
    """Raises ManifestError for a row whose url is for the bucket of another row. Only links of S3 tell theirs.

    A url without the bucket of its row may be one of a proxy, or of a name of one's own for the bucket.
    """
    buckets, keys = text_column(rows, "bucket") or (), text_column(rows, "key") or ()
    known = set(buckets) - {""}
    for row, (bucket, key, url) in enumerate(zip(buckets, keys, urls, strict=False) if len(known) > 1 else ()):
        if not bucket or f"/{bucket}/{key}?" in url or f"//{bucket}." in url or not is_signed_for_s3(url):
            continue
        other = _bucket_in(url, known)
        if other is not None and other != bucket:
            raise rows.error(row, f"the url is for bucket {other!r}, not for bucket {bucket!r}{_SORTED}", "bucket")


def _check_versions(rows: Rows, urls: Sequence[str]) -> None:
    """Raises ManifestError for a row whose url is for another version than its own. Only links of S3 tell theirs."""
    for row, (version, url) in enumerate(zip(text_column(rows, "version_id") or (), urls, strict=False)):
        if not version or f"versionId={version}&" in f"{url}&" or not is_signed_for_s3(url):
            continue
        found = dict(parse_qsl(urlsplit(url).query)).get("versionId")
        if found != version:
            of_url = "no version" if found is None else f"version {found!r}"
            raise rows.error(row, f"the url is for {of_url}, not for version {version!r}{_SORTED}", "version_id")


def _check_paths(rows: Rows, urls: Sequence[str]) -> None:
    """Raises ManifestError for names of files that a spreadsheet rewrote, and for a column that was sorted alone."""
    paths, keys = text_column(rows, "path") or (), text_column(rows, "key") or ()
    named = {
        row: path
        for row, (path, key) in enumerate(zip(paths, keys, strict=False))
        if path and path != key and not f"/{key}".endswith(f"/{path}")
    }
    for row, path in named.items():
        if (name := name_before(path, keys[row])) is not None:
            raise rows.error(row, f"{path!r} is what a spreadsheet makes of {name!r}: restore the cell", "path")
    if named:
        _check_order(rows, named, keys, urls)


def _check_order(rows: Rows, named: Mapping[int, str], keys: Sequence[str], urls: Sequence[str]) -> None:
    """Raises ManifestError for rows with the names of each other's keys. `named` are the names that no own key has.

    One name alone may be given on purpose, so the row of that key has to have the name of a third one.
    """
    owners = {keys[row].rpartition("/")[2]: row for row in named}

    def owner(row: int) -> int | None:
        """The row whose key has the name that this row gives."""
        found = owners.get(named[row].rpartition("/")[2])
        return found if found is not None and f"/{keys[found]}".endswith(f"/{named[row]}") else None

    for row, path in named.items():
        other = owner(row)
        if other is not None and owner(other) is not None and is_signed_for_s3(urls[row]):
            problem = f"{path!r} is the name of key {keys[other][:_SHOWN]!r} in another row"
            raise rows.error(row, f"{problem}{_SORTED}", "path")


def _is_for(key: str, url: str) -> bool:
    return unquote_to_bytes(url.partition("?")[0]).endswith(f"/{key}".encode())


def _bucket_in(url: str, buckets: Collection[str]) -> str | None:
    """The one of some buckets that a url names in its host, or else as the first part of its path."""
    host, path = urlsplit(url).netloc, unquote(urlsplit(url).path)
    in_host = next((bucket for bucket in buckets if host.startswith(f"{bucket}.")), None)
    in_path = path[1:].partition("/")[0]
    return in_host or (in_path if in_path in buckets else None)


def _address_problem(address: str) -> str | None:
    try:
        IPv6Address(address)
    except ValueError:
        return "the host in brackets is not an IPv6 address"
    return None


def _host_problem(host: str) -> str | None:
    """Validation error for a host (RFC 1035, 2.3.4; RFC 3490 for names that are not ASCII), or None."""
    try:
        name = host if host.isascii() else host[: _MAX_HOST + 1].encode("idna").decode()
    except UnicodeError:
        name = ""
    if len(host) <= _MAX_HOST + 1 and _PLAIN_HOST.match(name):
        return None
    return f"a host is labels of 1 to 63 letters, digits, '-' or '_', separated by '.', at most {_MAX_HOST} in all"


def _has_no_blank(text: str) -> bool:
    """True for a text without white space and control characters."""
    raw = text.encode()
    return len(raw.translate(None, _BLANK)) == len(raw)


def _methods(rows: Rows) -> Iterable[str]:
    cells = text_column(rows, "method")
    if cells is None:
        return repeat("GET")
    if _METHODS.issuperset(cells):
        return cells
    methods = [cell.upper() or "GET" for cell in cells]
    if not _METHODS.issuperset(methods):
        complain(
            rows,
            "method",
            methods,
            lambda method: None if method in _METHODS else f"{method!r} is not a method of links",
        )
    return methods


def _headers(rows: Rows) -> Iterable[Mapping[str, str]]:
    cells = rows.column("headers")
    if cells is None or cells.count("{}") == len(cells):
        return [{} for _ in rows.cells]  # one for each link: a program may add to it
    if (
        len(cells) > 1 and isinstance(cells[0], str) and cells.count(cells[0]) == len(cells)
    ):  # for example, links that were signed together
        shared = _header_map(rows, 0, cells[0])
        return [dict(shared) for _ in cells]
    return [_header_map(rows, row, cell) for row, cell in enumerate(cells)]


def _header_map(rows: Rows, row: int, cell: Any) -> Mapping[str, str]:
    if cell in ("", "{}", {}):
        return {}
    try:
        is_text = isinstance(cell, str)
        found = _HEADERS_DECODER.decode(cell) if is_text else msgspec.convert(cell, dict[str, str | None])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise rows.error(row, f"not a JSON object of header names and values: {error}", "headers") from error
    # DuckDB and polars give every row the names of all rows, with null where a row has no such header.
    headers = {name: value for name, value in found.items() if value is not None}
    for name, value in headers.items():
        if not HEADER_NAME.match(name):
            raise rows.error(row, f"{name!r} is not a valid header name", "headers")
        if _BROKEN_VALUE.search(value):
            raise rows.error(row, f"the value of {name} is not one line of text", "headers")
    if len(headers) > 1 and len({name.lower() for name in headers}) < len(headers):
        lowered = [name.lower() for name in headers]
        twice = next(name for name in headers if lowered.count(name.lower()) > 1)
        raise rows.error(row, f"{twice} is there twice; upper and lower case are the same in header names", "headers")
    return headers


def _expiries(rows: Rows, urls: Sequence[str]) -> Iterable[datetime | None]:
    cells = _times(rows)
    if cells is None:
        return map(expiry_of, urls)
    if cells.count(cells[0]) == len(cells) and moment_of(cells[0]):  # they were signed together
        return repeat(_moment(rows, 0, cells[0], urls[0]))
    return [
        _moment(rows, row, cell, url) if cell else expiry_of(url)
        for row, (cell, url) in enumerate(zip(cells, urls, strict=True))
    ]


def _times(rows: Rows) -> Sequence[str] | None:
    """The column `expires_at`. A number counts as empty: pandas writes times as such to JSON, without their unit."""
    found = rows.column("expires_at")
    if found is not None and not _NUMBERS.isdisjoint(map(type, found)):
        cells = [["" if type(cell) in _NUMBERS else cell] for cell in found]
        rows = Rows(rows.file, ("expires_at",), cells, rows.lines)
    return text_column(rows, "expires_at")


def _moment(rows: Rows, row: int, cell: str, url: str) -> datetime:
    """The time in a cell. A local date has no time zone, so the expiry in the url is used instead."""
    moment = moment_of(cell)
    if moment is None and is_local(cell):
        moment = expiry_of(url)
        if moment is None:
            problem = f"{cell!r} has no time zone, and the url has no expiry: write {_EXAMPLE}"
            raise rows.error(row, problem, "expires_at")
    if moment is None:
        raise rows.error(row, f"{cell[:80]!r} is not a time; example: {_EXAMPLE}", "expires_at")
    if not EARLIEST <= moment <= LATEST:
        problem = f"{cell!r} can't be the expiry of a link; leave the cell empty if it is unknown"
        raise rows.error(row, problem, "expires_at")
    return moment


def names_of(rows: Rows) -> list[str]:
    """The path of the file of each row: its path, else its key, else the path of its url."""
    blank = [""] * len(rows.cells)
    paths, keys = text_column(rows, "path") or blank, located_keys(rows)[1] or blank
    names = [path or key for path, key in zip(paths, keys, strict=True)]
    if all(names) or "url" not in rows.columns:
        return names
    urls = text_column(rows, "url") or blank
    for row, name in enumerate(names):
        if not name and (problem := _url_problem(urls[row])):
            raise rows.error(row, problem, "url")
    return [name or path_of(url) for name, url in zip(names, urls, strict=True)]


def _objects(rows: Rows, urls: Sequence[str]) -> Iterable[ObjectRef]:
    blank = [""] * len(urls)
    buckets, keys, paths = (text_column(rows, name) or blank for name in ("bucket", "key", "path"))
    file_paths = [path or key or path_of(url) for path, key, url in zip(paths, keys, urls, strict=True)]
    return refs_of(rows, buckets, keys, file_paths)


def methods_of(rows: Rows) -> Sequence[str]:
    """The method of each row; GET if there is no column `method`."""
    return list(islice(_methods(rows), len(rows.cells)))


def old_links(rows: Rows, objects: Sequence[ObjectRef]) -> list[Link]:
    """The links of some rows that are signed again, each for its object in `objects`. Their urls may be invalid."""
    urls = text_column(rows, "url") or [""] * len(objects)
    return list(map(Link, _methods(rows), urls, _headers(rows), repeat(None), objects))
