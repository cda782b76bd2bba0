"""Reads the bytes of a file for hashing."""

import os
from collections.abc import Iterator

_BLOCK_BYTES = 1 << 20


def descriptor_blocks(descriptor: int) -> Iterator[bytes]:
    """The bytes of an open file from its start, in blocks of 1 MiB. Leaves its position unchanged. Raises OSError."""
    length = min(_BLOCK_BYTES, os.fstat(descriptor).st_size + 1)
    offset = 0
    while block := os.pread(descriptor, length, offset):
        yield block
        offset += len(block)
        length = _BLOCK_BYTES
