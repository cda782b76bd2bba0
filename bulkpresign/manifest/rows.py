"""Links, objects and upload forms as lines of CSV or JSON.

A batch is written column by column: most columns of most batches are empty or the same throughout, and what is left is
one `join` a row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from types import NoneType
from typing import Any

import msgspec
from msgspec.structs import astuple

from bulkpresign.model import Link, ObjectRef, Post
from bulkpresign.tables.columns import LINK_COLUMNS, OBJECT_COLUMNS, POST_COLUMNS
from bulkpresign.tables.delimited import csv_cell

Columns = dict[str, Sequence[Any]]

_FIELDS = ObjectRef.__struct_fields__


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
    """The columns of objects, in the manifest's order; path is the key unless the object says otherwise."""
    if not objects:
        return dict.fromkeys(OBJECT_COLUMNS, ())
    columns = dict(zip(_FIELDS, zip(*map(astuple, objects), strict=True), strict=True))
    columns["path"] = [
        key if path is None else path for key, path in zip(columns["key"], columns["path"], strict=True)
    ]
    return {name: columns[name] for name in OBJECT_COLUMNS}


def post_columns(posts: Sequence[Post]) -> Columns:
    """The columns of upload forms, in the manifest's order."""
    objects = object_columns([post.object for post in posts])
    own: Columns = {
        "url": [post.url for post in posts],
        "fields": [post.fields for post in posts],
        "expires_at": _rendered([post.expires_at for post in posts], rfc3339),
    }
    return {name: own[name] if name in own else objects[name] for name in POST_COLUMNS}


def csv_lines(columns: Columns) -> list[str]:
    """The rows of some columns as lines of CSV."""
    return list(map(",".join, zip(*map(_csv_column, columns.values()), strict=False)))


def json_lines(columns: Columns) -> list[str]:
    """The rows of some columns as JSON objects; what is unknown is null."""
    encode = msgspec.json.Encoder().encode
    names = tuple(columns)
    return [encode(dict(zip(names, row, strict=True))).decode() for row in zip(*columns.values(), strict=True)]


ENCODERS: dict[str, Callable[[Columns], list[str]]] = {"csv": csv_lines, "json": json_lines, "jsonl": json_lines}


def rfc3339(moment: datetime | None) -> str | None:
    """A moment in UTC, to the second, as `2026-11-24T12:00:00Z`."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _rendered(values: Sequence[Any], render: Callable[[Any], Any]) -> Sequence[Any]:
    """Each value rendered; but once where all of them are one and the same, as most of a batch is."""
    if len(set(map(id, values))) == 1:
        return [render(values[0])] * len(values)
    return [render(value) for value in values]


def _csv_column(values: Sequence[Any]) -> Iterable[str]:
    """A column's cells. One look at the whole column tells whether any of them needs quotes."""
    kinds = set(map(type, values))
    if kinds == {NoneType}:
        return repeat("")
    cells = values if kinds == {str} else _rendered(values, _text)
    joined = "".join(cells)
    if '"' in joined or "," in joined or "\n" in joined or "\r" in joined:
        return _rendered(cells, csv_cell)
    return cells


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(dict(value) if isinstance(value, Mapping) else value).decode()
