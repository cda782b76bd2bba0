"""The only door to aiohttp: send this request, stream a body out or in, tell status, headers and length.

Presigned links are signed to the byte, and HTTP clients like to improve what they send. Each line of the set-up below
closes a way in which a link was seen to break.
"""

import os
import socket
import ssl
from collections.abc import AsyncIterable, Mapping
from contextlib import suppress
from typing import Any, Self
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import aiohttp
import anyio
import anyio.lowlevel
from yarl import URL

from bulkpresign.errors import (
    ConnectionFailedError,
    ParameterError,
    RefusedError,
    TransferError,
    TruncatedError,
)
from bulkpresign.model import Link, without_query
from bulkpresign.transfer.answers import error_of
from bulkpresign.transfer.clock import Clock

#: Bytes of one read of a file that goes out.
CHUNK_SIZE = 256 * 1024
#: Bytes that aiohttp buffers of one answer before it stops reading; it may hold twice as many.
READ_BUFFER = 64 * 1024
CONNECT_TIMEOUT = 30.0
#: Seconds without a byte of the answer, or without the server taking a byte of ours.
IDLE_TIMEOUT = 60.0
_ERROR_BODY = 64 * 1024
#: A transport sees that its socket is shut, hears that it is lost, closes it.
_ROUNDS_TO_CLOSE = 3
#: What aiohttp adds to a body; saying so for requests without one as well would cost a tenth of a small one's time.
_NO_CONTENT_TYPE = ("Content-Type",)
_ENCRYPTION = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm")

Body = bytes | AsyncIterable[bytes]


class Answer:
    """A response whose headers are here and whose body is still to come."""

    def __init__(self, response: aiohttp.ClientResponse, clock: Clock) -> None:
        self._clock = clock
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        #: The next bytes of the body as it is stored, `b""` at its end.
        self.read = response.content.readany
        #: The body's bytes as announced, None where it was not.
        self.length = response.content_length

    @property
    def etag(self) -> str | None:
        """The entity tag without quotes."""
        etag = self.headers.get("ETag")
        return etag.strip('"') if etag else None

    @property
    def encryption(self) -> dict[str, str]:
        """The headers that tell whose keys the object is encrypted with, by which an etag is an md5 or none."""
        return {name: self.headers[name] for name in _ENCRYPTION if name in self.headers}

    async def beginning(self) -> bytes:
        """The body's first 64 KiB: all of it where it is a message. Of one that breaks off, what came."""
        body = b""
        try:
            while len(body) < _ERROR_BODY and (chunk := await self.read()):
                body += chunk
        except (aiohttp.ClientError, OSError):  # the status is known, and says more than a broken connection
            pass
        return body[:_ERROR_BODY]

    async def error(self, link: Link, body: bytes | None = None) -> TransferError:
        """What this answer means as an error; `body` is its beginning where that was read before."""
        said = await self.beginning() if body is None else body
        self._clock.learn(self.headers.get("Date"))
        return error_of(self.status, self.headers, said, link, self._clock.now())


class Http:
    """A pool of connections. `concurrency` bounds how many are open.

    `clock` learns the servers' time. `ca_bundle` names a file of certificates to trust instead of the system's.
    """

    def __init__(self, concurrency: int, clock: Clock | None = None, ca_bundle: str | None = None) -> None:
        self._concurrency = concurrency
        self._clock = clock or Clock()
        self._ca_bundle = ca_bundle
        self._session: aiohttp.ClientSession
        self._proxies: Mapping[str, str] = {}
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def __aenter__(self) -> Self:
        self._proxies = getproxies()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._concurrency, ttl_dns_cache=300, socket_factory=self._socket, ssl=_trust(self._ca_bundle)
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=IDLE_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
            headers={"Accept-Encoding": "identity"},
            read_bufsize=READ_BUFFER,
            middlewares=(_once,),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._session.close()
            for unsent in self._sockets:  # an upload that was refused early would still be on its way
                with suppress(OSError):
                    unsent.shutdown(socket.SHUT_RDWR)
            for _ in range(_ROUNDS_TO_CLOSE):
                await anyio.lowlevel.checkpoint()

    def _socket(self, address: Any) -> socket.socket:
        made = _socket(address)
        self._sockets.add(made)
        return made

    def request(self, link: Link, headers: Mapping[str, str] | None = None, body: Body | None = None) -> "_Exchange":
        """An async context that sends a link with its headers and `headers`, and gives the Answer.

        A body that is iterated needs a Content-Length among them. Redirects are not followed: a signature holds for one
        host alone, and goes to no other. Raises TransferError for whatever breaks within the context.
        """
        try:
            url = URL(link.url, encoded=True)
            url.explicit_port  # noqa: B018 - yarl looks at it when it is asked for
        except ValueError as error:
            raise RefusedError(f"{without_query(link.url)} is no url: {error}", code="InvalidUrl") from error
        return _Exchange(
            self._session.request(
                link.method,
                url,
                headers={**link.headers, **headers} if headers else link.headers,
                data=body,
                skip_auto_headers=None if body is None else _NO_CONTENT_TYPE,
                allow_redirects=False,
                proxy=self._proxy(url) if self._proxies else None,
            ),
            self._clock,
        )

    def _proxy(self, url: URL) -> str | None:
        """The proxy that the environment names for a host.

        aiohttp's own `trust_env` would also send what `~/.netrc` holds for the host, and S3 refuses a second
        authorization.
        """
        proxy = self._proxies.get(url.scheme)
        if proxy is None or proxy_bypass(url.host_port_subcomponent or ""):
            return None
        if not proxy.startswith(("http://", "https://")):
            raise ParameterError(f"the proxy that {url.scheme}_proxy names is not an http(s) one: unset it")
        return proxy


class _Exchange:
    """One request and its answer; every error of aiohttp's leaves it as one of ours."""

    def __init__(self, sending: Any, clock: Clock) -> None:
        self._sending = sending
        self._clock = clock
        self._response: aiohttp.ClientResponse

    async def __aenter__(self) -> Answer:
        try:
            self._response = await self._sending
        except (aiohttp.ClientError, OSError) as error:
            raise _own(error) from error
        if not self._clock.is_set:
            self._clock.learn(self._response.headers.get("Date"))
        return Answer(self._response, self._clock)

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._response.close()  # one that was read to its end has given its connection back already
        if isinstance(error, aiohttp.ClientError | OSError):
            raise _own(error) from error


def _trust(ca_bundle: str | None) -> ssl.SSLContext | bool:
    """Whose certificates are trusted. Raises ParameterError for a bundle that is none."""
    file = ca_bundle or os.environ.get("AWS_CA_BUNDLE")
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{file} is no file of certificates: {error}") from error


def _socket(address: Any) -> socket.socket:
    """A socket that gives up where the other side takes no byte; aiohttp itself would wait for ever."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(IDLE_TIMEOUT * 1000))
    return made


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending again on its own, uncounted, where a connection breaks: we count attempts."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _own(error) from error


def _own(error: aiohttp.ClientError | OSError) -> TransferError:
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
