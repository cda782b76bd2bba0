"""The interface behind which bytes move: send this request, stream a body out or in, give status and headers.

Presigned links are signed to the byte, and HTTP clients like to improve what they send. So requests go out on
connections of our own (`connection`, `pool`), which add nothing; and on aiohttp's (`aiohttp_transport`) where the
environment names a proxy, or where the caller asks for it.
"""

import asyncio
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Self, cast, get_args

import anyio
import msgspec

from bulkpresign.errors import ParameterError, RefusedError, TransferError
from bulkpresign.http.callback_connection import CallbackConnection, ResponseHandler
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Body
from bulkpresign.http.environment import Proxies, proxy_variables, ssl_context_of
from bulkpresign.http.origin import Origin
from bulkpresign.http.pool import ConnectionPool, PoolStatistics
from bulkpresign.http.request_head import OWN_HEADERS, check_headers, check_target, header_lines, merged, request_head
from bulkpresign.http.request_log import LoggedRequest
from bulkpresign.http.response import OnResponse, RequestContext, Response
from bulkpresign.http.transcoding import ACCEPT_GZIP, is_decompressed
from bulkpresign.model import Link, without_query
from bulkpresign.tasks import running_loop

if TYPE_CHECKING:
    from bulkpresign.http.aiohttp_transport import AiohttpTransport

#: `lean` is our own client, `aiohttp` is aiohttp. `auto` is `lean`, and `aiohttp` for hosts that need a proxy.
Transport = Literal["auto", "lean", "aiohttp"]
#: The variable that names the transport where the caller leaves it at `auto`.
TRANSPORT_VARIABLE = "BULKPRESIGN_TRANSPORT"
#: Bytes of one read of a file that goes out.
CHUNK_SIZE = 256 * 1024
_IDENTITY = {"Accept-Encoding": OWN_HEADERS["Accept-Encoding"]}
_URL = re.compile(r"([^:/?#]+://[^/?#]+)([^#]*)")
#: A path and query that need no further look, as nearly all.
_PLAIN_TARGET = re.compile(r"/[!\"$-~]*\Z")
_LONGEST_SCHEME = len("https://")

_logger = logging.getLogger("bulkpresign.http")


def require_asyncio() -> asyncio.AbstractEventLoop:
    """The event loop that runs. Raises ParameterError where another library runs, such as trio."""
    loop = running_loop()
    if loop is None:
        raise ParameterError("asyncio is needed: trio, or another library, runs only what sends no request")
    return loop


def body_size(body: Body) -> int:
    """The bytes of a body that goes out; an iterated one tells its `size`, else 0."""
    return len(body) if isinstance(body, bytes) else getattr(body, "size", 0)


def check_transport(transport: str, variable: str = "") -> None:
    """Raises ParameterError for a transport that does not exist. `variable` is where its name comes from."""
    if transport not in get_args(Transport):
        where = f"{variable}: " if variable else ""
        raise ParameterError(f"{where}transport {transport!r} is not one of {', '.join(get_args(Transport))}")


def _transport_of_environment() -> Transport:
    transport = os.environ.get(TRANSPORT_VARIABLE) or "auto"
    check_transport(transport, TRANSPORT_VARIABLE)
    return cast("Transport", transport)


class PlainRequest(msgspec.Struct, frozen=True, gc=False):
    """A whole request: its server, and its head with its body."""

    origin: Origin
    data: bytes


