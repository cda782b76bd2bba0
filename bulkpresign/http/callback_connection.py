"""A connection whose small responses are handled in callbacks of the event loop: no task runs for them.

Such a response is handled as a whole, a step at a time, together with those of other connections: see `StepScheduler`.
"""

import asyncio
from collections.abc import Callable, Generator

from bulkpresign.http.buffers import Buffers
from bulkpresign.http.connection import Connection
from bulkpresign.http.plain_head import PlainHead, plain_head
from bulkpresign.http.protocol import Chunk, ResponseParser
from bulkpresign.http.step_scheduler import Steps, StepScheduler

#: A larger body is not handled as a whole.
MAX_WHOLE_BODY = 256 * 1024
#: More bytes are worked on at once, while they are in the CPU's caches. Fewer wait for those of other connections.
_MAX_WAITING = 16 * 1024

#: Handles a complete response in steps (see `StepScheduler`). Returns the next request, b"" for no more, or None for a
#: response that it leaves to others.
HandlerSteps = Generator[None, None, bytes | None]
#: The steps for a response: its head, its body (valid until the last step) and the seconds that it took.
ResponseHandler = Callable[[ResponseParser, Chunk, float], HandlerSteps]


class CallbackConnection(Connection):
    """Sends one request after another from the callbacks that bring the responses to those before."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, buffers: Buffers, scheduler: StepScheduler, origin: str = ""
    ) -> None:
        """See `Connection`."""
        super().__init__(loop, buffers, origin)
        self._scheduler = scheduler
        self._handler: ResponseHandler | None = None
        self._is_over = False  # no further request is to be sent
        self._begun: bytes | memoryview = b""  # the first bytes of a response, until the next step
        self._whole: _WholeResponse | None = None  # one that is handled as a whole, of which more has to come

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

    # The event loop calls these.

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

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self.is_open = False
        self._scheduler.run()  # a response that came before is whole
        if self._whole is not None:
            self.response.feed(memoryview(self._whole.so_far()), self.touched_at)
        super().connection_lost(exc)


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
