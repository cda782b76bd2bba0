"""Whether bytes are an object's: checksums, etags, sizes. Arithmetic only; whoever has many bytes calls it in a thread.

S3 knows a value of the whole object ("full object") and one of its parts: the hash of the parts' binary hashes, written
with the number of parts behind it ("composite", `...-3`); etags of multipart uploads are md5 of that kind. Source: docs
"Checking object integrity". How large the parts were is told nowhere, so it is found: few sizes give that many parts.
"""

import hashlib
import os
import re
import zlib
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, reduce
from itertools import chain
from typing import Literal, Protocol, Self

import msgspec

from bulkpresign.errors import MismatchError, ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.text import counted

#: Algorithms and their lengths in bytes; where an answer has several, the first one here is taken.
ALGORITHMS = {"crc64nvme": 8, "crc32c": 4, "crc32": 4, "sha256": 32, "sha1": 20, "md5": 16}
#: Those whose values of two stretches of bytes give the value of both.
COMBINABLE = frozenset({"crc64nvme", "crc32c", "crc32"})

_MIB = 1 << 20
#: Part sizes in use, in MiB: boto3 and the AWS CLI; the least; consoles, minio, rclone, s5cmd, Hadoop, s3cmd.
_USUAL = tuple(mib * _MIB for mib in (8, 5, 16, 64, 10, 32, 50, 128, 100, 15, 256, 512, 20, 25, 1024, 5120))
_STEPS = tuple(mib * _MIB for mib in (1024, 512, 100, 64, 50, 32, 25, 16, 10, 8, 5, 1))
_MAX_CANDIDATES = 24
#: Bytes that are hashed at most, for one object, to find the part size that nothing tells: about 2 s of CPU by md5.
PROOF_BUDGET = 2 << 30
_BLOCK_BYTES = 1 << 20
#: The column of a manifest that tells the size, in bytes, of the parts that an etag or checksum is of.
PART_SIZE_COLUMN = "part_size"
_SIZE_DIGITS = 19

_ETAG = re.compile(r"([0-9a-fA-F]{32})(?:-([1-9]\d{0,4}))?\Z", re.ASCII)
_PARTS = re.compile(r"-([1-9]\d{0,4})\Z", re.ASCII)
_HEADERS = tuple((f"x-amz-checksum-{name}", name) for name in ALGORITHMS)


class Hasher(Protocol):
    """What takes bytes and gives their value, as bytes in S3's order."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Adds bytes."""
        ...

    def digest(self) -> bytes:
        """The value of all bytes so far."""
        ...


class ExpectedDigest(msgspec.Struct, frozen=True, gc=False):
    """What an object's bytes must be.

    `size` in bytes, None where unknown. `algorithm` is None where size is all there is; `digest` is its binary value,
    of `parts` parts (0: of the whole object), each of `part_size` bytes but the last (None: unknown).
    """

    size: int | None = None
    algorithm: str | None = None
    digest: bytes = b""
    parts: int = 0
    part_size: int | None = None
    source: Literal["checksum", "etag"] = "checksum"

    @property
    def name(self) -> str | None:
        """What the bytes are verified by where all goes well: `crc64nvme`, `md5-parts`, `size`; None: by nothing."""
        if self.algorithm is None:
            return self.size_name
        return f"{self.algorithm}-parts" if self.parts else self.algorithm

    @property
    def is_split_known(self) -> bool:
        """True where the bytes must have this value: it is of the whole object, or of parts of a known size."""
        return not self.parts or self.part_size is not None

    @property
    def is_divisible(self) -> bool:
        """True where the values of parts that come in any order give the value, or none is looked at."""
        return self.algorithm is None or self.parts > 0 or self.algorithm in COMBINABLE

    @property
    def is_slow(self) -> bool:
        """True where hashing takes longer than moving the bytes: a second for each GB, which a thread can spend."""
        return self.algorithm is not None and self.algorithm not in COMBINABLE

    @property
    def likeliest_part_size(self) -> int | None:
        """Of a value of parts, how large these are: as known, else as is likeliest; None: nothing fits, or no parts."""
        if self.part_size is None and self.size is not None:
            return next(iter(part_sizes(self.size, self.parts)), None) if self.parts else None
        return self.part_size

    @property
    def checksum(self) -> str | None:
        """The value as a manifest's column `checksum` has it, None where it is no checksum."""
        return f"{self.algorithm}:{self.shown(self.digest)}" if self.algorithm and self.source == "checksum" else None

    @property
    def size_name(self) -> str | None:
        """`size`, or None where that is unknown as well."""
        return None if self.size is None else "size"

    def shown(self, digest: bytes) -> str:
        """A binary value as S3 writes it: in hex in an etag, else in base64; of parts with their number."""
        text = digest.hex() if self.source == "etag" else base64_of(digest)
        return f"{text}-{self.parts}" if self.parts else text

    def check_size(self, size: int) -> None:
        """Raises MismatchError where the object has another size, or fewer bytes than its value has parts."""
        if self.size is not None and size != self.size:
            raise MismatchError(
                f"there {'is' if size == 1 else 'are'} {counted(size, 'byte')} where {self.size:,} are expected",
                code="SizeMismatch",
            )
        if self.parts > max(size, 1):
            parts = f"the {self.source} is of {self.parts:,} parts, the object has {counted(size, 'byte')}"
            raise MismatchError(f"{parts}, so it is not this object's", code=self._mismatch)

    def check(self, digest: bytes) -> None:
        """Raises MismatchError where the bytes have another value."""
        if digest != self.digest:
            found, expected = self.shown(digest), self.shown(self.digest)
            message = f"the bytes have {self.name} {found}, the {self.source} is {expected}"
            raise MismatchError(message, code=self._mismatch)

    @property
    def _mismatch(self) -> str:
        return "EtagMismatch" if self.source == "etag" else "ChecksumMismatch"


