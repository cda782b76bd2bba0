"""Going on inside an object: what a part that was left behind is part of, and whether an answer continues it.

Source: RFC 9110, 13.1.1 (If-Match), 14.2 (Range), 14.4 (Content-Range).
"""

import re
from collections.abc import Mapping

import msgspec

from bulkpresign.errors import MismatchError
from bulkpresign.model import ResumePoint

#: Smaller objects start again: asking where they were costs more than they do.
RESUMABLE_BYTES = 1 << 20
#: The code of an answer with other bytes than those that were asked for.
RANGE_MISMATCH = "RangeMismatch"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z")


class Resume(msgspec.Struct, frozen=True):
    """The rest of an object, from byte `at` (from 0) on."""

    at: int
    part: ResumePoint

    @property
    def headers(self) -> dict[str, str]:
        """Asks for the rest, on condition that the object is still the same."""
        return {"Range": f"bytes={self.at}-", "If-Match": f'"{self.part.etag}"'}

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises MismatchError where a 206 brings other bytes than the rest."""
        check_range(headers, self.at, self.part.size, self.part.size)


def check_range(headers: Mapping[str, str], start: int, stop: int, size: int) -> None:
    """Raises MismatchError where a 206 brings other bytes of an object than those from `start` to before `stop`."""
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if not found or found.group(1, 2) != (str(start), str(stop - 1)) or found[3] not in {"*", str(size)}:
        said = found[0] if found else "no range that is valid"  # which may repeat the request
        raise MismatchError(f"bytes {start}-{stop - 1} were asked for, the answer has {said}", code=RANGE_MISMATCH)


def told_size(headers: Mapping[str, str]) -> int | None:
    """The size of the object that a 206 is a range of, None where it does not tell."""
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    return int(found[3]) if found and found[3] != "*" else None


def resume_of(part: ResumePoint | None, on_disk: int | None) -> Resume | None:
    """How to go on with `on_disk` bytes of an object that moves as one.

    None: from zero, as with more bytes than the object has, or where they are of one that moved in parts.
    """
    if part is None or part.part_size or not on_disk or on_disk >= part.size:
        return None
    return Resume(on_disk, part)
