"""Parses one page of a bucket's listing: the response to ListObjectsV2 or ListObjectVersions.

expat calls the functions of `PageParser` for every element, and they collect columns. botocore builds a tree, copies it
into dicts by its model, and converts each time: that takes fifteen times as long.
Servers differ. Some leave out EncodingType, sizes or tokens, write a space as `+` or `%20`, or add elements.
Source: docs "ListObjectsV2", "ListObjectVersions".
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from xml.parsers import expat

import msgspec

from bulkpresign.errors import ListingError, TruncatedError
from bulkpresign.tables.columns import ARCHIVED_CLASSES
from bulkpresign.text import unquoted

#: The longest page in bytes. A page has up to 1,000 keys of 1,024 bytes, which quoting makes three times as long.
MAX_PAGE_BYTES = 16 << 20
#: White space between two elements; a line end after the declaration is not between elements.
_WHITE_SPACE = re.compile(rb">\s+<(?!List)").search
#: No object is larger. A table takes no larger size either.
_MAX_SIZE = 10**18 - 1
#: The characters of a wrong element that a message shows.
_SHOWN = 60
#: Times as S3 writes them, each with a line end.
_USUAL_TIMES = re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z\n)*", re.ASCII).fullmatch
#: The query parameters of positions: the text after which a listing of objects goes on; the key after whose versions
#: one of versions does, and the version after which, if it is in the middle of them.
START_AFTER, KEY_MARKER, VERSION_MARKER = "start-after", "key-marker", "version-id-marker"
_VERSIONS = "ListVersionsResult"
_ROOTS = frozenset({"ListBucketResult", _VERSIONS})
#: The errors of expat for a document that ends too early: no element found, unclosed token, partial character.
_INCOMPLETE = frozenset({3, 5, 6})
_OBJECTS = frozenset({"Contents", "Version"})
#: The elements whose elements belong to one object, marker or prefix.
_PARENTS = _OBJECTS | {"DeleteMarker", "CommonPrefixes"}

#: Key, size, etag, time, version id and storage class of an object, as texts of the page.
_Entry = tuple[str, str | None, str | None, str | None, str | None, str | None]


class Page(msgspec.Struct, gc=False):
    """One page of a listing, by columns: entry `n` of each column belongs to object `n`.

    `sizes` are bytes; `etags` have no quotes; `modified` is RFC 3339 in UTC. A value is None where the server gives
    none. `version_ids` are None in a listing without versions. `prefixes` are those that a delimiter makes. `next_page`
    are the query parameters that ask for the next page, None for the last page. `entries` are the keys of the objects
    and of delete markers, in the order of the page. `archived` tells which objects are in a storage class from which
    they have to be restored; it is empty where none is.
    """

    keys: Sequence[str]
    sizes: Sequence[int | None]
    etags: Sequence[str | None]
    modified: Sequence[str | None]
    version_ids: Sequence[str | None]
    prefixes: Sequence[str]
    next_page: Mapping[str, str] | None
    entries: Sequence[str]
    archived: Sequence[bool] = ()

    def part(self, start: int, end: int) -> "Page":
        """The objects from one index up to another."""
        some = slice(start, end)
        keys, sizes, etags, modified = self.keys[some], self.sizes[some], self.etags[some], self.modified[some]
        return Page(keys, sizes, etags, modified, self.version_ids[some], (), None, keys, self.archived[some])

    def up_to(self, key: str) -> "Page":
        """The same page without keys and prefixes after a key, and without `next_page` if there are such.

        The page itself if there are none. The keys after it come last, the order of those before does not matter.
        """
        entries = [each for each in self.entries if each <= key]
        prefixes = [prefix for prefix in self.prefixes if prefix <= key]
        if len(entries) == len(self.entries) and len(prefixes) == len(self.prefixes):
            return self
        count = sum(each <= key for each in self.keys)
        return msgspec.structs.replace(self.part(0, count), prefixes=prefixes, entries=entries)


class PageParser:
    """Parses one page that comes in chunks. `feed` each chunk, then `close`.

    Both raise ListingError for bytes that are not a listing. Document types, and with them entities, are refused.
    """

    def __init__(self) -> None:
        self._body = bytearray()
        # The texts of elements, of the page and of the entry that is parsed. No name is used for both.
        self._fields: dict[str, str] = {}
        self._entries: list[_Entry] = []
        self._delete_markers: list[tuple[int, str]] = []  # the number of objects before each, and its key
        self._prefixes: list[str] = []
        self._last: _Entry = ("", None, None, None, None, None)  # an object or a delete marker
        self._root = ""

    def feed(self, chunk: bytes | memoryview) -> None:
        """Takes the next bytes of the page."""
        self._body += chunk
        if len(self._body) > MAX_PAGE_BYTES:
            raise ListingError(f"the response is over {MAX_PAGE_BYTES >> 20} MiB, which no page of a listing is")

    def close(self) -> Page:
        """The page. Raises TruncatedError for one that ends in the middle."""
        self._parse()
        return self._page()

    @property
    def is_first_version(self) -> bool:
        """True for a page of ListObjects, as servers give it that do not know ListObjectsV2."""
        top = self._fields
        return "Marker" in top and "KeyCount" not in top and "NextContinuationToken" not in top

    def _parse(self) -> None:
        """Calls a function for each element. They are closures, because they run ten times for each object."""
        texts: list[str] = []
        fields, clear, join, parents, end_parent = self._fields, texts.clear, "".join, _PARENTS, self._end_parent

        def start_root(name: str, _: object) -> None:
            if name not in _ROOTS:
                raise ListingError(f"the response is not a listing: it begins with <{name[:_SHOWN]}>")
            self._root = name
            # Only white space between elements has to be dropped; most servers send none.
            parser.StartElementHandler = start if _WHITE_SPACE(self._body) else None

        def start(_: str, __: object) -> None:
            clear()

        def end(name: str) -> None:
            if name in parents:
                end_parent(name)
            else:
                fields[name] = join(texts)
            clear()

        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler = start_root
        parser.EndElementHandler = end
        parser.CharacterDataHandler = texts.append
        try:
            parser.Parse(self._body, True)
        except expat.ExpatError as error:
            if error.code in _INCOMPLETE:
                raise TruncatedError(f"the page of the listing is not complete: {error}", code="Truncated") from None
            raise ListingError(f"the response is not valid XML: {error}") from None
        finally:
            parser.StartElementHandler = None  # refers to the parser

    def _end_parent(self, name: str) -> None:
        take = self._fields.pop
        if name == "CommonPrefixes":
            self._prefixes.append(take("Prefix", ""))
            return
        entry = (
            take("Key", ""), take("Size", None), take("ETag", None), take("LastModified", None),
            take("VersionId", None), take("StorageClass", None),
        )  # fmt: skip
        if not entry[0]:
            raise ListingError(f"the response has a <{name}> without a key")
        self._last = entry
        if name in _OBJECTS:
            self._entries.append(entry)
        else:
            self._delete_markers.append((len(self._entries), entry[0]))

    def _page(self) -> Page:
        columns = zip(*self._entries, strict=True) if self._entries else [()] * 6
        keys, sizes, etags, modified, version_ids, classes = columns
        is_quoted = self._fields.get("EncodingType", "").strip().lower() == "url"
        prefixes = _unquoted(self._prefixes) if is_quoted else self._prefixes
        names = _unquoted(keys) if is_quoted else keys
        return Page(
            keys=names,
            sizes=_sizes(sizes),
            etags=[(etag and etag.strip('"')) or None for etag in etags],
            modified=times_of(modified),
            version_ids=version_ids,
            prefixes=prefixes,
            next_page=self._next_page(is_quoted=is_quoted, prefixes=prefixes),
            entries=self._with_delete_markers(names, is_quoted=is_quoted),
            archived=() if ARCHIVED_CLASSES.isdisjoint(classes) else [each in ARCHIVED_CLASSES for each in classes],
        )

    def _with_delete_markers(self, keys: Sequence[str], *, is_quoted: bool) -> Sequence[str]:
        """The keys of objects and of delete markers, in the order of the page."""
        if not self._delete_markers:
            return keys
        marked: Sequence[str] = [key for _, key in self._delete_markers]
        entries, last = list[str](), 0
        for (at, _), key in zip(self._delete_markers, _unquoted(marked) if is_quoted else marked, strict=True):
            entries += [*keys[last:at], key]
            last = at
        return [*entries, *keys[last:]]

    def _next_page(self, *, is_quoted: bool, prefixes: Sequence[str]) -> Mapping[str, str] | None:
        """The query parameters of the next page. A server that gives none is asked for what comes after the last key.

        A token with U+FFFD is not used: SeaweedFS makes its tokens of keys, and replaces control characters so.
        """
        top = self._fields
        if top.get("IsTruncated", "").strip().lower() != "true":
            return None
        key, version_id = self._last[0], self._last[4]
        last = _unquoted([key])[0] if is_quoted else key
        if self._root == _VERSIONS:
            marker = top.get("NextKeyMarker", "")
            if not marker:
                after = max(map(end_of, prefixes), default="")
                return _given({KEY_MARKER: max(last, after), VERSION_MARKER: (last > after and version_id) or ""})
            key_marker = _unquoted([marker])[0] if is_quoted else marker
            return _given({KEY_MARKER: key_marker, VERSION_MARKER: top.get("NextVersionIdMarker", "")})
        token = top.get("NextContinuationToken", "")
        if token and "\ufffd" not in token:
            return {"continuation-token": token}
        return _given({START_AFTER: max([last, *map(end_of, prefixes)])})


def end_of(prefix: str) -> str:
    """A text that comes after all keys with a prefix, and before those that follow: no text has this noncharacter."""
    return f"{prefix}\U0010ffff"


def _given(parameters: dict[str, str]) -> Mapping[str, str]:
    """The parameters that are not empty. Raises ListingError if none is left: no request would get on."""
    given = {name: value for name, value in parameters.items() if value}
    if not given:
        raise ListingError("the response is an empty page, and says that more follows, but not from where")
    return given


def _unquoted(texts: Sequence[str]) -> Sequence[str]:
    decoded = unquoted(texts)
    if decoded is None:
        raise ListingError("the response has a key that is not text in UTF-8, or has a NUL character")
    return decoded


def _sizes(sizes: Sequence[str | None]) -> list[int | None]:
    try:
        found = [int(size) if size else None for size in sizes]
    except ValueError as error:
        raise ListingError(f"the response has a size that is not a number: {str(error)[-_SHOWN:]}") from None
    known = [size for size in found if size is not None]
    for size in (min(known, default=0), max(known, default=0)):
        if not 0 <= size <= _MAX_SIZE:
            raise ListingError(f"the response has a size that no object has: {str(size)[:_SHOWN]}")
    return found


def times_of(times: Sequence[str | None]) -> list[str | None]:
    """Times in any form of ISO 8601 as S3's, in UTC without fractions. None for a text that is not a time."""
    known = [time or "" for time in times]
    if _USUAL_TIMES("\n".join([*known, ""])):
        return [f"{time[:19]}Z" for time in known]
    return [_time(time) for time in known]


def _time(time: str) -> str | None:
    """A time in any form of ISO 8601, in S3's, without fractions. None if it is not a time."""
    try:
        moment = datetime.fromisoformat(time.strip())
        utc = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: in UTC it is in another year than 1 to 9999
        return None
    return f"{utc:%Y-%m-%dT%H:%M:%SZ}"


def _refuse_document_type(*_: object) -> None:
    raise ListingError("the response has a document type, which no listing has")
