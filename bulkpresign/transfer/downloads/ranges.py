"""An object as a list of parts: which are left, what each of them asks for, and what they prove together. No I/O.

Source: RFC 9110, 13.1.1 (If-Match), 14.2 (Range).
"""

from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Mapping

from bulkpresign.checksums import (
    COMBINABLE,
    ExpectedDigest,
    Hasher,
    Verifier,
    base64_of,
    combined_digest,
    expected_digest,
    hasher,
    segment_hasher,
)
from bulkpresign.errors import MismatchError
from bulkpresign.model import ObjectRef, ResumePoint
from bulkpresign.transfer.downloads.resume import RANGE_MISMATCH, check_range, told_size


def part_size_of(ref: ObjectRef, etag: str | None, size: int, part_size: int) -> int:
    """The size, in bytes, nearest to the one wished for that splits no part of those that the object's value is of.

    The same whether an answer was seen or not, so that the next run comes to the same parts.
    """
    own = expected_digest(ref, etag, size=size).likeliest_part_size
    return part_size if own is None else max(part_size // own, 1) * own


def likely_plan(ref: ObjectRef, part_size: int) -> "RangePlan | None":
    """The plan for an object that is known to be large, and whose value can be computed from its parts."""
    if ref.size is None or ref.size <= part_size:
        return None
    expected = expected_digest(ref)
    return None if expected.algorithm is None else _plan(ref, None, expected, ref.size, part_size)


def told_plan(
    ref: ObjectRef, etag: str | None, expected: ExpectedDigest, size: int, part_size: int
) -> "RangePlan | None":
    """The same by an answer with the whole object. One that nothing proves needs an etag that keeps it together."""
    return _plan(ref, etag, expected, size, part_size) if is_strong(etag) else None


def kept_plan(
    ref: ObjectRef, kept: ResumePoint | None, on_disk: int | None, finished: Mapping[int, str], part_size: int
) -> "RangePlan | None":
    """The plan that an earlier run left, where its file has the size, and the parts are such as they would be now."""
    if kept is None or not kept.part_size or kept.size != on_disk or ref.size not in {None, kept.size}:
        return None
    plan = _plan(ref, kept.etag, expected_digest(ref, kept.etag, size=kept.size), kept.size, part_size)
    return (
        RangePlan(kept.size, kept.part_size, kept.etag, finished) if plan and plan.part_size == kept.part_size else None
    )


def _plan(ref: ObjectRef, etag: str | None, expected: ExpectedDigest, size: int, part_size: int) -> "RangePlan | None":
    part_size = part_size_of(ref, etag, size, part_size)
    return RangePlan(size, part_size) if expected.is_divisible and part_size < size else None


def is_strong(etag: str | None) -> bool:
    """True where an etag holds the parts of an object together; a weak one is no condition for a range."""
    return etag is not None and not etag.startswith("W/")


#: By this a part that an earlier run left is checked before it counts: 0.06 s of CPU for each GB.
_CHECK = "crc64nvme"
_BLOCK_BYTES = 1 << 20


def is_intact(read_at: Callable[[int, int], bytes], offset: int, size: int, proof: str) -> bool:
    """True where the bytes of a part on disk have the checksum that its proof tells. Belongs in a thread.

    `read_at` gives bytes from an offset on, at most so many. Raises OSError.
    """
    own, _, check = proof.partition(" ")
    algorithm, _, value = (check or own).partition(":")
    if not algorithm:
        return False
    digest, at, end = hasher(algorithm), offset, offset + size
    while at < end and (block := read_at(at, min(_BLOCK_BYTES, end - at))):
        digest.update(block)
        at += len(block)
    return at == end and base64_of(digest.digest()) == value


class RangePart:
    """One part on its way: `number` from 1, bytes from `start` to before `stop`, of which `at` is the next to come.

    `hasher` makes its share of the object's value, `check` the checksum by which a later run knows it again (None: the
    share is one).
    """

    __slots__ = ("at", "check", "hasher", "number", "start", "stop")

    def __init__(self, number: int, start: int, stop: int, hasher: Hasher | None, check: Hasher | None) -> None:
        self.number, self.start, self.stop = number, start, stop
        self.at = start
        self.hasher, self.check = hasher, check

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return self.stop - self.at

    def update(self, chunk: bytes | memoryview) -> None:
        """Adds bytes, no more than are left."""
        self.at += len(chunk)
        if self.hasher is not None:
            self.hasher.update(chunk)
        if self.check is not None:
            self.check.update(chunk)


class RangePlan:
    """The parts of one object of `size` bytes, each of `part_size` but the last.

    `finished` are those that are there, by number with their proofs; `etag` is that of the object that they are of.
    What the bytes must be is known from the first answer, which opens the plan; until then one part is in flight.
    """

    def __init__(
        self, size: int, part_size: int, etag: str | None = None, finished: Mapping[int, str] | None = None
    ) -> None:
        self.size, self.part_size, self.etag = size, part_size, etag
        self.is_open = False
        self._count = -(-size // part_size)
        self._expected = ExpectedDigest(size)
        self._proofs = dict(finished or {})
        self._proofs.pop(self._count if len(self._proofs) == self._count else 0, None)  # else no answer would come
        self._left = deque(number for number in range(1, self._count + 1) if number not in self._proofs)
        self._put_back: list[RangePart] = []
        self._flying: set[RangePart] = set()

    @property
    def in_flight(self) -> int:
        """How many parts are on their way."""
        return len(self._flying)

    @property
    def is_slow(self) -> bool:
        """True where the bytes are better hashed in a thread."""
        return self._expected.is_slow

    @property
    def has_finished(self) -> bool:
        """True where some part is there."""
        return bool(self._proofs)

    @property
    def finished_bytes(self) -> int:
        """The bytes of the parts that are there."""
        return sum(self._length(number) for number in self._proofs)

    @property
    def is_finished(self) -> bool:
        """True where all parts are there."""
        return len(self._proofs) == self._count

    def open(self, expected: ExpectedDigest, etag: str | None) -> None:
        """Takes the first response. Parts with digests of another algorithm than the others are fetched again."""
        self.is_open = True
        self._expected = expected
        self.etag = etag if is_strong(etag) else None
        hashed = "" if self._hasher() is None else f"{expected.algorithm}:"
        void = sorted(number for number, proof in self._proofs.items() if not proof.startswith(hashed))
        for number in void:
            del self._proofs[number]
        self._left.extendleft(reversed(void))
        for piece in self._flying:
            piece.hasher, piece.check = self._hasher(), self._check()

    def take(self) -> RangePart | None:
        """The next part to fetch; None: none is left, or more are not to be in flight yet."""
        if self._flying and not self.is_open:
            return None
        if self._put_back:
            piece = self._put_back.pop()
        elif self._left:
            number = self._left.popleft()
            start = (number - 1) * self.part_size
            piece = RangePart(number, start, min(start + self.part_size, self.size), self._hasher(), self._check())
        else:
            return None
        self._flying.add(piece)
        return piece

    def put_back(self, piece: RangePart) -> None:
        """A part whose rest another request is to bring."""
        self._flying.remove(piece)
        self._put_back.append(piece)

    def finish(self, piece: RangePart) -> str:
        """A part is there. Gives its proof: its share of the object's value, and after a space its own checksum.

        Both are `algorithm:base64`; the one is empty where nothing is known of the object's bytes, the other is left
        out where the share is such a checksum.
        """
        self._flying.remove(piece)
        proof = "" if piece.hasher is None else f"{self._expected.algorithm}:{base64_of(piece.hasher.digest())}"
        if piece.check is not None:
            proof += f" {_CHECK}:{base64_of(piece.check.digest())}"
        self._proofs[piece.number] = proof
        return proof

    def close(self) -> None:
        """No more parts are to be fetched."""
        self._left.clear()
        self._put_back.clear()

    def headers(self, piece: RangePart) -> dict[str, str]:
        """Asks for what is left of a part, on condition that the object is still the same."""
        asked = {"Range": f"bytes={piece.at}-{piece.stop - 1}"}
        return asked if self.etag is None else {**asked, "If-Match": f'"{self.etag}"'}

    def check(
        self, piece: RangePart, status: int, headers: Mapping[str, str], etag: str | None, length: int | None
    ) -> None:
        """Raises MismatchError where an answer does not bring just what is left of a part of this object."""
        if status in {412, 416} or (self.etag and etag not in {None, self.etag}):  # not every server minds If-Match
            raise MismatchError("the object changed since its first part was fetched", code="ObjectChanged")
        if status != 206:
            raise MismatchError("a range was asked for, the answer has the whole object", code=RANGE_MISMATCH)
        if not self.is_open and (told := told_size(headers)) is not None:
            self._expected.check_size(told)
        check_range(headers, piece.at, piece.stop, self.size)
        if length not in {None, piece.left}:
            message = f"{piece.left:,} bytes were asked for, the answer announces {length:,}"
            raise MismatchError(message, code=RANGE_MISMATCH)

    def verifier(self) -> Verifier:
        """What verifies the object, once all parts are there."""
        digest = None
        if self._hasher() is not None:
            digest = combined_digest(self._expected, map(self._digest, range(1, self._count + 1)))
        return Verifier.of_parts(self._expected, self.size, digest)

    def _digest(self, number: int) -> tuple[bytes, int]:
        return a2b_base64(self._proofs[number].partition(" ")[0].partition(":")[2]), self._length(number)

    def _length(self, number: int) -> int:
        return min(self.part_size, self.size - (number - 1) * self.part_size)

    def _hasher(self) -> Hasher | None:
        return segment_hasher(self._expected, self.part_size)

    def _check(self) -> Hasher | None:
        expected = self._expected
        is_own = expected.algorithm in COMBINABLE and not expected.parts
        return None if is_own else hasher(_CHECK)
