"""Responses to a GET: the digest that their bytes must have, and the errors of those without the object."""

from collections.abc import Callable, Mapping

import msgspec

from bulkpresign.checksums import CHANGED, ExpectedDigest, expected_digest
from bulkpresign.errors import LinkExpiredError, RefusedError, TransferError
from bulkpresign.http.response import Response, etag_kind_of
from bulkpresign.http.s3_errors import check_is_of_s3
from bulkpresign.model import Link, ObjectRef
from bulkpresign.text import counted

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

    `headers` are those of a response with the whole object, or `Response.etag_kind` of one with a part of it: its
    checksums may be the part's. Raises MismatchError where the object has another size than its row.

    An object with another etag than its row can be the same: in other parts, or encrypted by a KMS key. Its bytes then
    have to be proven by a checksum, or by the etag of the row. Raises RefusedError where that can't be.
    """
    if is_other_etag(ref.etag, etag):
        return _digest_of_other(ref, etag, headers, size)
    expected = expected_digest(ref, etag, headers, size)
    if size is not None:
        expected.check_size(size)
    return expected


def check_row_size(ref: ObjectRef, etag: str | None, size: int | None) -> None:
    """Raises RefusedError where a server announces another size of the object than its row: no retry can help.

    `size` is that of a response to a request for the whole object, or the total in one with a range. A response without
    an etag may be a proxy's, so another request can have another response. For another etag see `digest_of`.
    """
    if size is None or ref.size is None or size == ref.size or not etag or is_other_etag(ref.etag, etag):
        return
    problem = f"the object has {counted(size, 'byte')}, its row or listing says {ref.size:,}"
    cause = "it was replaced since, or the row was altered; run this again, with a fresh list if it is one"
    raise RefusedError(f"{problem}: {cause}", code="SizeMismatch")


def digest_of_whole(link: Link, etag: str | None, headers: Mapping[str, str], size: int | None) -> ExpectedDigest:
    """The digest of the object of a link, by a response with all of it: see `digest_of` and `check_sender`."""
    expected = digest_of(link.object, etag, headers, size)
    check_sender(expected, link, headers)
    return expected


def check_sender(expected: ExpectedDigest, link: Link, headers: Mapping[str, str]) -> None:
    """Raises ServerError for a response with all of an object that no S3 server sent: see `check_is_of_s3`.

    A digest that is known, or an etag of the row, tells whether the bytes are the object's. Then the sender does not
    matter.
    """
    if expected.algorithm is None and link.object.etag is None:
        check_is_of_s3(200, headers, link)


def is_other_etag(etag: str | None, other: str | None) -> bool:
    """True for two etags that differ. A proxy may make one weak: that has the same value."""
    if not etag or not other or etag == other:
        return False
    return _value(etag) != _value(other)


def _value(etag: str) -> str:
    """The value of an etag without its outer quotes: in lower case, for hex in upper case is the same."""
    return etag.removeprefix("W/").strip('"').lower()


def _digest_of_other(ref: ObjectRef, etag: str | None, headers: Mapping[str, str], size: int | None) -> ExpectedDigest:
    """The digest that proves an object with this etag to be that of its row."""
    expected = expected_digest(ref, etag, headers, size)
    if expected.algorithm is None or expected.source == "etag":
        expected = expected_digest(ref, size=size)  # the headers tell of the other etag
    message = f"the object has the etag {etag}, its row or listing {ref.etag}: it was replaced since"
    message = f"{message}; run this again, with a fresh list if it is one"
    expected = msgspec.structs.replace(expected, changed=message)
    if size is not None:
        expected.check_size(size)
    if expected.algorithm is None or (_is_of_all_bytes(expected) and _is_of_all_bytes(_of_etag(etag, headers))):
        raise RefusedError(message, code=CHANGED)
    return expected


def _of_etag(etag: str | None, headers: Mapping[str, str]) -> ExpectedDigest:
    return expected_digest(ObjectRef("", "", etag=etag), headers=etag_kind_of(headers))


def _is_of_all_bytes(expected: ExpectedDigest) -> bool:
    """True for an etag that is the md5 of all bytes: another one is that of other bytes."""
    return expected.algorithm is not None and expected.source == "etag" and not expected.parts
