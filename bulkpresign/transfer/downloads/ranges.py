"""An object as a list of parts: those left to fetch, their requests, and the digest that they combine to. No I/O.

Source: RFC 9110, 13.1.1 (If-Match), 14.2 (Range).
"""

from binascii import a2b_base64
from collections import deque
from collections.abc import Callable, Mapping, Set

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
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.downloads.content_range import RANGE_MISMATCH, check_range, size_in_range


def part_size_of(ref: ObjectRef, etag: str | None, size: int, part_size: int) -> int:
    """The part size in bytes, near the one wished for.

    A composite checksum needs whole upload parts: then it is a multiple of their size. It is the same before and after
    the first response, so that the next run has the same parts.
    """
    own = expected_digest(ref, etag, size=size).likeliest_part_size
    return part_size if own is None else max(part_size // own, 1) * own


def is_strong(etag: str | None) -> bool:
    """True for an etag that can guard a range request: a weak one, or an empty one, can't."""
    return etag is not None and bool(etag) and not etag.startswith("W/")


#: Checks the parts that an earlier run left: 0.06 s of CPU for each GB.
_CHECK = "crc64nvme"
_BLOCK_BYTES = 1 << 20


def is_intact(read_at: Callable[[int, int], bytes], offset: int, size: int, proof: str) -> bool:
    """True where the bytes of a part on disk have the checksum in its proof. Call it in a thread.

    `read_at(offset, count)` reads at most `count` bytes. Raises OSError.
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
    """A part that is fetched: `number` from 1, bytes from `start` to before `stop`; `at` is the next byte to come.

    `hasher` computes the digest that the object's is combined from, `check` the checksum by which a later run checks
    the part (None: it checks by the digest).
    """

    __slots__ = ("at", "check", "hasher", "number", "start", "stop")

    def __init__(self, number: int, start: int, stop: int, hasher: Hasher | None, check: Hasher | None) -> None:
        self.number, self.start, self.stop = number, start, stop
        self.at = start
        self.hasher, self.check = hasher, check

    @property
    def left(self) -> int:
        """The number of bytes still to come."""
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

    `finished` are parts on disk, by number with their proofs; they belong to the object with `etag`. The first response
    opens the plan: it tells the expected digest. Until then only one part is in flight.
    """

    def __init__(
        self, size: int, part_size: int, etag: str | None = None, finished: Mapping[int, str] | None = None
    ) -> None:
        self.size, self.part_size, self.etag = size, part_size, etag
        self.is_open = False
        self._count = -(-size // part_size)
        self.expected = ExpectedDigest(size)
        self._proofs = dict(finished or {})
        if len(self._proofs) == self._count:  # fetch the last part again: one response must validate the object
            del self._proofs[self._count]
        self._left = deque(number for number in range(1, self._count + 1) if number not in self._proofs)
        self._fetching: set[RangePart] = set()
        #: No part is taken that starts here or later.
        self.bound = size

    @property
    def in_flight(self) -> int:
        """The number of parts in flight."""
        return len(self._fetching)

    @property
    def is_slow(self) -> bool:
        """True where hashing the parts belongs in a thread."""
        return self.expected.is_slow and not self.is_ordered

    @property
    def is_ordered(self) -> bool:
        """True where the digest can only be computed from the bytes in order."""
        return not self.expected.is_divisible

    @property
    def reach(self) -> int:
        """The number of bytes from the start of the object, without a gap, that are on disk."""
        left = (self._left[0] - 1) * self.part_size if self._left else self.size
        return min((part.at for part in self._fetching if part.at < left), default=left)

    @property
    def count(self) -> int:
        """The number of parts."""
        return self._count

    @property
    def finished(self) -> Set[int]:
        """The numbers of the parts that are on disk."""
        return self._proofs.keys()

    @property
    def has_finished(self) -> bool:
        """True where some part is on disk."""
        return bool(self._proofs)

    @property
    def finished_bytes(self) -> int:
        """The number of bytes in finished parts."""
        return sum(self._length(number) for number in self._proofs)

    @property
    def is_finished(self) -> bool:
        """True where all parts are on disk."""
        return len(self._proofs) == self._count

    def open(self, expected: ExpectedDigest, etag: str | None) -> None:
        """Sets the digest and etag of the first response. Parts with digests of other algorithms are fetched again."""
        self.is_open = True
        self.expected = expected
        self.etag = etag if is_strong(etag) else None
        hashed = "" if self._hasher() is None else f"{expected.algorithm}:"
        void = sorted(number for number, proof in self._proofs.items() if not proof.startswith(hashed))
        for number in void:
            del self._proofs[number]
        self._left = deque(sorted((*self._left, *void)))
        for part in self._fetching:
            part.hasher, part.check = self._hasher(), self._check()

    def take(self) -> RangePart | None:
        """The next part to fetch, None where none is left, or only one may be in flight yet."""
        if self._fetching and not self.is_open:
            return None
        if not self._left or (start := (self._left[0] - 1) * self.part_size) >= self.bound:
            return None
        number = self._left.popleft()
        part = RangePart(number, start, min(start + self.part_size, self.size), self._hasher(), self._check())
        self._fetching.add(part)
        return part

    def finish(self, part: RangePart) -> str:
        """Takes a part whose bytes are there. Returns its proof: its digest, and after a space its checksum.

        Both are `algorithm:base64`. The digest is empty if the object has none; the checksum is left out if the digest
        is one.
        """
        self._fetching.remove(part)
        proof = "" if part.hasher is None else f"{self.expected.algorithm}:{base64_of(part.hasher.digest())}"
        if part.check is not None:
            proof += f" {_CHECK}:{base64_of(part.check.digest())}"
        self._proofs[part.number] = proof
        return proof

    def close(self) -> None:
        """Fetches no more parts."""
        self._left.clear()

    def headers(self, part: RangePart) -> dict[str, str]:
        """Asks for what is left of a part, on condition that the object is still the same."""
        headers = {"Range": f"bytes={part.at}-{part.stop - 1}"}
        return headers if self.etag is None else {**headers, "If-Match": f'"{self.etag}"'}

    def check(
        self, part: RangePart, status: int, headers: Mapping[str, str], etag: str | None, length: int | None
    ) -> None:
        """Raises MismatchError where a response has not exactly what is left of a part of this object."""
        if status in {412, 416} or (self.etag and etag not in {None, self.etag}):  # some servers ignore If-Match
            raise MismatchError("the object changed since its first part was fetched", code="ObjectChanged")
        if status != 206:
            raise MismatchError("a range was asked for, the answer has the whole object", code=RANGE_MISMATCH)
        if not self.is_open and (size := size_in_range(headers)) is not None:
            self.expected.check_size(size)
        check_range(headers, part.at, part.stop, self.size)
        if length not in {None, part.left}:
            message = f"{part.left:,} bytes were asked for, the answer announces {length:,}"
            raise MismatchError(message, code=RANGE_MISMATCH)

    def verifier(self) -> Verifier:
        """A verifier with the digest that all parts combine to."""
        digest = None
        if self._hasher() is not None:
            digest = combined_digest(self.expected, map(self._digest, range(1, self._count + 1)))
        return Verifier.of_parts(self.expected, self.size, digest)

    def _digest(self, number: int) -> tuple[bytes, int]:
        return a2b_base64(self._proofs[number].partition(" ")[0].partition(":")[2]), self._length(number)

    def _length(self, number: int) -> int:
        return min(self.part_size, self.size - (number - 1) * self.part_size)

    def _hasher(self) -> Hasher | None:
        return segment_hasher(self.expected, self.part_size)

    def _check(self) -> Hasher | None:
        expected = self.expected
        is_own = expected.algorithm in COMBINABLE and not expected.parts
        return None if is_own else hasher(_CHECK)
