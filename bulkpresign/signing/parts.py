"""The parts of a multipart upload: their sizes, the headers of each request, and the columns of their rows."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.limits import MAX_PART_SIZE, MAX_PARTS, MIN_PART_SIZE, least_part_size
from bulkpresign.model import ObjectRef
from bulkpresign.text import counted

_REQUEST_HEADERS = ("x-amz-request-payer", "x-amz-expected-bucket-owner")
#: S3 does not store a customer's key, so it is sent with every part.
_PART_HEADERS = (*_REQUEST_HEADERS, "x-amz-server-side-encryption-customer-")
#: S3 checks the conditions when the upload is completed. The customer's key decrypts the checksums of the parts.
#: Source: docs "CompleteMultipartUpload".
_COMPLETE_HEADERS = (*_PART_HEADERS, "if-none-match", "if-match")


def check_part_size(part_size: int) -> int:
    """The same number of bytes. Raises ParameterError if S3 does not allow parts of that size."""
    if not MIN_PART_SIZE <= part_size <= MAX_PART_SIZE:
        raise ParameterError(
            f"a part size of {counted(part_size, 'byte')} is not between 5 MiB and 5 GiB, the limits of S3"
        )
    return part_size


def part_size_problem(size: int, part_size: int) -> str | None:
    """Error for an object of `size` bytes that would have too many parts, or None."""
    if size <= part_size * MAX_PARTS:
        return None
    least = least_part_size(size)
    if least > MAX_PART_SIZE:
        return f"{size:,} bytes are more than S3 allows for an object"
    count = -(-size // part_size)
    return f"{size:,} bytes make {count:,} parts, and S3 allows {MAX_PARTS:,}: use --part-size {least >> 20}MiB or more"


def parts_of(size: int, part_size: int) -> list[tuple[int, int, int]]:
    """Number (from 1), offset and size of each part, in bytes."""
    return [
        (number, offset, min(part_size, size - offset)) for number, offset in enumerate(range(0, size, part_size), 1)
    ]


def headers_of_parts(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of each part, from those of a PUT of the whole object."""
    return _with_prefix(headers, _PART_HEADERS)


def headers_to_complete(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of the request that completes the upload, from those of a PUT."""
    return _with_prefix(headers, _COMPLETE_HEADERS)


def headers_to_abort(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of the request that aborts the upload, from those of a PUT."""
    return _with_prefix(headers, _REQUEST_HEADERS)


def _with_prefix(headers: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(prefixes)}


def with_columns(ref: ObjectRef, **columns: Any) -> ObjectRef:
    """The same object with additional carried columns."""
    return msgspec.structs.replace(ref, extra={**(ref.extra or {}), **columns})


def part_ref(ref: ObjectRef, number: int, offset: int, size: int) -> ObjectRef:
    """The object of a part's row: its size is the part's, and it has no etag or checksum of the whole object."""
    extra = {**(ref.extra or {}), "part_number": number, "offset": offset}
    return msgspec.structs.replace(ref, size=size, etag=None, checksum=None, extra=extra)
