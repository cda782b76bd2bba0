"""A connection of our own against servers that say what no library would send."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import RefusedError, TransferError
from bulkpresign.http import pool
from bulkpresign.http.client import HttpClient
from bulkpresign.http.connection import Chunk
from bulkpresign.model import Link
from tests.http.talking import CHUNKED, INTERIM, OLD, PLAIN, UNTIL_END, asked, body_of, saying, talk


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(
    ("message", "length", "opened"),
    [(PLAIN, 11, 1), (CHUNKED, None, 1), (INTERIM, 11, 1), (UNTIL_END, None, 2), (OLD, None, 2)],
    ids=["length", "chunked", "interim", "until the end", "1.0"],
)
@given(cuts=st.lists(st.integers(0, 140), max_size=5))
def test_an_answer_comes_whole_in_whatever_pieces(
    message: bytes, length: int | None, opened: int, cuts: list[int]
) -> None:
    at = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    pieces = [message[begin:end] for begin, end in pairwise(at)]
    assert asked(saying(*pieces, closes=opened > 1)) == ([(200, b"hello world", length)] * 2, opened)


def test_answers_without_a_body() -> None:
    assert asked(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) == ([(204, b"", None)] * 2, 1)
    assert asked(saying(b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\n\r\n')) == ([(304, b"", None)] * 2, 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    assert asked(saying(head), method="HEAD") == ([(200, b"", 7)] * 2, 1)
    missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    assert asked(saying(missing), method="HEAD") == ([(404, b"", 0)] * 2, 1)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n", b"Content-Length: 4\r\n", b"Content-Length: 9\r\n"])
def test_a_body_behind_the_head_that_was_asked_for_serves_no_second_request(length: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + length + b"\r\n"
    told = int(length.split()[1]) if length else None
    for more in (b"evil", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"):
        assert asked(saying(head + more), method="HEAD") == ([(200, b"", told)] * 2, 2)


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (PLAIN[:-1], "Truncated"),
        (CHUNKED[:-30], "Truncated"),
        (PLAIN[:40], "Disconnected"),
        (b"", "Disconnected"),
        (b"SSH-2.0-x\r\n\r\n", "NotHTTP"),
        (PLAIN.replace(b"11", b"x"), "NotHTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "NotHTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "NotHTTP"),
    ],
)
def test_what_is_no_whole_answer_is_told(message: bytes, code: str) -> None:
    with pytest.raises(TransferError) as caught:
        asked(saying(message, closes=True), times=1)
    assert caught.value.code == code
    assert caught.value.retry == "same_link"


def test_more_than_was_announced_serves_no_second_request() -> None:
    """Those bytes would be taken for the next answer."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    assert asked(saying(PLAIN + evil)) == ([(200, b"hello world", 11)] * 2, 2)
    assert asked(saying(PLAIN + b" and more")) == ([(200, b"hello world", 11)] * 2, 2)
    assert asked(saying(PLAIN[:-4], b"orld and more")) == ([(200, b"hello world", 11)] * 2, 2)


@pytest.mark.usefixtures("transport")
def test_an_answer_that_was_not_read_to_its_end_ends_its_connection() -> None:
    async def use(http: HttpClient, url: str) -> None:
        for _ in range(2):
            async with http.request(Link("GET", url, {})) as response:
                assert await response.stream_to(lambda chunk: bytes(chunk) == b"hello")

    serve = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")
    assert asyncio.run(talk(serve, use)) == 2


@pytest.mark.usefixtures("transport")
def test_what_came_and_was_not_read_is_not_the_next_ones() -> None:
    """As where a status says all there is to know, and the message came with it."""

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(3):
            async with http.request(Link("GET", url, {})):
                await asyncio.sleep(0.02)
            async with http.request(Link("GET", url, {})) as response:
                assert await body_of(response) == b"hello world"

    asyncio.run(talk(saying(PLAIN), use))


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("announced", [b"Content-Length: 100000000", b"Connection: close"])
def test_no_more_of_a_body_is_held_than_a_few_reads(announced: bytes) -> None:
    """A reader that is slow slows the server down."""
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + announced + b"\r\n\r\n")
        for _ in range(1000):
            writer.write(bytes(100_000))
            await writer.drain()
            written += 100_000

    async def use(http: HttpClient, url: str) -> None:
        async with http.request(Link("GET", url, {})) as response:
            await asyncio.sleep(0.5)
            assert written < 20_000_000  # what kernels buffer between us
            assert len(await body_of(response)) == 100_000_000

    asyncio.run(talk(serve, use))


