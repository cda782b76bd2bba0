"""Verifies an object's bytes against the expected digest."""

from collections.abc import Callable, Iterable
from typing import Self

from bulkpresign.checksums.algorithms import Hasher, PartsHasher, digest_of, hasher
from bulkpresign.checksums.expected import ExpectedDigest
from bulkpresign.checksums.part_size import part_sizes

#: The most bytes that are hashed, for one object, to find an unknown part size: about 2 s of CPU with md5.
PROOF_BUDGET = 2 << 30


class Verifier:
    """Takes an object's bytes in order, and verifies them at the end.

    `bytes` counts them. A composite value is computed with the likeliest part size as the bytes arrive. After `verify`,
    `part_size` is the size that fitted, 0 if there are no parts.
    """

    __slots__ = ("_combined", "_hasher", "_update", "bytes", "expected", "part_size")

    def __init__(self, expected: ExpectedDigest) -> None:
        self.expected = expected
        self.bytes = self.part_size = 0
        self._combined: bytes | None = None
        self._hasher = _new_hasher(expected)
        self._update = None if self._hasher is None else self._hasher.update

    @classmethod
    def of_parts(cls, expected: ExpectedDigest, size: int, digest: bytes | None) -> Self:
        """A verifier of `size` bytes whose digest was combined from parts (None: it could not be)."""
        verifier = cls(expected)
        verifier.bytes = size
        verifier._hasher, verifier._combined = None, digest
        return verifier

    def update(self, chunk: bytes | memoryview) -> None:
        """Adds bytes."""
        self.bytes += len(chunk)
        if self._update is not None:
            self._update(chunk)

    def verify(self, reread: Callable[[], Iterable[bytes]] | None = None) -> str | None:
        """The name of the verification that succeeded, None if nothing is known about the bytes.

        For a composite value with an unknown part size, `reread` returns the same bytes again. One pass over them tries
        the other likely sizes, as many as `PROOF_BUDGET` allows. If none fits, for example because the parts differ in
        size, the bytes are unproven: the result is `size`, and `expected.name` is another. Raises MismatchError with
        the code SizeMismatch, ChecksumMismatch or EtagMismatch, and RefusedError with ObjectChanged, see
        `ExpectedDigest.changed`.
        """
        return self.expected.settled(self.found(reread))

    def found(self, reread: Callable[[], Iterable[bytes]] | None = None) -> str | None:
        """The same for a caller who has more to try: `ExpectedDigest.settled` is left to it."""
        expected = self.expected
        expected.check_size(self.bytes)
        digest = self._digest()
        if (digest or b"") == expected.digest:
            self.part_size = (expected.likeliest_part_size or 0) if expected.parts else 0
            return expected.name
        if expected.is_split_known and digest is not None:
            expected.check(digest)
        self.part_size = self._other_part_size(reread, 0 if digest is None else 1)
        return expected.name if self.part_size else expected.size_name

    def verified(self, blocks: Callable[[], Iterable[bytes]]) -> str | None:
        """Adds all bytes that `blocks` returns and verifies them. `blocks` is called once or twice."""
        for block in blocks():
            self.update(block)
        return self.verify(blocks)

    def _digest(self) -> bytes | None:
        return self._combined if self._hasher is None else self._hasher.digest()

    def _other_part_size(self, reread: Callable[[], Iterable[bytes]] | None, tried: int) -> int:
        """The part size that gives the expected value, after the first `tried` candidates; 0 if none does."""
        expected = self.expected
        if reread is None or expected.algorithm is None:
            return 0
        affordable = PROOF_BUDGET // max(self.bytes, 1)
        if expected.parts == 1:  # all sizes make the same part
            affordable = min(affordable, 1 - tried)
        sizes = part_sizes(self.bytes, expected.parts)[tried : tried + affordable]
        hashers = [PartsHasher(expected.algorithm, part_size) for part_size in sizes]
        for block in reread() if hashers else ():
            for each in hashers:
                each.update(block)
        return next((size for size, made in zip(sizes, hashers, strict=True) if made.digest() == expected.digest), 0)


def verify_whole(expected: ExpectedDigest, data: bytes | memoryview) -> str | None:
    """The name of the verification of bytes that are all there: as a Verifier has it for a value without parts."""
    expected.check_size(len(data))
    if expected.algorithm is None:
        return expected.size_name
    digest = digest_of(expected.algorithm, data)
    if digest != expected.digest:
        expected.check(digest)
    return expected.algorithm


def _new_hasher(expected: ExpectedDigest) -> Hasher | None:
    if expected.algorithm is None:
        return None
    if not expected.parts:
        return hasher(expected.algorithm)
    likeliest = expected.likeliest_part_size
    return None if likeliest is None else PartsHasher(expected.algorithm, likeliest)
