"""How an object is cut into the parts of an upload, and what stands in the rows of its links.

Source: docs "Amazon S3 multipart upload limits".
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.model import ObjectRef

MIN_PART_SIZE = 5 << 20
MAX_PART_SIZE = 5 << 30
MAX_PARTS = 10_000
_ROUND = 1 << 20
_OF_EVERY_REQUEST = ("x-amz-request-payer", "x-amz-expected-bucket-owner")
#: A customer's own key: S3 keeps none, so every part brings it along.
_OF_EVERY_PART = (*_OF_EVERY_REQUEST, "x-amz-server-side-encryption-customer-")
#: Whether an object may be replaced is decided when it is whole.
_TO_COMPLETE = (*_OF_EVERY_REQUEST, "if-none-match")


def check_part_size(part_size: int) -> int:
    """The same number of bytes. Raises ParameterError where S3 takes no parts of that size."""
    if not MIN_PART_SIZE <= part_size <= MAX_PART_SIZE:
        raise ParameterError(
            f"a part size of {part_size:,} bytes is not between 5 MiB and 5 GiB, which S3 wants of parts"
        )
    return part_size


def part_size_problem(size: int, part_size: int) -> str | None:
    """Why an object of `size` bytes can't go up in such parts, or None."""
    if size <= part_size * MAX_PARTS:
        return None
    least = least_part_size(size)
    if least > MAX_PART_SIZE:
        return f"{size:,} bytes are more than an object can have"
    count = -(-size // part_size)
    return f"{size:,} bytes make {count:,} parts, and S3 takes {MAX_PARTS:,}: --part-size {least >> 20}MiB would do"


def least_part_size(size: int) -> int:
    """The least part size, in whole MiB, by which `size` bytes make no more parts than S3 takes."""
    least = -(-size // MAX_PARTS)
    return max(MIN_PART_SIZE, -(-least // _ROUND) * _ROUND)


def parts_of(size: int, part_size: int) -> list[tuple[int, int, int]]:
    """Number (from 1), offset and size of each part, in bytes."""
    return [
        (number, offset, min(part_size, size - offset)) for number, offset in enumerate(range(0, size, part_size), 1)
    ]


def headers_of_parts(headers: Mapping[str, str]) -> dict[str, str]:
    """Of the headers of a PUT of the whole object those that go with every part of it."""
    return _beginning_with(headers, _OF_EVERY_PART)


def headers_to_complete(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that go with the request that makes an object of the parts."""
    return _beginning_with(headers, _TO_COMPLETE)


def headers_to_abort(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that go with the request that ends an upload without an object."""
    return _beginning_with(headers, _OF_EVERY_REQUEST)


def _beginning_with(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(names)}


def with_columns(ref: ObjectRef, **columns: Any) -> ObjectRef:
    """The same object, with more columns to be carried."""
    return msgspec.structs.replace(ref, extra={**(ref.extra or {}), **columns})


def part_ref(ref: ObjectRef, number: int, offset: int, size: int) -> ObjectRef:
    """What stands in a part's row: the bytes of the part, and of the object what does not tell of other bytes."""
    extra = {**(ref.extra or {}), "part_number": number, "offset": offset}
    return msgspec.structs.replace(ref, size=size, etag=None, checksum=None, extra=extra)