@pytest.mark.usefixtures("transport")
def test_a_body_that_is_refused_early_is_not_sent_to_its_end() -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield bytes(100_000)
            await asyncio.sleep(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.read(-1)

    async def use(http: HttpClient, url: str) -> None:
        async with http.request(Link("PUT", url, {"Content-Length": "100000000"}), body=body()) as response:
            assert (response.status, await body_of(response)) == (403, b"no")

    asyncio.run(talk(serve, use))
    assert sent < 1000


def test_what_is_said_unasked_ends_the_connection() -> None:
    ended = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read(-1)
        ended.release()

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(2):
            async with http.request(Link("GET", url, {})) as response:
                assert (response.status, await body_of(response)) == (200, b"hello world")
            await asyncio.wait_for(ended.acquire(), 10)

    assert asyncio.run(talk(serve, use)) == 2


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("name", ["a\r\nb", "a b", ""])
def test_a_header_that_would_end_its_line_is_refused(name: str) -> None:
    for headers in ({name: "v"}, {"x": "v\r\nInjected: 1"}):
        with pytest.raises(RefusedError, match="can't be sent"):
            asyncio.run(_request("http://127.0.0.1:1/a", headers))


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(
    "url",
    [
        "http://h/a b",
        "http://h/a\r\nInjected: 1",
        "ftp://h/a",
        "/a",
        "http:///a",
        "http://h:x/",
        "http://h:0/",
        "http://a..b/",
        "http://.example/",
        f"http://{'a' * 64}.example/",
    ],
)
def test_a_url_that_would_end_its_line_or_is_none_is_refused(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        asyncio.run(_request(url, {}))
    assert caught.value.code == "InvalidUrl"


async def _request(url: str, headers: dict[str, str]) -> None:
    async with HttpClient(1) as http, http.request(Link("GET", url, headers)):
        pass


@pytest.mark.usefixtures("transport")
def test_a_connection_that_was_kept_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE", 0.05)
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 1.0)

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(2):
            async with http.request(Link("GET", url, {})) as response:
                await body_of(response)
            await asyncio.sleep(0.2)

    assert asyncio.run(talk(saying(PLAIN), use)) == 2


@pytest.mark.usefixtures("transport")
def test_a_connection_whose_body_was_refused_early_is_not_used_again() -> None:
    """The server would take the next request for what is left of the body."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(100)
            await asyncio.sleep(0.01)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.readuntil(b"GET ")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)

    async def refused_then_asked(http: HttpClient, url: str) -> None:
        async with http.request(Link("PUT", url, {"Content-Length": "1000"}), body=body()) as response:
            assert (response.status, await body_of(response)) == (403, b"no")
        async with http.request(Link("GET", url, {})) as response:
            assert response.status == 403  # of a new connection, by this server

    assert asyncio.run(talk(serve, refused_then_asked)) == 2


@pytest.mark.usefixtures("transport")
def test_more_than_was_announced_in_a_later_read_serves_no_second_request() -> None:
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            heard.clear()
            writer.write(PLAIN[:-4])
            await heard.wait()
            writer.write(b"orld and more")

    async def use(http: HttpClient, url: str) -> None:
        for _ in range(2):
            body = bytearray()

            def take(chunk: Chunk, body: bytearray = body) -> None:
                body.extend(chunk)
                heard.set()

            async with http.request(Link("GET", url, {})) as response:
                await response.stream_to(take)
            assert body == b"hello world"

    assert asyncio.run(talk(serve, use)) == 2


@pytest.mark.usefixtures("transport")
def test_a_request_that_is_cut_off_before_its_answer_closes_its_connection() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.release()
        try:
            await reader.read(-1)
        finally:
            ended.set()

    async def use(http: HttpClient, url: str) -> None:
        async def ask() -> None:
            async with http.request(Link("GET", url, {})):
                raise AssertionError("no answer was sent")

        task = asyncio.ensure_future(ask())
        await heard.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(ended.wait(), 10)  # while the client still lives

    heard = asyncio.Semaphore(0)
    assert asyncio.run(talk(serve, use)) == 1
