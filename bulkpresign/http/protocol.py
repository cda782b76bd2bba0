"""Responses of HTTP/1.1, parsed without I/O: bytes go in, chunks of the body, the head and a state come out.

`ResponseParser` knows no socket, no task and no clock. `connection` feeds it with what a socket received. The grammar
is that of Node.js (llhttp, by `httptools`); the order of events and all bounds are decided here.
Source: RFC 9112.
"""

from collections.abc import Sequence
from enum import Enum

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from bulkpresign.errors import ConnectionFailedError, TransferError, TruncatedError

#: Bytes of a head, of the framing between two chunks of a body, and of the trailers.
MAX_HEAD = 64 * 1024
#: Headers of one response, and trailers.
MAX_HEADERS = 100
#: Interim responses (1xx) before the final one.
MAX_INTERIM = 32
#: Seconds from the first byte of a head to its last one.
HEAD_TIMEOUT = 60.0
_MAX_LENGTH = (1 << 63) - 1

#: Bytes of a body: `bytes`, or a view of what was fed.
Chunk = bytes | memoryview


class ResponseState(Enum):
    """The progress of the response to the current request."""

    IDLE = "no request was sent yet"
    HEAD = "waits for the head, or its rest"
    BODY = "has the head, waits for body data"
    DONE = "complete; the connection can be reused"
    MUST_CLOSE = "complete; the connection can't be reused"
    FAILED = "not a valid response, or cut off"


_IDLE, _HEAD, _BODY = ResponseState.IDLE, ResponseState.HEAD, ResponseState.BODY
_DONE, _MUST_CLOSE, _FAILED = ResponseState.DONE, ResponseState.MUST_CLOSE, ResponseState.FAILED


