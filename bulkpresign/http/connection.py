"""One HTTP/1.1 connection: sockets, flow control and buffers around a `ResponseParser`.

A general client does some two hundred small things for a request, and for small objects those are most of the work.
Here a request is one write, and its response two or three calls. Body data bypasses the parser once its length is
known: it is hashed and stored in the buffer that the socket was read into, within the call of the event loop. Waking a
task for each read takes longer than storing what was read.
Source: RFC 9112.
"""

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from typing import cast

from bulkpresign.errors import ConnectionFailedError
from bulkpresign.http import protocol
from bulkpresign.http.buffers import Buffers
from bulkpresign.http.protocol import Chunk, ResponseParser, ResponseState
from bulkpresign.http.tls_sessions import ResumingSSLObject

__all__ = ["Body", "BodyCallback", "Chunk", "Connection", "read_pending"]

#: After so many chunks of a request body, other tasks run.
_CHUNKS_PER_TURN = 16

_IDLE = ResponseState.IDLE
_HEAD = ResponseState.HEAD
_BODY = ResponseState.BODY
_DONE = ResponseState.DONE

Body = bytes | AsyncIterable[bytes]
#: Takes body data, which is valid until the next call; True stops the body until `stream_to` is called again.
BodyCallback = Callable[[Chunk], bool | None]