def expected_digest(
    ref: ObjectRef,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
    size: int | None = None,
    part_size: int | None = None,
) -> ExpectedDigest:
    """What an object's bytes must be, by the best that is known of it.

    That is the checksum that `ref` carries, else one in `headers`, else the etag where it is an md5, else the size.
    `headers` are those of an answer with the whole object, of a range they are the part's; their names in lower case,
    or in any where the mapping takes any. `etag` and `size` stand in where `ref` has none. Raises ParameterError for a
    checksum in `ref` that is none, see `checksum_problem`.
    """
    size = size if ref.size is None else ref.size
    part_size = part_size or _told_part_size(ref)
    if ref.checksum is not None:
        return _sized(_parsed(ref.checksum), size, part_size)
    if headers and (found := _of_headers(headers)):
        return _sized(found, size, part_size)
    known = _ETAG.match(ref.etag or etag or "")
    if known is None or (headers and not _etag_is_md5(headers)):
        return ExpectedDigest(size)
    digest, parts = bytes.fromhex(known[1]), known[2]
    if parts is None:
        return ExpectedDigest(size, "md5", digest, source="etag")
    return _sized(ExpectedDigest(None, "md5", digest, int(parts), source="etag"), size, part_size)


def _told_part_size(ref: ObjectRef) -> int | None:
    """The part size that a row tells in a column of its own, as `sign --head` writes it."""
    cell = ref.extra.get(PART_SIZE_COLUMN) if ref.extra else None
    if isinstance(cell, str) and cell.isascii() and cell.isdecimal() and len(cell) < _SIZE_DIGITS:
        return int(cell) or None
    return cell or None if isinstance(cell, int) and not isinstance(cell, bool) and cell > 0 else None


class Verifier:
    """Takes an object's bytes in their order, and tells at the end whether they are the object's.

    `bytes` counts them. A value of parts is computed with the likeliest part size on the way; `part_size` is the one
    that fitted in the end, 0 where there are no parts.
    """

    __slots__ = ("_hasher", "_known", "_update", "bytes", "expected", "part_size")

    def __init__(self, expected: ExpectedDigest) -> None:
        self.expected = expected
        self.bytes = self.part_size = 0
        self._known: bytes | None = None
        self._hasher = _hasher_of(expected)
        self._update = None if self._hasher is None else self._hasher.update

    @classmethod
    def of_parts(cls, expected: ExpectedDigest, size: int, digest: bytes | None) -> Self:
        """One that has taken `size` bytes, whose value is known from their parts (None: it is not)."""
        verifier = cls(expected)
        verifier.bytes = size
        verifier._hasher, verifier._known = None, digest
        return verifier

    def update(self, chunk: bytes | memoryview) -> None:
        """Adds bytes."""
        self.bytes += len(chunk)
        if self._update is not None:
            self._update(chunk)

    def verify(self, reread: Callable[[], Iterable[bytes]] | None = None) -> str | None:
        """The name of what verified the bytes, None where nothing is known to verify them by.

        For a value of parts of unknown size, `reread` gives the same bytes once more: the other likely sizes are tried
        in that one pass, as many as `PROOF_BUDGET` allows. Where none fits, as with parts of different sizes, the bytes
        stay unproven: the result is `size` though `expectation.name` is not. Raises MismatchError with the code
        SizeMismatch, ChecksumMismatch or EtagMismatch.
        """
        expected = self.expected
        expected.check_size(self.bytes)
        digest = self._digest()
        if (digest or b"") == expected.digest:
            self.part_size = (expected.likeliest_part_size or 0) if expected.parts else 0
            return expected.name
        if expected.is_split_known and digest is not None:
            expected.check(digest)
        self.part_size = self._other_part_size(reread, 0 if digest is None else 1)
        return expected.name if self.part_size else expected.size_name

    def verified(self, blocks: Callable[[], Iterable[bytes]]) -> str | None:
        """Takes all that `blocks` gives, which is called once or twice, and verifies it."""
        for block in blocks():
            self.update(block)
        return self.verify(blocks)

    def _digest(self) -> bytes | None:
        return self._known if self._hasher is None else self._hasher.digest()

    def _other_part_size(self, reread: Callable[[], Iterable[bytes]] | None, tried: int) -> int:
        """The part size of which the value is, other than those tried; 0: none that the budget allows."""
        expected = self.expected
        if reread is None or expected.algorithm is None:
            return 0
        affordable = PROOF_BUDGET // max(self.bytes, 1)
        sizes = part_sizes(self.bytes, expected.parts)[tried : tried + affordable]
        hashers = [PartsHasher(expected.algorithm, part_size) for part_size in sizes]
        for block in reread() if hashers else ():
            for each in hashers:
                each.update(block)
        return next((size for size, made in zip(sizes, hashers, strict=True) if made.digest() == expected.digest), 0)


