"""Responses to a GET: the digest that their bytes must have, and the errors of those without the object."""

from collections.abc import Callable, Mapping

from bulkpresign.checksums import ExpectedDigest, expected_digest
from bulkpresign.errors import LinkExpiredError, RefusedError, TransferError
from bulkpresign.http.response import Response
from bulkpresign.model import Link, ObjectRef

#: The header that asks S3 for an object's checksum.
CHECKSUM_MODE = "x-amz-checksum-mode"
#: The statuses of responses to a request for a range; all others are refusals.
RANGE_STATUSES = frozenset({200, 206, 412, 416})
#: A server refuses a header that it doesn't know with one of these.
UNKNOWN_HEADER = frozenset({400, 501})
#: The code of an object over the allowed size.
TOO_LARGE = "TooLarge"


async def refusal(link: Link, response: Response, refuse_checksum_mode: Callable[[], None] | None) -> TransferError:
    """The error of a response without the object. A server that refuses the checksum mode is asked without it."""
    error = await response.error(link)
    if refuse_checksum_mode is None or response.status not in UNKNOWN_HEADER or CHECKSUM_MODE not in link.headers:
        return error
    refuse_checksum_mode()
    return LinkExpiredError(f"{error} (the server may not know {CHECKSUM_MODE})", code=error.code)


def without_checksum_mode(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without the one that asks for a checksum."""
    return {name: value for name, value in headers.items() if name.lower() != CHECKSUM_MODE}


def check_allowed(size: int, most: int) -> None:
    """Raises RefusedError with the code TooLarge for an object of more than `most` bytes."""
    if size > most:
        raise RefusedError(f"the object has {size:,} bytes; {most:,} are allowed", code=TOO_LARGE)


def digest_of(ref: ObjectRef, etag: str | None, headers: Mapping[str, str], size: int | None) -> ExpectedDigest:
    """The digest that an object of `size` bytes must have, by its row and a response.

    `headers` are those of a response with the whole object, or `Response.encryption` of one with a part of it: its
    checksums may be the part's. Raises MismatchError where the object has another size than its row.
    """
    expected = expected_digest(ref, etag, headers, size)
    if size is not None:
        expected.check_size(size)
    return expected