class Connection(asyncio.BufferedProtocol):
    """Sends one request after another; one task at a time uses it.

    `response` parses what comes in, and has the current response's status, headers and length. `touched_at` is when
    bytes last moved, in seconds on the loop's clock. An error that ends a connection during a request is raised to the
    task that waits for it: a TransferError, or what a body callback raised. `request_count` counts requests.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, buffers: Buffers, origin: str = "") -> None:
        """`origin` is shown by `repr`: `http://host:port`."""
        self._loop, self._buffers, self._origin = loop, buffers, origin
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._take: BodyCallback | None = None
        self._early: deque[bytes] = deque()  # body data that came before a callback was there
        self._lent: memoryview | None = None  # the buffer with the chunk that the callback stopped at
        self._is_reading_paused = False
        self._is_write_buffer_full = False
        self.response = ResponseParser()
        self.request_count = 0
        self.is_open = False
        self.touched_at = self.sent_at = loop.time()

    def __repr__(self) -> str:
        state = self.response.state.name if self.is_open else "CLOSED"
        return f"<Connection {self._origin} {state}, {self.request_count} requests>"

    @property
    def is_waiting(self) -> bool:
        """True while a task waits for the server."""
        return self._waiter is not None

    @property
    def is_reusable(self) -> bool:
        """True where another request can follow: the last response is complete and was read to its end."""
        state = self.response.state
        return (state is _DONE or state is _IDLE) and self.is_open and not self._early

    async def send(self, head: bytes, body: Body | None, *, expects_body: bool = True) -> None:
        """Sends a request; returns when the head of its response is here, which may be before all of a body went out.

        Raises TransferError, and what iterating the body raises. The connection is closed then.
        """
        self._start(expects_body)
        response = self.response
        try:
            if body is None:
                self._transport.write(head)
            elif isinstance(body, bytes):
                self._transport.write(head + body)
            else:
                await self._send_chunks(head, body)
            self.sent_at = self._loop.time()
            while not response.status:
                await self._change()
        except BaseException:
            self.close()
            raise

    async def stream_to(self, take: BodyCallback) -> bool:
        """Passes the response's body to `take` as it comes, until `take` returns True, or the body ends (False).

        Raises TransferError, and what `take` raises; the connection is closed then if more of the body was to come.
        """
        if self._lent is not None:
            self._return_lent(self._lent)
        while self._early:
            if take(self._early.popleft()):
                return True
        self._take = take
        self._resume()
        try:
            while self.response.state is _BODY and self._take is not None:
                await self._change()
            has_enough = self._take is None
        finally:
            self._take = None
        if self._error is not None:
            raise self._error
        return has_enough

    def remember_tls_session(self) -> None:
        """Lets the next connection to this host resume the TLS session of this one."""
        tls = self._transport.get_extra_info("ssl_object")
        if isinstance(tls, ResumingSSLObject):
            tls.remember_session()

    def end_late_head(self, now: float) -> None:
        """Closes the connection where a head, or trailers, take too long; `now` is on the loop's clock."""
        if self.response.is_head_late(now):
            message = f"the response's headers did not end within {protocol.HEAD_TIMEOUT:g} s"
            self.fail(ConnectionFailedError(message, code="Timeout"))

    def fail(self, error: BaseException) -> None:
        """Closes the connection, and raises the error to the task that waits for a response."""
        if self._error is None and not self.response.is_complete:
            self._error = error
        self.close()
        self._wake()

    def close(self) -> None:
        """Closes the connection at once, whatever is still in flight."""
        self.is_open = False
        self._transport.abort()

    def _start(self, expects_body: bool) -> None:
        self.response.start(expects_body=expects_body)
        self.request_count += 1
        if self._lent is not None:
            self._return_lent(self._lent)
        if self._is_reading_paused:
            self._resume()
        self.touched_at = self._loop.time()
        if not self.is_open:
            self._error = ConnectionFailedError("the connection was closed by the server", code="Disconnected")

    async def _send_chunks(self, head: bytes, body: AsyncIterable[bytes]) -> None:
        self._transport.write(head)
        readable = select.poll()
        readable.register(self._transport.get_extra_info("socket"), select.POLLIN)
        number = 0
        async for chunk in body:
            # A server that refuses early responds and closes. A write after that discards the response, unless it was
            # read before. Other tasks get their turn as well, even where the socket takes everything at once.
            if number % _CHUNKS_PER_TURN == 0 or readable.poll(0):
                await read_pending()
            number += 1
            if self.response.status or self._error is not None:  # refused before all of it was sent
                self.response.forbid_reuse()
                return
            self.touched_at = self._loop.time()
            self._transport.write(chunk)
            while self._is_write_buffer_full and not self.response.status:
                await self._change()

    async def _change(self) -> None:
        """Waits until something happens. Raises the error that ended the connection."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The event loop calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The buffer for the next bytes."""
        return self._buffers.current

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came in."""
        self.touched_at = self._loop.time()
        self._feed(self._buffers.current[:nbytes])

    def _feed(self, data: memoryview) -> None:
        """Bytes of a response that is taken as it comes."""
        response = self.response
        before = response.state
        chunks = response.feed(data, self.touched_at)
        if chunks:
            self._deliver(chunks)
        state = response.state
        if state is _BODY:
            # The first read of a body of known length is kept without a pause: the task takes it in its next turn.
            if self._early and (before is _BODY or response.length is None):
                self._pause()
        elif response.error is not None:
            self.fail(response.error)
        elif before is not _HEAD and before is not _BODY:  # bytes that no request asked for
            self.close()
        if self._take is None or state is not _BODY:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.is_open = False
        if self._error is None:
            self.response.feed_eof(None if exc is None else getattr(exc, "strerror", None) or type(exc).__name__)
            self._error = self.response.error
        self._wake()

    def pause_writing(self) -> None:
        """The transport's write buffer is full."""
        self._is_write_buffer_full = True

    def resume_writing(self) -> None:
        """The transport's write buffer has room again."""
        self._is_write_buffer_full = False
        self.touched_at = self._loop.time()
        self._wake()

    def _deliver(self, chunks: Sequence[Chunk]) -> None:
        """Passes body data to the callback, or keeps a copy until there is one."""
        for chunk in chunks:
            if self._take is None:
                self._early.append(chunk if isinstance(chunk, bytes) else bytes(chunk))
            elif self._give(self._take, chunk) and isinstance(chunk, memoryview):
                self._lent = self._buffers.lend()

    def _give(self, take: BodyCallback, chunk: Chunk) -> bool:
        """Passes one chunk to the callback. True where that has enough."""
        try:
            has_enough = bool(take(chunk))
        except BaseException as error:  # noqa: BLE001 - `stream_to` raises it
            self._take = None
            self._error = self._error or error
            self.close()
            self._wake()
            return False
        if has_enough:
            self._take = None
            self._pause()
        return has_enough

    def _pause(self) -> None:
        if not self._is_reading_paused and self.is_open:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_reading_paused and self.is_open:
            self._is_reading_paused = False
            self._transport.resume_reading()

    def _return_lent(self, lent: memoryview) -> None:
        """Lets the buffer with the last chunk be written over."""
        self._buffers.give_back(lent)
        self._lent = None


async def read_pending() -> None:
    """Lets the loop poll its sockets, which it does in one round, and read from them, which may be in the next."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
