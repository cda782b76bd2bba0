"""The rows that a program passes: checked, and completed by what their urls tell."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.links import links_of
from bulkpresign.model import Link, ObjectRef, plain, without_query
from bulkpresign.pipeline.sources.given_links import is_link
from bulkpresign.tables import Rows

#: One object: a link to it, the object itself, or the url of a link.
Item = Link | ObjectRef | str
#: An object, or a link to it. `sign` signs an object, and signs an old link again.
Row = Link | ObjectRef

#: The name that errors show where a table has that of its file.
GIVEN_ROWS = "given rows"
#: The values that are accepted, for messages.
TAKEN = "a Link, an ObjectRef, the url of a link, or a list of these"


def object_of(row: Row) -> ObjectRef:
    """The object of a row."""
    return row.object if isinstance(row, Link) else row


def check_methods(rows: Sequence[Row], numbers: Sequence[int], method: str) -> None:
    """Raises ManifestError for a link of another method than `method`."""
    for number, row in zip(numbers, rows, strict=True):
        if isinstance(row, Link) and row.method != method:
            raise ManifestError(
                f"a {row.method} link where {method} links are needed",
                file=GIVEN_ROWS,
                line=number,
                column="method",
            )


def flat(item: Any) -> Iterator[Item]:
    """The items of a batch, or the one item."""
    if isinstance(item, list | tuple):
        yield from item
    else:
        yield item


def check_types(items: Sequence[Any]) -> None:
    """Raises TypeError, with the number of the row, for a value that is no item."""
    number = 0
    for item in items:
        for one in flat(item):
            number += 1
            _check_type(one, number)


def _check_type(item: object, number: int) -> None:
    if not isinstance(item, Link | ObjectRef | str):
        raise TypeError(f"row {number} is {named(item)}; {TAKEN} is taken")


def _check_fields(row: Row, number: int) -> None:
    """Raises TypeError for a field of another type, ParameterError for a size below 0 and for text that is not Unicode.

    All would fail later, and without their place. Python has names of files that are not UTF-8 as such text.
    """
    ref = object_of(row)
    if not isinstance(ref, ObjectRef):
        raise _type_error(number, "object", ref, "an ObjectRef")
    texts = {"bucket": ref.bucket, "key": ref.key, "path": ref.file_path}
    if isinstance(row, Link):
        _check_link(row, number)
        texts |= {"url": row.url, "method": row.method}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise _type_error(number, name, value, "a str")
        if not value.isascii() and not _is_unicode(value):
            raise ParameterError(f"{GIVEN_ROWS}:{number}: {name} {value[:80]!r} is not valid Unicode")
    for name in _OPTIONAL:
        if (value := getattr(ref, name)) is not None and not isinstance(value, str):
            raise _type_error(number, name, value, "a str")
    if not isinstance(ref.extra, dict | None):
        raise _type_error(number, "extra", ref.extra, "a dict")
    for name in ref.extra or ():
        if not isinstance(name, str):
            raise TypeError(f"row {number}: extra has {named(name)} as a name, not a str")
    if not isinstance(ref.size, int | None) or isinstance(ref.size, bool):
        raise _type_error(number, "size", ref.size, "an int")
    if ref.size is not None and ref.size < 0:
        raise ParameterError(f"{GIVEN_ROWS}:{number}: size of {ref.size} is not a number of bytes")


def _check_link(link: Link, number: int) -> None:
    if not isinstance(link.headers, Mapping):
        raise _type_error(number, "headers", link.headers, "a dict")
    for name, value in link.headers.items():
        if not isinstance(name, str):
            raise TypeError(f"row {number}: headers has {named(name)} as a name, not a str")
        if not isinstance(value, str):
            raise _type_error(number, f"the header {name}", value, "a str")
    if not isinstance(link.expires_at, datetime | None):
        raise _type_error(number, "expires_at", link.expires_at, "a datetime")
    if link.expires_at is not None and link.expires_at.tzinfo is None:
        raise ParameterError(f"{GIVEN_ROWS}:{number}: expires_at of {link.expires_at} has no time zone")


#: The texts of an object that can be None, and all of them.
_OPTIONAL = ("version_id", "etag", "checksum", "content_type")
_TEXTS = ("bucket", "key", "path", *_OPTIONAL)
_texts_of = attrgetter(*_TEXTS)
_PLAIN = frozenset({str, type(None)})


def _type_error(number: int, name: str, value: object, taken: str) -> TypeError:
    is_nan = isinstance(value, float) and math.isnan(value)
    hint = "; a value that is missing is None, and not the NaN of pandas" if is_nan else ""
    return TypeError(f"row {number}: {name} is {named(value)}, not {taken}{hint}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def rows_of(items: Sequence[Item], first: int) -> list[Row]:
    """The items as rows: a url becomes a link, and a link without a path or an expiry takes those of its url.

    Members of enums become plain texts: as text of a cell, a request or a journal they would be their names.

    `first` is the number of the first item. Raises TypeError, ParameterError and ManifestError for one that is not
    valid.
    """
    for number, item in enumerate(items, first):
        _check_type(item, number)
        if not isinstance(item, str):
            _check_fields(item, number)
    numbered = list(enumerate(map(_plain, items), first))
    urls = {number: url for number, item in numbered if (url := _url_to_read(item)) is not None}
    links = dict(zip(urls, _links_of(urls), strict=True))
    return [_completed(item, links.get(number)) for number, item in numbered]


def _plain(item: Item) -> Item:
    """The item with a plain text in place of each member of an enum; nearly always the item itself."""
    if isinstance(item, str):
        return plain(item)
    if isinstance(item, ObjectRef):
        return _plain_object(item)
    ref, texts = _plain_object(item.object), (item.method, item.url, *item.headers.values())
    if ref is item.object and _are_plain(texts):
        return item
    method, url, headers = plain(item.method), plain(item.url), _plain_values(item.headers)
    return msgspec.structs.replace(item, method=method, url=url, headers=headers, object=ref)


def _plain_object(ref: ObjectRef) -> ObjectRef:
    texts = _texts_of(ref)
    if _are_plain(texts) and (not ref.extra or _are_plain(ref.extra.values())):
        return ref
    extra = None if ref.extra is None else _plain_values(ref.extra)
    return msgspec.structs.replace(ref, **dict(zip(_TEXTS, map(plain, texts), strict=True)), extra=extra)


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {plain(name): plain(value) for name, value in values.items()}


def _are_plain(values: Iterable[Any]) -> bool:
    return _PLAIN.issuperset(map(type, values))


def _url_to_read(item: Item) -> str | None:
    """The url that tells what an item lacks, or None."""
    if isinstance(item, str):
        return item
    if isinstance(item, ObjectRef) or (item.object.file_path and item.expires_at is not None):
        return None
    return item.url


def _links_of(urls: Mapping[int, str]) -> list[Link]:
    """The links of urls, by the numbers of their rows."""
    for number, url in urls.items():
        if not is_link(url):
            shown = without_query(url)[:80]
            raise ParameterError(
                f"{GIVEN_ROWS}:{number}: {shown!r} is not a url; pass files and s3:// alone, or in a list of names"
            )
    return links_of(Rows(GIVEN_ROWS, ("url",), [[url] for url in urls.values()], list(urls)))


def _completed(item: Item, of_url: Link | None) -> Row:
    if isinstance(item, str):
        assert of_url is not None  # noqa: S101 - its url was read
        return of_url
    if of_url is None or isinstance(item, ObjectRef):
        return item
    ref = item.object
    if not ref.file_path:
        ref = msgspec.structs.replace(ref, path=of_url.object.path)
    return msgspec.structs.replace(item, object=ref, expires_at=item.expires_at or of_url.expires_at)


def named(value: object) -> str:
    """The type of a value, for a message. The value itself is not shown, because it can have a signature."""
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
