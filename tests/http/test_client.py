"""Each trap in which a link was seen to break: what goes over the wire, byte for byte."""

import asyncio
import gzip
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bulkpresign.errors import ParameterError, TransferError
from bulkpresign.http import pool
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link, ObjectRef
from tests.servers.proxy import Fault, FaultProxy
from tests.support.folders import files
from tests.transfer.running import Run, get, put

TARGETS = [
    "/b/a?X-Amz-Signature=abc%2Fdef%2fghi&X-Amz-Credential=A%2F20300101%2Fus-east-1%2Fs3%2Faws4_request",
    "/b/a+b%20c%2Bd?x=a+b%20c&y=%7E~&z=",
    "/b/%ED%95%9C%EA%B8%80%2F..%2Fx",
    "/b/a//b/./c/../d?q=/../",
    "/b/'\"!*();:@&=$,[]|^`{}<>?a='\"",
    "/b/%61%2e%C3%A9%c3%a9",
    "/b/\ud55c\uae00/\u00e9\U0001f600?k=\u00fc",
    "/b/a%00%0A%ff?%",
    "/?list-type=2",
    "/b/a?x-id=GetObject&&a==b&c",
]


@pytest.fixture(params=["lean", "aiohttp", "proxied"])
def origin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Reached by each transport, and as a forward proxy: all must send the same."""
    with FaultProxy() as proxy:
        if request.param == "proxied":
            monkeypatch.setenv("http_proxy", proxy.url)
            monkeypatch.setenv("no_proxy", "")
        else:
            monkeypatch.setenv("BULKPRESIGN_TRANSPORT", request.param)
        yield proxy


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("verb", ["get", "put"])
def test_the_url_goes_out_byte_for_byte(verb: str, target: str, origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"body")
    origin.always = Fault(status=200)
    (get if verb == "get" else put)(origin.url + target, tmp_path)
    assert origin.seen[0].line == f"{verb.upper()} {target} HTTP/1.1".encode()


@pytest.mark.parametrize("char", [" ", "\t", "\n", "\r\nX-Other: y", "\0", "\x1f", "\x7f"])
@pytest.mark.parametrize("verb", ["get", "put"])
def test_a_url_that_would_break_the_request_line_is_not_sent(
    verb: str, char: str, origin: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"body")
    outcome, _ = (get if verb == "get" else put)(f"{origin.url}/b{char}c?X-Amz-Signature=secret", tmp_path)
    assert (outcome.status, outcome.code, outcome.attempts) == ("failed", "InvalidUrl", 1)
    assert outcome.message == "the url has white space or control characters"
    assert origin.count == 0


def test_a_get_sends_four_headers(origin: FaultProxy, tmp_path: Path) -> None:
    origin.objects["/a"] = b"x"
    get(f"{origin.url}/a", tmp_path)
    headers = dict(origin.seen[0].headers)
    assert headers.pop("user-agent")
    assert headers == {"host": f"127.0.0.1:{origin.port}", "accept": "*/*", "accept-encoding": "identity"}


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_001])
def test_a_put_has_a_length_and_no_type(size: int, origin: FaultProxy, tmp_path: Path) -> None:
    body = os.urandom(size)
    (tmp_path / "a").write_bytes(body)
    outcome, run = put(f"{origin.url}/a", tmp_path)
    (seen,) = origin.seen
    assert seen.header("content-length") == str(size)
    assert seen.header("transfer-encoding") is None
    assert seen.header("content-type") is None
    assert seen.header("expect") is None
    assert seen.body == body
    assert (outcome.status, outcome.bytes, outcome.verified_by, outcome.attempts) == ("done", size, "md5", 1)
    assert run.bytes_moved == size


def test_signed_headers_go_out_as_they_are(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    signed = {"content-type": "image/png", "x-amz-meta-a": "b  c", "content-length": "3"}
    put(f"{origin.url}/a", tmp_path, headers=signed)
    assert {name: origin.seen[0].header(name) for name in signed} == signed


def test_a_signed_length_that_is_not_the_files_is_told_before_it_is_sent(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    outcome, _ = put(f"{origin.url}/a", tmp_path, headers={"content-length": "4"})
    assert outcome.message == "the link is signed for a length of 4, the file has 3 bytes"
    assert origin.count == 0


def test_cookies_are_neither_kept_nor_sent(origin: FaultProxy, tmp_path: Path) -> None:
    origin.faults.append(Fault(status=200, headers={"Set-Cookie": "a=b; Path=/"}))
    named = origin.url.replace("127.0.0.1", "localhost")  # a jar takes none from an address
    links = [Link("GET", f"{named}/{n}", {}, object=ObjectRef("b", f"{n}")) for n in range(2)]
    asyncio.run(Run().links("get", links, tmp_path, 1, concurrency=1))
    assert [seen.header("cookie") for seen in origin.seen] == [None, None]


def test_gzip_comes_back_as_it_is_stored(transport: str, tmp_path: Path) -> None:
    stored = gzip.compress(b"text" * 1000)
    with FaultProxy(answer_headers={"Content-Encoding": "gzip"}) as origin:
        origin.objects["/a"] = stored
        outcome, _ = get(f"{origin.url}/a", tmp_path)
    assert outcome.verified_by == "md5"
    assert files(tmp_path) == {"a": stored}


def test_netrc_is_not_asked(origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    get(f"{origin.url}/a", tmp_path / "to")
    assert origin.seen[0].header("authorization") is None


def test_the_environments_proxy_is_used(origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://s3.example.invalid/b/a%2Fb?X=%2B"
    monkeypatch.delenv("BULKPRESIGN_TRANSPORT", raising=False)
    monkeypatch.setenv("http_proxy", origin.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    outcome, _ = get(url, tmp_path)
    assert outcome.code == "NoSuchKey"
    assert origin.seen[0].target == url
    assert origin.seen[0].header("host") == "s3.example.invalid"


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "127.0.0.1:{port}", "*"])
def test_no_proxy_is_honoured(
    no_proxy: str, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.objects["/a"] = b"x"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", no_proxy.format(port=origin.port))
    outcome, _ = get(f"{origin.url}/a", tmp_path)
    assert outcome.status == "done"


def test_a_proxy_that_cannot_be_used_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://user:secret@127.0.0.1:1")
    with pytest.raises(ParameterError, match="http_proxy") as caught:
        get("http://127.0.0.1:1/a", tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("verb", ["get", "put"])
def test_no_redirect_is_followed(status: int, verb: str, origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"body")
    with FaultProxy() as other:
        origin.always = Fault(status=status, headers={"Location": f"{other.url}/a?X-Amz-Signature=1"})
        outcome, _ = (get if verb == "get" else put)(f"{origin.url}/a?X-Amz-Signature=1", tmp_path)
        assert other.count == 0
    assert (outcome.status, outcome.attempts, origin.count) == ("failed", 1, 1)
    assert outcome.message is not None
    assert str(status) in outcome.message


def test_one_connection_serves_many(origin: FaultProxy, tmp_path: Path) -> None:
    """Refused ones too: an error's body is read to its end."""
    origin.objects = {f"/{n}": b"x" for n in range(0, 20, 2)}
    links = [Link("GET", f"{origin.url}/{n}", {}, object=ObjectRef("b", f"{n}")) for n in range(20)]
    asyncio.run(Run().links("get", links, tmp_path, 1, concurrency=1))
    assert (origin.count, origin.opened) == (20, 1)


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://127.0.0.1:1/a", "NoConnection", "no connection to 127.0.0.1:1: Connection refused"),
        ("http://no-such-host.invalid/a", "NoSuchHost", "no such host: no-such-host.invalid"),
        ("http://[::1/a?X=secret", "InvalidUrl", "http://[::1/a is no url"),
        ("http://127.0.0.1:99999/a?X=secret", "InvalidUrl", "http://127.0.0.1:99999/a is no url"),
    ],
)
def test_what_cannot_be_reached(url: str, code: str, words: str, transport: str, tmp_path: Path) -> None:
    outcome, _ = get(url, tmp_path, attempts=1)
    assert (outcome.status, outcome.code) == ("failed", code)
    assert outcome.message is not None
    assert outcome.message.startswith(words)
    assert "secret" not in outcome.message
    assert files(tmp_path) == {}


