"""One HTTP/1.1 connection: a request goes out as it is given, its answer comes in as it is sent.

A client library does some two hundred small things for a request, and for small objects those are most of the work.
Here a request is one write, and its answer two or three calls: the parser is that of Node.js (llhttp, by `httptools`).
What is most of a large answer passes it by, and is hashed and stored right where the socket was read into, before
anything else happens: a task that waits for each few bytes takes longer to wake than they take to store.
Source: RFC 9112.
"""

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterable, Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from bulkpresign.errors import ConnectionFailedError, TruncatedError

#: Bytes of one read.
_BUFFER_SIZE = 256 * 1024
_PIECES_A_TURN = 16  # where nothing else would make us wait

#: Bytes of a head, of the framing between two pieces of a body, and of its trailers.
MAX_HEAD = 64 * 1024
#: Headers and trailers of one answer.
MAX_HEADERS = 100
#: Interim answers (1xx) before the answer itself.
MAX_INTERIM = 32
#: Seconds from the first byte of a head to its last one.
HEAD_TIMEOUT = 60.0
_MAX_LENGTH = (1 << 63) - 1

Body = bytes | AsyncIterable[bytes]
Chunk = bytes | memoryview
#: Takes bytes of a body, which are there until it is called again; True: enough, until it asks for more.
BodyCallback = Callable[[Chunk], bool | None]


class Buffers:
    """Memory into which the connections of one loop read, one after another: the processor has it at hand."""

    def __init__(self) -> None:
        self.current = memoryview(bytearray(_BUFFER_SIZE))
        self._free: list[memoryview] = []

    def lend(self) -> memoryview:
        """The current one, to whoever needs what is in it for longer; the others read into another."""
        lent = self.current
        self.current = self._free.pop() if self._free else memoryview(bytearray(_BUFFER_SIZE))
        return lent

    def give_back(self, buffer: memoryview) -> None:
        """Takes one back that nobody needs any more."""
        self._free.append(buffer)


