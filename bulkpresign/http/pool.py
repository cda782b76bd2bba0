"""Connections that are kept: opened where none is idle, closed where no byte moves any more."""

import asyncio
import errno
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
from aiohappyeyeballs import start_connection

from bulkpresign.errors import ConnectionFailedError
from bulkpresign.http.buffers import Buffers
from bulkpresign.http.callback_connection import CallbackConnection
from bulkpresign.http.origin import Origin
from bulkpresign.http.resolver import Resolver
from bulkpresign.http.step_scheduler import StepScheduler
from bulkpresign.http.tls_errors import certificate_problem, handshake_problem
from bulkpresign.http.tls_sessions import resume_sessions

CONNECT_TIMEOUT = 30.0
#: Seconds without a byte after which a request that waits for one fails.
IDLE_TIMEOUT = 60.0
#: Seconds for which a server that was connected before, and can't be any more, is taken to come back.
OUTAGE = 900.0
#: Seconds that a connection is kept for the next request; servers close theirs a little later.
KEEP_ALIVE = 15.0
_SWEEPS_PER_TIMEOUT = 60
#: The errors of a process, or a machine, that may open no more files.
TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
#: The bytes of Linux's `struct tcp_info` with the field `tcpi_rtt` (microseconds): the first one, and the one after it.
_ROUND_TRIP_AT, _ROUND_TRIP_END = 68, 72
#: A transport is aborted in the next round of the loop, and is told so in the one after; TLS takes one more.
_ROUNDS_TO_CLOSE = 3
#: Seconds until the second address of a host is tried beside the first (RFC 8305).
_NEXT_ADDRESS_AFTER = 0.25

_logger = logging.getLogger("bulkpresign.http")


class ConnectionCounts(msgspec.Struct, frozen=True):
    """Connections that are open, idle and in use now; that were opened and reused so far."""

    open: int = 0
    idle: int = 0
    in_use: int = 0
    opened: int = 0
    reused: int = 0

    def __add__(self, other: "ConnectionCounts") -> "ConnectionCounts":
        return ConnectionCounts(
            *map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        )


class PoolStatistics(msgspec.Struct, frozen=True):
    """The connections of a pool in all, and by origin (`http(s)://host[:port]`)."""

    total: ConnectionCounts
    origins: dict[str, ConnectionCounts]


class ConnectionPool:
    """Open connections. As many are open as requests were in flight at once, until they are idle for KEEP_ALIVE."""

    def __init__(
        self, ssl_context: ssl.SSLContext | None = None, on_round_trip: Callable[[float], object] = lambda _: None
    ) -> None:
        """`ssl_context` has the certificates to trust; None: those of the system.

        `on_round_trip` takes the round-trip time of each new connection, in seconds.
        """
        self._ssl_context, self._on_round_trip = ssl_context, on_round_trip
        if ssl_context is not None:
            resume_sessions(ssl_context)
        self._loop: asyncio.AbstractEventLoop
        self._buffers, self._scheduler = Buffers(), StepScheduler()
        self._resolver = Resolver()
        self._origins: dict[Origin, _Connections] = {}
        self._next_sweep: asyncio.TimerHandle
        self._is_logged = False

    def __repr__(self) -> str:
        total = self.statistics().total
        return f"<ConnectionPool {total.open} open, {total.idle} idle, {len(self._origins)} origins>"

    def statistics(self) -> PoolStatistics:
        """Counts of connections, now and in all."""
        origins: dict[str, ConnectionCounts] = {}
        for origin, connections in self._origins.items():
            origins[str(origin)] = origins.get(str(origin), ConnectionCounts()) + connections.counts()
        return PoolStatistics(sum(origins.values(), ConnectionCounts()), origins)

    def start(self) -> None:
        """Begins to close connections that are idle or silent for too long."""
        self._loop = asyncio.get_running_loop()
        self._sweep()

    async def stop(self) -> None:
        """Closes all connections."""
        self._next_sweep.cancel()
        for connections in self._origins.values():
            for connection in list(connections.open):
                connections.close(connection, "the client ends")
        await _until_closed()

    def take_idle(self, origin: Origin) -> CallbackConnection | None:
        """Takes an open connection that is idle, the one that was used last; None where there is none."""
        connections = self._origins.get(origin)
        while connections is not None and connections.idle:
            connection = connections.idle.pop()
            if connection.is_open:
                connections.reused += 1
                if self._is_logged:
                    _logger.debug("%s: connection reused", origin)
                return connection
        return None

    async def connect(self, origin: Origin) -> CallbackConnection:
        """Opens a connection. Raises ConnectionFailedError."""
        try:
            connection = await self._opened(origin)
        except ConnectionFailedError as error:
            if error.code == "NoConnection":
                self._resolver.doubt(origin.host, origin.port)
            error.is_outage = self._is_outage(origin, error)
            raise
        self._origins.setdefault(origin, _Connections(origin)).add(connection)
        return connection

    def _is_outage(self, origin: Origin, error: ConnectionFailedError) -> bool:
        """True where a server that was connected before can't be reached, and no connection to it is left."""
        connections = self._origins.get(origin)
        is_here = error.code == "Certificate" or getattr(error.__cause__, "errno", None) in TOO_MANY_FILES
        return connections is not None and not is_here and connections.are_lost(self._loop.time())

    async def _opened(self, origin: Origin) -> CallbackConnection:
        try:
            with anyio.fail_after(CONNECT_TIMEOUT):
                return await self._connect_with_room(origin)
        except TimeoutError:
            raise ConnectionFailedError("no answer in time", code="Timeout") from None
        except socket.gaierror as error:
            raise ConnectionFailedError(f"no such host: {origin.host}", code="NoSuchHost") from error
        except ssl.SSLCertVerificationError as error:
            raise ConnectionFailedError(certificate_problem(error), code="Certificate") from error
        except OSError as error:
            message = f"no connection to {origin.host}:{origin.port}: {_reason(error)}"
            raise ConnectionFailedError(message, code="NoConnection") from error

    def give_back(self, origin: Origin, connection: CallbackConnection) -> None:
        """Keeps a connection after its request, or closes it where no other request can follow."""
        connections = self._origins[origin]
        if connection.request_count == 1 and origin.is_tls:
            connection.remember_tls_session()
        if connection.is_reusable:
            connections.idle.append(connection)
        else:
            connections.close(connection, "it can't be reused")

    async def _connect_with_room(self, origin: Origin) -> CallbackConnection:
        """Connects. If too many files are open, closes all idle connections, to any server, and tries once more."""
        try:
            return await self._connect(origin)
        except OSError as error:
            if error.errno not in TOO_MANY_FILES or not self.close_idle():
                raise
        await _until_closed()
        return await self._connect(origin)

    def close_idle(self) -> int:
        """Closes all idle connections, because too many files are open. Returns their number."""
        count = 0
        for connections in self._origins.values():
            while connections.idle:
                connections.close(connections.idle.pop(), "too many files are open")
                count += 1
        return count

    async def _connect(self, origin: Origin) -> CallbackConnection:
        opened = await start_connection(
            await self._resolver.resolve(origin.host, origin.port),
            happy_eyeballs_delay=_NEXT_ADDRESS_AFTER,
            interleave=1,
            socket_factory=new_socket,
        )
        if (seconds := round_trip(opened)) is not None:
            self._on_round_trip(seconds)
        connection = CallbackConnection(self._loop, self._buffers, self._scheduler, str(origin))
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=opened,
                ssl=self._tls_context() if origin.is_tls else None,
                server_hostname=origin.host if origin.is_tls else None,
            )
        except BaseException:
            if connection.is_open:  # cancelled just after the TLS handshake: the loop would wait for the server's close
                connection.close()
            opened.close()
            raise
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            resume_sessions(self._ssl_context)
        return self._ssl_context

    def _sweep(self) -> None:
        """Closes what is idle or silent for too long; called a few times within each timeout."""
        now = self._loop.time()
        self._is_logged = _logger.isEnabledFor(logging.DEBUG)  # asked here, and not for each request
        for connections in self._origins.values():
            connections.sweep(now)
        self._next_sweep = self._loop.call_later(IDLE_TIMEOUT / _SWEEPS_PER_TIMEOUT, self._sweep)


