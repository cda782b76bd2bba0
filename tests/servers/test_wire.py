"""The wire does to time and bytes what it says. Times are held from below only, for a loaded machine adds to each."""

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests

from bulkpresign.demo.daemon import HOST
from tests.servers import wire as wires
from tests.servers.server import S3Server
from tests.servers.wire import Phase, RunningWire, Wire, wire_of

#: Our clock and the server's are one; what is due within half a millisecond goes out.
SLACK = 0.001


@pytest.fixture(scope="module")
def plain() -> Iterator[RunningWire]:
    """A wire that can be changed. Each test that asks for it begins with no counts and no limits."""
    with wires.start(Wire()) as running:
        yield running


@pytest.fixture
def wire(plain: RunningWire) -> RunningWire:
    plain.change(Wire())
    _until(lambda: plain.statistics().open_connections == 0)  # those of the test before
    plain.reset()
    return plain


@pytest.fixture
def connection(wire: RunningWire) -> Iterator[HTTPConnection]:
    with closing(HTTPConnection(HOST, wire.port, timeout=60)) as made:
        yield made


class TestObjects:
    def test_get_is_of_the_size_that_its_path_tells_and_etag_is_its_md5(self, connection: HTTPConnection) -> None:
        for size in (0, 1, 4096, 100_000, 3_000_000):
            answer, body = _ask(connection, "GET", f"/bucket/{size}/name")
            assert (answer.status, len(body)) == (200, size)
            assert answer.headers["ETag"] == f'"{_md5(body)}"'
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert answer.headers["Last-Modified"] and answer.headers["Date"]

    def test_content_is_the_same_each_time_and_differs_by_name(self, connection: HTTPConnection) -> None:
        bodies = {name: _ask(connection, "GET", f"/b/5000/{name}")[1] for name in ("one", "two")}
        assert bodies["one"] == _ask(connection, "GET", "/b/5000/one?X-Amz-Signature=ff")[1] != bodies["two"]

    @pytest.mark.parametrize(
        ("asked", "first", "last"), [("0-0", 0, 0), ("5-", 5, 9999), ("-3", 9997, 9999), ("9000-20000", 9000, 9999)]
    )
    def test_range_is_a_part_of_the_whole(self, connection: HTTPConnection, asked: str, first: int, last: int) -> None:
        _, whole = _ask(connection, "GET", "/b/10000/x")
        answer, part = _ask(connection, "GET", "/b/10000/x", {"Range": f"bytes={asked}"})
        assert (answer.status, part) == (206, whole[first : last + 1])
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/10000"

    def test_ranges_of_a_large_object_make_the_whole(self, connection: HTTPConnection) -> None:
        size, step = 20 << 20, 7_000_001
        _, whole = _ask(connection, "GET", f"/b/{size}/x")
        parts = [
            _ask(connection, "GET", f"/b/{size}/x", {"Range": f"bytes={at}-{at + step - 1}"})[1]
            for at in range(0, size, step)
        ]
        assert b"".join(parts) == whole

    def test_range_behind_the_end_and_other_etag_are_refused(self, connection: HTTPConnection) -> None:
        assert _ask(connection, "GET", "/b/10/x", {"Range": "bytes=10-"})[0].status == 416
        assert _ask(connection, "GET", "/b/10/x", {"If-Match": '"0"'})[0].status == 412
        etag = _ask(connection, "GET", "/b/10/x")[0].headers["ETag"]
        assert _ask(connection, "GET", "/b/10/x", {"If-Match": etag})[0].status == 200

    def test_head_tells_and_sends_nothing(self, connection: HTTPConnection) -> None:
        answer, body = _ask(connection, "HEAD", "/b/4096/x")
        assert (answer.status, answer.headers["Content-Length"], body) == (200, "4096", b"")

    def test_path_without_a_size_is_no_object(self, connection: HTTPConnection) -> None:
        answer, body = _ask(connection, "GET", "/b/name")
        assert answer.status == 404
        assert b"<Code>NoSuchKey</Code>" in body

    def test_etag_of_a_large_object_is_no_md5_unless_asked_for(
        self, wire: RunningWire, connection: HTTPConnection
    ) -> None:
        size = 9 << 20
        assert _ask(connection, "HEAD", f"/b/{size}/x")[0].headers["ETag"].startswith('"wire-')
        wire.change(Wire(md5_size=size))
        answer, body = _ask(connection, "GET", f"/b/{size}/x")
        assert answer.headers["ETag"] == f'"{_md5(body)}"'


