"""Segments: consecutive bytes of an object that are hashed by themselves, and combined into the object's digest."""

from collections.abc import Iterable
from functools import reduce

from bulkpresign.checksums.algorithms import Hasher, PartsHasher, combine, hasher
from bulkpresign.checksums.expected import ExpectedDigest


def segment_hasher(expected: ExpectedDigest, start_at_multiples_of: int) -> Hasher | None:
    """A hasher for one segment of an object; `combined_digest` combines the digests of all segments.

    Segments start at multiples of the given number of bytes. None if there is nothing to hash, if the value can only be
    computed in order, or if the segments do not start where the parts of a composite value do.
    """
    if expected.algorithm is None or not expected.is_divisible:
        return None
    if not expected.parts:
        return hasher(expected.algorithm)
    part_size = expected.likeliest_part_size
    if part_size is None or start_at_multiples_of % part_size:
        return None
    return _PartDigests(expected.algorithm, part_size)


def combined_digest(expected: ExpectedDigest, segments: Iterable[tuple[bytes, int]]) -> bytes:
    """The digest of all bytes from those of the segments, in their order, each with its length in bytes."""
    algorithm = expected.algorithm
    assert algorithm is not None  # noqa: S101 - `segment_hasher` returned None, so there are no digests
    if expected.parts:
        whole = hasher(algorithm)
        for digests, _ in segments:
            whole.update(digests)
        return whole.digest()
    return reduce(lambda first, second: (combine(algorithm, first[0], *second), first[1] + second[1]), segments)[0]


class _PartDigests(PartsHasher):
    """The digest of a segment of several parts is the list of their hashes."""

    digest = PartsHasher.digests
