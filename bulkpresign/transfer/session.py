"""The same interface on aiohttp, for links that go through a proxy: the only file that knows it.

Each line of the set-up closes a way in which a link was seen to break.
"""

import math
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import aiohttp
import anyio
from yarl import URL

from bulkpresign.errors import ConnectionFailedError, RefusedError, TransferError, TruncatedError
from bulkpresign.model import Link
from bulkpresign.transfer import connection, pool
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.connection import Body, Take, read_what_came
from bulkpresign.transfer.exchange import OWN_HEADERS, Answer, Exchange

#: What aiohttp adds to a body.
_NO_CONTENT_TYPE = ("Content-Type",)
#: Bytes of a body that may wait before no more are taken from the socket.
_READ_BUFFER = 64 * 1024


class Session:
    """A pool of connections through proxies. `concurrency` bounds how many are open."""

    def __init__(self, concurrency: int, trust: ssl.SSLContext | None, clock: Clock) -> None:
        self._clock = clock
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=concurrency, ttl_dns_cache=int(pool.DNS_TTL), socket_factory=_socket, ssl=trust or True
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=pool.CONNECT_TIMEOUT, sock_read=pool.IDLE_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
            headers=OWN_HEADERS,
            read_bufsize=_READ_BUFFER,
            middlewares=(_once,),
        )

    async def close(self) -> None:
        """Closes everything."""
        await self._session.close()

    def request(self, link: Link, headers: Mapping[str, str], body: Body | None, proxy: str) -> Exchange:
        """Sends a link with these headers through a proxy.

        The proxy is named for each request: aiohttp's own `trust_env` would also send what `~/.netrc` holds for the
        host, and S3 refuses a second authorization.
        """
        deadline = _Deadline()
        return _Proxied(
            self._session.request(
                link.method,
                URL(link.url, encoded=True),
                headers=headers,
                data=body if body is None or isinstance(body, bytes) else _in_turns(body, deadline),
                skip_auto_headers=_NO_CONTENT_TYPE,
                allow_redirects=False,
                proxy=proxy,
            ),
            self._clock,
            link,
            deadline,
        )


class _Proxied:
    """One request and its answer; every error of aiohttp's leaves it as one of ours."""

    def __init__(self, sending: Any, clock: Clock, link: Link, deadline: "_Deadline") -> None:
        self._sending = sending
        self._clock = clock
        self._link = link
        self._deadline = deadline
        self._response: aiohttp.ClientResponse

    async def __aenter__(self) -> Answer:
        try:
            with anyio.fail_after(None) as self._deadline.scope:
                self._deadline.set()
                response = self._response = await self._sending
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _own(error) from error
        headers: dict[str, str] = {}
        for name, value in response.raw_headers:
            headers.setdefault(name.lower().decode("latin-1"), value.decode("latin-1"))
        length = response.content_length
        return Answer(response.status, headers, length, self._pour, clock=self._clock, link=self._link)

    async def __aexit__(self, *exc_info: object) -> None:
        self._response.close()  # one that was read to its end has given its connection back already

    async def _pour(self, take: Take) -> bool:
        while chunk := await self._read():
            if take(chunk):
                return True
        return False

    async def _read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _own(error) from error


class _Deadline:
    """When the head of an answer has to be here: some time after the whole request went out."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()

    def set(self) -> None:
        """The time begins."""
        seconds = pool.CONNECT_TIMEOUT + pool.IDLE_TIMEOUT + connection.HEAD_TIMEOUT
        self.scope.deadline = anyio.current_time() + seconds

    def clear(self) -> None:
        """No time runs while a body goes out."""
        self.scope.deadline = math.inf


async def _in_turns(body: AsyncIterable[bytes], deadline: _Deadline) -> AsyncIterator[bytes]:
    """The same; an answer that came early is read before more is written, which would discard it."""
    deadline.clear()
    async for piece in body:
        await read_what_came()
        yield piece
    deadline.set()


def _socket(address: Any) -> socket.socket:
    """A socket that gives up where the other side takes no byte; aiohttp itself would wait for ever."""
    made = pool.new_socket(address)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(pool.IDLE_TIMEOUT * 1000))
    return made


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending again on its own, uncounted, where a connection breaks: we count attempts."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _own(error) from error


def _own(error: aiohttp.ClientError | OSError | ValueError) -> TransferError:
    for kinds, kind, code, message in _MEANINGS:
        if isinstance(error, kinds):
            return kind(message.format(error=error, reason=_reason(error)), code=code)
    return ConnectionFailedError(f"the connection broke: {_reason(error)}", code="Disconnected")


_MEANINGS: tuple[tuple[Any, type[TransferError], str, str], ...] = (
    (aiohttp.ClientPayloadError, TruncatedError, "Truncated", "the body ended early"),
    (TimeoutError, ConnectionFailedError, "Timeout", "no answer in time"),
    (
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        ConnectionFailedError,
        "Certificate",
        "the certificate is not trusted: {reason}",
    ),
    (aiohttp.ClientProxyConnectionError, ConnectionFailedError, "Proxy", "no connection to the proxy: {reason}"),
    (aiohttp.ClientConnectorDNSError, ConnectionFailedError, "NoSuchHost", "no such host: {error.host}"),
    (
        aiohttp.ClientConnectorError,
        ConnectionFailedError,
        "NoConnection",
        "no connection to {error.host}:{error.port}: {reason}",
    ),
    (aiohttp.ClientHttpProxyError, ConnectionFailedError, "Proxy", "the proxy answered {error.status}"),
    (aiohttp.InvalidURL, RefusedError, "InvalidUrl", "the url can't be sent"),
)


def _reason(error: Exception) -> str:
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return getattr(inner, "verify_message", None) or getattr(inner, "strerror", None) or type(inner).__name__
