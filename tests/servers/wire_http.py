"""HTTP as a wire's server speaks it: one connection, from a request's bytes to the answer's, each when it is due."""

import asyncio
import socket
import struct
from time import monotonic
from typing import cast

from tests.servers.wire_answers import Request, answer_of, slow_down
from tests.servers.wire_objects import MOST, content
from tests.servers.wire_state import State
from tests.servers.wire_time import NOW, Pacer, loses, quantum

_END = b"\r\n\r\n"
#: Bytes that wait in the loop until the socket takes more.
_HIGH_WATER = 1 << 20


class Connection(asyncio.BufferedProtocol):
    """One client. Its requests are answered in their order."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._down = Pacer()
        self._up = Pacer()
        self._counted = False
        self._pending = b""
        self._request: Request | None = None
        self._answers = 0
        self._clear = True

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)  # uvloop's are no subclass
        self._transport = transport
        transport.set_write_buffer_limits(_HIGH_WATER)
        self._counted = self._state.opened()
        if not self._counted:
            reset(transport)
        wire = self._state.wire
        self._established = monotonic() + wire.handshake * wire.latency
        self._rate = self._state.rate()

    def connection_lost(self, _error: Exception | None) -> None:
        counts = self._state.statistics
        counts.open_connections -= self._counted
        counts.in_flight -= self._request is not None
        self._request = None

    def pause_writing(self) -> None:
        self._clear = False

    def resume_writing(self) -> None:
        self._clear = True
        if self._request is not None and self._request.answer is not None and self._request.waits_for_socket:
            self._request.waits_for_socket = False
            self._down.free_at = max(self._down.free_at, monotonic())  # no credit for the client's own pauses
            self._next()

    def get_buffer(self, _hint: int) -> memoryview:
        return self._state.buffer

    def buffer_updated(self, count: int) -> None:
        view = self._state.buffer[:count]
        request = self._request
        if request is not None and request.missing:
            taken = min(count, request.missing)
            self._body(request, view[:taken])
            view = view[taken:]
        if view:
            self._pending += view
            if self._request is None:
                self._parse()

    def _parse(self) -> None:
        head, found, rest = self._pending.partition(_END)
        if not found:
            return
        now = monotonic()
        self._request = request = Request(head)
        request.admitted = self._state.arrived(request.method, now)
        self._pending = b""
        request.missing = request.length
        if request.expects:
            self._state.timetable.at(self._due(now), self._continue)
        if not request.missing:
            self._pending = rest
            self._received(request, now)
        elif rest:
            self._pending = rest[request.missing :]
            self._body(request, memoryview(rest)[: request.missing])

    def _body(self, request: Request, body: memoryview) -> None:
        """Bytes of an upload, which are read as fast as the wire carries them."""
        state, count = self._state, len(body)
        request.receive(body, state.wire.md5_upload_size)
        state.statistics.bytes_received += count
        now = monotonic()
        start = max(now, self._established)
        due = max(
            self._up.after(start, count, self._rate), state.up.after(start, count, state.wire.total_rate)
        ) + self._loss(count)
        if not request.missing:
            self._received(request, due)
        elif due > now + NOW or state.wire.stalled:
            self._transport.pause_reading()
            state.timetable.at(due, self._read_on)

    def _read_on(self) -> None:
        if self._state.when_moving(self._read_on) and not self._transport.is_closing():
            self._transport.resume_reading()

    def _continue(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _due(self, now: float) -> float:
        """When the first byte of an answer arrives, where the request's last byte has left by now."""
        wire = self._state.wire
        jitter = self._state.random.random() * wire.jitter if wire.jitter else 0.0
        return max(now, self._established) + wire.latency + jitter

    def _received(self, request: Request, when: float) -> None:
        """The whole request is there, at a time that may be still to come."""
        due = self._due(when)
        wire = self._state.wire
        request.answer = answer_of(request, wire) if request.admitted else slow_down(wire)
        self._answers += 1
        request.closes |= wire.requests_per_connection is not None and self._answers >= wire.requests_per_connection
        if due <= monotonic():
            self._start()
        else:
            self._state.timetable.at(due, self._start)

    def _start(self) -> None:
        """The first byte of the answer is due."""
        request = self._request
        if request is None or request.answer is None or not self._state.when_moving(self._start):
            return
        request.head = request.answer.head(request.closes)
        request.at, request.left = request.answer.start, request.answer.count
        self._down.free_at = max(self._down.free_at, monotonic())
        self._next()

    def _next(self) -> None:
        """The next bytes of an answer, now or when they are due."""
        request = self._request
        while request is not None and self._clear:
            request.chunk = min(request.left, quantum(self._slowest(), MOST))
            due = self._chunk_due(request.chunk)
            if due > monotonic() + NOW or self._state.wire.stalled:
                self._state.timetable.at(due, self._send_due)
                return
            self._send(request)
            request = self._request
        if request is not None:
            request.waits_for_socket = True

    def _slowest(self) -> float | None:
        rates = [rate for rate in (self._rate, self._state.wire.total_rate) if rate]
        return min(rates) if rates else None

    def _chunk_due(self, count: int) -> float:
        wire = self._state.wire
        if not (self._rate or wire.total_rate or wire.loss):
            return 0.0
        start = self._down.free_at
        due = self._down.after(start, count, self._rate)
        total = self._state.down.after(start, count, wire.total_rate)
        self._down.free_at = max(due, total) + self._loss(count)
        return self._down.free_at

    def _loss(self, count: int) -> float:
        wire = self._state.wire
        return wire.loss_stall if wire.loss and loses(self._state.random.random(), wire.loss, count) else 0.0

    def _send_due(self) -> None:
        request = self._request
        if request is None or self._transport.is_closing() or not self._state.when_moving(self._send_due):
            return
        self._send(request)
        self._next()

    def _send(self, request: Request) -> None:
        """The chunk that is due, with the head before the first."""
        answer = request.answer
        assert answer is not None
        chunk = content(answer.kind, request.at, request.chunk) if answer.text is None else answer.text
        if len(chunk) <= 65536 and request.head:
            self._transport.write(request.head + chunk)
        else:
            if request.head:
                self._transport.write(request.head)
            self._transport.write(chunk)
        request.head = b""
        request.at += request.chunk
        request.left -= request.chunk
        self._state.statistics.bytes_sent += request.chunk
        if not request.left:
            self._answered(request)

    def _answered(self, request: Request) -> None:
        self._request = None
        self._state.statistics.in_flight -= 1
        if request.closes:
            self._transport.close()
        elif self._pending:
            self._parse()


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection as a host does that takes no more of them."""
    found = transport.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
