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
from collections.abc import AsyncIterable, Callable, Generator, Sequence
from typing import cast

from bulkpresign.errors import ConnectionFailedError
from bulkpresign.http import protocol
from bulkpresign.http.buffers import Buffers
from bulkpresign.http.plain_head import PlainHead, plain_head
from bulkpresign.http.protocol import Chunk, ResponseParser, ResponseState
from bulkpresign.http.step_scheduler import Steps, StepScheduler
from bulkpresign.http.tls_sessions import ResumingSSLObject

__all__ = ["Body", "BodyCallback", "Chunk", "Connection", "read_pending"]

#: A larger body is not handled as a whole.
MAX_WHOLE_BODY = 256 * 1024
#: More bytes are worked on at once, while they are in the CPU's caches. Fewer wait for those of other connections.
_MAX_WAITING = 16 * 1024
#: After so many chunks of a request body, other tasks run.
_CHUNKS_PER_TURN = 16

_IDLE = ResponseState.IDLE
_HEAD = ResponseState.HEAD
_BODY = ResponseState.BODY
_DONE = ResponseState.DONE

Body = bytes | AsyncIterable[bytes]
#: Takes body data, which is valid until the next call; True stops the body until `stream_to` is called again.
BodyCallback = Callable[[Chunk], bool | None]
#: Handles a complete response in steps (see `StepScheduler`). Returns the next request, b"" for no more, or None for a
#: response that it leaves to others.
HandlerSteps = Generator[None, None, bytes | None]
#: The steps for a response: its head, its body (valid until the last step) and the seconds that it took.
ResponseHandler = Callable[[ResponseParser, Chunk, float], HandlerSteps]


class Connection(asyncio.BufferedProtocol):
    """Sends one request after another; one task at a time uses it.

    `response` parses what comes in, and has the current response's status, headers and length. `touched_at` is when
    bytes last moved, in seconds on the loop's clock. An error that ends a connection during a request is raised to the
    task that waits for it: a TransferError, or what a body callback raised. `request_count` counts requests.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, buffers: Buffers, scheduler: StepScheduler, origin: str = ""
    ) -> None:
        """`origin` is shown by `repr`: `http://host:port`."""
        self._loop = loop
        self._buffers, self._scheduler = buffers, scheduler
        self._origin = origin
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._take: BodyCallback | None = None
        self._early: deque[bytes] = deque()  # body data that came before a callback was there
        self._lent: memoryview | None = None  # the buffer with the chunk that the callback stopped at
        self._handler: ResponseHandler | None = None
        self._is_over = False  # no further request is to be sent
        self._begun: bytes | memoryview = b""  # the first bytes of a response, until the next step
        self._whole: _WholeResponse | None = None  # one that is handled as a whole, of which more has to come
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

    async def send_each(self, request: bytes, handle: ResponseHandler) -> bool:
        """Sends one request after another: the next one is what `handle` returns for a response. No task runs for them.

        Returns True when `handle` sends no more. Returns False for a response that `handle` returned None for, or that
        is not small, complete and of the usual form (see `plain_head`): it goes on as after `send`. Raises
        TransferError, and what `handle` raises; the connection is closed then.
        """
        self._handler, self._is_over = handle, False
        try:
            self._send_next(request)
            while self._is_handling:
                await self._change()
            if self._error is not None:
                raise self._error
            while not self.response.status:
                await self._change()
        except BaseException:
            self._handler, self._whole, self._begun = None, None, b""
            self.close()
            raise
        return self._is_over

    @property
    def _is_handling(self) -> bool:
        return self._handler is not None

    def _send_next(self, request: bytes) -> None:
        self._start(expects_body=True)
        if self._error is None:
            self._transport.write(request)
        self.sent_at = self.touched_at

    def _begin_whole(self, data: memoryview) -> None:
        """The first bytes of a response, which may be one that is handled as a whole."""
        if self._begun:
            self._begun = bytes(self._begun) + data
            return
        self._begun = data if len(data) > _MAX_WAITING else bytes(data)
        self._begin_steps(len(data))

    def _add_to_whole(self, whole: "_WholeResponse", count: int) -> None:
        """More bytes of a response that is handled as a whole."""
        whole.received += count
        if whole.received == whole.head.length:
            self._begin_steps(whole.received)
        elif whole.received > whole.head.length:
            self._end_handling()
            self._feed(memoryview(whole.so_far()))

    def _begin_steps(self, size: int) -> None:
        """Begins to handle so many bytes, together with other connections if they are few."""
        if size <= _MAX_WAITING:
            self._scheduler.add(self._steps())
        else:
            for _ in self._steps():
                pass

    def _steps(self) -> Steps:
        """Handles a response that is here, or its first bytes."""
        try:
            handle, found = self._handler, self._found()
            if handle is None or found is None:
                return
            head, body = found
            self.response.take_whole(head.status, head.headers, head.length)
            yield
            request = yield from handle(self.response, body, self.touched_at - self.sent_at)
            yield
            self._go_on(request, body)
        except BaseException as error:  # noqa: BLE001 - `send_each` raises it
            self._error = error
            self._end_handling()

    def _found(self) -> tuple[PlainHead, memoryview] | None:
        """The head and body of a response that is here; None where more has to come, or it is not for the handler."""
        whole = self._whole
        if self._handler is None:  # cancelled, or there came more than the response
            return None
        if whole is not None:
            self._whole = None
            return whole.head, whole.buffer[: whole.received]
        data, self._begun = memoryview(self._begun), b""
        head = plain_head(data)
        if head is None or head.length > MAX_WHOLE_BODY or len(data) > head.size + head.length:
            self._end_handling()
            self._feed(data)
            return None
        if len(data) < head.size + head.length:
            self._whole = _WholeResponse(head, data)
            return None
        return head, data[head.size :]

    def _go_on(self, request: bytes | None, body: memoryview) -> None:
        """Sends the next request, or ends `send_each`."""
        if request:
            self._send_next(request)
            if self._error is not None:
                self._end_handling()
            return
        if request is None:
            self._early.append(bytes(body))
        self._is_over = request is not None
        self._end_handling()

    def _end_handling(self) -> None:
        self._handler, self._whole, self._begun = None, None, b""
        self._wake()

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
        return self._buffers.current if self._whole is None else self._whole.rest

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came in."""
        self.touched_at = self._loop.time()
        if self._handler is None:
            self._feed(self._buffers.current[:nbytes])
        elif self._whole is None:
            self._begin_whole(self._buffers.current[:nbytes])
        else:
            self._add_to_whole(self._whole, nbytes)

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
        self._scheduler.run()  # a response that came before is whole
        if self._whole is not None:
            self.response.feed(memoryview(self._whole.so_far()), self.touched_at)
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


class _WholeResponse:
    """A response of which a part is here. The socket is read into its `rest`, without a copy."""

    __slots__ = ("_head_bytes", "buffer", "head", "received")

    def __init__(self, head: PlainHead, data: memoryview) -> None:
        self.head, self._head_bytes = head, bytes(data[: head.size])
        self.received = len(data) - head.size
        self.buffer = memoryview(bytearray(head.length + 1))  # one more, to find out if more comes than was announced
        self.buffer[: self.received] = data[head.size :]

    @property
    def rest(self) -> memoryview:
        """The buffer for the next bytes."""
        return self.buffer[self.received :]

    def so_far(self) -> bytes:
        """All that came, with the head."""
        return self._head_bytes + self.buffer[: self.received]


async def read_pending() -> None:
    """Lets the loop poll its sockets, which it does in one round, and read from them, which may be in the next."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
