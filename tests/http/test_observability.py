"""Counts, reprs and the debug log of connections, pool and client. None of them has a secret."""

import asyncio
import logging

import pytest

from bulkpresign.errors import TransferError
from bulkpresign.http import pool
from bulkpresign.http.client import HttpClient
from bulkpresign.http.pool import ConnectionCounts
from bulkpresign.model import Link
from tests.http.talking import PLAIN, UNTIL_END, body_of, saying, talk

SECRET = "0123456789abcdef" * 4
QUERY = f"?X-Amz-Credential=AKIA%2Fx&X-Amz-Signature={SECRET}"
LOGGER = "bulkpresign.http"


async def fetch(http: HttpClient, url: str) -> bytes:
    headers = {"x-amz-security-token": SECRET}
    async with http.request(Link("GET", f"{url}{QUERY}", headers)) as response:
        assert SECRET not in repr(response)
        assert repr(response) == f"<Response 200, 11 bytes, GET {url}>"
        return await body_of(response)


def test_statistics_count_connections_by_origin() -> None:
    seen = []

    async def use(http: HttpClient, url: str) -> None:
        other = url.replace("127.0.0.1", "localhost")
        seen.append(http.statistics())
        async with http.request(Link("GET", url, {})), http.request(Link("GET", url, {})) as second:
            seen.append(http.statistics())
            await body_of(second)
        seen.append(http.statistics())  # the first was not read, so its connection is closed
        for _ in range(3):
            await fetch(http, url)
        await fetch(http, other)
        seen.append(http.statistics())
        assert set(seen[-1].origins) == {url.removesuffix("/a"), other.removesuffix("/a")}
        assert seen[-1].origins[other.removesuffix("/a")] == ConnectionCounts(1, 1, 0, 1, 0)

    asyncio.run(talk(saying(PLAIN), use))
    assert [each.total for each in seen] == [
        ConnectionCounts(),
        ConnectionCounts(open=2, idle=0, in_use=2, opened=2, reused=0),
        ConnectionCounts(open=1, idle=1, in_use=0, opened=2, reused=0),
        ConnectionCounts(open=2, idle=2, in_use=0, opened=3, reused=3),
    ]


def test_statistics_leave_out_what_the_server_closed() -> None:
    async def use(http: HttpClient, url: str) -> None:
        async with http.request(Link("GET", url, {})) as response:
            await body_of(response)
        assert http.statistics().total == ConnectionCounts(opened=1)

    asyncio.run(talk(saying(UNTIL_END, closes=True), use))


def test_reprs_have_no_secret() -> None:
    shown = []

    async def use(http: HttpClient, url: str) -> None:
        named = url.replace("http://", f"http://me:{SECRET}@")
        async with http.request(Link("GET", f"{named}{QUERY}", {})) as response:
            await response.read()
            connections = http._pool._origins
            shown.extend([repr(http), repr(http._pool), *map(repr, connections), repr(response)])
            for each in connections.values():
                shown.extend(map(repr, each.open))

    asyncio.run(talk(saying(PLAIN), use))
    origin = shown[2].removeprefix("<Origin ").removesuffix(">")
    assert shown == [
        "<HttpClient auto, 1 origins>",
        "<ConnectionPool 1 open, 0 idle, 1 origins>",
        f"<Origin {origin}>",
        f"<Response 200, 11 bytes, GET {origin}/a>",
        f"<Connection {origin} DONE, 1 requests>",
    ]
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize("transport", ["lean", "aiohttp"])
def test_requests_are_logged_without_their_query(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    async def use(other: HttpClient, url: str) -> None:
        async with HttpClient(1, transport=transport) as http:  # type: ignore[arg-type]
            for _ in range(2):
                await fetch(http, url)

    with caplog.at_level(logging.DEBUG, LOGGER):
        asyncio.run(talk(saying(PLAIN), use))
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    requests = [text.partition("/a: ")[2].split(" ms")[0].rstrip("0123456789.") for text in said if "/a: " in text]
    assert requests == ["request", "status 200 after ", "ended after "] * 2
    connections = [text.rpartition(": connection ")[2] for text in said if ": connection " in text]
    closed = "closed after 2 requests: the client ends"
    assert connections == (["opened (1 open)", "reused", closed] if transport == "lean" else [])
    assert SECRET not in caplog.text
    assert "X-Amz" not in caplog.text


def test_a_request_that_fails_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def use(http: HttpClient, url: str) -> None:
        with pytest.raises(TransferError):
            await fetch(http, url)

    with caplog.at_level(logging.DEBUG, LOGGER):
        asyncio.run(talk(saying(b"SSH-2.0-x\r\n\r\n"), use))
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert any("ConnectionFailedError: not a valid HTTP response" in text for text in said)
    assert any("connection closed after 1 requests: it can't be reused" in text for text in said)
    assert SECRET not in caplog.text


def test_the_log_says_why_a_connection_was_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE", 0.05)
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 1.0)

    async def use(http: HttpClient, url: str) -> None:
        await fetch(http, url)
        for _ in range(500):
            if not http.statistics().total.open:
                return
            await asyncio.sleep(0.01)

    with caplog.at_level(logging.DEBUG, LOGGER):
        asyncio.run(talk(saying(PLAIN), use))
    assert "connection closed after 1 requests: idle for 0 s" in caplog.text


def test_nothing_is_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    async def use(http: HttpClient, url: str) -> None:
        await fetch(http, url)

    asyncio.run(talk(saying(PLAIN), use))
    assert not [record for record in caplog.records if record.name == LOGGER]
