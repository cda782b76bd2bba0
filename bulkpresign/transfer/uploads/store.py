"""Sends bytes through a PUT link, and compares what comes back with what went."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping

import msgspec

from bulkpresign.checksums import ExpectedDigest, base64_of, digest_of, expected_digest, hasher
from bulkpresign.errors import RefusedError, TransferError
from bulkpresign.events import BytesMoved, Listener
from bulkpresign.http.client import CHUNK_SIZE, DirectRequest, HttpClient
from bulkpresign.http.response import Response
from bulkpresign.http.s3_errors import check_is_of_s3
from bulkpresign.model import Link, ObjectRef
from bulkpresign.text import counted

ANY_OBJECT = ObjectRef("", "")
#: The statuses of responses to a PUT that stored the object.
STORED = frozenset({200, 201, 204})
#: The statuses with which servers refuse a header.
REFUSES_HEADERS = frozenset({400, 501})
_CHECKSUM = "x-amz-checksum-"
_NO_CHECKSUM = ExpectedDigest()


class Stored(msgspec.Struct, frozen=True, gc=False):
    """The response to an upload: the etag without quotes, and the name of what verified the bytes.

    `checksum` is the one that the link signs, as `algorithm:base64`.
    """

    etag: str | None
    verified_by: str | None
    checksum: str | None = None


class SentBody:
    """The body of an upload, of `size` bytes. Counts and hashes the bytes that are sent.

    Can be iterated once. `error` is why its bytes could not be read, None if they could. With `is_hashed` False the
    bytes are not hashed, unless a link signs their checksum: the caller has other means to verify them.
    """

    is_hashed = True

    def __init__(self, size: int, emit: Listener) -> None:
        self.size, self.sent = size, 0
        self.error: TransferError | None = None
        self.algorithm = "md5"
        self._hasher = hasher(self.algorithm)
        self._emit = emit

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes]: ...

    @abstractmethod
    async def whole(self) -> bytes:
        """The body as bytes, for small bodies."""

    @abstractmethod
    async def md5(self) -> bytes:
        """The md5 of the bytes that were sent."""

    def check_unchanged(self) -> None:
        """Raises StorageError if the source has changed since it was opened."""

    def hash_with(self, algorithm: str) -> None:
        """Hashes with another algorithm than md5; call it before the first read."""
        self.algorithm, self._hasher, self.is_hashed = algorithm, hasher(algorithm), True

    def count(self, chunk: bytes) -> None:
        """Takes note of bytes that are about to be sent."""
        if self.is_hashed:
            self._hasher.update(chunk)
        self.moved(len(chunk))

    def moved(self, count: int) -> None:
        """Takes note of bytes that are hashed already."""
        self.sent += count
        self._emit(BytesMoved(count))

    @property
    def is_sent(self) -> bool:
        """True if all bytes were sent."""
        return self.sent == self.size

    @property
    def digest(self) -> bytes:
        """The digest of the bytes that were sent."""
        return self._hasher.digest()

    def take_back(self) -> None:
        """Subtracts the sent bytes from the progress."""
        self._emit(BytesMoved(-self.sent))
        self.sent = 0


async def store(http: HttpClient, link: Link, body: SentBody, sent: DirectRequest | None = None) -> Stored:
    """Sends a body in one attempt, unless that was `sent` already.

    Raises TransferError; the sent bytes are subtracted from the progress then.
    """
    try:
        return await _send_once(http, link, body, sent)
    except BaseException as error:
        body.take_back()
        if body.error is not None and isinstance(error, TransferError):
            raise body.error from None
        raise


async def _send_once(http: HttpClient, link: Link, body: SentBody, sent: DirectRequest | None) -> Stored:
    signed = signed_checksum(link)
    if signed.algorithm is not None:
        body.hash_with(signed.algorithm)
    data = await body.whole() if body.size <= CHUNK_SIZE else body
    async with sent or http.request(link, upload_headers(link, body.size), data) as response:
        if signed.algorithm is not None and body.is_sent:
            _check_signed(signed, body.digest)
        if response.status not in STORED:
            raise await response.error(link)
        if response.length != 0 and b"<Error>" in (said := await response.read()):
            raise await response.error(link, said)
        if response.etag is None:
            check_is_of_s3(response.status, response.headers, link)
    body.check_unchanged()
    return Stored(response.etag, await _verified(signed, response, body), signed.checksum)


async def _verified(signed: ExpectedDigest, response: Response, body: SentBody) -> str | None:
    """The name of what proves that the server stored the bytes that were sent.

    That is the checksum that the link signs, where the server repeats it: then it has compared it. Else the etag.
    """
    if signed.algorithm is not None:
        signed.check(body.digest)  # differs where the answer came before all of it went
        if is_repeated(signed, response.headers):
            return signed.name
    expected = expected_digest(ANY_OBJECT, response.etag, response.etag_kind)
    if expected.algorithm is None or expected.parts or not body.is_hashed:
        return None
    expected.check(await body.md5())
    return expected.name


def _check_signed(signed: ExpectedDigest, found: bytes) -> None:
    """Raises RefusedError if the link is signed for other bytes: no retry can help."""
    if found != signed.digest:
        message = (
            f"the link is signed for bytes with {signed.name} {signed.shown(signed.digest)}, "
            f"the file's is {signed.shown(found)}"
        )
        raise RefusedError(message, code="ChecksumSigned")


def verified_by_answer(signed: ExpectedDigest, etag: str | None, headers: Mapping[str, str], data: bytes) -> str | None:
    """The name of what proves that the server stored `data`, by the etag and the headers of its response.

    `signed` is the checksum that the link signs. Raises MismatchError where the server stored other bytes.
    """
    if signed.algorithm is not None and is_repeated(signed, headers):
        return signed.name
    expected = expected_digest(ANY_OBJECT, etag, headers)
    if expected.algorithm is None or expected.parts:
        return None
    expected.check(digest_of(expected.algorithm, data))
    return expected.name


def is_repeated(signed: ExpectedDigest, headers: Mapping[str, str]) -> bool:
    """True where the headers of a response repeat the checksum that a link signs: then the server has compared it."""
    return headers.get(f"{_CHECKSUM}{signed.algorithm}") == signed.shown(signed.digest)


def signed_checksum(link: Link) -> ExpectedDigest:
    """The checksum that a link signs."""
    if not any(name[: len(_CHECKSUM)].lower() == _CHECKSUM for name in link.headers):  # as nearly all
        return _NO_CHECKSUM
    return expected_digest(ANY_OBJECT, headers={name.lower(): value for name, value in link.headers.items()})


def md5_header(digest: bytes) -> dict[str, str]:
    """The header with the md5 of a body, which the server compares. Its name is that of other kept headers."""
    return {"content-md5": base64_of(digest)}


def upload_headers(link: Link, size: int) -> dict[str, str]:
    """The length, without which aiohttp sends in chunks, and S3 answers 501.

    Raises RefusedError where another length is signed.
    """
    for name, value in link.headers.items():
        if name.lower() == "content-length" and value != str(size):
            message = f"the link is signed for a length of {value}, the file has {counted(size, 'byte')}"
            raise RefusedError(message, code="LengthSigned")
    return {"Content-Length": str(size)}
