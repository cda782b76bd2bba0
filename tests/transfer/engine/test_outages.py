"""A server that can't be reached for a while, in the middle of a run."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulkpresign.http import pool, resolver
from bulkpresign.http.outages import Outages
from bulkpresign.http.resolver import Resolver
from bulkpresign.model import Link, ObjectRef
from bulkpresign.transfer.engine import retries
from tests.servers.proxy import Fault, FaultProxy
from tests.support.folders import files
from tests.transfer.running import Run

ATTEMPTS = 2
BODY = b"x" * 1000


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setattr(retries, "BASE_DELAY", 0.01)
    monkeypatch.setattr(retries, "MAX_DELAY", 0.05)
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": BODY for n in range(100)}
        proxy.always = Fault(delay=0.01)
        yield proxy


@contextmanager
def outage(origin: FaultProxy, run: Run, is_over: Callable[[Run], bool]) -> Iterator[None]:
    """Once some objects are done, the server is away until `is_over`, or to the end of the block."""
    ended = threading.Event()

    def watch() -> None:
        while len(run.outcomes) < 10:
            ended.wait(0.01)
        with origin.unreachable():
            while not (is_over(run) or ended.is_set()):
                ended.wait(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def get(url: str, run: Run, folder: Path, attempts: int = ATTEMPTS) -> None:
    links = [Link("GET", f"{url}/{n}", {}, object=ObjectRef("b", str(n), path=str(n))) for n in range(100)]
    asyncio.run(run.links("get", links, folder, attempts))


@pytest.mark.parametrize("way", ["lean", "aiohttp", "proxy"])
def test_objects_wait_for_a_server_that_comes_back(
    way: str, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, url = Run(), origin.url
    if way == "proxy":
        url = "http://s3.example.invalid"
        origin.objects = {f"{url}{path}": body for path, body in origin.objects.items()}
        monkeypatch.setenv("http_proxy", origin.url)
        monkeypatch.delenv("BULKPRESIGN_TRANSPORT", raising=False)
    else:
        monkeypatch.setenv("BULKPRESIGN_TRANSPORT", way)
    with outage(origin, run, lambda run: len(run.retries) > 10 * ATTEMPTS):
        get(url, run, tmp_path)
    assert {outcome.status for outcome in run.outcomes} == {"done"}
    assert max(outcome.attempts for outcome in run.outcomes) <= ATTEMPTS  # of those that were answered or broken
    code = "Proxy" if way == "proxy" else "NoConnection"
    assert {code} <= {retry.code for retry in run.retries} <= {code, "Disconnected", "Truncated"}
    assert files(tmp_path) == {str(n): BODY for n in range(100)}


@pytest.mark.parametrize(("seconds", "attempts"), [(0.0, ATTEMPTS), (900.0, 1)])
def test_they_do_not_wait_forever_nor_with_one_attempt(
    seconds: float, attempts: int, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "OUTAGE", seconds)
    run = Run()
    with outage(origin, run, lambda run: len(run.outcomes) == 100):
        get(origin.url, run, tmp_path, attempts)
    failed = [outcome for outcome in run.outcomes if outcome.status == "failed"]
    assert "NoConnection" in {outcome.code for outcome in failed}
    assert max(outcome.attempts for outcome in failed) == attempts


def test_an_outage_ends_and_another_one_begins_anew() -> None:
    """The server is behind a transport that does not show its connections."""
    outages, server = Outages(), "http://s3.example"
    assert not outages.is_outage(server, 0.0), "it never responded: its name may be wrong"
    for began in (100.0, 5000.0):
        outages.begin_response(server)
        assert not outages.is_outage(server, began), "a response is open"
        outages.end_response(server)
        assert outages.is_outage(server, began)
        assert outages.is_outage(server, began + pool.OUTAGE - 1)
        assert not outages.is_outage(server, began + pool.OUTAGE)


def test_addresses_are_looked_up_again_and_kept_while_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = [["10.0.0.1"], [], ["10.0.0.2"]]

    def find(*_: object, **__: object) -> list[str]:
        if addresses := found.pop(0):
            return addresses
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(resolver, "DNS_RETRY", 0.0)

    async def main() -> None:
        hosts = Resolver()
        for addresses, left in [("10.0.0.1", 2), ("10.0.0.1", 1), ("10.0.0.2", 0)]:
            assert await hosts.resolve("host.example", 443) == [addresses]
            assert len(found) == left
            hosts.doubt("host.example", 443)

    asyncio.run(main())
