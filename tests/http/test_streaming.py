"""A body on its way to whoever takes it: what he holds stays his, what he raises is raised, and he is asked no more."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from bulkpresign.errors import StorageError
from bulkpresign.http.client import HttpClient
from bulkpresign.http.connection import BodyCallback, Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import Link
from tests.http.talking import CHUNKED, PLAIN, UNTIL_END, body_of, saying, talk
from tests.servers.proxy import FaultProxy
from tests.transfer.running import Runner

LARGE = 5_000_000


@pytest.fixture
def origin(plain_or_tls: FaultProxy) -> FaultProxy:
    plain_or_tls.objects |= {f"/{n}": bytes([n]) * LARGE for n in range(4)}
    return plain_or_tls


async def slowly(response: Response) -> bytes:
    """The body by someone who has enough with each chunk, and looks at it a while later."""
    body = bytearray()
    held: Chunk = b""

    def take(chunk: Chunk) -> bool:
        nonlocal held
        held = chunk
        return True

    while await response.stream_to(take):
        await asyncio.sleep(0.001)
        body += held
    return bytes(body)


def test_a_chunk_is_there_until_the_next_though_others_read_meanwhile(run: Runner, origin: FaultProxy) -> None:
    bodies: dict[int, bytes] = {}

    async def fetch(http: HttpClient, number: int) -> None:
        async with http.request(Link("GET", f"{origin.url}/{number}", {})) as response:
            bodies[number] = await (slowly(response) if number % 2 else body_of(response))

    async def main() -> None:
        async with HttpClient(4) as http, anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(fetch, http, number)

    run(main())
    assert bodies == {number: bytes([number]) * LARGE for number in range(4)}


@pytest.mark.parametrize("message", [PLAIN, CHUNKED, UNTIL_END], ids=["length", "chunked", "until the end"])
@pytest.mark.parametrize("cut", [0, 45, 70, 80])
def test_someone_slow_gets_all_of_it_in_whatever_pieces(message: bytes, cut: int) -> None:
    async def use(http: HttpClient, url: str) -> None:
        for _ in range(2):
            async with http.request(Link("GET", url, {})) as response:
                assert await slowly(response) == b"hello world"

    asyncio.run(talk(saying(message[:cut], message[cut:], closes=message is UNTIL_END), use))


@pytest.mark.parametrize(
    ("first", "second"),
    [(PLAIN[:-5], PLAIN[-5:-1]), (CHUNKED[:-30], CHUNKED[-30:-10])],
    ids=["length", "chunked"],
)
def test_what_the_taker_raises_is_raised_and_the_rest_is_not_waited_for(first: bytes, second: bytes) -> None:
    heard = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        await heard.acquire()
        writer.write(second)
        await reader.read()

    def full(chunk: Chunk) -> None:
        heard.release()
        if b"w" in bytes(chunk):
            raise StorageError("no room", code="DiskFull")

    assert asyncio.run(talk(serve, pouring_in_vain(full))) == 2


def test_what_the_taker_raises_of_a_body_that_is_here_is_raised() -> None:
    def full(_: Chunk) -> None:
        raise StorageError("no room", code="DiskFull")

    assert asyncio.run(talk(saying(PLAIN), pouring_in_vain(full))) == 1


def pouring_in_vain(full: BodyCallback) -> Callable[[HttpClient, str], Awaitable[None]]:
    """Two requests, one after another, by someone who has no room for the bodies."""

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(2):
            with pytest.raises(StorageError, match="no room"):
                async with http.request(Link("GET", url, {})) as response:
                    await response.stream_to(full)

    return use


def test_having_enough_with_the_last_byte_leaves_a_connection_for_the_next(run: Runner) -> None:
    size = 300_000

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(3):
            left = size

            def take(chunk: Chunk) -> bool:
                nonlocal left
                left -= len(chunk)
                return not left

            async with http.request(Link("GET", url, {})) as response:
                assert await response.stream_to(take)

    message = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    assert run(talk(saying(message, bytes(size)), use)) == 1


def test_nobody_is_asked_once_he_was_cut_off(run: Runner, origin: FaultProxy) -> None:
    asked = 0

    async def main() -> None:
        def take(_: Chunk) -> None:
            nonlocal asked
            asked += 1
            scope.cancel()

        async with HttpClient(1) as http:
            with anyio.CancelScope() as scope:
                async with http.request(Link("GET", f"{origin.url}/1", {})) as response:
                    await response.stream_to(take)
            before = asked
            await asyncio.sleep(0.1)
            assert (scope.cancelled_caught, asked) == (True, before)

    run(main())
