"""The process of a wire: `python -m tests.servers.wire_server PORT CONTROL_PORT WIRE [UPSTREAM]`.

It is lean, for it has to carry 10,000 requests and a gigabyte a second beside the client that is measured: answers are
made of prepared bytes, received bodies are read into one buffer and forgotten, and no task exists.
"""

import asyncio
import gc
import json
import socket
import sys
from dataclasses import asdict
from functools import partial
from typing import cast

import uvloop

from bulkpresign.demo.daemon import HOST
from tests.servers.wire import Wire, wire_of
from tests.servers.wire_http import Connection
from tests.servers.wire_relay import Relay
from tests.servers.wire_state import State

_BACKLOG = 4096


class Control(asyncio.Protocol):
    """The second port: counts are asked for, and the wire is changed, without a trace in the counts."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._said = b""

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)  # uvloop's are no subclass
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._said += data
        head, found, body = self._said.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if found and len(body) >= int(length.split(b"\r\n")[0] or 0):
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/change":
            self._state.change(wire_of(json.loads(body)))
        elif path == b"/reset":
            self._state.reset()
        said = json.dumps(asdict(self._state.counts())).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said))
        self._transport.close()


def listening(port: int, wire: Wire) -> socket.socket:
    """A socket whose connections don't take much more of an upload than the wire has carried."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if wire.connection_rate or wire.total_rate:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
    listener.bind((HOST, port))
    listener.listen(_BACKLOG)
    return listener


async def serve(port: int, control_port: int, wire: Wire, upstream: str | None) -> None:
    loop = asyncio.get_running_loop()
    state = State(wire, loop)
    factory = partial(Relay, state, upstream) if upstream else partial(Connection, state)
    serving = await loop.create_server(factory, sock=listening(port, wire), backlog=_BACKLOG)
    await loop.create_server(partial(Control, state), HOST, control_port)
    await serving.serve_forever()


def main() -> None:
    port, control_port, wire, *upstream = sys.argv[1:]
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # hardly ever: it would be a pause in every answer
    uvloop.run(serve(int(port), int(control_port), wire_of(json.loads(wire)), upstream[0] if upstream else None))


if __name__ == "__main__":
    main()
