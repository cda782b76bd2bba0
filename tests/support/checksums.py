"""Checksums by other means than the package: zlib, hashlib, and CRCs bit by bit."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Sequence

import awscrt.checksums

from bulkpresign.checksums import ALGORITHMS


def reflected_crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """A CRC as its definition has it, a bit at a time."""
    value = ones = (1 << bits) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
    return (value ^ ones).to_bytes(bits // 8, "big")


ORACLES: dict[str, list[Callable[[bytes], bytes]]] = {
    "crc64nvme": [lambda data: reflected_crc(data, 0x9A6C9329AC4BC9B5, 64)],
    "crc32c": [lambda data: reflected_crc(data, 0x82F63B78, 32)],
    "crc32": [lambda data: reflected_crc(data, 0xEDB88320, 32), lambda data: zlib.crc32(data).to_bytes(4, "big")],
    "sha256": [lambda data: hashlib.sha256(data).digest()],
    "sha1": [lambda data: hashlib.sha1(data).digest()],
    "md5": [lambda data: hashlib.md5(data).digest()],
}


def digest_of(algorithm: str, data: bytes) -> bytes:
    """The digest by an oracle. For CRCs of more than 1000 bytes that is awscrt, since a bit at a time is too slow."""
    if len(data) > 1000 and algorithm in {"crc64nvme", "crc32c"}:
        function = awscrt.checksums.crc64nvme if algorithm == "crc64nvme" else awscrt.checksums.crc32c
        return int(function(data)).to_bytes(ALGORITHMS[algorithm], "big")
    return ORACLES[algorithm][-1](data)


def parts_digest(algorithm: str, parts: Sequence[bytes]) -> bytes:
    """The composite value, as the docs define it."""
    return digest_of(algorithm, b"".join(digest_of(algorithm, part) for part in parts))


def cut(data: bytes, size: int) -> list[bytes]:
    """The data in parts; no data is one empty part."""
    return [data[begin : begin + size] for begin in range(0, len(data), size)] or [b""]


def composite_etag(data: bytes, part_size: int) -> str:
    """The etag of a multipart upload with parts of this size."""
    parts = cut(data, part_size)
    return f"{parts_digest('md5', parts).hex()}-{len(parts)}"


def checksum(algorithm: str, data: bytes) -> str:
    """The checksum as a row tells it: `algorithm:base64`."""
    return f"{algorithm}:{base64.b64encode(digest_of(algorithm, data)).decode()}"