class PartsHasher:
    """The hash of the binary hashes of parts, each of `part_size` bytes but the last."""

    def __init__(self, algorithm: str, part_size: int) -> None:
        self._algorithm, self._part_size = algorithm, part_size
        self._closed = bytearray()
        self._open, self._left = hasher(algorithm), part_size

    def update(self, data: bytes | memoryview, /) -> None:
        """Adds bytes."""
        view = memoryview(data)
        while view:
            if not self._left:
                self._closed += self._open.digest()
                self._open, self._left = hasher(self._algorithm), self._part_size
            taken = view[: self._left]
            self._open.update(taken)
            self._left -= len(taken)
            view = view[len(taken) :]

    def digests(self) -> bytes:
        """The parts' own hashes so far, one after another; no bytes are one empty part."""
        return bytes(self._closed + self._open.digest())

    def digest(self) -> bytes:
        """The value of all bytes so far."""
        whole = hasher(self._algorithm)
        whole.update(self.digests())
        return whole.digest()


class _Digests(PartsHasher):
    """Of some of an object's parts: their value is the list of their hashes."""

    digest = PartsHasher.digests


class _Crc:
    __slots__ = ("_function", "_length", "_value")

    def __init__(self, function: Callable[[bytes | memoryview, int], int], length: int) -> None:
        self._function, self._length = function, length
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


def hasher(algorithm: str) -> Hasher:
    """A fresh one. md5 and sha1 find damage and keep no secret, so they are allowed where policies forbid them."""
    if algorithm in COMBINABLE:
        return _Crc(_crc_function(algorithm), ALGORITHMS[algorithm])
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    return hashlib.sha1(usedforsecurity=False) if algorithm == "sha1" else hashlib.sha256()


