"""A response, by whichever transport it came."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from bulkpresign.errors import TransferError
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import BodyCallback
from bulkpresign.http.protocol import Chunk
from bulkpresign.http.s3_errors import error_of
from bulkpresign.model import Link, without_query
from bulkpresign.redact import redacted, secrets_of

_ERROR_BODY = 64 * 1024
#: Seconds after which an error's body is read no further. Silence ends it earlier (`pool.IDLE_TIMEOUT`).
ERROR_TIMEOUT = 10.0
#: Seconds for the message of a success: S3 sends white space for minutes while it completes an upload.
MESSAGE_TIMEOUT = 900.0
#: Nearly all etags are hex, and shorter than a signature.
_USUAL_ETAG = re.compile(r"[0-9A-Fa-f-]{1,40}\Z")
_ETAG_KIND = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm", "server")


class Response:
    """A response whose headers are here and whose body is still to come.

    `headers` have their names in lower case. `length` is the body's bytes as announced, None where they were not.
    `stream_to(callback)` passes the body's chunks to a callback as they come, until the callback returns True (and
    returns True then; a second call goes on) or the body ends (False). A chunk is valid until the next call.
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
            clock.learn(headers.get("date"), link.url)

    def __repr__(self) -> str:
        length = "unknown length" if self.length is None else f"{self.length} bytes"
        return f"<Response {self.status}, {length}, {self._link.method} {without_query(self._link.url)}>"

    @property
    def etag(self) -> str | None:
        """The entity tag without quotes, or None.

        None also where it can't be sent back (not ASCII), or repeats a secret of the request: etags are stored and
        shown.
        """
        return etag_of(self.headers, self._link)

    @property
    def etag_kind(self) -> dict[str, str]:
        """The headers that decide whether the etag is made of md5s: how the object is encrypted, and by what server."""
        return etag_kind_of(self.headers)

    async def read(self) -> bytes:
        """The body's first 64 KiB: a whole message. Less where the body breaks off, or takes too long."""
        body = bytearray()
        until = time.monotonic() + (ERROR_TIMEOUT if self.status >= 300 else MESSAGE_TIMEOUT)

        def take(chunk: Chunk) -> bool:
            body.extend(chunk)
            return len(body) >= _ERROR_BODY or time.monotonic() >= until

        with suppress(TransferError):  # the status says more than a broken connection
            await self.stream_to(take)
        return bytes(body[:_ERROR_BODY])

    async def error(self, link: Link, body: bytes | None = None) -> TransferError:
        """The error that this response means. `body` is what `read` gave, where that was called before."""
        said = await self.read() if body is None else body
        self._clock.learn(self.headers.get("date"), link.url)
        now = self._clock.now()
        return error_of(self.status, self.headers, said, link, now, difference=self._clock.difference)


def etag_of(headers: Mapping[str, str], link: Link) -> str | None:
    """The entity tag of a response to a link: see `Response.etag`."""
    etag = headers.get("etag", "").strip('"')
    if not etag or _USUAL_ETAG.match(etag):
        return etag or None
    is_plain = etag.isascii() and redacted(etag, secrets_of(link.url, link.headers)) == etag
    return etag if is_plain else None


def etag_kind_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Those headers of a response that decide whether its etag is made of md5s: see `Response.etag_kind`."""
    return {name: headers[name] for name in _ETAG_KIND if name in headers}


#: Is called for a response, with its status, the seconds from the end of its request to its head, and the bytes of the
#: body that was sent, else of its own. A response that came before the end of its request has fewer than 0 seconds.
OnResponse = Callable[[int, float, int], None]


class RequestContext(Protocol):
    """One request, as an async context that gives its Response. Raises TransferError for whatever breaks within it."""

    async def __aenter__(self) -> Response: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
