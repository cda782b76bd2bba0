"""Reads upload forms: converts the rows of `post` into Posts."""

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import msgspec

from bulkpresign.manifest.links import links_of
from bulkpresign.model import Post
from bulkpresign.tables.rows import Rows

_SIZES = "content-length-range"
_FIELDS, _CONTENT_TYPE = "fields", "content-type"
_LINE_ENDS = frozenset("\r\n")
_DECODER = msgspec.json.Decoder(dict[str, str])

#: The error for a form that would be signed again. As a link, it would give the right to download.
NOT_SIGNED_AGAIN = (
    "an upload form is not signed again: run bulkpresign post on the list of keys that it was made from, with its "
    "--max-size, --content-type and --success-status"
)


def are_forms(columns: Sequence[str]) -> bool:
    """True for the columns of upload forms."""
    return _FIELDS in columns and "method" not in columns


def without_forms(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows of a table. Raises ManifestError for an upload form."""
    for rows in batches:
        fields = rows.column(_FIELDS) if "url" in rows.columns else None
        methods = rows.column("method") or repeat("")
        for row, (cell, method) in enumerate(zip(fields or (), methods, strict=False)):
            if cell and not method:
                raise rows.error(row, NOT_SIGNED_AGAIN, _FIELDS)
        yield rows


def posts_of(rows: Rows) -> list[Post]:
    """The upload forms of some rows. Raises ManifestError, with file and line, for a row that is not valid."""
    cells = rows.column(_FIELDS) or ()
    found = [_fields(rows, row, cell) for row, cell in enumerate(cells)]
    links = links_of(rows.without(_FIELDS))  # a POST to a bucket is a link like any other but for its fields
    return [Post(link.url, fields, link.expires_at, link.object) for link, fields in zip(links, found, strict=True)]


def form_problem(post: Post) -> str | None:
    """The reason why a browser can't send a form, or None."""
    if any(not _LINE_ENDS.isdisjoint(value) for value in post.fields.values()):
        return "a browser changes the line ends in the fields of a form, and the server refuses it then"
    if _CONTENT_TYPE not in map(str.lower, post.fields) and _CONTENT_TYPE in _conditions_of(post):
        return "a browser does not send the content type that this form asks for: name one to bulkpresign post"
    return None


def most_bytes(post: Post) -> int | None:
    """The size of the largest file that the policy of a form allows, or None."""
    ranges = [one for one in _conditions(post) if isinstance(one, list) and one[:1] == [_SIZES]]
    sizes = [one[2] for one in ranges if len(one) == 3 and isinstance(one[2], int)]
    return min(sizes, default=None)


def _conditions_of(post: Post) -> set[str]:
    """The fields for which the policy of a form has conditions, in lower case."""
    named = [name for one in _conditions(post) for name in (one if isinstance(one, dict) else one[1:2])]
    return {str(name).removeprefix("$").lower() for name in named}


def _conditions(post: Post) -> list[dict[str, Any] | list[Any]]:
    """The conditions in the policy of a form; empty where it can't be read."""
    try:
        conditions = json.loads(b64decode(post.fields.get("policy", "")))["conditions"]
        return msgspec.convert(conditions, list[dict[str, Any] | list[Any]])
    except (ValueError, LookupError, TypeError, RecursionError):  # msgspec's error is a ValueError
        return []


def _fields(rows: Rows, row: int, cell: Any) -> dict[str, str]:
    try:
        return _DECODER.decode(cell) if isinstance(cell, str) else msgspec.convert(cell, dict[str, str])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise rows.error(row, f"not a JSON object of field names and values: {error}", _FIELDS) from error
