"""The checksum algorithms of S3: hashing bytes, and combining the values of parts."""

import hashlib
import zlib
from binascii import b2a_base64
from collections.abc import Callable
from functools import cache
from typing import Protocol

#: Algorithms and the lengths of their values in bytes. If a response has several, the first one here is used.
ALGORITHMS = {"crc64nvme": 8, "crc32c": 4, "crc32": 4, "sha256": 32, "sha1": 20, "md5": 16}
#: Algorithms with which the values of two segments can be combined into the value of both.
COMBINABLE = frozenset({"crc64nvme", "crc32c", "crc32"})


class Hasher(Protocol):
    """Hashes bytes. Its value is binary, in S3's byte order."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Adds bytes."""
        ...

    def digest(self) -> bytes:
        """The value of all bytes so far."""
        ...


def hasher(algorithm: str) -> Hasher:
    """A new hasher. md5 and sha1 detect damage here and protect no secret, so policies against them do not apply."""
    if algorithm in COMBINABLE:
        return _Crc(_crc_function(algorithm), ALGORITHMS[algorithm])
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    return hashlib.sha1(usedforsecurity=False) if algorithm == "sha1" else hashlib.sha256()


def digest_of(algorithm: str, data: bytes | memoryview) -> bytes:
    """The value of bytes that are all there."""
    if algorithm == "md5":  # one call in place of three, for each small object
        return hashlib.md5(data, usedforsecurity=False).digest()
    whole = hasher(algorithm)
    whole.update(data)
    return whole.digest()


def combine(algorithm: str, first: bytes, second: bytes, second_length: int) -> bytes:
    """The value of two adjacent segments, from the value of each; `second_length` in bytes.

    For the algorithms in `COMBINABLE`. Takes microseconds, whatever the length.
    """
    from awscrt import checksums

    functions = {
        "crc64nvme": checksums.combine_crc64nvme,
        "crc32c": checksums.combine_crc32c,
        "crc32": checksums.combine_crc32,
    }
    value = functions[algorithm](int.from_bytes(first, "big"), int.from_bytes(second, "big"), second_length)
    return int(value).to_bytes(ALGORITHMS[algorithm], "big")


def base64_of(digest: bytes) -> str:
    """A binary value in base64, as in headers."""
    return b2a_base64(digest, newline=False).decode()


class PartsHasher:
    """The composite value: the hash of the parts' binary hashes. All parts but the last have `part_size` bytes."""

    def __init__(self, algorithm: str, part_size: int) -> None:
        self._algorithm, self._part_size = algorithm, part_size
        self._finished = bytearray()
        self._current, self._left = hasher(algorithm), part_size

    def update(self, data: bytes | memoryview, /) -> None:
        """Adds bytes."""
        view = memoryview(data)
        while view:
            if not self._left:
                self._finished += self._current.digest()
                self._current, self._left = hasher(self._algorithm), self._part_size
            chunk = view[: self._left]
            self._current.update(chunk)
            self._left -= len(chunk)
            view = view[len(chunk) :]

    def digests(self) -> bytes:
        """The binary hashes of the parts so far, joined. Without any bytes, it is the hash of one empty part."""
        return bytes(self._finished + self._current.digest())

    def digest(self) -> bytes:
        """The value of all bytes so far."""
        return digest_of(self._algorithm, self.digests())


class _Crc:
    __slots__ = ("_function", "_length", "_value")

    def __init__(self, function: Callable[[bytes | memoryview, int], int], length: int) -> None:
        self._function, self._length = function, length
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


@cache
def _crc_function(algorithm: str) -> Callable[[bytes | memoryview, int], int]:
    if algorithm == "crc32":
        return zlib.crc32  # a third faster than awscrt's
    from awscrt import checksums  # takes 45 ms to import

    functions: dict[str, Callable[[bytes | memoryview, int], int]]
    functions = {"crc64nvme": checksums.crc64nvme, "crc32c": checksums.crc32c}
    return functions[algorithm]