def combine(algorithm: str, first: bytes, second: bytes, second_length: int) -> bytes:
    """The value of two stretches of bytes from the value of each; `second_length` in bytes.

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


def segment_hasher(expected: ExpectedDigest, start_at_multiples_of: int) -> Hasher | None:
    """For a stretch of an object's bytes; `combined_digest` makes the object's value of theirs.

    Stretches begin at multiples of so many bytes. None where there is nothing to hash, or where their borders are none
    of the parts' that the value is of.
    """
    if expected.algorithm is None:
        return None
    if not expected.parts:
        return hasher(expected.algorithm)
    part_size = expected.likeliest_part_size
    if part_size is None or start_at_multiples_of % part_size:
        return None
    return _Digests(expected.algorithm, part_size)


def combined_digest(expected: ExpectedDigest, stretches: Iterable[tuple[bytes, int]]) -> bytes:
    """The value of all bytes from those of stretches, in their order, each with its length in bytes."""
    algorithm = expected.algorithm
    assert algorithm is not None  # noqa: S101 - else there was nothing to hash
    if expected.parts:
        whole = hasher(algorithm)
        for digests, _ in stretches:
            whole.update(digests)
        return whole.digest()
    return reduce(lambda first, second: (combine(algorithm, first[0], *second), first[1] + second[1]), stretches)[0]


def base64_of(digest: bytes) -> str:
    """A binary value in base64, as it stands in headers."""
    return b2a_base64(digest, newline=False).decode()


def checksum_problem(text: str) -> str | None:
    """Why a cell of the column `checksum` is none, or None."""
    try:
        _parsed(text)
    except ParameterError as error:
        return str(error)
    return None


def part_sizes(size: int, parts: int) -> list[int]:
    """The part sizes, in bytes, by which `size` bytes make `parts` parts; the likeliest first, a bounded number.

    First those that tools have by default, then equal parts, round numbers of MiB and of MB, and powers of two.
    """
    if parts < 1 or (size < parts and parts > 1):
        return []
    least = max(1, -(-size // parts))
    most = least if parts == 1 else -(-size // (parts - 1)) - 1
    found: dict[int, None] = {}  # in order, each once
    for part_size in chain(_USUAL, _guesses(least, most)):
        if least <= part_size <= most:
            found[part_size] = None
            if len(found) >= _MAX_CANDIDATES:  # of two parts of a large object there would be millions
                break
    return list(found)


def descriptor_blocks(descriptor: int) -> Iterator[bytes]:
    """The bytes of an open file from its start, in blocks of 1 MiB; its position stays. Raises OSError."""
    asked = min(_BLOCK_BYTES, os.fstat(descriptor).st_size + 1)
    offset = 0
    while block := os.pread(descriptor, asked, offset):
        yield block
        offset += len(block)
        asked = _BLOCK_BYTES


def _hasher_of(expected: ExpectedDigest) -> Hasher | None:
    if expected.algorithm is None:
        return None
    if not expected.parts:
        return hasher(expected.algorithm)
    likeliest = expected.likeliest_part_size
    return None if likeliest is None else PartsHasher(expected.algorithm, likeliest)


def _guesses(least: int, most: int) -> Iterator[int]:
    """Part sizes between two bounds: equal parts, round numbers, powers of two."""
    yield least
    for step in _STEPS:
        yield from range(-(-least // step) * step, most + 1, step)
    yield from (1 << bits for bits in range(least.bit_length() - 1, most.bit_length()))
    yield from range(-(-least // 10**6) * 10**6, most + 1, 10**6)


@cache
def _crc_function(algorithm: str) -> Callable[[bytes | memoryview, int], int]:
    if algorithm == "crc32":
        return zlib.crc32  # a third quicker than awscrt's
    from awscrt import checksums  # 45 ms, for those who need it

    functions: dict[str, Callable[[bytes | memoryview, int], int]]
    functions = {"crc64nvme": checksums.crc64nvme, "crc32c": checksums.crc32c}
    return functions[algorithm]


def _parsed(text: str) -> ExpectedDigest:
    """The checksum that a text is, without a size. Raises ParameterError."""
    algorithm, colon, value = text.partition(":")
    if not colon or algorithm not in ALGORITHMS:
        raise ParameterError(f"{text[:80]!r} is no checksum such as crc64nvme:AAAAAAAAAAA= ({', '.join(ALGORITHMS)})")
    split = _PARTS.search(value)
    digest = _binary(value[: split.start()] if split else value)
    if digest is None:
        raise ParameterError(f"checksum {text[:80]!r}: {value[:60]!r} is no base64")
    if len(digest) != ALGORITHMS[algorithm]:
        raise ParameterError(
            f"checksum {text[:80]!r}: {algorithm} has {ALGORITHMS[algorithm]} bytes, not {len(digest)}"
        )
    return ExpectedDigest(None, algorithm, digest, int(split[1]) if split else 0)


def _binary(text: str) -> bytes | None:
    """The bytes of base64 in its one canonical form."""
    try:
        digest = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):  # ValueError: not ASCII
        return None
    return digest if base64_of(digest) == text else None


def _of_headers(headers: Mapping[str, str]) -> ExpectedDigest | None:
    """The checksum in an answer's headers. One that can't be read, or is of parts without their number, is none."""
    for header, algorithm in _HEADERS:
        value = headers.get(header)
        if value is None or checksum_problem(f"{algorithm}:{value}"):
            continue
        found = _parsed(f"{algorithm}:{value}")
        if found.parts or headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
            return found
    return None


def _etag_is_md5(headers: Mapping[str, str]) -> bool:
    """False under keys of KMS or the customer. Source: docs "Object", ETag."""
    return (
        headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
        and "x-amz-server-side-encryption-customer-algorithm" not in headers
    )


def _sized(found: ExpectedDigest, size: int | None, part_size: int | None) -> ExpectedDigest:
    """The same for an object of that size; one part is as large as the object.

    A part size by which that size does not make so many parts is none.
    """
    if not found.parts or (part_size and size is not None and -(-size // part_size) != found.parts):
        part_size = None
    if found.parts == 1 and size is not None:
        part_size = max(size, 1)
    return msgspec.structs.replace(found, size=size, part_size=part_size)
