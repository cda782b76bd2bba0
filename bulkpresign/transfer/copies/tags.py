"""The tags of objects and of their copies. No I/O.

A response tells how many tags its object has, to those who may read them, and not which.
Source: docs "GetObject", x-amz-tagging-count; "PutObject", x-amz-tagging.
"""

from collections.abc import Mapping

from bulkpresign.errors import RefusedError
from bulkpresign.model import Link
from bulkpresign.transfer.engine.retries import numbered

TAGGING = "x-amz-tagging"
_HINT = "tags are copied, too, which takes s3:PutObjectTagging; --no-tags copies none, and sign --no-tags signs none"
_COUNT = "x-amz-tagging-count"


def has_tags(headers: Mapping[str, str]) -> bool:
    """True for an object with tags, by the headers of a response."""
    return headers.get(_COUNT, "0") != "0"


def signs_tags(link: Link) -> bool:
    """True for a link that gives its object tags."""
    return any(name.lower() == TAGGING for name in link.headers)


def with_tags_hint(error: RefusedError, *, has_tags: bool) -> RefusedError:
    """The same error; for a denied copy with tags with the right that these need."""
    if not has_tags or error.code != "AccessDenied":
        return error
    return numbered(RefusedError(f"{error} ({_HINT})", code=error.code, status=error.status), error.attempt)
