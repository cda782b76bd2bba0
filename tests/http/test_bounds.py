"""Answers without end: each part of an answer that is no body has a bound in bytes, in number and in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bulkpresign.errors import StorageError, TransferError
from bulkpresign.http import pool, protocol
from bulkpresign.http import response as responses
from bulkpresign.http.client import HttpClient
from bulkpresign.http.connection import Chunk
from bulkpresign.model import Link
from tests.http.talking import Serve, asked, body_of, saying, talk
from tests.transfer.running import get

OK = b"HTTP/1.1 200 OK\r\n"
MOST_WRITTEN = 64 << 20  # kernels hold a few MB of what nobody reads


class Endless:
    """A server that answers with `begin` and then `again` for ever; `written` counts what it got rid of."""

    def __init__(self, begin: bytes, again: bytes, pause: float = 0.0) -> None:
        self._begin, self._again, self._pause = begin, again, pause
        self.written = 0
        self.has_ended = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._begin)
        try:
            while self.written < MOST_WRITTEN:
                writer.write(self._again)
                await writer.drain()
                self.written += len(self._again)
                await asyncio.sleep(self._pause)
        finally:
            self.has_ended = self.written < MOST_WRITTEN


def error_of(serve: Serve) -> TransferError:
    with pytest.raises(TransferError) as caught:
        asked(serve, times=1)
    return caught.value


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (OK, b"X-A: " + b"b" * 1000 + b"\r\n"),
        (OK, b"X-A: b\r\n" * 100),
        (OK + b"X-A: ", b"b" * 10_000),
        (OK, b"b" * 10_000),
        (b"HTTP/1.1 200 ", b"b" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-A: " + b"b" * 1000 + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-A: b\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-A: ", b"b" * 10_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1;", b"b" * 10_000),
    ],
    ids=[
        *("headers", "small headers", "a value", "a name", "a reason", "interim", "interim with headers"),
        *("trailers", "small trailers", "a trailer", "a chunk's extension"),
    ],
)
def test_what_has_no_end_is_ended(begin: bytes, again: bytes) -> None:
    serve = Endless(begin, again)
    error = error_of(serve)
    assert (error.code, error.retry) == ("NotHTTP", "same_link")
    assert serve.has_ended


@pytest.mark.parametrize(
    ("head", "fits"),
    [
        (b"X-A: b\r\n" * 99, True),
        (b"X-A: b\r\n" * 100, False),
        (b"X-A: " + b"b" * 60_000 + b"\r\n", True),
        (b"X-A: " + b"b" * 65_536 + b"\r\n", False),
    ],
)
def test_the_bounds_of_a_head_that_has_an_end(head: bytes, fits: bool) -> None:
    """However it comes: in one read, with its body, or byte by byte."""
    message = OK + b"Content-Length: 5\r\n" + head + b"\r\nhello"
    for serve in (saying(message), saying(message[:40], message[40:-1], message[-1:])):
        if fits:
            assert asked(serve, times=2) == ([(200, b"hello", 5)] * 2, 1)
        else:
            assert error_of(serve).code == "NotHTTP"


def test_a_few_interim_answers_are_passed_over() -> None:
    message = b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" * 10 + OK + b"Content-Length: 5\r\n\r\nhello"
    assert asked(saying(message), times=2) == ([(200, b"hello", 5)] * 2, 1)


@pytest.mark.parametrize(
    "begin",
    [OK, b"", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"],
    ids=["headers", "the first line", "trailers"],
)
def test_a_head_that_comes_a_byte_at_a_time_has_a_time(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence would never be long enough to end it."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.3)
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 3.0)  # and twenty looks a second
    serve = Endless(begin or b"HTTP/1.1 200 ", b"a", pause=0.02)
    error = error_of(serve)
    assert (error.code, str(error)) == ("Timeout", "the response's headers did not end within 0.3 s")
    assert serve.has_ended


def test_the_time_of_a_head_does_not_run_while_a_body_goes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may say 100 before it reads a body that takes long."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", 0.1)
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 3.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(5)
        await asyncio.sleep(0.5)
        writer.write(OK + b"Content-Length: 2\r\n\r\nok")

    async def body() -> AsyncIterator[bytes]:
        yield b"he"
        await asyncio.sleep(0.5)
        yield b"llo"

    async def use(http: HttpClient, url: str) -> None:
        async with http.request(Link("PUT", url, {"Content-Length": "5"}), body=body()) as response:
            assert (response.status, await body_of(response)) == (200, b"ok")

    asyncio.run(talk(serve, use))


@pytest.fixture(params=["direct", "proxied"])
def proxied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`proxied(url)`: that is where requests go, for the clients that use a proxy."""

    def use(url: str) -> None:
        if request.param == "proxied":
            monkeypatch.setenv("http_proxy", url)
            monkeypatch.setenv("no_proxy", "")

    return use


