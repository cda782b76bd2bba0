"""Decides how the bytes of an object are fetched next. No I/O.

`next_step` is asked before each request, again when the response's head is there, and after an attempt that failed.

Source: RFC 9110, 13.1.1 (If-Match), 14.2 (Range).
"""

from collections.abc import Mapping

import msgspec

from bulkpresign.checksums import CHANGED, expected_digest
from bulkpresign.errors import MismatchError, TransferError
from bulkpresign.model import ObjectRef, ResumePoint
from bulkpresign.transfer.downloads.content_range import RANGE_MISMATCH, check_range
from bulkpresign.transfer.downloads.ranges import RangePlan, is_strong, part_size_of
from bulkpresign.transfer.engine.part_sizes import LARGE_DOWNLOAD, usual_part_size

#: Smaller objects start again: the bookkeeping costs more than their bytes.
RESUMABLE_BYTES = 1 << 20


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """The status and headers of a response. Names in lower case, `etag` without quotes, `length` in bytes."""

    status: int
    etag: str | None = None
    length: int | None = None
    headers: Mapping[str, str] = {}


class Stream(msgspec.Struct, frozen=True):
    """Fetch all bytes in one response, from the first one on. `STREAM` is the only one."""


class Resume(msgspec.Struct, frozen=True):
    """Fetch the bytes from `at` (from 0) to the end in one response. The bytes before are in the temporary file."""

    at: int
    point: ResumePoint

    @property
    def headers(self) -> dict[str, str]:
        """Asks for the rest, on condition that the object is still the same."""
        return {"Range": f"bytes={self.at}-", "If-Match": f'"{self.point.etag}"'}

    def check(self, response: ResponseHead) -> None:
        """Raises MismatchError where a response doesn't continue the bytes in the temporary file."""
        if response.status != 206 or response.etag not in {None, self.point.etag}:  # some servers ignore If-Match
            raise MismatchError("the object changed since its part was fetched", code=CHANGED)
        check_range(response.headers, self.at, self.point.size, self.point.size)


class Ranged(msgspec.Struct, frozen=True):
    """Fetch an object of `size` bytes in parts of `part_size` bytes, several at a time.

    `finished` are parts in the temporary file, by number with their proofs; they belong to the object with `etag`.
    """

    size: int
    part_size: int
    etag: str | None = None
    finished: Mapping[int, str] = {}

    def plan(self) -> RangePlan:
        """The parts to fetch."""
        return RangePlan(self.size, self.part_size, self.etag, self.finished)


class Restart(msgspec.Struct, frozen=True):
    """Discard the temporary file and start from the first byte, because of `error`.

    `is_counted`: the failure counts as an attempt. It doesn't where the server turned out to give no ranges: then
    `gives_ranges` is False from here on.
    """

    error: MismatchError
    is_counted: bool = True
    gives_ranges: bool = True


Step = Stream | Resume | Ranged | Restart
STREAM = Stream()


class Knowledge(msgspec.Struct, frozen=True):
    """Everything that is known of one object while it is downloaded.

    `ref` is its row. `part_size` is the size wished for parts, None for the usual one.
    `asks_first`: the first response is to tell more than
    the row does (its checksum, or that the object is the file that exists). `gives_ranges`: False once the server
    ignored a range, or sent another one. `point`, `finished` and `on_disk` are the resume point, the finished parts
    whose bytes are intact, and the size of the temporary file. `step` is the step that `response` and `error` belong
    to; `response` is None until its head is there, `error` is that of the last attempt.
    """

    ref: ObjectRef
    part_size: int | None = None
    asks_first: bool = False
    gives_ranges: bool = True
    point: ResumePoint | None = None
    finished: Mapping[int, str] = {}
    on_disk: int | None = None
    step: Step = STREAM
    response: ResponseHead | None = None
    error: TransferError | None = None

    def is_large(self, size: int) -> bool:
        """True for an object that is worth several requests."""
        return size > (self.part_size or LARGE_DOWNLOAD)

    def with_response(self, step: Step, response: ResponseHead) -> "Knowledge":
        """The knowledge once a step has a response. A server that answers a range with all bytes gives no ranges."""
        gives_ranges = self.gives_ranges and (response.status != 200 or step is STREAM)
        return msgspec.structs.replace(self, step=step, response=response, error=None, gives_ranges=gives_ranges)

    def with_error(self, error: TransferError) -> "Knowledge":
        """The knowledge after an attempt that failed."""
        return msgspec.structs.replace(self, response=None, error=error)

    def restarted(self, step: Restart) -> "Knowledge":
        """The knowledge after a restart: nothing is on disk."""
        return Knowledge(self.ref, self.part_size, self.asks_first, step.gives_ranges)


def next_step(knowledge: Knowledge) -> Step:
    """The step that follows from what is known."""
    error = knowledge.error
    if error is not None and isinstance(error, MismatchError):
        return _restart(knowledge, error)
    if knowledge.response is not None:
        return _by_response(knowledge, knowledge.response)
    if knowledge.point is not None and knowledge.gives_ranges:
        step = _by_checkpoint(knowledge, knowledge.point)
        if step is not None:
            return step
    return _by_row(knowledge)


def _restart(knowledge: Knowledge, error: MismatchError) -> Restart:
    """A server that sends another range than a part's gives none; the object then comes in one stream."""
    if error.code == RANGE_MISMATCH and isinstance(knowledge.step, Ranged):
        return Restart(error, is_counted=False, gives_ranges=False)
    return Restart(error, gives_ranges=knowledge.gives_ranges)


def _by_response(knowledge: Knowledge, response: ResponseHead) -> Step:
    if response.status == 200:
        return _by_whole_response(knowledge, response)
    step = knowledge.step
    if isinstance(step, Resume):
        try:
            step.check(response)
        except MismatchError as error:
            return _restart(knowledge, error)
    return step


def _by_whole_response(knowledge: Knowledge, response: ResponseHead) -> Step:
    """Ranged where the object is large; its etag holds the parts together, for nothing else may prove them."""
    size = response.length or 0
    if not (knowledge.is_large(size) and knowledge.gives_ranges and is_strong(response.etag)):
        return STREAM
    return _ranged(knowledge, response.etag, size) or STREAM


def _by_checkpoint(knowledge: Knowledge, point: ResumePoint) -> Step | None:
    """Continues the temporary file of an earlier attempt, None where it is of no use."""
    ref, on_disk = knowledge.ref, knowledge.on_disk
    if not is_strong(point.etag) or ref.size not in {None, point.size} or not on_disk:
        return None
    if not point.part_size:
        return Resume(on_disk, point) if on_disk < point.size else None
    if on_disk != point.size:
        return None
    step = _ranged(knowledge, point.etag, point.size)
    if step is None or step.part_size != point.part_size:  # the parts would be others now
        return None
    return msgspec.structs.replace(step, etag=point.etag, finished=knowledge.finished)


def _by_row(knowledge: Knowledge) -> Step:
    """Ranged for an object that the row tells to be large, with a checksum."""
    ref = knowledge.ref
    if ref.size is None or not knowledge.is_large(ref.size) or knowledge.asks_first or not knowledge.gives_ranges:
        return STREAM
    return STREAM if expected_digest(ref).algorithm is None else _ranged(knowledge, None, ref.size) or STREAM


def _ranged(knowledge: Knowledge, etag: str | None, size: int) -> Ranged | None:
    part_size = part_size_of(knowledge.ref, etag, size, knowledge.part_size or usual_part_size(size))
    return Ranged(size, part_size) if part_size < size else None
