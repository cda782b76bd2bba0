"""The requests of plain jobs for small objects, and the verification of their bytes: see `engine.plain_jobs`."""

from typing import NamedTuple

from bulkpresign.checksums import ExpectedDigest, expected_digest, verify_whole
from bulkpresign.http.callback_connection import MAX_WHOLE_BODY
from bulkpresign.http.client import HttpClient, PlainRequest
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.http.response import etag_of
from bulkpresign.model import Link
from bulkpresign.transfer.downloads.responses import check_row_size, check_sender, is_other_etag
from bulkpresign.transfer.engine.plain_jobs import ExpiryMargin


class Verified(NamedTuple):
    """The digest that bytes were compared with, the etag of the response, and the name of the verification."""

    expected: ExpectedDigest
    etag: str | None
    by: str | None


class PlainGets:
    """Requests for objects of at most `most` bytes."""

    def __init__(self, http: HttpClient, clock: Clock, most: int = MAX_WHOLE_BODY) -> None:
        self._http, self._clock = http, clock
        self._most = min(most, MAX_WHOLE_BODY)
        self._ends_soon = ExpiryMargin(clock)

    def request(self, link: Link, now: float) -> PlainRequest | None:
        """The request for an object; None for a link that is not plain. `now` is the monotonic clock."""
        size = link.object.size
        if link.method != "GET" or self._ends_soon(link, now) or not (size is None or 0 < size <= self._most):
            return None
        return self._http.plain_request(link)

    def verified(self, link: Link, response: ResponseParser, body: Chunk) -> Verified | None:
        """Verifies the bytes of an object; None if its response is not plain.

        Raises MismatchError, RefusedError for another size than the row's, and ServerError for a response that no S3
        server sent.
        """
        headers, size = response.headers, len(body)
        if not self._clock.is_set:
            self._clock.learn(headers.get("date"), link.url)
        if response.status != 200 or size > self._most:
            return None
        etag = etag_of(headers, link)
        if is_other_etag(link.object.etag, etag):
            return None
        expected = expected_digest(link.object, etag, headers, size)
        if expected.parts:
            return None
        check_sender(expected, link, headers)
        if expected.size != size and response.length is not None:
            check_row_size(link.object, etag, size)
        return Verified(expected, etag, verify_whole(expected, body))
