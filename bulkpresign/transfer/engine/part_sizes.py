"""The size of the parts of a large object, where nobody gives one."""

from math import ceil

from bulkpresign.limits import MAX_PART_SIZE, MAX_PARTS

#: Larger objects are fetched in parts.
LARGE_DOWNLOAD = 16 << 20
#: Larger files and copies are sent in parts: they get an etag that is no md5.
LARGE_UPLOAD = 64 << 20
#: Bytes of a part, at least and at most. Some 32 parts of an object fill a wire on which each connection is slow.
_SMALLEST, _LARGEST, _PARTS = 8 << 20, 64 << 20, 32


def usual_part_size(size: int) -> int:
    """Bytes of each part of an object of `size` bytes: a power of two from 8 to 64 MiB, larger over 640 GB.

    Over 40 TB it is 5 GiB: S3 stores objects up to 50 TB.

    It depends on the size alone, so that the next run has the same parts.
    """
    wanted = max(min(max(size / _PARTS, _SMALLEST), _LARGEST), size / MAX_PARTS)
    return min(1 << (ceil(wanted) - 1).bit_length(), MAX_PART_SIZE)
