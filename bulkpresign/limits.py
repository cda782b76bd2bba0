"""The limits of S3 for the sizes of objects and their parts, in bytes.

Source: docs "Amazon S3 multipart upload limits", "Uploading objects".
"""

#: The largest object that one request may bring.
MAX_REQUEST_SIZE = 5 << 30
#: Only the last part of an object may be smaller.
MIN_PART_SIZE = 5 << 20
MAX_PART_SIZE = 5 << 30
MAX_PARTS = 10_000
_ROUND = 1 << 20


def least_part_size(size: int) -> int:
    """The smallest part size, in whole MiB, with which `size` bytes have no more parts than S3 allows."""
    least = -(-size // MAX_PARTS)
    return max(MIN_PART_SIZE, -(-least // _ROUND) * _ROUND)


def allowed_part_size(size: int, wanted: int) -> int:
    """The `wanted` part size, or the smallest one in its place if S3 does not allow it for `size` bytes."""
    is_allowed = wanted >= MIN_PART_SIZE and wanted * MAX_PARTS >= size
    return wanted if is_allowed else least_part_size(size)
