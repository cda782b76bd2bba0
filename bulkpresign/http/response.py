"""A request and its answer, whoever carries them."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from bulkpresign import __version__
from bulkpresign.errors import TransferError
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import BodyCallback, Chunk
from bulkpresign.http.s3_errors import error_of
from bulkpresign.model import Link
from bulkpresign.redact import redacted, secrets_of

#: What every request says of us.
OWN_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"bulkpresign/{__version__}"}
_ERROR_BODY = 64 * 1024
#: Seconds after which no more of an error's body is waited for than the next bytes, whose silence has its own bound.
ERROR_TIMEOUT = 10.0
#: Seconds for a message of success: S3 sends white space for minutes while it completes an upload.
MESSAGE_TIMEOUT = 900.0
#: Nearly all etags are hex, and shorter than a signature.
_USUAL_ETAG = re.compile(r"[0-9A-Fa-f-]{1,40}\Z")
_ENCRYPTION = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm")


class Response:
    """A response whose headers are here and whose body is still to come.

    `headers` have their names in lower case. `pour(take)` gives the body to `take` as it comes, until that has enough
    (True) or the body ends (False); `length` is its bytes as announced, None where it was not.
    """

    __slots__ = ("_clock", "_link", "headers", "length", "status", "stream_to")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        length: int | None,
        stream_to: Callable[[BodyCallback], Awaitable[bool]],
        *,
        clock: Clock,
        link: Link,
    ) -> None:
        self.status, self.headers, self.length, self.stream_to = status, headers, length, stream_to
        self._clock, self._link = clock, link
        if not clock.is_set:
            clock.learn(headers.get("date"))

    @property
    def etag(self) -> str | None:
        """The entity tag without quotes.

        None where there is none, where it could not be sent back (not ASCII), and where it repeats a secret of the
        request: etags are stored and shown.
        """
        etag = self.headers.get("etag", "").strip('"')
        if not etag or _USUAL_ETAG.match(etag):
            return etag or None
        is_plain = etag.isascii() and redacted(etag, secrets_of(self._link.url, self._link.headers)) == etag
        return etag if is_plain else None

    @property
    def encryption(self) -> dict[str, str]:
        """The headers that tell whose keys the object is encrypted with, by which an etag is an md5 or none."""
        return {name: self.headers[name] for name in _ENCRYPTION if name in self.headers}

    async def read(self) -> bytes:
        """The body's first 64 KiB: all of it where it is a message. Of one that breaks off or has no end, what came."""
        body = bytearray()
        until = time.monotonic() + (ERROR_TIMEOUT if self.status >= 300 else MESSAGE_TIMEOUT)

        def take(chunk: Chunk) -> bool:
            body.extend(chunk)
            return len(body) >= _ERROR_BODY or time.monotonic() >= until

        with suppress(TransferError):  # the status is known, and says more than a broken connection
            await self.stream_to(take)
        return bytes(body[:_ERROR_BODY])

    async def error(self, link: Link, body: bytes | None = None) -> TransferError:
        """What this answer means as an error; `body` is its beginning where that was read before."""
        said = await self.read() if body is None else body
        self._clock.learn(self.headers.get("date"))
        now = self._clock.now()
        return error_of(self.status, self.headers, said, link, now, difference=self._clock.difference)


class RequestContext(Protocol):
    """One request and its answer, as an async context. What breaks within it is raised as a TransferError."""

    async def __aenter__(self) -> Response: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