class HttpClient:
    """Sends links. Use as an async context manager.

    `concurrency` bounds the connections of aiohttp; our own are as many as requests are in flight. `clock` learns the
    servers' time. `ca_bundle` names a file of certificates to trust instead of the system's. `transport` says which
    client sends: see `Transport`.
    """

    def __init__(
        self,
        concurrency: int,
        clock: Clock | None = None,
        ca_bundle: str | None = None,
        transport: Transport = "auto",
    ) -> None:
        check_transport(transport)
        self._concurrency = concurrency
        self._clock = clock or Clock()
        self._ca_bundle = ca_bundle
        self._transport = _transport_of_environment() if transport == "auto" else transport
        self._proxies: Proxies | None = None
        self._may_need_aiohttp = False
        self._origins: dict[str, Origin] = {}
        self._pool: ConnectionPool
        self._aiohttp: AiohttpTransport | None = None

        #: Is called for every response: see OnResponse.
        self.on_response: OnResponse | None = None
        #: Takes the round-trip time of each new connection, in seconds. Those of aiohttp are not measured.
        self.on_round_trip: Callable[[float], object] | None = None

    def __repr__(self) -> str:
        return f"<HttpClient {self._transport}, {len(self._origins)} origins>"

    async def __aenter__(self) -> Self:
        """Raises ParameterError where no event loop of asyncio runs."""
        require_asyncio()
        self._proxies = Proxies() or None
        self._may_need_aiohttp = self._proxies is not None or self._transport == "aiohttp"
        ssl_context = ssl_context_of(self._ca_bundle)
        self._pool = ConnectionPool(ssl_context, self._note_round_trip)
        self._pool.start()
        if self._transport == "aiohttp" or (self._proxies is not None and self._transport == "auto"):
            from bulkpresign.http.aiohttp_transport import AiohttpTransport  # takes 0.2 s to import

            self._aiohttp = AiohttpTransport(self._concurrency, ssl_context, self._clock)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._pool.stop()
            finally:  # asyncio's own `cancel` passes the shield
                if self._aiohttp is not None:
                    await self._aiohttp.close()

    def statistics(self) -> PoolStatistics:
        """The connections of our own client: open, idle, in use, opened and reused, in all and by origin."""
        return self._pool.statistics()

    def close_idle(self) -> None:
        """Closes the connections that are idle: too many files are open."""
        self._pool.close_idle()

    def request(self, link: Link, headers: Mapping[str, str] | None = None, body: Body | None = None) -> RequestContext:
        """An async context that sends a link with its headers and `headers`, and gives the Response.

        A body that is iterated needs a Content-Length among them. Redirects are not followed: a signature holds for one
        host alone, and goes to no other. Raises TransferError for whatever breaks within the context.
        """
        origin, target = self._origin_and_target(link.url)
        request = self._aiohttp_request(link, origin, headers, body) if self._may_need_aiohttp else None
        if request is None:
            head = request_head(link, origin, target, headers, body)
            request = DirectRequest(self._pool, origin, self._clock, link, self.on_response, head=head, body=body)
        return LoggedRequest(request, link) if _logger.isEnabledFor(logging.DEBUG) else request

    def _note_round_trip(self, seconds: float) -> None:
        if self.on_round_trip is not None:
            self.on_round_trip(seconds)

    @property
    def can_send_each(self) -> bool:
        """True where `send_each` may send: every request goes out on our own connections, and none is logged."""
        return not (self._may_need_aiohttp or _logger.isEnabledFor(logging.DEBUG))

    def plain_request(
        self, link: Link, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> PlainRequest | None:
        """The request that `request` would send, for `send_each`; None for a link that can't be sent."""
        try:
            origin, target = self._origin_and_target(link.url)
            return PlainRequest(origin, request_head(link, origin, target, headers, body) + (body or b""))
        except RefusedError:
            return None

    async def send_each(self, link: Link, request: PlainRequest, handle: ResponseHandler) -> "DirectRequest | None":
        """Sends requests to one origin, one after another on one connection: see `CallbackConnection.send_each`.

        Returns None when `handle` sends no more. Else `handle` returned None for the response to the last request, or
        that failed: returns the request, whose `link` is that of the first one.
        """
        origin, connection, error = request.origin, None, None
        try:
            connection = self._pool.take_idle(origin) or await self._pool.connect(origin)
            is_over = await connection.send_each(request.data, handle)
        except TransferError as failed:
            is_over, error = False, failed
        except BaseException:
            if connection is not None:
                self._pool.give_back(origin, connection)
            raise
        if connection is not None and (is_over or error is not None):
            self._pool.give_back(origin, connection)
            connection = None
        if is_over:
            return None
        return DirectRequest(self._pool, origin, self._clock, link, self.on_response, sent_on=connection, error=error)

    def failed(self, link: Link, error: TransferError) -> "DirectRequest":
        """A request that was sent, and whose response means an error."""
        origin, _ = self._origin_and_target(link.url)
        return DirectRequest(self._pool, origin, self._clock, link, None, error=error)

    def _aiohttp_request(
        self, link: Link, origin: Origin, headers: Mapping[str, str] | None, body: Body | None
    ) -> RequestContext | None:
        """The request on aiohttp, None where our own client sends. Raises ParameterError where that can't."""
        proxy = None if self._proxies is None else self._proxies.proxy_for(origin)
        if self._aiohttp is not None and (proxy is not None or self._transport == "aiohttp"):
            all_headers = merged(link.headers, headers or {})
            check_headers(all_headers)
            return self._aiohttp.request(link, all_headers, body, proxy, self.on_response)
        if proxy is not None:
            message = f"{origin} needs the proxy that {proxy_variables(proxy)} names, and the transport lean uses none"
            raise ParameterError(f"{message}: use the transport auto or aiohttp, or name the host in no_proxy")
        return None

    def _origin_and_target(self, url: str) -> tuple[Origin, str]:
        """The server of a url, and its path and query, byte for byte. Raises RefusedError where it is not valid."""
        end = url.find("/", _LONGEST_SCHEME)
        known = self._origins.get(url[:end]) if end > 0 else None
        if known is not None and _PLAIN_TARGET.match(url, end):
            return known, url[end:]
        found = _URL.match(url)
        try:
            if found is None:
                raise ValueError("it has no scheme and host")
            origin = self._origins.get(found[1]) or self._origin(found[1])
        except ValueError as error:
            raise RefusedError(f"{without_query(url)} is no url: {error}", code="InvalidUrl") from error
        target = found[2]
        if not (target.isascii() and target.isprintable()) or " " in target:
            check_target(target)
        return origin, _rooted(target)

    def _origin(self, url: str) -> Origin:
        origin = self._origins[url] = Origin(url)
        origin.head = header_lines({"Host": origin.name, **OWN_HEADERS})
        return origin


class DirectRequest:
    """A request on a connection of our own; `send_each` makes some that are sent already, or that failed.

    One that is sent and not entered has to be closed. `has_slot` is for the caller: a limiter counts it already.
    """

    __slots__ = (
        "_body",
        "_clock",
        "_connection",
        "_error",
        "_head",
        "_origin",
        "_pool",
        "has_slot",
        "link",
        "on_response",
    )

    def __init__(
        self,
        pool: ConnectionPool,
        origin: Origin,
        clock: Clock,
        link: Link,
        on_response: OnResponse | None,
        *,
        head: bytes = b"",
        body: Body | None = None,
        sent_on: CallbackConnection | None = None,
        error: TransferError | None = None,
    ) -> None:
        self._pool, self._origin, self._clock = pool, origin, clock
        self.link, self.on_response = link, on_response
        self._head, self._body = head, body
        self._connection, self._error = sent_on, error
        self.has_slot = False

    async def __aenter__(self) -> Response:
        if self._error is not None:
            raise self._error
        connection = self._connection or await self._send()
        if self.link.method == "GET" and is_decompressed(connection.response.headers):
            connection = await self._ask_for_stored()
        head = connection.response
        if self.on_response is not None:
            length = (head.length or 0) if self._body is None else body_size(self._body)
            self.on_response(head.status, connection.touched_at - connection.sent_at, length)
        return Response(head.status, head.headers, head.length, connection.stream_to, clock=self._clock, link=self.link)

    async def _ask_for_stored(self) -> CallbackConnection:
        """Sends the request again, for the bytes as they are stored."""
        self.close()
        sent = self._head or request_head(self.link, self._origin, _target(self.link), None, None)
        own, stored = (header_lines(headers).encode() for headers in (_IDENTITY, ACCEPT_GZIP))
        self._head = sent.replace(own, stored, 1)
        return await self._send()

    async def _send(self) -> CallbackConnection:
        connection = self._pool.take_idle(self._origin) or await self._pool.connect(self._origin)
        try:
            await connection.send(self._head, self._body, expects_body=self.link.method != "HEAD")
        except BaseException:
            self._pool.give_back(self._origin, connection)
            raise
        self._connection = connection
        return connection

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connection back, which is closed if the response was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(self._origin, connection)


def _target(link: Link) -> str:
    """The path and query of a link that was sent, byte for byte."""
    found = _URL.match(link.url)
    return "/" if found is None else _rooted(found[2])


def _rooted(target: str) -> str:
    return target if target.startswith("/") else f"/{target}"
