"""Likely part sizes of a multipart upload, for values of parts whose size is unknown."""

from collections.abc import Iterator
from itertools import chain

_MIB = 1 << 20
#: Part sizes in use: boto3 and the AWS CLI first, then the minimum, consoles, minio, rclone, s5cmd, Hadoop, s3cmd.
_COMMON = tuple(mib * _MIB for mib in (8, 5, 16, 64, 10, 32, 50, 128, 100, 15, 256, 512, 20, 25, 1024, 5120))
_STEPS = tuple(mib * _MIB for mib in (1024, 512, 100, 64, 50, 32, 25, 16, 10, 8, 5, 1))
_MAX_CANDIDATES = 24


def part_sizes(size: int, parts: int) -> list[int]:
    """The part sizes, in bytes, that divide `size` bytes into `parts` parts; the likeliest first, at most 24.

    First the defaults of common tools, then equal parts, round numbers of MiB and of MB, and powers of two.
    """
    if parts < 1 or (size < parts and parts > 1):
        return []
    least = max(1, -(-size // parts))
    most = least if parts == 1 else -(-size // (parts - 1)) - 1
    found: dict[int, None] = {}  # an ordered set
    for part_size in chain(_COMMON, _round_sizes(least, most)):
        if least <= part_size <= most:
            found[part_size] = None
            if len(found) >= _MAX_CANDIDATES:  # two parts of a large object have millions of possible sizes
                break
    return list(found)


def _round_sizes(least: int, most: int) -> Iterator[int]:
    """Part sizes between two bounds: equal parts, round numbers, powers of two."""
    yield least
    for step in _STEPS:
        yield from range(-(-least // step) * step, most + 1, step)
    yield from (1 << bits for bits in range(least.bit_length() - 1, most.bit_length()))
    yield from range(-(-least // 10**6) * 10**6, most + 1, 10**6)