class ResponseParser:
    """Parses the responses of one connection, one after another. Each begins with `start`.

    `state` changes with every call. From BODY on, `status`, `headers` (names in lower case, the first of each name) and
    `length` (bytes of the body as announced, else None) are those of the response; `status` is 0 before that. In the
    state FAILED, `error` says why.
    """

    def __init__(self) -> None:
        self.state = _IDLE
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.error: TransferError | None = None
        self._parser = HttpResponseParser(self)
        self._expects_body = True
        self._keeps_alive = True
        self._remaining = -1  # bytes of a body that bypasses the parser; -1: the parser finds its end
        self._chunks: list[Chunk] = []  # body data found by the current call of `feed`
        self._fields: list[tuple[bytes, bytes]] = []
        self._trailer_count = self._interim_count = 0
        self._framing = 0  # bytes since the last one that ended a head or belonged to a body
        self._framing_since = 0.0  # when the first of them was fed

    def __repr__(self) -> str:
        status = f" {self.status}" if self.status else ""
        return f"<ResponseParser {self.state.name}{status}>"

    @property
    def is_complete(self) -> bool:
        """True where no more of a response is to come."""
        return self.state is _DONE or self.state is _MUST_CLOSE

    def start(self, *, expects_body: bool = True) -> None:
        """Begins the response to a request that goes out now; `expects_body` is False for HEAD."""
        self.state = _HEAD
        self.status = 0
        self._expects_body = expects_body
        self._remaining = -1
        self._framing = self._trailer_count = self._interim_count = 0

    def feed(self, data: memoryview, now: float = 0.0) -> Sequence[Chunk]:
        """Takes bytes as they were received; gives the body data among them, which may be a view of `data`.

        `now` is the time in seconds on any clock that does not go back. What is not a valid response gives the state
        FAILED, unless the response was complete before: then, as for bytes that nobody asked for, MUST_CLOSE.
        """
        state = self.state
        if state is _BODY:
            if self._remaining >= 0:
                return self._feed_sized(data)
        elif state is not _HEAD:
            self.forbid_reuse()
            return ()
        if not self._framing:
            self._framing_since = now
        try:
            if state is _BODY:
                self._framing += len(data)
                self._parser.feed_data(data)
            else:
                self._feed_head(data)
            if self._framing > MAX_HEAD:
                raise HttpParserError(f"its headers are over {MAX_HEAD >> 10} KiB")
        except HttpParserError as error:
            reason = error.__context__ or error  # raised by a callback, else by the parser itself
            self._fail(f"not a valid HTTP response: {reason}")
        except HttpParserUpgrade:
            self._fail("not a valid HTTP response: it switches to another protocol")
        chunks, self._chunks = self._chunks, []
        if self.state is _BODY and self.length is not None:  # the rest bypasses the parser, which would copy it
            self._remaining = self.length - sum(map(len, chunks))
            self._parser = HttpResponseParser(self)
        return chunks

    def take_whole(self, status: int, headers: dict[str, str], length: int) -> None:
        """Takes a response that was read as a whole, without `feed`: it is complete."""
        self.status, self.headers, self.length = status, headers, length
        self.state = _DONE

    def feed_eof(self, reason: str | None = None) -> None:
        """Takes the end of the connection; `reason` says why it broke, None that the server closed it."""
        if self.state is _HEAD:
            message = f"the connection broke: {reason or 'closed by the server'}"
            self._set_error(ConnectionFailedError(message, code="Disconnected"))
        elif self.state is _BODY:
            if reason is None and self.length is None and "transfer-encoding" not in self.headers:
                self.state = _MUST_CLOSE  # the end of the connection is the end of such a body (RFC 9112, 6.3)
            else:
                self._set_error(TruncatedError("the body ended early", code="Truncated"))

    def is_head_late(self, now: float) -> bool:
        """True where a head, or trailers, began over HEAD_TIMEOUT seconds ago and have not ended."""
        return self._framing > 0 and not self.is_complete and now - self._framing_since > HEAD_TIMEOUT

    def forbid_reuse(self) -> None:
        """Lets no other response follow on the connection."""
        self._keeps_alive = False
        if self.state is _DONE or self.state is _IDLE:
            self.state = _MUST_CLOSE

    def _feed_head(self, data: memoryview) -> None:
        """Parses bytes that begin in a head. The head has to end within its bound; the body behind it has none."""
        left = MAX_HEAD - self._framing
        self._framing += len(data)
        if len(data) <= left:
            self._parser.feed_data(data)
        else:
            self._parser.feed_data(data[:left])
            if self._framing <= MAX_HEAD:
                self._parser.feed_data(data[left:])
        if self.status and not self._expects_body:  # the parser waits for the body that the length announces
            self._parser = HttpResponseParser(self)

    def _feed_sized(self, data: memoryview) -> Sequence[Chunk]:
        """Takes body data of a known length without parsing it."""
        remaining = self._remaining - len(data)
        if remaining < 0:
            data, remaining, self._keeps_alive = data[: self._remaining], 0, False
        self._remaining = remaining
        if not remaining:
            self._complete()
        return (data,)

    def _complete(self) -> None:
        self.state = _DONE if self._keeps_alive else _MUST_CLOSE

    def _fail(self, message: str) -> None:
        if self.is_complete:
            self.forbid_reuse()
        else:
            self._set_error(ConnectionFailedError(message, code="NotHTTP"))

    def _set_error(self, error: TransferError) -> None:
        self.error, self.state = error, _FAILED

    # The parser calls these. A second response to one request is ignored, and forbids reuse.

    def on_message_begin(self) -> None:
        """A response begins."""
        if self.status:
            self.forbid_reuse()
        else:
            self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer behind a chunked body. Trailers are ignored."""
        if not self.status:
            self._fields.append((name, value))
            return
        self._trailer_count += 1
        if self._trailer_count > MAX_HEADERS:
            raise HttpParserError(f"it has over {MAX_HEADERS} trailers")

    def on_headers_complete(self) -> None:
        """The head is complete. That of an interim response (1xx) is ignored."""
        if self.status:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim_count += 1
            if self._interim_count > MAX_INTERIM:
                raise HttpParserError(f"over {MAX_INTERIM} interim responses came before it")
        else:
            self._take_head(status)
        self._framing = 0

    def _take_head(self, status: int) -> None:
        if len(self._fields) > MAX_HEADERS:
            raise HttpParserError(f"it has over {MAX_HEADERS} headers")
        self.headers = {  # reversed, so that the first of several equal names is kept
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._fields)
        }
        length = self.headers.get("content-length")
        self.length = int(length) if length is not None else None
        if self.length is not None and self.length > _MAX_LENGTH:
            raise HttpParserError("its Content-Length is over 2^63")
        self.status, self.state = status, _BODY
        self._keeps_alive = self._parser.should_keep_alive()
        if not self._expects_body:
            self._complete()

    def on_body(self, body: bytes) -> None:
        """Body data. Behind a complete response, such as the head that HEAD asked for, it is ignored."""
        if self.state is _BODY:
            self._framing = 0
            self._chunks.append(body)
        else:
            self.forbid_reuse()

    def on_message_complete(self) -> None:
        """A response is complete, be it an interim one."""
        if self.state is _BODY:
            self.state = _DONE if self._keeps_alive else _MUST_CLOSE
