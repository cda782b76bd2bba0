"""Connections that are kept: opened where none is free, closed where they fall silent."""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
from aiohappyeyeballs import start_connection

from bulkpresign.errors import ConnectionFailedError
from bulkpresign.http.connection import Buffers, Connection

CONNECT_TIMEOUT = 30.0
#: Seconds in which no byte moves though one is waited for.
IDLE_TIMEOUT = 60.0
#: Seconds that a connection is kept for the next request; servers close theirs after some more.
KEEP_ALIVE = 15.0
#: Seconds that a host's addresses are good for.
DNS_TTL = 300.0
#: Seconds until a host that was not found is looked for again.
DNS_RETRY = 1.0
_ROUNDS_A_TIMEOUT = 60
#: A transport is aborted in the next round of the loop, and hears so in the one after; TLS takes one more.
_ROUNDS_TO_CLOSE = 3
#: Seconds until the second address of a host is tried beside the first (RFC 8305).
_NEXT_ADDRESS_AFTER = 0.25


class Origin:
    """A scheme, host and port, and the connections to it that are free."""

    def __init__(self, url: str) -> None:
        """Of `http(s)://host[:port]`. Raises ValueError where that is none."""
        parsed = urlsplit(url)
        if parsed.scheme not in {"http", "https"} or not parsed.hostname:
            raise ValueError("it is not http(s), or names no host")
        self.scheme = parsed.scheme
        self.is_tls = parsed.scheme == "https"
        standard = 443 if self.is_tls else 80
        self.host = parsed.hostname
        self.port = standard if parsed.port is None else parsed.port
        if not self.port:
            raise ValueError("nothing listens on port 0")
        try:
            self.host.encode("idna")  # as the resolver does
        except UnicodeError as error:
            raise ValueError("its host has an empty label, or one of over 63 characters") from error
        #: As it stands in the header Host.
        self.name = parsed.netloc.rpartition("@")[2].removesuffix(f":{standard}").removesuffix(":")
        #: The lines that every request to it has.
        self.head = ""
        self.free: list[Connection] = []


class Pool:
    """Open connections. As many are open as requests were in flight at once, for as long as they are of use."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        """`trust`: whose certificates are trusted; None: those of the system."""
        self._trust = trust
        self._loop: asyncio.AbstractEventLoop
        self._buffers = Buffers()
        self._open: set[Connection] = set()
        self._addresses: dict[tuple[str, int], _Addresses] = {}
        self._sweeping: asyncio.TimerHandle

    def start(self) -> None:
        """Begins to look after the connections."""
        self._loop = asyncio.get_running_loop()
        self._sweep()

    async def stop(self) -> None:
        """Closes everything."""
        self._sweeping.cancel()
        for connection in self._open:
            connection.close()
        self._open.clear()
        for _ in range(_ROUNDS_TO_CLOSE):
            await anyio.lowlevel.checkpoint()

    def free(self, origin: Origin) -> Connection | None:
        """A connection that stands already: the one that was used last."""
        while origin.free:
            connection = origin.free.pop()
            if connection.is_open:
                return connection
        return None

    async def connect(self, origin: Origin) -> Connection:
        """A new connection. Raises ConnectionFailedError."""
        try:
            with anyio.fail_after(CONNECT_TIMEOUT):
                connection = await self._connect(origin)
        except TimeoutError:
            raise ConnectionFailedError("no answer in time", code="Timeout") from None
        except socket.gaierror as error:
            raise ConnectionFailedError(f"no such host: {origin.host}", code="NoSuchHost") from error
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate is not trusted: {error.verify_message}"
            raise ConnectionFailedError(message, code="Certificate") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
            message = f"no connection to {origin.host}:{origin.port}: {reason}"
            raise ConnectionFailedError(message, code="NoConnection") from error
        self._open.add(connection)
        return connection

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keeps a connection whose exchange is over, or closes it where none can follow."""
        if connection.is_reusable:
            origin.free.append(connection)
        else:
            connection.close()
            self._open.discard(connection)

    async def _connect(self, origin: Origin) -> Connection:
        made = await start_connection(
            await self._resolved(origin),
            happy_eyeballs_delay=_NEXT_ADDRESS_AFTER,
            interleave=1,
            socket_factory=new_socket,
        )
        connection = Connection(self._loop, self._buffers)
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=made,
                ssl=self._tls() if origin.is_tls else None,
                server_hostname=origin.host if origin.is_tls else None,
            )
        except BaseException:
            if connection.is_open:  # cut off as TLS stood: the loop itself would wait for the other side's farewell
                connection.close()
            made.close()
            raise
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._trust is None:
            self._trust = ssl.create_default_context()
        return self._trust

    async def _resolved(self, origin: Origin) -> list[Any]:
        """The host's addresses, another one first each time: S3 serves from many at once."""
        known = self._addresses.setdefault((origin.host, origin.port), _Addresses())
        async with known.lock:
            if known.good_until <= self._loop.time():
                try:
                    found = await self._loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                    known.renew(found, self._loop.time() + DNS_TTL)
                except socket.gaierror as error:  # all who wait now are told the same
                    known.renew(error, self._loop.time() + DNS_RETRY)
        return known.next()

    def _sweep(self) -> None:
        """Gives up connections that have fallen silent, a few times in the time that they have."""
        now = self._loop.time()
        for connection in list(self._open):
            connection.end_late_head(now)
            silent = now - connection.touched_at
            if connection.is_waiting and silent > IDLE_TIMEOUT:
                connection.fail(ConnectionFailedError("no answer in time", code="Timeout"))
            elif not connection.is_open or (connection.is_reusable and silent > KEEP_ALIVE):
                connection.close()
                self._open.discard(connection)
        self._sweeping = self._loop.call_later(IDLE_TIMEOUT / _ROUNDS_A_TIMEOUT, self._sweep)


class _Addresses:
    """What a host's name stands for, and until when."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.good_until = float("-inf")
        self._found: deque[Any] = deque()
        self._error: socket.gaierror | None = None

    def renew(self, found: Iterable[Any] | socket.gaierror, good_until: float) -> None:
        self.good_until = good_until
        if isinstance(found, socket.gaierror):
            self._error = found
        else:
            self._found, self._error = deque(found), None

    def next(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        addresses = list(self._found)
        self._found.rotate(-1)
        return addresses


def new_socket(address: Any) -> socket.socket:
    """A socket for an address as `getaddrinfo` gives it."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
