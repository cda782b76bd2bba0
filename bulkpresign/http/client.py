"""The small interface behind which bytes move: send this request, stream a body out or in, tell status and headers.

Presigned links are signed to the byte, and HTTP clients like to improve what they send. So requests go out on
connections of our own (`connection`, `pool`), which add nothing; and on aiohttp's (`session`) where the environment
names a proxy.
"""

import os
import re
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import anyio

from bulkpresign.errors import ParameterError, RefusedError
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Body, Connection
from bulkpresign.http.pool import Origin, Pool
from bulkpresign.http.response import OWN_HEADERS, RequestContext, Response
from bulkpresign.model import Link, without_query

if TYPE_CHECKING:
    from bulkpresign.http.aiohttp_transport import Session

#: Bytes of one read of a file that goes out.
CHUNK_SIZE = 256 * 1024
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_URL = re.compile(r"([^:/?#]+://[^/?#]+)([^#]*)")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
#: What would end a line of a request's head, or a word of its first line.
_BREAKS_LINE = re.compile(r"[\x00\r\n]")
_BREAKS_WORD = re.compile(r"[\x00-\x20\x7f]")


class HttpClient:
    """Sends links. `concurrency` bounds how many connections go through a proxy; others are as many as requests.

    `clock` learns the servers' time. `ca_bundle` names a file of certificates to trust instead of the system's.
    """

    def __init__(self, concurrency: int, clock: Clock | None = None, ca_bundle: str | None = None) -> None:
        self._concurrency = concurrency
        self._clock = clock or Clock()
        self._ca_bundle = ca_bundle
        self._proxies: Mapping[str, str] = {}
        self._origins: dict[str, Origin] = {}
        self._pool: Pool
        self._session: Session

    async def __aenter__(self) -> Self:
        self._proxies = _proxies()
        self._trust = _trust(self._ca_bundle)
        self._pool = Pool(self._trust)
        self._pool.start()
        if self._proxies:
            from bulkpresign.http.aiohttp_transport import Session  # a fifth of a second, for those who need it

            self._session = Session(self._concurrency, self._trust, self._clock)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._pool.stop()
            if self._proxies:
                await self._session.close()

    def request(self, link: Link, headers: Mapping[str, str] | None = None, body: Body | None = None) -> RequestContext:
        """An async context that sends a link with its headers and `headers`, and gives the Response.

        A body that is iterated needs a Content-Length among them. Redirects are not followed: a signature holds for one
        host alone, and goes to no other. Raises TransferError for whatever breaks within the context.
        """
        origin, target = self._place(link.url)
        if self._proxies and (proxy := self._proxy(origin)):
            return self._session.request(link, _merged(link.headers, headers or {}), body, proxy)
        head = _head(link, origin, target, headers, body)
        return _DirectRequest(self._pool, origin, self._clock, link, head=head, body=body)

    def _place(self, url: str) -> tuple[Origin, str]:
        """Where a url leads, and what it asks for there, byte for byte. Raises RefusedError where it is none."""
        found = _URL.match(url)
        try:
            if found is None:
                raise ValueError("it has no scheme and host")
            origin = self._origins.get(found[1]) or self._origin(found[1])
        except ValueError as error:
            raise RefusedError(f"{without_query(url)} is no url: {error}", code="InvalidUrl") from error
        target = found[2]
        if not (target.isascii() and target.isprintable()) or " " in target:
            _check_target(target)
        return origin, target if target.startswith("/") else f"/{target}"

    def _origin(self, url: str) -> Origin:
        origin = self._origins[url] = Origin(url)
        origin.head = _lines({"Host": origin.name, **OWN_HEADERS})
        return origin

    def _proxy(self, origin: Origin) -> str | None:
        """The proxy that the environment names for a host."""
        from urllib.request import proxy_bypass

        proxy = self._proxies.get(origin.scheme)
        if proxy is None or proxy_bypass(origin.name):
            return None
        if not proxy.startswith(("http://", "https://")):
            raise ParameterError(f"the proxy that {origin.scheme}_proxy names is not an http(s) one: unset it")
        return proxy


class _DirectRequest:
    """An exchange on a connection of our own."""

    __slots__ = ("_body", "_clock", "_connection", "_head", "_link", "_origin", "_pool")

    def __init__(self, pool: Pool, origin: Origin, clock: Clock, link: Link, *, head: bytes, body: Body | None) -> None:
        self._pool, self._origin, self._clock = pool, origin, clock
        self._link, self._head, self._body = link, head, body
        self._connection: Connection

    async def __aenter__(self) -> Response:
        connection = self._connection = self._pool.free(self._origin) or await self._pool.connect(self._origin)
        try:
            await connection.send(self._head, self._body, expects_body=self._link.method != "HEAD")
        except BaseException:
            self._pool.give_back(self._origin, connection)
            raise
        status, headers, length = connection.status, connection.headers, connection.length
        return Response(status, headers, length, connection.stream_to, clock=self._clock, link=self._link)

    async def __aexit__(self, *exc_info: object) -> None:
        self._pool.give_back(self._origin, self._connection)


def _head(link: Link, origin: Origin, target: str, headers: Mapping[str, str] | None, body: Body | None) -> bytes:
    """A request's head: what the link and `headers` say, and of ours what must be there."""
    if not (headers or link.headers) and body is None and link.method in _BODILESS:
        return f"{link.method} {target} HTTP/1.1\r\n{origin.head}\r\n".encode()
    own = {"Host": origin.name, **OWN_HEADERS}
    if isinstance(body, bytes) or (body is None and link.method not in _BODILESS):
        own["Content-Length"] = str(len(body or b""))
    lines = _lines(_merged(own, link.headers, headers or {}))
    return f"{link.method} {target} HTTP/1.1\r\n{lines}\r\n".encode()


def _merged(*headers: Mapping[str, str]) -> dict[str, str]:
    """All headers, each name once in whatever case; the last one's value counts."""
    last = {name.lower(): (name, value) for some in headers for name, value in some.items()}
    return dict(last.values())


def _lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if _BREAKS_LINE.search(value) or not _HEADER_NAME.match(name):
            raise RefusedError(f"header {name!r} can't be sent: it is not one line of text", code="InvalidHeader")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _check_target(target: str) -> None:
    if _BREAKS_WORD.search(target):
        raise RefusedError("the url has white space or control characters", code="InvalidUrl")


def _proxies() -> Mapping[str, str]:
    """What the environment names, by scheme; how it is read takes longer to import than to do."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from urllib.request import getproxies

    return getproxies()


def _trust(ca_bundle: str | None) -> ssl.SSLContext | None:
    """Whose certificates are trusted, None: the system's. Raises ParameterError for a bundle that is none."""
    file = ca_bundle or os.environ.get("AWS_CA_BUNDLE")
    if not file:
        return None
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{file} is no file of certificates: {error}") from error
