"""A server with faults on order: in front of a real one, or with objects of its own. Sees every byte of a request.

Runs in a thread, so that tests need no event loop. A request takes the next of `faults`, or `always`, or none.
"""

import asyncio
import hashlib
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from typing import Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. `status` set: answered here, and the server behind never sees it."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    #: Answers before it reads the request's body, then closes.
    early: bool = False
    #: Resets the connection after so many bytes of the answer; 0: before any.
    reset_after: int | None = None
    #: Closes after so many bytes of the answer's body, whose Content-Length stays right.
    cut_after: int | None = None
    #: Flips a bit in the middle of the answer's body, or the request's.
    flip_answer: bool = False
    flip_request: bool = False
    #: Sends so many bytes of the answer's body, and no more until the other side gives up.
    hold_after: int | None = None
    #: Leaves Content-Length out, and closes where the body ends.
    no_length: bool = False
    #: Sends the answer in two pieces, the second of them late.
    split: bool = False
    #: Reads nothing of the body and says nothing.
    stall: bool = False
    #: Hides Range and If-Match from the server behind, so that its answer is the whole object.
    ignore_range: bool = False
    #: Tells another Content-Range than that of the bytes.
    shift_range: bool = False
    #: Sends so many bytes of the answer's body a second.
    rate: int | None = None


def expired() -> Fault:
    """What S3 answers to a link that is over, with its time, as every server tells it."""
    message = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    return Fault(403, {"Date": formatdate(usegmt=True)}, message)


