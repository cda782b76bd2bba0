"""Whether the bytes are the object's: etag, size."""

import hashlib
import re
from collections.abc import Mapping

from bulkpresign.errors import MismatchError

_MD5 = re.compile(r"[0-9a-fA-F]{32}\Z")
_READ_SIZE = 1 << 20


def md5_of_etag(etag: str | None, headers: Mapping[str, str]) -> str | None:
    """The md5 that an etag is, or None: it is none for parts (`...-N`), and under KMS or customer keys.

    Source: docs "Object", ETag; "Specifying server-side encryption with AWS KMS".
    """
    if etag is None or not _MD5.match(etag):
        return None
    if headers.get("x-amz-server-side-encryption", "AES256") != "AES256":
        return None
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        return None
    return etag.lower()


def md5() -> "hashlib._Hash":
    """A fresh md5; it finds damage and keeps no secret, so it is allowed where policies forbid it for security."""
    return hashlib.md5(usedforsecurity=False)


def file_md5(file: str) -> str:
    """The md5 of a file, in hex. Blocks: large files belong in a thread. Raises OSError."""
    digest = md5()
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123
        while block := stream.read(_READ_SIZE):
            digest.update(block)
    return digest.hexdigest()


def check_size(found: int, size: int | None) -> None:
    """Raises MismatchError where the object has another size than the manifest says."""
    if size is not None and found != size:
        raise MismatchError(f"the object has {found:,} bytes, the manifest says {size:,}", code="SizeMismatch")


def check_md5(found: str, expected: str) -> None:
    """Raises MismatchError where the bytes have another md5 than the etag says."""
    if found != expected:
        raise MismatchError(f"the bytes have md5 {found}, the etag is {expected}", code="EtagMismatch")
