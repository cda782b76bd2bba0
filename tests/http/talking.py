"""A server that sends given bytes, and requests to it."""

import asyncio
from collections.abc import Awaitable, Callable

from bulkpresign.http.client import HttpClient
from bulkpresign.http.response import Response
from bulkpresign.model import Link

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
#: Status, body, announced length.
Said = tuple[int, bytes, int | None]

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
)
PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nETag: "e"\r\n\r\nhello world'
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
UNTIL_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world"
OLD = b"HTTP/1.0 200 OK\r\n\r\nhello world"


def saying(*pieces: bytes, closes: bool = False, pause: float = 0) -> Serve:
    """A server that answers each request with these bytes, a piece at a time, `pause` seconds apart."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if closes:
                return

    return serve


async def talk(serve: Serve, use: Callable[[HttpClient, str], Awaitable[None]]) -> int:
    """Runs `use` with a client and the url of a server; the number of connections that the client made."""
    opened = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, HttpClient(1) as http:
        await use(http, f"http://127.0.0.1:{port}/a")
    return opened


async def body_of(response: Response) -> bytes:
    body = bytearray()
    assert not await response.stream_to(body.extend)
    return bytes(body)


def asked(serve: Serve, times: int = 2, method: str = "GET") -> tuple[list[Said], int]:
    """The responses to some requests, one after another, and the number of connections they took."""
    said: list[Said] = []

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(times):
            async with http.request(Link(method, url, {})) as response:
                said.append((response.status, await body_of(response), response.length))

    opened = asyncio.run(talk(serve, use))
    return said, opened
