"""Responses to a GET: the digest that their bytes must have, and the errors of those without the object."""

from collections.abc import Callable, Mapping

from bulkpresign.checksums import ExpectedDigest, expected_digest
from bulkpresign.errors import LinkExpiredError, RefusedError, TransferError
from bulkpresign.http.response import Response, etag_kind_of
from bulkpresign.model import Link, ObjectRef

#: The header that asks S3 for an object's checksum.
CHECKSUM_MODE = "x-amz-checksum-mode"
#: The statuses of responses to a request for a range; all others are refusals.
RANGE_STATUSES = frozenset({200, 206, 412, 416})
#: A server refuses a header that it doesn't know with one of these.
UNKNOWN_HEADER = frozenset({400, 501})
#: The code of an object over the allowed size.
TOO_LARGE = "TooLarge"
#: The code of an object that is not the one of its row.
CHANGED = "ObjectChanged"


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

    `headers` are those of a response with the whole object, or `Response.etag_kind` of one with a part of it: its
    checksums may be the part's. Raises MismatchError where the object has another size than its row, and RefusedError
    where its etag tells that it is another object than that of its row, and no checksum tells what its bytes are.
    """
    expected = expected_digest(ref, etag, headers, size)
    is_other_size = size is not None and expected.size not in {None, size}
    if (is_other_size or expected.source == "etag") and _are_other_bytes(ref.etag, etag, etag_kind_of(headers)):
        message = f"the object has the etag {etag}, its row or listing {ref.etag}: it was replaced since"
        raise RefusedError(f"{message}; run this again, with a fresh list if it is one", code=CHANGED)
    if size is not None:
        expected.check_size(size)
    return expected


def _are_other_bytes(etag: str | None, other: str | None, etag_kind: Mapping[str, str]) -> bool:
    """True for two etags that are different md5s of all bytes. `etag_kind` are the headers that tell whether they are.

    Etags of parts tell nothing: the same bytes in other parts have another one.
    """
    if etag == other:
        return False
    one, two = (expected_digest(ObjectRef("", "", etag=each), headers=etag_kind) for each in (etag, other))
    are_md5s = all(each.algorithm is not None and not each.parts for each in (one, two))
    return are_md5s and one.digest != two.digest
