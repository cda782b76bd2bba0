"""The same interface on aiohttp, for links that go through a proxy or where the caller asks for it.

No other module imports aiohttp. Each line of the set-up prevents something by which a link was seen to break.
"""

import errno
import math
import os
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
from yarl import URL

from bulkpresign.errors import ConnectionFailedError, RefusedError, TransferError, TruncatedError
from bulkpresign.http import pool, protocol, resolver
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Body, BodyCallback, read_pending
from bulkpresign.http.environment import proxy_variables
from bulkpresign.http.outages import Outages
from bulkpresign.http.request_head import OWN_HEADERS
from bulkpresign.http.response import OnResponse, RequestContext, Response
from bulkpresign.http.tls_errors import certificate_problem, handshake_problem
from bulkpresign.http.transcoding import ACCEPT_GZIP, is_decompressed
from bulkpresign.model import Link

#: The header that aiohttp adds to a body.
_NO_CONTENT_TYPE = ("Content-Type",)
#: Bytes of a body that may wait before reading from the socket is paused.
_READ_BUFFER = 64 * 1024


class AiohttpTransport:
    """A pool of aiohttp's connections. `concurrency` bounds the requests in flight, or copies."""

    def __init__(self, concurrency: int, ssl_context: ssl.SSLContext | None, clock: Clock) -> None:
        """`ssl_context` has the certificates to trust; None: those of the system."""
        self._clock = clock
        #: True once a response came through a proxy.
        self.has_reached_proxy = False
        self.outages = Outages()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=2 * concurrency,  # a copy has a GET and a PUT
                ttl_dns_cache=int(resolver.DNS_TTL),
                socket_factory=_socket,
                ssl=ssl_context or True,
                keepalive_timeout=pool.KEEP_ALIVE,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=pool.CONNECT_TIMEOUT, sock_read=pool.IDLE_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
            headers=OWN_HEADERS,
            read_bufsize=_READ_BUFFER,
            middlewares=(_as_stored, _once),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    def request(
        self,
        link: Link,
        headers: Mapping[str, str],
        body: Body | None,
        proxy: str | None,
        on_response: OnResponse | None = None,
    ) -> RequestContext:
        """Sends a link with these headers, through a proxy unless that is None.

        The proxy is named for each request: aiohttp's own `trust_env` would also send what `~/.netrc` holds for the
        host, and S3 refuses a second authorization.
        """
        deadline = _Deadline()
        url = URL(link.url, encoded=True)
        return _AiohttpRequest(
            self,
            proxy,
            str(url.origin()),
            self._session.request(
                link.method,
                url,
                headers=headers,
                data=body if body is None or isinstance(body, bytes) else _in_turns(body, deadline),
                skip_auto_headers=_NO_CONTENT_TYPE,
                allow_redirects=False,
                proxy=proxy,
            ),
            clock=self._clock,
            link=link,
            deadline=deadline,
            on_response=on_response,
        )


