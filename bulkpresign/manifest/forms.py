"""Reads upload forms: converts the rows of `post` into Posts."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import msgspec

from bulkpresign.manifest.links import links_of
from bulkpresign.model import Post
from bulkpresign.tables.rows import Rows

_FIELDS, _CONTENT_TYPE = "fields", "content-type"
_DECODER = msgspec.json.Decoder(dict[str, str])


def are_forms(columns: Sequence[str]) -> bool:
    """True for the columns of upload forms."""
    return _FIELDS in columns and "method" not in columns


def posts_of(rows: Rows) -> list[Post]:
    """The upload forms of some rows. Raises ManifestError, with file and line, for a row that is none."""
    cells = rows.column(_FIELDS) or ()
    fields = [_fields(rows, row, cell) for row, cell in enumerate(cells)]
    links = links_of(_without_fields(rows))
    return [Post(link.url, own, link.expires_at, link.object) for link, own in zip(links, fields, strict=True)]


def asks_content_type(post: Post) -> bool:
    """True for a form whose policy has a condition for the content type, and that has no field for it."""
    if _CONTENT_TYPE in map(str.lower, post.fields):
        return False
    try:
        policy = b64decode(post.fields.get("policy", ""))
    except ValueError:
        return False
    return f'"${_CONTENT_TYPE}"'.encode() in policy.lower()


def _fields(rows: Rows, row: int, cell: Any) -> dict[str, str]:
    try:
        return _DECODER.decode(cell) if isinstance(cell, str) else msgspec.convert(cell, dict[str, str])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise rows.error(row, f"not a JSON object of field names and values: {error}", _FIELDS) from error


def _without_fields(rows: Rows) -> Rows:
    """The rows of the urls alone. A POST to a bucket is a link like any other but for its fields."""
    kept = [index for index, name in enumerate(rows.columns) if name != _FIELDS]
    cells = [[row[index] for index in kept] for row in rows.cells]
    return Rows(rows.file, tuple(rows.columns[index] for index in kept), cells, rows.lines)
