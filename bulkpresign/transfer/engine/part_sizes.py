"""The parts of a large object: how large, and how many at once, from what the run measured."""

from math import ceil


def part_size(
    size: int, latency: float | None, connection_rate: float | None, limit: int, smallest: int = 1 << 20
) -> int:
    """Bytes of each part of a large object: whole MiB, a power of two of them.

    A part moves for four times its latency, so that a connection is idle for a fifth of its time at most. An object
    has two parts for each request that may be in flight, so that the last ones end together. S3 takes 10,000 parts.
    """
    enough = 4 * latency * connection_rate if latency and connection_rate else float(8 << 20)
    wanted = max(min(enough, size / (2 * max(limit, 1))), float(smallest), size / 10_000)
    return 1 << max(20, min(ceil(wanted) - 1, (5 << 30) - 1).bit_length())


def parts_at_once(size: int, part: int, limit: int, objects: int = 1) -> int:
    """Parts of one of `objects` large objects that are in flight together, where the run may have `limit` of them."""
    return max(1, min(-(-size // part), limit // max(objects, 1)))