class _AiohttpRequest:
    """A request on aiohttp; it raises every error of aiohttp's as one of ours."""

    def __init__(
        self,
        transport: AiohttpTransport,
        proxy: str | None,
        server: str,
        sending: Any,
        *,
        clock: Clock,
        link: Link,
        deadline: "_Deadline",
        on_response: OnResponse | None,
    ) -> None:
        self._on_response = on_response
        self._transport, self._proxy, self._server = transport, proxy, server
        self._sending = sending
        self._clock = clock
        self._link = link
        self._deadline = deadline
        self._response: aiohttp.ClientResponse

    async def __aenter__(self) -> Response:
        try:
            with anyio.fail_after(None) as self._deadline.scope:
                self._deadline.set()
                response = self._response = await self._sending
        except TransferError as error:  # from `_once`
            raise self._error(error.__cause__, error) from error.__cause__
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._error(error, _own(error)) from error
        if self._proxy is not None:
            if response.status == _AUTHENTICATION_REQUIRED:
                response.close()
                raise RefusedError(f"{_shown(self._proxy)} asks for a name and a password (407)", code="Proxy")
            self._transport.has_reached_proxy = True
        self._transport.outages.begin_response(self._server)
        headers: dict[str, str] = {}
        for name, value in response.raw_headers:
            headers.setdefault(name.lower().decode("latin-1"), value.decode("latin-1"))
        length = response.content_length
        if self._on_response is not None:
            self._on_response(response.status, anyio.current_time() - self._deadline.set_at, length or 0)
        return Response(response.status, headers, length, self._stream_to, clock=self._clock, link=self._link)

    def _error(self, error: BaseException | None, own: TransferError) -> TransferError:
        """Our error for one of aiohttp's. It tells an outage of the server, or of a proxy on the way to it."""
        found = self._proxy_error(error) or own
        if isinstance(found, ConnectionFailedError) and _is_unreachable(error):
            found.is_outage = self._transport.outages.is_outage(self._server, anyio.current_time())
        return found

    def _proxy_error(self, error: BaseException | None) -> TransferError | None:
        """The error that names the proxy, where the proxy caused it. No retry helps before it was reached once."""
        if self._proxy is None:
            return None
        if isinstance(error, aiohttp.ClientHttpProxyError):
            code = "Proxy" if error.status == _AUTHENTICATION_REQUIRED else "NoConnection"
            return ConnectionFailedError(f"{_shown(self._proxy)} answered {error.status}", code=code)
        if not isinstance(error, _UNREACHABLE):
            return None
        is_timeout = isinstance(error, TimeoutError)
        if is_timeout and self._transport.has_reached_proxy:  # it may be the server behind it
            return None
        why = "no answer in time" if is_timeout else _reason(error)
        kind = ConnectionFailedError if self._transport.has_reached_proxy else RefusedError
        return kind(f"{_shown(self._proxy)} can't be reached: {why}", code="Proxy")

    async def __aexit__(self, *exc_info: object) -> None:
        self._transport.outages.end_response(self._server)
        self._response.close()  # one that was read to its end has given its connection back already

    async def _stream_to(self, take: BodyCallback) -> bool:
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
    """The time until which the response's head has to come, counted from the end of the request."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.set_at = 0.0

    def set(self) -> None:
        """Starts the time."""
        self.set_at = anyio.current_time()
        seconds = pool.CONNECT_TIMEOUT + pool.IDLE_TIMEOUT + protocol.HEAD_TIMEOUT
        self.scope.deadline = anyio.current_time() + seconds

    def clear(self) -> None:
        """Stops the time while a body is sent."""
        self.scope.deadline = math.inf


async def _in_turns(body: AsyncIterable[bytes], deadline: _Deadline) -> AsyncIterator[bytes]:
    """The same chunks. An early response is read before more is written, which would discard it."""
    deadline.clear()
    async for chunk in body:
        await read_pending()
        yield chunk
    deadline.set()


def _socket(address: Any) -> socket.socket:
    """A socket that fails where the server takes no byte for a while; aiohttp itself would wait for ever."""
    made = pool.new_socket(address)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(pool.IDLE_TIMEOUT * 1000))
    return made


async def _as_stored(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Sends a request again where the server decompressed the object."""
    response = await send(request)
    if request.method != "GET" or not is_decompressed(response.headers):
        return response
    response.close()
    request.headers.update(ACCEPT_GZIP)
    return await send(request)


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from retrying by itself where a connection breaks: our own attempts are counted."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _own(error) from error


#: The status of a proxy that asks for credentials.
_AUTHENTICATION_REQUIRED = 407
#: The errors of a proxy that can't be reached. aiohttp looks its name up as that of a server.
_UNREACHABLE = (aiohttp.ClientProxyConnectionError, aiohttp.ClientConnectorDNSError, aiohttp.ConnectionTimeoutError)


def _shown(proxy: str) -> str:
    """A proxy without its user and password, and the variable that names it."""
    parts = urlsplit(proxy)
    variables = proxy_variables(proxy)
    return f"the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]}" + (
        f" that {variables} names" if variables else ""
    )


def _is_unreachable(error: BaseException | None) -> bool:
    """True where no connection was made, and not because of what is wrong here."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status >= 500
    if isinstance(error, ssl.SSLCertVerificationError):
        return False
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.errno not in pool.TOO_MANY_FILES
    return isinstance(error, aiohttp.ConnectionTimeoutError)


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
        "{reason}",
    ),
    (aiohttp.ClientConnectorDNSError, ConnectionFailedError, "NoSuchHost", "no such host: {error.host}"),
    (
        aiohttp.ClientConnectorError,
        ConnectionFailedError,
        "NoConnection",
        "no connection to {error.host}:{error.port}: {reason}",
    ),
    (aiohttp.ClientResponseError, ConnectionFailedError, "NotHTTP", "not a valid HTTP response"),
    (aiohttp.InvalidURL, RefusedError, "InvalidUrl", "the url can't be sent"),
)


def _reason(error: BaseException) -> str:
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return certificate_problem(inner)
    if (problem := handshake_problem(inner)) is not None:
        return problem
    number = getattr(inner, "errno", None) or 0
    if number in errno.errorcode and not isinstance(inner, socket.gaierror):  # asyncio's own text has the address again
        return os.strerror(number)
    return getattr(inner, "strerror", None) or type(inner).__name__
