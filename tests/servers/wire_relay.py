"""A wire in front of a real server: bytes of one connection, each direction with its delay and its rates."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

from tests.servers.wire_http import reset
from tests.servers.wire_state import State
from tests.servers.wire_time import Pacer, loses

#: Bytes under way in one direction of a connection, from which on no more are read.
_FULL = 4 << 20


class Direction:
    """Bytes on their way from one transport to the other, in their order."""

    def __init__(self, state: State, total: Pacer, rate: float | None) -> None:
        self._state = state
        self._total = total
        self._rate = rate
        self._pacer = Pacer()
        self._under_way: deque[bytes] = deque()
        self._bytes = 0
        self.ended = False
        self.source: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None

    def send(self, data: bytes, start: float) -> None:
        """These bytes set out at `start`, and arrive when the rates let them."""
        wire, count = self._state.wire, len(data)
        due = max(self._pacer.after(start, count, self._rate), self._total.after(start, count, wire.total_rate))
        if wire.loss and loses(self._state.random.random(), wire.loss, count):
            due += wire.loss_stall
        self._pacer.free_at = max(self._pacer.free_at, due)  # nothing overtakes
        self._under_way.append(data)
        self._bytes += count
        if self._bytes > _FULL and self.source is not None:
            self.source.pause_reading()
        self._state.timetable.at(self._pacer.free_at, self._arrive)

    def end(self) -> None:
        """The source has closed: the target closes after the last byte."""
        self.ended = True
        if not self._under_way:
            self._close()

    def _arrive(self) -> None:
        if not self._state.when_moving(self._arrive) or not self._under_way:
            return
        data = self._under_way.popleft()
        self._bytes -= len(data)
        if self.target is not None and not self.target.is_closing():
            self.target.write(data)
        if self._bytes <= _FULL and self.source is not None and not self.source.is_closing():
            self.source.resume_reading()
        if self.ended and not self._under_way:
            self._close()

    def _close(self) -> None:
        if self.target is not None:
            self.target.close()


class Relay(asyncio.Protocol):
    """The client's side of a connection. What it sends waits until the handshake is over and the server is reached."""

    def __init__(self, state: State, upstream: str) -> None:
        self._state = state
        parts = urlsplit(upstream)
        self._upstream = parts.hostname or "", parts.port or 80
        self._counted = False
        self._early = b""
        rate = state.rate()
        self._up = Direction(state, state.up, rate)
        self._down = Direction(state, state.down, rate)

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)  # uvloop's are no subclass
        self._counted = self._state.opened()
        if not self._counted:
            reset(transport)
            return
        wire = self._state.wire
        self._established = monotonic() + wire.handshake * wire.latency
        self._up.source = self._down.target = transport
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_connection(
                lambda: _Upstream(self._from_upstream, self._down.end), *self._upstream
            )
        except OSError:
            self._down.end()
            return
        if self._up.ended:
            transport.close()
            return
        self._up.target = self._down.source = transport
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        if self._up.target is None:
            self._early += data
            return
        self._state.statistics.bytes_received += len(data)
        self._up.send(data, max(monotonic(), self._established))

    def connection_lost(self, _error: Exception | None) -> None:
        self._state.statistics.open_connections -= self._counted
        if self._counted:
            self._up.end()

    def _from_upstream(self, data: bytes) -> None:
        wire = self._state.wire
        self._state.statistics.bytes_sent += len(data)
        jitter = self._state.random.random() * wire.jitter
        self._down.send(data, monotonic() + wire.latency + jitter)


class _Upstream(asyncio.Protocol):
    """The server's side."""

    def __init__(self, received: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._received = received
        self._end = end

    def data_received(self, data: bytes) -> None:
        self._received(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._end()
