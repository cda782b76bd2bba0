"""The Content-Range header of a response with a part of an object.

Source: RFC 9110, 14.2 (Range), 14.4 (Content-Range).
"""

import re
from collections.abc import Mapping

from bulkpresign.errors import MismatchError

#: The code of a response with other bytes than the request asked for.
RANGE_MISMATCH = "RangeMismatch"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z")


def check_range(headers: Mapping[str, str], start: int, stop: int, size: int) -> None:
    """Checks that a 206 has the bytes from `start` to before `stop` of an object of `size` bytes.

    Raises MismatchError with the code RangeMismatch where it has others.
    """
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if not found or found.group(1, 2) != (str(start), str(stop - 1)) or found[3] not in {"*", str(size)}:
        said = found[0] if found else "no range that is valid"  # the header may repeat the request
        raise MismatchError(f"bytes {start}-{stop - 1} were asked for, the answer has {said}", code=RANGE_MISMATCH)


def size_in_range(headers: Mapping[str, str]) -> int | None:
    """The size in bytes of the object that a 206 is a part of, None where the header doesn't have it."""
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    return int(found[3]) if found and found[3] != "*" else None
