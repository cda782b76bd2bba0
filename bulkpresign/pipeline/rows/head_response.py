"""Reads an object's attributes from the headers of a HEAD response, and adds them to its row."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from bulkpresign.checksums import checksum_in
from bulkpresign.http.dates import unix_time
from bulkpresign.model import ObjectRef
from bulkpresign.tables.columns import ARCHIVED_CLASSES, LAST_MODIFIED, PART_SIZE

#: The columns that a HEAD response fills, in addition to the attributes of an object.
HEAD_COLUMNS = (LAST_MODIFIED, PART_SIZE)

_COUNT = re.compile(r"-([1-9]\d{0,4})\Z", re.ASCII)


def with_head_response(
    ref: ObjectRef, size: int | None, headers: Mapping[str, str], part_size: int | None
) -> ObjectRef:
    """The object with the attributes in the response. Size, etag, time and part size replace those of the row.

    The row keeps its content type. It keeps its checksum unless its size or etag differs from the response, or the
    response has a checksum of the same algorithm.
    """
    etag = _etag_of(headers)
    checksum, theirs = ref.checksum, checksum_in(headers)
    is_other = (ref.size is not None and ref.size != size) or (ref.etag is not None and ref.etag != etag)
    if checksum is None or is_other or (theirs and _algorithm(theirs) == _algorithm(checksum)):
        checksum = theirs
    extra = {**(ref.extra or {}), LAST_MODIFIED: _time_of(headers)}
    if part_size is not None or PART_SIZE in extra:
        extra[PART_SIZE] = part_size
    content_type = ref.content_type or headers.get("content-type")
    return ObjectRef(
        ref.bucket, ref.key, ref.version_id, size, etag, checksum, content_type, ref.path, extra, _is_archived(headers)
    )


def parts_count(headers: Mapping[str, str]) -> int:
    """The number of parts of a composite etag or checksum, 0 if it is for the whole object."""
    checksum = checksum_in(headers)
    found = _COUNT.search(_etag_of(headers) or "") or (_COUNT.search(checksum) if checksum else None)
    return int(found[1]) if found else 0


def asked_parts(count: int) -> Sequence[int]:
    """The numbers of the parts whose sizes tell the size of all of `count` parts but the last.

    One is not enough: parts that a program made of its own records differ a little, and their number fits the first.
    Others grow with the number of parts, or are those of files that a server joined.
    """
    last = max(count - 1, 1)
    return sorted({1, min(2, last), last})


def first_part_size(length: int | None, headers: Mapping[str, str], size: int, count: int) -> int | None:
    """The size of part 1, from the length and headers of the response to a request for it.

    None if the length is unknown, the number of parts is not `count`, or `count` such parts don't make `size` bytes.
    """
    told = headers.get("x-amz-mp-parts-count")
    if length is None or (told is not None and told != str(count)):
        return None
    return length if (count - 1) * length < size <= count * length else None


def _etag_of(headers: Mapping[str, str]) -> str | None:
    return headers.get("etag", "").removeprefix("W/").strip('"') or None


def _is_archived(headers: Mapping[str, str]) -> bool:
    """True for an object that has to be restored before it can be read, and is not."""
    classes = {headers.get("x-amz-storage-class"), headers.get("x-amz-archive-status")}
    is_restored = 'ongoing-request="false"' in headers.get("x-amz-restore", "")
    return not ARCHIVED_CLASSES.isdisjoint(classes) and not is_restored


def _algorithm(checksum: str) -> str:
    return checksum.partition(":")[0]


def _time_of(headers: Mapping[str, str]) -> str | None:
    moment = unix_time(headers.get("last-modified", ""))
    return None if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
