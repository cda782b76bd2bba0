"""Finds an object's expected digest: in its row, in the headers of a response, or in its etag."""

import re
from binascii import Error, a2b_base64
from collections.abc import Iterator, Mapping

import msgspec

from bulkpresign.checksums.algorithms import ALGORITHMS, base64_of
from bulkpresign.checksums.expected import ExpectedDigest
from bulkpresign.errors import ParameterError
from bulkpresign.model import ObjectRef

#: The column of a manifest with the size, in bytes, of the parts of an etag or checksum.
PART_SIZE_COLUMN = "part_size"
_MAX_SIZE_DIGITS = 19

_ETAG = re.compile(r"([0-9a-fA-F]{32})(?:-([1-9]\d{0,4}))?\Z", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_PART_COUNT = re.compile(r"-([1-9]\d{0,4})\Z", re.ASCII)
_HEADERS = tuple((f"x-amz-checksum-{name}", name) for name in ALGORITHMS)
_GOOGLE_HEADER = "x-goog-hash"
_CHECKSUM_HEADERS = frozenset({_GOOGLE_HEADER, *(header for header, _ in _HEADERS)})
_OF_GOOGLE = re.compile(r"(?:\A|,)\s*(crc32c|md5)=([A-Za-z0-9+/=]{1,30})")


def expected_digest(
    ref: ObjectRef,
    etag: str | None = None,
    headers: Mapping[str, str] | None = None,
    size: int | None = None,
    part_size: int | None = None,
) -> ExpectedDigest:
    """The best known digest of an object.

    The order is: the checksum of `ref`, a checksum in `headers`, an etag that is an md5, the size alone. `headers` are
    those of a response with the whole object (a range has the checksum of its part), with names in lower case. `etag`
    and `size` are used if `ref` has none. Raises ParameterError for a checksum in `ref` that is not valid, see
    `checksum_problem`.
    """
    size = size if ref.size is None else ref.size
    found = None
    if ref.checksum is not None:
        found = _parse(ref.checksum)
    elif headers and not _CHECKSUM_HEADERS.isdisjoint(headers):  # most of S3's responses have to be asked for them
        found = next((digest for _, digest in _checksums_in(headers)), None)
    if found is None:
        known = _ETAG.match(ref.etag or etag or "")
        if known is None or (headers and not _etag_is_md5(headers)):
            return ExpectedDigest(size)
        digest, parts = bytes.fromhex(known[1]), known[2]
        if parts is None:
            return ExpectedDigest(size, "md5", digest, source="etag")
        found = ExpectedDigest(None, "md5", digest, int(parts), source="etag")
        if found.parts == 1 and headers and _etags_may_be_random(headers):
            return msgspec.structs.replace(found, size=size)  # without a part size, another value proves nothing
    return _with_sizes(found, size, part_size or part_size_of_row(ref))


def checksum_problem(text: str) -> str | None:
    """Validation error for a checksum cell, or None."""
    try:
        _parse(text)
    except ParameterError as error:
        return str(error)
    return None


def in_base64(text: str) -> str:
    """`algorithm:hex`, as sha256sum and its like print a digest, as `algorithm:base64`. Other text does not change.

    Both can't be confused: base64 of these lengths ends in `=`.
    """
    algorithm, _, value = text.partition(":")
    if len(value) != 2 * ALGORITHMS.get(algorithm, 0) or not _HEX.match(value):
        return text
    return f"{algorithm}:{base64_of(bytes.fromhex(value))}"


def part_size_of_row(ref: ObjectRef) -> int | None:
    """The part size in a row's column `part_size`, which `sign --head` writes."""
    cell = ref.extra.get(PART_SIZE_COLUMN) if ref.extra else None
    if isinstance(cell, str) and cell.isascii() and cell.isdecimal() and len(cell) < _MAX_SIZE_DIGITS:
        return int(cell) or None
    return cell or None if isinstance(cell, int) and not isinstance(cell, bool) and cell > 0 else None


def _parse(text: str) -> ExpectedDigest:
    """The digest in `algorithm:base64`, without a size. Raises ParameterError."""
    algorithm, colon, value = text.partition(":")
    if not colon or algorithm not in ALGORITHMS:
        algorithms = ", ".join(ALGORITHMS)
        raise ParameterError(f"{text[:80]!r} is not a checksum; example: crc64nvme:AAAAAAAAAAA= ({algorithms})")
    split = _PART_COUNT.search(value)
    digest = _binary(value[: split.start()] if split else value)
    if digest is None:
        raise ParameterError(f"checksum {text[:80]!r}: {value[:60]!r} is not base64")
    if len(digest) != ALGORITHMS[algorithm]:
        raise ParameterError(
            f"checksum {text[:80]!r}: {algorithm} has {ALGORITHMS[algorithm]} bytes, not {len(digest)}"
        )
    return ExpectedDigest(None, algorithm, digest, int(split[1]) if split else 0)


def _binary(text: str) -> bytes | None:
    """The bytes of base64 in its canonical form."""
    try:
        digest = a2b_base64(text, strict_mode=True)
    except (Error, ValueError):  # ValueError: not ASCII
        return None
    return digest if base64_of(digest) == text else None


def checksum_in(headers: Mapping[str, str]) -> str | None:
    """The checksum of the object in a response, as `algorithm:base64`, None without one.

    Skips one that is not valid, and a composite one without a part count. Google Cloud Storage has a header of its own;
    objects that were uploaded in parts have no other proof there.
    Source: docs "Hashes and ETags", "Complete a multipart upload" of Google Cloud Storage.
    """
    return next((text for text, _ in _checksums_in(headers)), None)


def _checksums_in(headers: Mapping[str, str]) -> Iterator[tuple[str, ExpectedDigest]]:
    """The checksums of `checksum_in`, as text and as digest, the best first."""
    is_composite = headers.get("x-amz-checksum-type", "").upper() == "COMPOSITE"
    for header, algorithm in _HEADERS:
        if header in headers:
            found = _digest_in(text := f"{algorithm}:{headers[header]}")
            if found is not None and (found.parts or not is_composite):
                yield text, found
    for name, value in _OF_GOOGLE.findall(headers.get(_GOOGLE_HEADER, "")):
        if (found := _digest_in(text := f"{name}:{value}")) is not None:
            yield text, found


def _digest_in(text: str) -> ExpectedDigest | None:
    """The digest in `algorithm:base64`, None where it is not valid."""
    try:
        return _parse(text)
    except ParameterError:
        return None


def _etag_is_md5(headers: Mapping[str, str]) -> bool:
    """False if the object is encrypted with a KMS key or a customer's key. Source: docs "Object", ETag."""
    return (
        headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
        and "x-amz-server-side-encryption-customer-algorithm" not in headers
    )


def _etags_may_be_random(headers: Mapping[str, str]) -> bool:
    """True for MinIO, which gives random etags of one part to objects that it computes no md5 of.

    Source: minio/minio #8793 and #19593, `MD5CurrentHexString` in `cmd/object-api-utils.go`.
    """
    return headers.get("server", "").lower().startswith("minio")


def _with_sizes(found: ExpectedDigest, size: int | None, part_size: int | None) -> ExpectedDigest:
    """The same digest with the object's size, and with the part size if the size then makes the right part count."""
    if not found.parts or (part_size and size is not None and -(-size // part_size) != found.parts):
        part_size = None
    if found.parts == 1 and size is not None:
        part_size = max(size, 1)
    return msgspec.structs.replace(found, size=size, part_size=part_size)
