"""Which transport sends a request: our own, or aiohttp."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import bulkpresign as bp
from bulkpresign.errors import ConnectionFailedError, ParameterError
from bulkpresign.http import aiohttp_transport
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link
from tests.servers.proxy import FaultProxy
from tests.support.cli import run

NO_HOST = "http://s3.example.invalid/a?X-Amz-Signature=secret"


@pytest.fixture(autouse=True)
def _default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BULKPRESIGN_TRANSPORT", raising=False)


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects["/a"] = b"x"
        yield proxy


@pytest.fixture
def sent_by_aiohttp(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The proxy of each request that aiohttp sends, None for one that goes straight to its server."""
    sent: list[str | None] = []
    request = aiohttp_transport.AiohttpTransport.request

    def spy(self: Any, link: Any, headers: Any, body: Any, proxy: str | None, on_response: Any = None) -> object:
        sent.append(proxy)
        return request(self, link, headers, body, proxy, on_response)

    monkeypatch.setattr(aiohttp_transport.AiohttpTransport, "request", spy)
    return sent


def ask(url: str, transport: str) -> tuple[int, bytes]:
    async def main() -> tuple[int, bytes]:
        async with HttpClient(1, transport=transport) as http, http.request(Link("GET", url, {})) as response:  # type: ignore[arg-type]
            return response.status, await response.read()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("transport", "variable", "is_proxied", "sent"),
    [
        ("auto", None, False, 0),
        ("lean", None, False, 0),
        ("aiohttp", None, False, 1),
        ("auto", None, True, 1),
        ("aiohttp", None, True, 1),
        ("auto", "aiohttp", False, 1),
        ("auto", "lean", False, 0),
        ("lean", "aiohttp", False, 0),
    ],
)
def test_who_sends(
    transport: str,
    variable: str | None,
    is_proxied: bool,
    sent: int,
    origin: FaultProxy,
    sent_by_aiohttp: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv("BULKPRESIGN_TRANSPORT", variable)
    if is_proxied:
        monkeypatch.setenv("http_proxy", origin.url)
        monkeypatch.setenv("no_proxy", "")
    assert ask(f"{origin.url}/a", transport) == (200, b"x")
    assert sent_by_aiohttp == [origin.url if is_proxied else None] * sent


def test_lean_names_the_variable_where_a_proxy_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(ParameterError) as caught:
        ask(NO_HOST, "lean")
    assert str(caught.value) == (
        "http://s3.example.invalid needs the proxy that http_proxy names, and the transport lean uses none: "
        "use the transport auto or aiohttp, or name the host in no_proxy"
    )


def test_lean_goes_past_a_proxy_where_no_proxy_says_so(origin: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ask(f"{origin.url}/a", "lean") == (200, b"x")


def test_a_transport_that_is_not_one(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "transport 'curl' is not one of auto, lean, aiohttp"
    with pytest.raises(ParameterError, match=message):
        HttpClient(1, transport="curl")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=message):
        bp.TransferConfig(transport="curl")  # type: ignore[arg-type]
    monkeypatch.setenv("BULKPRESIGN_TRANSPORT", "curl")
    with pytest.raises(ParameterError, match=f"BULKPRESIGN_TRANSPORT: {message}"):
        HttpClient(1)


def test_a_client_that_is_cancelled_while_it_closes_leaves_no_session_open(origin: FaultProxy) -> None:
    said: list[str] = []

    async def use() -> None:
        async with HttpClient(1, transport="aiohttp") as http:
            async with http.request(Link("GET", f"{origin.url}/a", {})) as response:
                await response.read()
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(use())
        gc.collect()  # a session that was left open warns when it is deleted

    asyncio.run(main())
    assert said == []


@pytest.mark.parametrize("how", ["config", "keyword"])
def test_a_transfer_takes_it(how: str, origin: FaultProxy, sent_by_aiohttp: list[str | None], tmp_path: Path) -> None:
    url = f"{origin.url}/a"
    if how == "config":
        report = asyncio.run(bp.get(url, tmp_path / "to", config=bp.TransferConfig(transport="aiohttp")))
    else:
        report = asyncio.run(bp.get(url, tmp_path / "to", transport="aiohttp"))
    assert (report.done, sent_by_aiohttp) == (1, [None])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"y")
    put = Link("PUT", url, {}, object=bp.ObjectRef("b", "a"))
    report = asyncio.run(bp.put([put], tmp_path / "in", transport="aiohttp"))
    assert (report.done, sent_by_aiohttp, origin.seen[-1].body) == (1, [None, None], b"y")


def test_the_renewal_goes_by_it_as_well(origin: FaultProxy, sent_by_aiohttp: list[str | None], tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"url,path,expires_at\n{origin.url}/old,a,2020-01-01T00:00:00Z\n")
    config = bp.TransferConfig(transport="aiohttp", attempts=1)
    asyncio.run(bp.get(tmp_path / "l.csv", tmp_path / "to", config=config, renew_url=f"{origin.url}/renew"))
    assert origin.seen[0].target == "/renew"
    assert set(sent_by_aiohttp) == {None}
    assert len(sent_by_aiohttp) == origin.count


@pytest.mark.parametrize(
    "command",
    [
        ("get", "l.csv", "--to", "to"),
        ("put", "l.csv", "--from", "to"),
        ("put", "to", "s3://b/p/"),
        ("abort", "l.csv"),
    ],
)
def test_every_verb_that_sends_has_the_option(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, "--transport", "curl", folder=tmp_path)
    assert done.returncode == 2
    assert "transport 'curl' is not one of auto, lean, aiohttp" in done.stderr or "'curl' is not one of" in done.stderr


def test_the_command_line_says_what_lean_lacks(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"url,path\n{NO_HOST},a\n")
    env = {"http_proxy": "http://me:secret@127.0.0.1:1", "no_proxy": ""}
    done = run("get", "l.csv", "--to", "to", "--transport", "lean", folder=tmp_path, env=env)
    assert done.returncode == 2
    assert "needs the proxy that http_proxy names" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("transport", ["lean", "aiohttp"])
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            "the server does not speak TLS; is its url http://?",
        ),
        (b"", "the server closed the connection before TLS began; is its url http://?"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "no TLS: .*handshake failure"),
    ],
)
def test_a_handshake_that_fails_is_named_as_such(
    transport: Literal["lean", "aiohttp"], reply: bytes, words: str
) -> None:
    """The number of an error of TLS is no errno: read as one, it is 'Operation not permitted'."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with (
            await asyncio.start_server(answer, "127.0.0.1", 0) as server,
            HttpClient(1, transport=transport) as http,
        ):
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
            with pytest.raises(ConnectionFailedError, match=f"^no connection to 127.0.0.1:[0-9]+: {words}"):
                async with http.request(Link("GET", url, {})):
                    pass

    asyncio.run(main())
