"""Two objects by what is known of them."""

import pytest

from bulkpresign.model import ObjectRef
from bulkpresign.proof.comparison import UNKNOWN, Comparison, compared
from tests.support.checksums import checksum

MD5, OTHER = "0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"


def ref(size: int | None = 5, etag: str | None = None, checksum: str | None = None, part_size: int = 0) -> ObjectRef:
    extra = {"part_size": part_size} if part_size else None
    return ObjectRef("b", "k", size=size, etag=etag, checksum=checksum, extra=extra)


@pytest.mark.parametrize(
    ("one", "other", "verified_by"),
    [
        (ref(0, MD5), ref(0), "size"),
        (ref(5, MD5), ref(5, MD5), "md5"),
        (ref(5, MD5.upper()), ref(None, MD5), "md5"),
        (ref(9 << 20, f"{MD5}-2"), ref(9 << 20, f"{MD5}-2"), "md5-parts"),
        (ref(5, MD5, checksum("crc32c", b"x")), ref(5, f"{OTHER}-2", checksum("crc32c", b"x")), "crc32c"),
        (ref(5, MD5, checksum("crc32c", b"x")), ref(5, MD5, checksum("sha256", b"x")), "md5"),
    ],
)
def test_the_same(one: ObjectRef, other: ObjectRef, verified_by: str) -> None:
    assert compared(one, other) == compared(other, one) == Comparison(verified_by=verified_by)


@pytest.mark.parametrize(
    ("one", "other", "code", "words"),
    [
        (ref(5, MD5), ref(6, MD5), "SizeMismatch", "6 bytes where there are 5"),
        (ref(0), ref(1), "SizeMismatch", "1 byte where there are 0"),
        (ref(5, MD5), ref(5, OTHER), "EtagMismatch", f"etag {OTHER} where there is {MD5} (or one of them is encrypted"),
        (ref(5, None, "crc32:AAAAAA=="), ref(5, MD5, "crc32:AAAAAQ=="), "ChecksumMismatch", "checksum AAAAAQ== where"),
        (ref(9, f"{MD5}-2", None, 5), ref(9, f"{OTHER}-2", None, 5), "EtagMismatch", f"etag {OTHER}-2 where there is"),
    ],
)
def test_different(one: ObjectRef, other: ObjectRef, code: str, words: str) -> None:
    found = compared(one, other)
    assert (found.verified_by, found.code) == (None, code)
    assert (found.difference or "").startswith(words)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ref(5), ref(5)),
        (ref(5, MD5), ref(5)),
        (ref(5, MD5), ref(5, f"{MD5}-1")),
        (ref(9 << 20, f"{MD5}-2"), ref(9 << 20, f"{OTHER}-2")),  # parts of other sizes can make as many
        (ref(9, f"{MD5}-2", None, 5), ref(9, f"{OTHER}-2", None, 6)),
        (ref(5, "no-md5"), ref(5, "no-md5")),
        (ref(5, None, checksum("sha1", b"x")), ref(5, None, checksum("md5", b"x"))),
        (ref(5, MD5), ref(5, None, checksum("md5", b"x"))),  # the etag of an encrypted object is no md5
    ],
)
def test_unknown(one: ObjectRef, other: ObjectRef) -> None:
    assert compared(one, other) is compared(other, one) is UNKNOWN
