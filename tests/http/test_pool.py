"""Connections that are being made when the run is cut off: nothing of them is left open, and the loop can end."""

import asyncio
import errno
import gc
import socket
import ssl
import time
import weakref
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulkpresign.errors import ConnectionFailedError
from bulkpresign.http import pool, resolver
from bulkpresign.http.callback_connection import CallbackConnection
from bulkpresign.http.client import HttpClient
from bulkpresign.http.pool import round_trip
from bulkpresign.model import Link
from tests.servers.proxy import Fault, FaultProxy
from tests.transfer.running import Runner


@pytest.fixture
def origin(plain_or_tls: FaultProxy) -> FaultProxy:
    plain_or_tls.objects["/a"] = b"x"
    return plain_or_tls


async def ask(origin: FaultProxy) -> None:
    async with HttpClient(1) as http, http.request(Link("GET", f"{origin.url}/a", {})) as response:
        assert await response.read() == b"x"


@pytest.mark.parametrize("native", [False, True])
def test_cut_off_in_the_very_moment_in_which_it_stands(
    native: bool, run: Runner, origin: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS ends with a farewell of both sides, and the other one does not say it in time."""
    made = CallbackConnection.connection_made

    async def main() -> None:
        with anyio.CancelScope() as scope:
            task = asyncio.current_task()
            assert task is not None
            cancel = task.cancel if native else scope.cancel

            def cut(connection: CallbackConnection, transport: asyncio.BaseTransport) -> None:
                made(connection, transport)
                origin._loop.call_soon_threadsafe(time.sleep, 0.3)
                cancel()

            monkeypatch.setattr(CallbackConnection, "connection_made", cut)
            await ask(origin)

    if native:
        with pytest.raises(asyncio.CancelledError):
            run(main())
    else:
        run(main())
    gc.collect()


def test_cut_off_at_each_step(run: Runner, origin: FaultProxy) -> None:
    """After one turn of the loop, then after two, then in longer steps, until the answer is here."""
    ended, steps = False, 0

    async def main(steps: int) -> None:
        async def cut(scope: anyio.CancelScope) -> None:
            for _ in range(steps):
                await anyio.sleep(0.0002 if steps > 20 else 0)
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cut, group.cancel_scope)
            await ask(origin)
            nonlocal ended
            ended = not group.cancel_scope.cancel_called
            group.cancel_scope.cancel()

    while not ended:
        run(main(steps))
        steps += max(1, steps // 10)


def test_a_host_that_was_not_found_is_looked_for_again_soon(
    monkeypatch: pytest.MonkeyPatch, plain_or_tls: FaultProxy
) -> None:
    """Names come and go while a run lasts."""
    looked = 0
    resolve = socket.getaddrinfo

    def find(host: str, *arguments: object, **options: object) -> object:
        nonlocal looked
        if host != "late.example":
            return resolve(host, *arguments, **options)  # type: ignore[arg-type]
        looked += 1
        if looked == 1:
            raise socket.gaierror(socket.EAI_NONAME, "not found")
        return resolve("127.0.0.1", *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(resolver, "DNS_RETRY", 0.05)
    link = Link("GET", f"{plain_or_tls.url.replace('127.0.0.1', 'late.example')}/a", {})

    async def code(http: HttpClient) -> str:
        try:
            async with http.request(link):
                return "found"
        except ConnectionFailedError as error:
            return error.code

    async def main() -> None:
        async with HttpClient(1) as http:
            assert await code(http) == "NoSuchHost"
            with anyio.fail_after(30):
                while await code(http) == "NoSuchHost":
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    assert looked == 2


def test_the_second_connection_resumes_the_tls_session(
    run: Runner, tls_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    resumed: list[bool | None] = []

    class Seen(ssl.SSLObject):
        def read(self, *arguments: Any) -> Any:
            data = super().read(*arguments)
            if self.server_side and not self.is_seen:
                self.is_seen = True
                resumed.append(self.session_reused)
            return data

        is_seen = False

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls_files)
    context.sslobject_class = Seen
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tls_files[0]))

    contexts: list[weakref.ref[ssl.SSLContext | None]] = []

    async def ask_twice(origin: FaultProxy) -> None:
        async with HttpClient(2) as http:
            contexts.append(weakref.ref(http._pool._ssl_context))
            for _ in range(2):
                async with http.request(Link("GET", f"{origin.url}/a", {})) as response:
                    assert await response.read() == b"x"

    with FaultProxy(tls=context) as origin:
        origin.objects["/a"] = b"x"
        origin.always = Fault(headers={"Connection": "close"}, body=b"x", status=200)
        run(ask_twice(origin))
    assert resumed == [False, True]
    for _ in range(3):  # what has a finaliser takes several rounds
        gc.collect()
    assert contexts[0]() is None, "the sessions of a client that has ended are freed"


def test_the_round_trip_time_is_the_network_s_and_not_the_program_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connected:
        time.sleep(0.3)
        seconds = round_trip(connected)
        assert seconds is not None
        assert 0 < seconds < 0.1
    with socket.socket(socket.AF_UNIX) as other:
        assert round_trip(other) is None


def test_each_new_connection_has_its_round_trip_time_told(origin: FaultProxy) -> None:
    told: list[float] = []

    async def main() -> None:
        link = Link("GET", f"{origin.url}/a", {})
        async with HttpClient(1) as http:
            http.on_round_trip = told.append
            for _ in range(3):
                async with http.request(link) as response:
                    await response.read()

    asyncio.run(main())
    assert len(told) == 1
    assert 0 < told[0] < 1


@pytest.mark.parametrize("problem", [ssl.SSLCertVerificationError(), OSError(errno.EMFILE, "Too many open files")])
def test_what_is_wrong_here_is_no_outage(
    problem: OSError, run: Runner, origin: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is away may come back; the certificate that it came back with stays, as do too many files here."""

    async def failed(http: HttpClient) -> ConnectionFailedError:
        with pytest.raises(ConnectionFailedError) as caught:
            while True:  # the connection may break first
                try:
                    async with http.request(Link("GET", f"{origin.url}/a", {})):
                        pass
                except ConnectionFailedError as error:
                    if error.code != "Disconnected":
                        raise
        return caught.value

    async def fail(*_: object) -> None:
        if isinstance(problem, ssl.SSLCertVerificationError):
            problem.verify_message, problem.verify_code = "self-signed certificate", 18
        raise problem

    async def main() -> None:
        async with HttpClient(1) as http:
            async with http.request(Link("GET", f"{origin.url}/a", {})) as response:
                await response.read()
            with origin.unreachable():
                assert (await failed(http)).is_outage
                monkeypatch.setattr(pool.ConnectionPool, "_connect", fail)
                error = await failed(http)
            assert (error.code in {"Certificate", "NoConnection"}, error.is_outage) == (True, False)

    run(main())
