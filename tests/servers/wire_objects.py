"""The objects that a wire's server answers with: any number of them, of any size, from one block of memory.

`/BUCKET/SIZE/NAME` is SIZE bytes. The name decides which; there are 64 kinds, so that etags can be kept.
"""

import hashlib
import random
import zlib
from functools import lru_cache

#: Content repeats after so many bytes: a prime, so that no two parts of an object are alike.
PERIOD = 8_388_593
#: Bytes that lie in one row from any position on.
MOST = 1 << 20
_KINDS = 64
_APART = 104_729

_PERIOD = random.Random(12).randbytes(PERIOD)
_MEMORY = memoryview(_PERIOD + _PERIOD[:MOST])


def kind_of(path: bytes) -> int:
    """Which of the contents an object has."""
    return zlib.crc32(path) % _KINDS


def size_of(path: bytes) -> int | None:
    """The bytes of an object; None where its path tells none: there is no such object."""
    parts = path.split(b"/", 3)
    return int(parts[2]) if len(parts) == 4 and parts[2].isdigit() and len(parts[2]) < 16 else None


def content(kind: int, start: int, count: int) -> memoryview:
    """`count` bytes from `start` on, at most `MOST`."""
    at = (kind * _APART + start) % PERIOD
    return _MEMORY[at : at + count]


@lru_cache(maxsize=100_000)
def md5_of(kind: int, size: int) -> str:
    """The md5 of a whole object."""
    digest = hashlib.md5()
    for start in range(0, size, MOST):
        digest.update(content(kind, start, min(MOST, size - start)))
    return digest.hexdigest()


def etag_of(kind: int, size: int, md5_size: int) -> str:
    """The md5 of an object that is not over `md5_size` bytes; else an etag that is no md5, as of encrypted objects."""
    return md5_of(kind, size) if size <= md5_size else f"wire-{size}-{kind}"