class TestUploads:
    def test_small_one_has_its_md5(self, wire: RunningWire, connection: HTTPConnection) -> None:
        for body in (b"", b"x" * 5000):
            answer, _ = _ask(connection, "PUT", "/b/key", body=body)
            assert (answer.status, answer.headers["ETag"]) == (200, f'"{_md5(body)}"')
        assert wire.statistics().bytes_received == 5000

    def test_large_one_has_an_etag_that_is_no_md5(self, wire: RunningWire, connection: HTTPConnection) -> None:
        answer, _ = _ask(connection, "PUT", "/b/key", body=bytes(5 << 20))
        assert answer.headers["ETag"] == f'"wire-{5 << 20}"'
        assert _ask(connection, "GET", "/b/1/x")[0].status == 200
        assert wire.statistics().bytes_received == 5 << 20

    def test_client_that_expects_100_waits_for_it(self, wire: RunningWire) -> None:
        with socket.create_connection((HOST, wire.port), timeout=60) as made:
            made.sendall(b"PUT /b/key HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert made.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            made.sendall(b"abc")
            assert _md5(b"abc").encode() in made.recv(1000)

    def test_parts(self, connection: HTTPConnection) -> None:
        _, opened = _ask(connection, "POST", "/b/key?uploads=")
        upload_id = opened.split(b"<UploadId>")[1].split(b"<")[0].decode()
        part, _ = _ask(connection, "PUT", f"/b/key?partNumber=1&uploadId={upload_id}", body=b"x")
        assert part.headers["ETag"]
        body = b"<C><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></C>"
        completed, said = _ask(connection, "POST", f"/b/key?uploadId={upload_id}", body=body)
        assert completed.status == 200
        assert b"<ETag>&quot;wire-1&quot;</ETag>" in said
        assert _ask(connection, "DELETE", f"/b/key?uploadId={upload_id}")[0].status == 204

    def test_chunked_body_is_refused(self, wire: RunningWire) -> None:
        with socket.create_connection((HOST, wire.port), timeout=60) as made:
            made.sendall(b"PUT /b/key HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert made.recv(1000).startswith(b"HTTP/1.1 411 ")


class TestTime:
    def test_answer_takes_a_round_trip_and_the_first_one_two(
        self, wire: RunningWire, connection: HTTPConnection
    ) -> None:
        wire.change(Wire(latency=0.1))
        assert _seconds(lambda: _ask(connection, "GET", "/b/4096/x")) >= 0.2 - SLACK
        for _ in range(3):
            assert _seconds(lambda: _ask(connection, "GET", "/b/4096/x")) >= 0.1 - SLACK

    def test_connection_that_is_opened_ahead_has_its_handshake_behind_it(self, wire: RunningWire) -> None:
        """It is the same number of round trips from its opening on."""
        wire.change(Wire(latency=0.1, handshake=2))
        begun = time.monotonic()
        with closing(HTTPConnection(HOST, wire.port, timeout=60)) as made:
            made.connect()
            time.sleep(0.1)
            _ask(made, "GET", "/b/1/x")
        assert time.monotonic() - begun >= 0.3 - SLACK

    def test_upload_is_answered_a_round_trip_after_its_last_byte(
        self, wire: RunningWire, connection: HTTPConnection
    ) -> None:
        wire.change(Wire(latency=0.1, connection_rate=5e6))
        assert _seconds(lambda: _ask(connection, "PUT", "/b/x", body=bytes(1_000_000))) >= 0.2 + 0.2 - SLACK

    def test_jitter_only_adds(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(latency=0.02, jitter=0.05))
        for _ in range(5):
            assert _seconds(lambda: _ask(connection, "GET", "/b/1/x")) >= 0.02 - SLACK

    def test_connection_rate_bounds_each_connection(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(connection_rate=10e6))
        with closing(HTTPConnection(HOST, wire.port, timeout=60)) as made:  # a connection has the rate of its opening
            assert _seconds(lambda: _ask(made, "GET", "/b/3000000/x")) >= 0.3 - SLACK

    def test_total_rate_bounds_all_together(self, wire: RunningWire) -> None:
        wire.change(Wire(total_rate=20e6))
        assert _seconds(lambda: _at_once(wire, 6, "GET", "/b/1000000/x")) >= 0.3 - SLACK
        assert _seconds(lambda: _at_once(wire, 6, "PUT", "/b/x", bytes(1_000_000))) >= 0.3 - SLACK

    def test_lost_packets_stall(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(loss=1, loss_stall=0.1))
        assert _seconds(lambda: _ask(connection, "GET", "/b/4096/x")) >= 0.1 - SLACK
        wire.change(Wire(loss=1e-12))
        assert _ask(connection, "GET", "/b/4096/x")[0].status == 200

    def test_share_of_connections_is_slow(self, wire: RunningWire) -> None:
        wire.change(Wire(slow_share=1, slow_rate=10e6))
        assert _seconds(lambda: _at_once(wire, 1, "GET", "/b/1000000/x")) >= 0.1 - SLACK

    def test_wire_that_stalls_for_a_while_recovers(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(phases=(Phase(0.0, 0.3, Wire(stalled=True)),)))
        begun = time.monotonic()
        _ask(connection, "GET", "/b/1/x")
        _ask(connection, "GET", "/b/1/x")
        assert time.monotonic() - begun >= 0.3 - SLACK

    def test_wire_that_slows_down_in_the_middle_recovers(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(phases=(Phase(0.1, 2.1, Wire(max_requests=0.001, burst=0)),)))
        statuses: list[int] = []
        while statuses != [200, 503, 200]:
            status = _ask(connection, "GET", "/b/1/x")[0].status
            if statuses[-1:] != [status]:
                statuses.append(status)
            assert len(statuses) <= 3
            time.sleep(0.01)

    def test_stalled_wire_goes_on(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(stalled=True))
        with ThreadPoolExecutor() as pool:
            asked = [
                pool.submit(_at_once, wire, 1, *each) for each in (("GET", "/b/1/x"), ("PUT", "/b/x", bytes(5 << 20)))
            ]
            while wire.statistics().in_flight < 2:
                time.sleep(0.01)
            assert not any(each.done() for each in asked)
            wire.change(Wire())
            assert [each.result() for each in asked] == [[200], [200]]


class TestLimits:
    def test_connections_over_the_cap_are_reset(self, wire: RunningWire) -> None:
        wire.change(Wire(max_connections=3))
        with ExitStack() as stack:
            for _ in range(3):
                made = stack.enter_context(closing(HTTPConnection(HOST, wire.port, timeout=60)))
                assert _ask(made, "GET", "/b/1/x")[0].status == 200
            over = stack.enter_context(closing(HTTPConnection(HOST, wire.port, timeout=60)))
            with pytest.raises(OSError):
                _ask(over, "GET", "/b/1/x")
        _until(lambda: wire.statistics().open_connections == 0)
        with closing(HTTPConnection(HOST, wire.port, timeout=60)) as made:
            assert _ask(made, "GET", "/b/1/x")[0].status == 200
        counts = wire.statistics()
        assert (counts.connections, counts.most_connections, counts.refused_connections) == (4, 3, 1)

    def test_requests_over_the_rate_are_told_to_slow_down(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(max_requests=0.001, burst=5, retry_after=7))
        answers = [_ask(connection, "GET", "/b/1/x")[0] for _ in range(8)]
        assert [answer.status for answer in answers] == [200] * 5 + [503] * 3
        assert answers[-1].headers["Retry-After"] == "7"
        counts = wire.statistics()
        assert (counts.requests, counts.refused, counts.refused_share()) == (8, 3, 3 / 8)
        assert counts.refused_share(after=100) == 0

    def test_rate_admits_more_with_time(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(max_requests=100, burst=1))
        statuses: list[int] = []
        while statuses.count(200) < 5:
            statuses.append(_ask(connection, "GET", "/b/1/x")[0].status)
        assert wire.statistics().refused == statuses.count(503)

    def test_connection_ends_after_its_last_request(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(requests_per_connection=2))
        for _ in range(5):
            assert _ask(connection, "GET", "/b/1/x")[0].status == 200
        assert wire.statistics().connections == 3


class TestStatistics:
    def test_most_in_flight_and_methods(self, wire: RunningWire) -> None:
        wire.change(Wire(latency=0.5))
        assert _at_once(wire, 7, "GET", "/b/4096/x") == [200] * 7
        counts = wire.statistics()
        assert (counts.requests, counts.methods, counts.in_flight) == (7, {"GET": 7}, 0)
        assert counts.most_in_flight <= 7
        assert counts.bytes_sent == 7 * 4096
        assert sum(requests for requests, _ in counts.seconds.values()) == 7

    def test_in_flight_counts_what_waits(self, wire: RunningWire) -> None:
        wire.change(Wire(stalled=True))
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(_at_once, wire, 5, "GET", "/b/4096/x")
            _until(lambda: wire.statistics().in_flight == 5)
            wire.change(Wire())
            asked.result()
        assert (wire.statistics().in_flight, wire.statistics().most_in_flight) == (0, 5)

    def test_client_that_goes_away_is_in_flight_no_more(self, wire: RunningWire) -> None:
        wire.change(Wire(stalled=True))
        with socket.create_connection((HOST, wire.port)) as made:
            made.sendall(b"GET /b/4096/x HTTP/1.1\r\n\r\n")
            _until(lambda: wire.statistics().in_flight == 1)
        _until(lambda: wire.statistics().in_flight == 0)
        wire.change(Wire())

    def test_pipelined_requests_are_answered_in_their_order(self, wire: RunningWire) -> None:
        with socket.create_connection((HOST, wire.port), timeout=60) as made:
            made.sendall(b"HEAD /b/5/x HTTP/1.1\r\n\r\nHEAD /b/6/x HTTP/1.1\r\nConnection: close\r\n\r\n")
            said = made.makefile("rb").read()
        assert said.index(b"Content-Length: 5") < said.index(b"Content-Length: 6")

    def test_lateness_is_told_and_never_negative(self, wire: RunningWire, connection: HTTPConnection) -> None:
        wire.change(Wire(latency=0.01))
        _ask(connection, "GET", "/b/1/x")
        assert wire.statistics().late >= 0

    def test_reset_counts_from_zero(self, wire: RunningWire, connection: HTTPConnection) -> None:
        _ask(connection, "GET", "/b/1/x")
        wire.reset()
        counts = wire.statistics()
        assert (counts.requests, counts.connections, counts.open_connections) == (0, 0, 1)


class TestRelay:
    def test_real_server_behind_the_wire(self, seaweedfs: S3Server, boto: Callable[[S3Server], Any]) -> None:
        body = bytes(range(256)) * 8192  # 2 MiB
        with wires.start(Wire(latency=0.05, connection_rate=20e6), upstream=seaweedfs.endpoint_url) as running:
            client = boto(replace(seaweedfs, name="behind", endpoint_url=running.endpoint_url))
            client.create_bucket(Bucket="wired")
            put, get = (
                client.generate_presigned_url(each, {"Bucket": "wired", "Key": "key"})
                for each in ("put_object", "get_object")
            )
            assert _seconds(lambda: requests.put(put, data=body, timeout=60)) >= 0.1 + len(body) / 20e6 - SLACK
            answers: list[requests.Response] = []
            assert _seconds(lambda: answers.append(requests.get(get, timeout=60))) >= 0.1 + len(body) / 20e6 - SLACK
            assert answers[0].content == body
            counts = running.statistics()
            assert counts.bytes_sent > len(body) < counts.bytes_received

    def test_cap_of_connections(self, seaweedfs: S3Server) -> None:
        with wires.start(Wire(max_connections=0), upstream=seaweedfs.endpoint_url) as running:
            with pytest.raises(requests.ConnectionError):
                requests.get(running.endpoint_url, timeout=60)
            assert running.statistics().refused_connections >= 1

    def test_server_that_is_not_there(self) -> None:
        with wires.start(Wire(), upstream="http://127.0.0.1:1") as running, pytest.raises(requests.ConnectionError):
            requests.get(running.endpoint_url, timeout=60)

    def test_request_rates_need_the_own_server(self) -> None:
        with pytest.raises(ValueError, match="max_requests"), wires.start(Wire(max_requests=1), upstream="http://x"):
            pass


def test_wire_is_told_whole() -> None:
    wire = Wire(latency=0.1, phases=(Phase(1, 2, Wire(latency=1)),))
    assert wire_of(json.loads(wire.as_json())) == wire


def test_process_ends_with_the_context() -> None:
    with pytest.raises(KeyboardInterrupt), wires.start(Wire()) as running:
        assert Path(f"/proc/{running.pid}").exists()
        raise KeyboardInterrupt
    assert not Path(f"/proc/{running.pid}").exists()


def test_process_that_is_killed_is_no_hang() -> None:
    with wires.start(Wire(latency=60)) as running, ThreadPoolExecutor() as pool:
        asked = pool.submit(_at_once, running, 1, "GET", "/b/1/x")
        _until(lambda: running.statistics().in_flight == 1)
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(OSError):
            asked.result()


def _ask(
    connection: HTTPConnection, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[HTTPResponse, bytes]:
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def _at_once(wire: RunningWire, count: int, method: str, path: str, body: bytes | None = None) -> list[int]:
    """The statuses of as many requests at a time, each on a connection of its own."""

    def one(_number: int) -> int:
        with closing(HTTPConnection(HOST, wire.port, timeout=60)) as made:
            return _ask(made, method, path, body=body)[0].status

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()