def test_an_error_that_comes_a_byte_at_a_time_has_a_time(
    proxied: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status is known, and what came of the message as well."""
    monkeypatch.setattr(responses, "ERROR_TIMEOUT", 0.5)
    begin = b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n<Error><Code>NoSuchKey</Code>"
    serve = Endless(begin, b" ", pause=0.02)
    said: list[TransferError] = []

    async def use(http: HttpClient, url: str) -> None:
        proxied(url)
        async with HttpClient(1) as other, other.request(link := Link("GET", url, {})) as response:
            said.append(await response.error(link))

    assert asyncio.run(talk(serve, use)) == 1
    assert (said[0].code, said[0].status) == ("NoSuchKey", 404)
    assert serve.has_ended


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (OK, b"X-A: " + b"b" * 1000 + b"\r\n"),
        (OK + b"X-A: ", b"b" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    ],
    ids=["headers", "a value", "interim"],
)
def test_through_a_proxy_as_well(begin: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((protocol, "HEAD_TIMEOUT"), (pool, "IDLE_TIMEOUT"), (pool, "CONNECT_TIMEOUT")):
        monkeypatch.setattr(module, name, 0.5)
    serve = Endless(begin, again, pause=0.001)

    async def use(http: HttpClient, url: str) -> None:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "")
        async with HttpClient(1) as other:
            with pytest.raises(TransferError):
                async with other.request(Link("GET", url, {})):
                    pass

    asyncio.run(talk(serve, use))
    assert serve.has_ended


@pytest.mark.parametrize("begin", [OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"Connection: close\r\n\r\n"])
def test_a_body_whose_taker_raises_is_ended_at_once(begin: bytes, proxied: Callable[[str], None]) -> None:
    again = b"a\r\n0123456789\r\n" if b"chunked" in begin else b"0123456789"
    serve = Endless(begin, again * 1000)
    taken = 0

    def take(chunk: Chunk) -> None:
        nonlocal taken
        taken += len(chunk)
        raise StorageError("more than the object has", code="TooLong")

    async def use(http: HttpClient, url: str) -> None:
        proxied(url)
        async with HttpClient(1) as other:
            with pytest.raises(StorageError):
                async with other.request(Link("GET", url, {})) as response:
                    await response.stream_to(take)
            for _ in range(500):
                if serve.has_ended:
                    break
                await asyncio.sleep(0.01)
            assert serve.has_ended  # before the client is closed

    asyncio.run(talk(serve, use))
    assert taken <= 256 * 1024


@pytest.mark.parametrize("length", [b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 5000, b"+5", b"5,5", b"5 5", b"0x5", b"-1"])
def test_an_odd_length_ends_the_object_and_not_the_run(length: bytes, tmp_path: Path) -> None:
    outcomes = []

    def fetch(url: str) -> None:
        outcome, _ = get(url, tmp_path, attempts=1)
        outcomes.append(outcome)

    async def use(http: HttpClient, url: str) -> None:
        await asyncio.to_thread(fetch, url)

    asyncio.run(talk(saying(OK + b"Content-Length: " + length + b"\r\n\r\nhello", closes=True), use))
    assert [(outcome.status, outcome.code) for outcome in outcomes] == [
        ("failed", "Truncated" if length == b"9" * 18 else "NotHTTP")
    ]


@pytest.mark.parametrize("name", [b"ETag", b"Content-Range", b"x-amz-bucket-region", b"Last-Modified", b"Date"])
@pytest.mark.parametrize("value", [b'"\xff\xfe"', b"\xed\xa0\x80", b"caf\xc3\xa9", b"\xe9"])
def test_header_values_can_be_stored_and_shown(name: bytes, value: bytes, proxied: Callable[[str], None]) -> None:
    message = OK + b"Content-Length: 5\r\n" + name + b": " + value + b"\r\n\r\nhello"
    found: dict[str, str] = {}

    async def use(http: HttpClient, url: str) -> None:
        proxied(url)
        async with HttpClient(1) as other, other.request(Link("GET", url, {})) as response:
            found.update(response.headers)
            assert response.etag is None
            assert await body_of(response) == b"hello"

    asyncio.run(talk(saying(message), use))
    assert len(found) == 2
    for text in (*found, *found.values()):
        text.encode()  # what has lone surrogates, SQLite and UTF-8 refuse
