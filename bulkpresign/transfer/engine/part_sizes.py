"""The parts of a large object: how large, and how many at once, from what the run measured."""

from math import ceil

#: Bytes of a part, where nothing asks for more or fewer.
COMMON_PART = 8 << 20
#: A part moves for so many times its latency: a connection is idle for a fifth of its time at most.
_LATENCIES = 4
#: S3 takes so many parts of an object.
_MOST_PARTS = 10_000
_LARGEST_PART = 5 << 30


def part_size(
    size: int, latency: float | None, connection_rate: float | None, limit: int, smallest: int = 4 << 20
) -> int:
    """Bytes of each part of what is left of a large object: a power of two, at least `smallest` and at most 5 GiB.

    Larger where the latency is long for the rate of a connection. Smaller where an object, or the rest of it, would
    have fewer than two parts for each of `limit` requests in flight: then the last parts end together.
    """
    enough = max(COMMON_PART, _LATENCIES * (latency or 0.0) * (connection_rate or 0.0))
    wanted = max(min(enough, size / (2 * max(limit, 1))), smallest, size / _MOST_PARTS)
    return min(1 << (ceil(wanted) - 1).bit_length(), _LARGEST_PART)


def parts_at_once(size: int, part: int, limit: int, objects: int = 1) -> int:
    """Parts of one of `objects` large objects that are in flight together, where the run may have `limit` of them."""
    return max(1, min(-(-size // part), limit // max(objects, 1)))