def test_a_certificate_that_nobody_signed_is_refused(
    transport: str, tmp_path: Path, tls_files: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    with FaultProxy(tls=context) as origin:
        origin.objects["/a"] = b"x"
        outcome, _ = get(f"{origin.url}/a", tmp_path / "to", attempts=1)
        assert outcome.code == "Certificate"
        assert outcome.message == (
            "the certificate is not trusted: self-signed certificate; --ca-bundle FILE names one to trust"
        )
        assert origin.count == 0


def test_a_server_that_takes_no_byte_is_given_up(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 1.0)
    (tmp_path / "a").write_bytes(bytes(32 << 20))
    origin.always = Fault(stall=True)
    outcome, run = put(f"{origin.url}/a", tmp_path, attempts=1)
    assert outcome.status == "failed"
    assert outcome.code in {"Timeout", "Disconnected"}  # who looks first: we, or the kernel
    assert run.bytes_moved == 0


def test_a_body_waits_for_a_server_that_takes_none_of_it(origin: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of it would be held in memory."""
    piece, count = bytes(1 << 20), 256
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(count):
            taken += 1
            yield piece

    async def send() -> None:
        async with HttpClient(1) as http:
            link = Link("PUT", f"{origin.url}/a", {"Content-Length": str(count << 20)})
            with pytest.raises(TransferError):
                async with http.request(link, body=body()):
                    pytest.fail("the server says nothing")

    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 1.0)
    origin.always = Fault(stall=True)
    asyncio.run(send())
    assert 0 < taken < count // 2  # the sockets' buffers take some


def test_a_server_that_says_nothing_is_given_up(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 0.3)
    origin.always = Fault(stall=True)
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=2)
    assert (outcome.code, outcome.message, outcome.attempts) == ("Timeout", "no answer in time", 2)
    assert origin.count == 2


def test_no_more_connections_than_concurrency(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(delay=0.1)
    links = [Link("GET", f"{origin.url}/{n}", {}, object=ObjectRef("b", f"{n}")) for n in range(40)]
    asyncio.run(Run().links("get", links, tmp_path, 1, concurrency=7))
    assert origin.most_open == 7


def test_a_session_leaves_nothing_open(transport: str) -> None:
    async def enter_and_leave() -> None:
        async with HttpClient(1):
            pass

    asyncio.run(enter_and_leave())


def test_an_answers_etag_is_bare(origin: FaultProxy) -> None:
    origin.objects["/a"] = b"x"

    async def etag() -> str | None:
        async with HttpClient(1) as http, http.request(Link("GET", f"{origin.url}/a", {})) as answer:
            return answer.etag

    assert asyncio.run(etag()) == hashlib.md5(b"x").hexdigest()