class Connection(asyncio.BufferedProtocol):
    """Serves one exchange after another; one task at a time uses it.

    `touched_at` is when bytes last moved, on the loop's clock. What ends a connection in the midst of an exchange is
    raised to whoever waits for it, as a TransferError unless he raised it himself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, buffers: Buffers) -> None:
        self._loop = loop
        self._buffers = buffers
        self._transport: asyncio.Transport
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._take: BodyCallback | None = None
        self._early: deque[bytes] = deque()  # came before anybody took it
        self._lent: memoryview | None = None  # holds what was taken last
        self._is_paused = False  # reading
        self._is_full = False  # the buffer of what goes out
        self._keeps_alive = True
        self._expects_body = True
        self._is_sent = self._has_head = self._is_complete = True  # between exchanges
        self._left = -1  # of a body whose rest passes the parser by; -1: everything goes through it
        self._fields: list[tuple[bytes, bytes]] = []
        self._framing = self._trailer_count = self._interim_count = 0
        self._framing_since: float | None = None  # when bytes began to come that are no body
        self._has_advanced = False  # the last read ended a head, or brought some of a body
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.is_open = False
        self.touched_at = loop.time()

    @property
    def is_waiting(self) -> bool:
        """True while somebody waits for the other side."""
        return self._waiter is not None

    @property
    def is_reusable(self) -> bool:
        """True where another exchange can follow: nothing of this one is still to come, or to be read."""
        return self.is_open and self._is_complete and self._is_sent and self._keeps_alive and not self._early

    async def send(self, head: bytes, body: Body | None, *, expects_body: bool = True) -> None:
        """Sends a request; returns when the head of its answer is here, which may be before all of a body went out.

        `status`, `headers` (names in lower case) and `length` (the body's bytes as announced, else None) are those of
        the answer then.
        """
        self._begin(expects_body)
        if body is None:
            self._transport.write(head)
        elif isinstance(body, bytes):
            self._transport.write(head + body)
        else:
            await self._send_pieces(head, body)
        self._is_sent = True
        while not self._has_head:
            await self._change()

    async def stream_to(self, take: BodyCallback) -> bool:
        """Gives the answer's body to `take` as it comes, until that has enough (True) or the body ends (False).

        What `take` raises is raised, and ends the connection where more of the body was to come.
        """
        self._give_back()
        while self._early:
            if take(self._early.popleft()):
                return True
        self._take = take
        self._resume()
        try:
            while not self._is_complete and self._take is not None:
                await self._change()
            has_enough = self._take is None
        finally:
            self._take = None
        if self._error is not None:
            raise self._error
        return has_enough

    def end_late_head(self, now: float) -> None:
        """Ends the connection where a head, or trailers, take too long; `now` is on the loop's clock."""
        if self._is_complete or self._framing_since is None:
            return
        if now - self._framing_since > HEAD_TIMEOUT:
            message = f"the headers of the answer did not end in {HEAD_TIMEOUT:g} s"
            self.fail(ConnectionFailedError(message, code="Timeout"))

    def fail(self, error: BaseException) -> None:
        """Ends the connection, and the exchange with an error."""
        if self._error is None and not self._is_complete:
            self._error = error
        self.close()
        self._wake()

    def close(self) -> None:
        """Drops the connection, whatever is still on its way."""
        self.is_open = False
        self._transport.abort()

    def _begin(self, expects_body: bool) -> None:
        self._is_sent = self._has_head = self._is_complete = False
        self._expects_body = expects_body
        self._left = -1
        self._framing = self._trailer_count = self._interim_count = 0
        self._framing_since = None
        self._give_back()
        self._resume()
        self.touched_at = self._loop.time()
        if not self.is_open:
            self._error = ConnectionFailedError("the connection was closed by the other side", code="Disconnected")

    async def _send_pieces(self, head: bytes, body: AsyncIterable[bytes]) -> None:
        self._transport.write(head)
        answered = select.poll()
        answered.register(self._transport.get_extra_info("socket"), select.POLLIN)
        number = 0
        async for piece in body:
            # A server that refuses early answers and hangs up; what we write then discards its answer, unless that was
            # read before. The others get their turn as well, even where the socket takes everything at once.
            if number % _PIECES_A_TURN == 0 or answered.poll(0):
                await read_what_came()
            number += 1
            if self._has_head or self._error is not None:  # refused before all of it was sent
                self._keeps_alive = False
                return
            self.touched_at = self._loop.time()
            self._transport.write(piece)
            while self._is_full and not self._has_head:
                await self._change()

    async def _change(self) -> None:
        """Waits until something happens."""
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

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return self._buffers.current

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came in."""
        self.touched_at = self._loop.time()
        data = self._buffers.current[:nbytes]
        if self._is_complete:  # nobody asked
            self.close()
        elif self._left < 0:
            self._parse(data)
        else:
            self._receive_rest(data)
        if self._take is None or self._is_complete:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.is_open = False
        if not self._is_complete and self._error is None:
            self._end_of_stream(exc)
        self._wake()

    def pause_writing(self) -> None:
        """The buffer of what goes out is full."""
        self._is_full = True

    def resume_writing(self) -> None:
        """The buffer of what goes out has room again."""
        self._is_full = False
        self.touched_at = self._loop.time()
        self._wake()

    def _parse(self, data: memoryview) -> None:
        self._has_advanced = False
        try:
            if self._has_head or self._framing + len(data) <= MAX_HEAD:
                self._parser.feed_data(data)
            else:
                self._feed_head(data)
            if not self._has_advanced:
                self._add_framing(len(data))
            elif self._framing:
                self._framing, self._framing_since = 0, None
        except HttpParserError as error:
            reason = error.__context__ or error  # what a callback raised, else the parser's own
            self.fail(ConnectionFailedError(f"the answer is no HTTP: {reason}", code="NotHTTP"))
            return
        except HttpParserUpgrade:
            self.fail(ConnectionFailedError("the answer switches to another protocol", code="NotHTTP"))
            return
        if self._has_head and not self._expects_body:  # the parser waits for the body that a HEAD's length tells of
            self._parser = HttpResponseParser(self)
            return
        if self._is_complete or not self._has_head:
            return
        if self.length is not None:
            self._left = self.length - sum(map(len, self._early))
            self._parser = HttpResponseParser(self)
        elif self._early:
            self._pause()

    def _feed_head(self, data: memoryview) -> None:
        """Parses more bytes than a head may have: it has to end within its bound, the body after it has none."""
        end = MAX_HEAD - self._framing
        self._parser.feed_data(data[:end])
        if self._has_advanced:
            self._parser.feed_data(data[end:])

    def _add_framing(self, count: int) -> None:
        """Counts bytes of a read that ended no head and brought no body. Raises HttpParserError where they are many."""
        self._framing += count
        if self._framing_since is None:
            self._framing_since = self.touched_at
        if self._framing > MAX_HEAD:
            raise HttpParserError(f"its headers are over {MAX_HEAD >> 10} KiB")

    def _receive_rest(self, data: memoryview) -> None:
        """Takes body bytes whose number is known: they need no parser, which would copy them."""
        if len(data) > self._left:
            data, self._keeps_alive = data[: self._left], False
        self._left -= len(data)
        if self._take is None:
            self._early.append(bytes(data))
            self._pause()
        elif self._give(self._take, data):
            self._lent = self._buffers.lend()
        self._is_complete = not self._left

    def _give(self, take: BodyCallback, data: Chunk) -> bool:
        """Whether `take` has enough."""
        try:
            has_enough = bool(take(data))
        except BaseException as error:  # noqa: BLE001 - whoever pours raises it
            self._take = None
            self.fail(error)
            return False
        if has_enough:
            self._take = None
            self._pause()
        return has_enough

    def _pause(self) -> None:
        if not self._is_paused and self.is_open:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()

    def _give_back(self) -> None:
        """What was taken last may be written over."""
        if self._lent is not None:
            self._buffers.give_back(self._lent)
            self._lent = None

    def _end_of_stream(self, exc: Exception | None) -> None:
        """What the end of the connection means: of a body that was announced in no way it is the end as well."""
        if not self._has_head:
            reason = getattr(exc, "strerror", None) or (type(exc).__name__ if exc else "closed by the other side")
            self._error = ConnectionFailedError(f"the connection broke: {reason}", code="Disconnected")
        elif exc is None and self.length is None and "transfer-encoding" not in self.headers:
            self._is_complete = True
        else:
            self._error = TruncatedError("the body ended early", code="Truncated")

    # What the parser calls. A second answer to the one request is none: nothing of it counts, and no other may follow.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._has_head:
            self._keeps_alive = False
        else:
            self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; one behind a chunked body is passed over."""
        if not self._has_head:
            self._fields.append((name, value))
            return
        self._trailer_count += 1
        if self._trailer_count > MAX_HEADERS:
            raise HttpParserError(f"it has over {MAX_HEADERS} trailers")

    def on_headers_complete(self) -> None:
        """The head is whole; one of an interim answer (1xx) is passed over."""
        status = self._parser.get_status_code()
        if self._has_head:
            return
        if status < 200:
            self._interim_count += 1
            if self._interim_count > MAX_INTERIM:
                raise HttpParserError(f"over {MAX_INTERIM} interim answers came before it")
            self._has_advanced = True
            return
        if len(self._fields) > MAX_HEADERS:
            raise HttpParserError(f"it has over {MAX_HEADERS} headers")
        self.status = status
        self.headers = {  # the first of a name counts
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._fields)
        }
        length = self.headers.get("content-length")
        self.length = int(length) if length is not None else None
        if self.length is not None and self.length > _MAX_LENGTH:
            raise HttpParserError("its Content-Length is over 2^63")
        self._keeps_alive = self._parser.should_keep_alive()
        self._has_head = self._has_advanced = True
        if not self._expects_body:
            self._is_complete = True

    def on_body(self, body: bytes) -> None:
        """Bytes of the body."""
        if self._is_complete:
            self._keeps_alive = self._keeps_alive and self._expects_body  # a body behind a HEAD's head
            return
        self._has_advanced = True
        if self._take is None:
            self._early.append(body)
        else:
            self._give(self._take, body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._is_complete = self._has_head


async def read_what_came() -> None:
    """Lets the loop look at its sockets, which it does in one round, and read from them, which may be in the next."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
