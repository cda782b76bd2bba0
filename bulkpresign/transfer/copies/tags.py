"""Names the object whose tags a copy has, in the header that is to hold them.

A response tells how many tags its object has, and not which. Only the process with the credentials can read them.
Source: docs "GetObject", x-amz-tagging-count.
"""

from collections.abc import Mapping

import msgspec

from bulkpresign.model import Link, ObjectRef

TAGGING = "x-amz-tagging"
#: The statuses with which servers refuse tags: they know none, or who may write an object may not give it tags.
REFUSES_TAGS = frozenset({400, 403, 501})
TAGS_HINT = "--no-tags, tags=False in Python, copies objects without their tags"
_COUNT = "x-amz-tagging-count"
#: No header can be sent with such a value, so it does not get out.
_MARK = "\0"


def tagging_header(ref: ObjectRef, headers: Mapping[str, str]) -> dict[str, str]:
    """The header that names an object with tags; none for one that has none, by the `headers` of a response."""
    count = headers.get(_COUNT, "0")
    if not (count.isascii() and count.isdigit() and int(count)) or not (ref.bucket and ref.key):
        return {}
    return {TAGGING: _MARK + msgspec.json.encode([ref.bucket, ref.key, ref.version_id]).decode()}


def tagged_object(headers: Mapping[str, str]) -> ObjectRef | None:
    """The object that the headers of a copy name, None where they name none."""
    value = headers.get(TAGGING, "")
    if not value.startswith(_MARK):
        return None
    bucket, key, version_id = msgspec.json.decode(value[len(_MARK) :])
    return ObjectRef(bucket, key, version_id)


def lacks_tags(kept: Mapping[str, str], link: Link) -> bool:
    """True for a copy by a link that leaves out the tags that are to be `kept`."""
    return TAGGING in kept and all(name.lower() != TAGGING for name in link.headers)
