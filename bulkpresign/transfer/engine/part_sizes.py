"""The size of the parts of a large object, where nobody gives one."""

from math import ceil

#: Larger objects are fetched in parts.
LARGE = 16 << 20
#: Bytes of a part, at least and at most. Some 32 parts of an object fill a wire on which each connection is slow.
_SMALLEST, _LARGEST, _PARTS = 8 << 20, 64 << 20, 32
#: S3 takes so many parts of an object (docs: "Amazon S3 multipart upload limits").
_MOST_PARTS = 10_000
#: And none of them may be larger.
_LARGEST_OF_ALL = 5 << 30


def usual_part_size(size: int) -> int:
    """Bytes of each part of an object of `size` bytes: a power of two from 8 to 64 MiB, larger over 640 GB.

    Over 40 TB it is 5 GiB: S3 stores objects up to 50 TB.

    It depends on the size alone, so that the next run has the same parts.
    """
    wanted = max(min(max(size / _PARTS, _SMALLEST), _LARGEST), size / _MOST_PARTS)
    return min(1 << (ceil(wanted) - 1).bit_length(), _LARGEST_OF_ALL)
