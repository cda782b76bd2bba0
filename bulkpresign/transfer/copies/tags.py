"""Tells which copies lack the tags of their objects. No I/O.

A response tells how many tags its object has, to those who may read them, and not which. A copy that passes here has
none, unless its PUT link signs some.
Source: docs "GetObject", x-amz-tagging-count.
"""

from collections.abc import Mapping

from bulkpresign.model import Link

TAGGING = "x-amz-tagging"
_COUNT = "x-amz-tagging-count"


def has_tags(headers: Mapping[str, str]) -> bool:
    """True for an object with tags, by the headers of a response."""
    return headers.get(_COUNT, "0") != "0"


def signs_tags(link: Link) -> bool:
    """True for a link that gives its object tags."""
    return any(name.lower() == TAGGING for name in link.headers)
