"""Encodes links, objects and upload forms as rows of CSV or JSON.

A batch is encoded by column. Most columns of a batch are empty or have one value, which is encoded once; a single
`join` then makes all rows.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

import msgspec

from bulkpresign.model import Link, ObjectRef, Post, plain
from bulkpresign.tables.columns import LINK_COLUMNS, POST_COLUMNS
from bulkpresign.tables.delimited import csv_cell, needs_quotes
from bulkpresign.tables.rows import Rows, json_text

Columns = dict[str, Sequence[Any]]


def _is_nan(value: Any) -> bool:
    """True for the number with which pandas and numpy say that a value is missing."""
    return isinstance(value, float) and math.isnan(value)


#: A value of a type that JSON does not have, such as a number of numpy in a program's `extra`, is written as its text.
_ENCODER = msgspec.json.Encoder(enc_hook=lambda value: None if _is_nan(value) else str(value))


def link_columns(links: Sequence[Link]) -> Columns:
    """The columns of links, in the manifest's order."""
    objects = object_columns([link.object for link in links])
    own: Columns = {
        "method": [link.method for link in links],
        "url": [link.url for link in links],
        "headers": [link.headers for link in links],
        "expires_at": _rendered([link.expires_at for link in links], rfc3339),
    }
    return {name: own[name] if name in own else objects[name] for name in LINK_COLUMNS}


def object_columns(objects: Sequence[ObjectRef]) -> Columns:
    """The columns of objects, in the manifest's order. The path is the key unless the object has one."""
    return {  # written out, because a lookup of fields by name takes three times as long
        "bucket": [ref.bucket for ref in objects],
        "key": [ref.key for ref in objects],
        "version_id": [ref.version_id for ref in objects],
        "size": [ref.size for ref in objects],
        "etag": [ref.etag for ref in objects],
        "checksum": [ref.checksum for ref in objects],
        "content_type": [ref.content_type for ref in objects],
        "path": [ref.key if ref.path is None else ref.path for ref in objects],
    }


def columns_of(rows: Rows) -> Columns:
    """The columns of rows that were read. Missing values are unknown."""
    return {name: [None if row[at] == "" else row[at] for row in rows.cells] for at, name in enumerate(rows.columns)}


def post_columns(posts: Sequence[Post]) -> Columns:
    """The columns of upload forms, in the manifest's order."""
    objects = object_columns([post.object for post in posts])
    own: Columns = {
        "url": [post.url for post in posts],
        "fields": [post.fields for post in posts],
        "expires_at": _rendered([post.expires_at for post in posts], rfc3339),
    }
    return {name: own[name] if name in own else objects[name] for name in POST_COLUMNS}


def csv_rows(columns: Columns) -> bytes:
    """Lines of CSV. Values that all rows share are joined once, not for each row."""
    count = len(next(iter(columns.values())))
    pieces: list[Iterable[str]] = []
    shared = ""
    for values in columns.values():
        cells = _csv_column(values)
        if isinstance(cells, str):
            shared += f"{cells},"
        else:
            pieces += [repeat(shared, count), cells]
            shared = ","
    pieces.append(repeat(f"{shared[:-1]}\n", count))
    return "".join(chain.from_iterable(zip(*pieces, strict=True))).encode()


def jsonl_rows(columns: Columns) -> bytes:
    """Lines of JSON objects, one per row. Unknown values are null."""
    return _ENCODER.encode_lines(_mappings(columns))


def json_rows(columns: Columns) -> bytes:
    """Items of a JSON list, one per row and line. Unknown values are null."""
    return b",\n".join(map(_ENCODER.encode, _mappings(columns)))


ENCODERS: dict[str, Callable[[Columns], bytes]] = {"csv": csv_rows, "json": json_rows, "jsonl": jsonl_rows}


def rfc3339(moment: datetime | None) -> str | None:
    """A time in UTC, to the second, as `2026-11-24T12:00:00Z`."""
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _mappings(columns: Columns) -> list[dict[str, Any]]:
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _csv_column(values: Sequence[Any]) -> str | Sequence[str]:
    """A column's cells, or the one cell that all rows share. Quoted if necessary."""
    first = values[0]
    # Only these types: different values of other types can be equal, such as 1 and True.
    if (first is None or type(first) is str) and values[-1] == first and values.count(first) == len(values):
        return csv_cell(first or "")
    if set(map(type, values)) != {str}:
        return _csv_column(_rendered(values, _text))
    # One check of the whole column shows whether any cell needs quotes.
    return list(map(csv_cell, values)) if needs_quotes("".join(values)) else values


def _rendered(values: Sequence[Any], render: Callable[[Any], Any]) -> Sequence[Any]:
    """Each value rendered. If all are the same object, as in most batches, it is rendered once."""
    if len(set(map(id, values))) == 1:
        return [render(values[0])] * len(values)
    return [render(value) for value in values]


def _text(value: Any) -> str:
    if value is None or _is_nan(value):
        return ""
    if isinstance(value, str):
        return plain(value)
    return json_text(value)