@dataclass(frozen=True)
class Seen:
    """One request as it came: `head` up to the empty line, `body` as far as it was read."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def method(self) -> str:
        return self.line.split(b" ")[0].decode()

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.rstrip(b"\r\n").split(b"\r\n")[1:]
        pairs = (line.decode("latin-1").partition(":") for line in lines)
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name.lower()]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None


class FaultProxy:
    """Use as a context manager. `url` is where it listens; `upstream` is the endpoint behind, None for `objects`."""

    def __init__(
        self,
        upstream: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        answer_headers: Mapping[str, str] | None = None,
    ) -> None:
        self._upstream = upstream
        self._tls = tls
        self._answer_headers = answer_headers or {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._serving: asyncio.Task[None] | None = None
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        #: By the request's target without its query.
        self.objects: dict[str, bytes] = {}
        #: Of those with another etag than the md5, with its quotes.
        self.etags: dict[str, str] = {}
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        #: Asked where neither has a fault, with a request's head; in the proxy's thread.
        self.schedule: Callable[[Seen], Fault | None] = lambda _: None
        #: Makes the head and body of a response from those of the server behind; in the proxy's thread.
        self.alter: Callable[[Seen, bytes, bytes], tuple[bytes, bytes]] = lambda _, head, body: (head, body)
        #: Whether ranges of `objects` are given.
        self.gives_ranges = False
        #: Whether the response to a PUT has its checksums, as where the server has compared them.
        self.repeats_checksums = False
        #: Hides every If-Match from the server behind, or from `objects`, as if it knew none.
        self.drop_conditions = False
        self.seen: list[Seen] = []
        #: Whether `seen` has the bodies of requests. They stay in memory.
        self.keeps_bodies = True
        #: Connections that were made; requests that are, and were at most, answered at once.
        self.opened = 0
        self.open_now = 0
        self.most_open = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{HOST}:{self.port}"

    @property
    def count(self) -> int:
        return len(self.seen)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        """The port is closed within the block, and all connections are reset."""
        asyncio.run_coroutine_threadsafe(self._close_port(), self._loop).result(10)
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(self._open_port(), self._loop).result(10)

    async def _open_port(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, HOST, self.port, ssl=self._tls, limit=1 << 20, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close_port(self) -> None:
        for listening in self._server.sockets:  # a server that is closed would never close what it has just accepted
            self._loop.remove_reader(listening)
        accepting = asyncio.all_tasks() - {asyncio.current_task(), *self._tasks, self._serving}
        await asyncio.gather(*accepting, return_exceptions=True)
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop, self._serving = asyncio.Event(), asyncio.current_task()
        await self._open_port()
        self._ready.set()
        await self._stop.wait()
        await self._close_port()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        closed = (writer.wait_closed() for writer in self._writers)
        await asyncio.wait_for(asyncio.gather(*closed, return_exceptions=True), 5)
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next round

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        self.opened += 1
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._request(reader, writer):
                pass
            writer.close()
            await writer.wait_closed()
            self._writers.discard(writer)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; false where the connection ends with it."""
        head = await reader.readuntil(b"\r\n\r\n")
        seen = Seen(head.replace(b" " + self.url.encode() + b"/", b" /", 1))  # asked as its own forward proxy
        self.seen.append(seen)
        fault = (self.faults.popleft() if self.faults else self.always or self.schedule(seen)) or Fault()
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            return await self._answered(seen, fault, reader, writer)
        finally:
            self.open_now -= 1

    async def _answered(
        self, seen: Seen, fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if fault.stall:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(30)
        if not fault.early:
            seen = await self._whole(seen, reader)
        await asyncio.sleep(fault.delay)
        if fault.reset_after == 0:
            return _reset(writer)
        if fault.status is not None:
            head, body = _message(fault.status, fault.headers, fault.body)
        else:
            head, body = await self._from_behind(seen, fault)
        if fault.hold_after is not None:
            writer.write(head + body[: fault.hold_after])
            await reader.read(-1)
            return False
        return await _send(writer, head, body, fault)

    async def _whole(self, seen: Seen, reader: asyncio.StreamReader) -> Seen:
        length = int(seen.header("content-length") or 0)
        whole = Seen(seen.head, await reader.readexactly(length)) if length else seen
        if self.keeps_bodies:
            place = next(place for place in reversed(range(len(self.seen))) if self.seen[place] is seen)
            self.seen[place] = whole
        return whole

    async def _from_behind(self, seen: Seen, fault: Fault) -> tuple[bytes, bytes]:
        sent = _flipped(seen.body) if fault.flip_request else seen.body
        if self._upstream is None:
            head, body = self._own_answer(_unranged(seen) if fault.ignore_range else seen, sent)
        else:
            asked = _unranged(seen).head if fault.ignore_range else seen.head
            if self.drop_conditions:
                asked = _without(asked, b"if-match")
            head, body = self.alter(seen, *await self._relayed(self._upstream, asked, sent))
        if fault.shift_range:
            head = re.sub(rb"(?i)(content-range: bytes )(\d+)", rb"\g<1>1\2", head)
        return head, _flipped(body) if fault.flip_answer else body

    def _own_answer(self, seen: Seen, sent: bytes) -> tuple[bytes, bytes]:
        name = seen.target.partition("?")[0]
        if seen.method == "PUT":
            self.objects[name] = sent
            sums = [pair for pair in seen.headers if self.repeats_checksums and pair[0].startswith("x-amz-checksum-")]
            return _message(200, {"ETag": f'"{_md5(sent)}"', **dict(sums), **self._answer_headers}, b"")
        if name not in self.objects:
            return _message(404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
        body = self.objects[name]
        etag = f'"{_md5(body)}"'
        if seen.header("if-none-match") == etag:
            return _message(304, {"ETag": etag}, b"")
        headers = {"ETag": self.etags.get(name, etag), **self._answer_headers}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.header("range") or "")
        if not self.gives_ranges or asked is None:
            return _message(200, headers, body)
        if not self.drop_conditions and seen.header("if-match") not in {None, headers["ETag"]}:
            return _message(412, {}, b"<Error><Code>PreconditionFailed</Code></Error>")
        start, stop = int(asked[1]), min(int(asked[2] or len(body)) + 1, len(body))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        return _message(206, headers, body[start:stop])

    async def _relayed(self, upstream: str, asked: bytes, sent: bytes) -> tuple[bytes, bytes]:
        parts = urlsplit(upstream)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(asked[:-2] + b"Connection: close\r\n\r\n" + sent)
            answer = await reader.read(-1)
        finally:
            writer.transport.abort()  # closed, it would first send what is left
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join(lines) + b"\r\n\r\n", body


async def _send(writer: asyncio.StreamWriter, head: bytes, body: bytes, fault: Fault) -> bool:
    if fault.reset_after is not None:
        writer.write((head + body)[: fault.reset_after])
        await writer.drain()
        await asyncio.sleep(0.05)  # what was sent must have been read: a reset discards the rest
        return _reset(writer)
    if fault.cut_after is not None:
        writer.write(head + body[: fault.cut_after])
        await writer.drain()
        return False
    if fault.no_length:
        head = re.sub(rb"(?i)content-length:[^\r]*\r\n", b"", head)
    if fault.split:
        writer.write(head + body[: len(body) // 2])
        await asyncio.sleep(0.05)
        writer.write(body[len(body) // 2 :])
    elif fault.rate is not None:
        await _send_slowly(writer, head, body, fault.rate)
    else:
        writer.write(head + body)
    await writer.drain()
    return not (fault.early or fault.no_length)


async def _send_slowly(writer: asyncio.StreamWriter, head: bytes, body: bytes, rate: int) -> None:
    """As a link does whose single connection is the limit."""
    writer.write(head)
    begun, sent = time.monotonic(), 0
    while sent < len(body):
        due = min(len(body), int((time.monotonic() - begun) * rate) + 1)
        writer.write(body[sent:due])
        sent = due
        await writer.drain()
        await asyncio.sleep(0.01)


def _message(status: int, headers: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Fault'}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if status not in {204, 304} and "Content-Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode(), body


@lru_cache(maxsize=4)
def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def _without(head: bytes, names: bytes) -> bytes:
    return re.sub(rb"(?i)\r\n(" + names + rb"):[^\r]*", b"", head)


def _unranged(seen: Seen) -> Seen:
    return Seen(_without(seen.head, b"range|if-match"), seen.body)


def _flipped(body: bytes) -> bytes:
    if not body:
        return body
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def _reset(writer: asyncio.StreamWriter) -> bool:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