class _Connections:
    """The connections to one origin."""

    __slots__ = ("_lost_at", "_origin", "idle", "open", "opened", "reused")

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.open: set[CallbackConnection] = set()
        self.idle: list[CallbackConnection] = []  # may hold some that the server has closed
        self.opened = self.reused = 0
        self._lost_at: float | None = None

    def counts(self) -> ConnectionCounts:
        alive = sum(connection.is_open for connection in self.open)
        idle = sum(connection.is_open for connection in self.idle)
        return ConnectionCounts(alive, idle, alive - idle, self.opened, self.reused)

    def are_lost(self, now: float) -> bool:
        """No more can be made. True where none is left, for OUTAGE seconds."""
        if any(connection.is_open for connection in self.open):
            return False
        self._lost_at = now if self._lost_at is None else self._lost_at
        return now - self._lost_at < OUTAGE

    def add(self, connection: CallbackConnection) -> None:
        self._lost_at = None
        self.open.add(connection)
        self.opened += 1
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s: connection opened (%d open)", self._origin, len(self.open))

    def close(self, connection: CallbackConnection, reason: str) -> None:
        connection.close()
        self.open.discard(connection)
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s: connection closed after %d requests: %s", self._origin, connection.request_count, reason)

    def sweep(self, now: float) -> None:
        for connection in list(self.open):
            connection.end_late_head(now)
            silent = now - connection.touched_at
            if connection.is_waiting and silent > IDLE_TIMEOUT:
                connection.fail(ConnectionFailedError("no answer in time", code="Timeout"))
            elif not connection.is_open:
                self.close(connection, "by the server")
            elif connection.is_reusable and silent > KEEP_ALIVE:
                self.close(connection, f"idle for {silent:.0f} s")
        self.idle = [connection for connection in self.idle if connection.is_open]


async def _until_closed() -> None:
    """Waits until connections that were closed have given their descriptors back."""
    for _ in range(_ROUNDS_TO_CLOSE):
        await anyio.lowlevel.checkpoint()


def _reason(error: OSError) -> str:
    if (problem := handshake_problem(error)) is not None:
        return problem
    return os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__


def new_socket(address: Any) -> socket.socket:
    """A socket for an address as `getaddrinfo` gives it."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def round_trip(connected: socket.socket) -> float | None:
    """Seconds from a packet to its acknowledgement, as the kernel measured it; None if it does not tell.

    The clock of the event loop would add the time of all tasks that run meanwhile. Source: tcp(7), `struct tcp_info`.
    """
    if sys.platform != "linux":
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ROUND_TRIP_END)
    except OSError:
        return None
    microseconds = int.from_bytes(info[_ROUND_TRIP_AT:], sys.byteorder)
    return microseconds / 1e6 if len(info) == _ROUND_TRIP_END else None
