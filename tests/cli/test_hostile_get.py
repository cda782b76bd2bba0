"""`bulkpresign get` with endless bodies, replaced folders and few descriptors."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from bulkpresign.model import utc_now
from bulkpresign.transfer.disk.folder import Folder
from tests.cli.runs import get
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.support.cli import BULKPRESIGN
from tests.support.dates import date_in
from tests.support.disks import mounted
from tests.support.folders import files
from tests.support.links import links, many

MIB = 1 << 20


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": f"object {n}".encode() for n in range(50)}
        yield proxy


class Endless:
    """A server that answers every request with chunks until the other side hangs up."""

    HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def __enter__(self) -> "Endless":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._response, args=[connection], daemon=True).start()

    def _response(self, connection: socket.socket) -> None:
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        try:
            connection.recv(1 << 16)
            connection.sendall(self.HEAD)
            while True:
                connection.sendall(chunk)
                self.sent += 1 << 16
        except OSError:
            connection.close()


@pytest.fixture
def endless() -> Iterator[Endless]:
    with Endless() as server:
        yield server


@pytest.mark.parametrize("size", ["10", "300000"])
def test_a_body_ends_at_the_first_byte_over_its_size(size: str, endless: Endless, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": f"{endless.url}/a", "size": size}])
    said = get(tmp_path, "l.csv", "--to", "t", "--attempts", "2", code=1)
    assert f"there are more than the {int(size):,} bytes that are expected" in said
    assert files(tmp_path / "t") == {}
    assert endless.sent < 64 * MIB


def test_a_bound_for_objects_whose_size_nobody_tells(endless: Endless, origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": f"{endless.url}/a"}, {"url": f"{origin.url}/1"}, {"url": f"{origin.url}/big"}])
    origin.objects["/big"] = bytes(2 * MIB)
    said = get(tmp_path, "l.csv", "--to", "t", "--max-object-size", "1MiB", code=1)
    assert "the object goes on after 1,048,576 bytes; no more are allowed" in said
    assert "the object has 2,097,152 bytes; 1,048,576 are allowed" in said
    assert files(tmp_path / "t") == {"1": b"object 1"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "64m") as disk:
        yield disk


def test_a_body_without_a_length_does_not_use_up_the_disk(endless: Endless, small_disk: Path, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": f"{endless.url}/a"}])
    said = get(tmp_path, "l.csv", "--to", str(small_disk / "t"), "--journal", "j", code=1)
    assert "no length was announced, and the disk is nearly full after" in said
    (left,) = files(small_disk / "t").values()
    assert 48 * MIB < len(left) < 62 * MIB


def test_a_folder_that_is_exchanged_in_the_middle(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 50))
    outside = tmp_path / "outside"
    outside.mkdir()

    def exchange(seen: Seen) -> Fault | None:
        folder = tmp_path / "t/d"
        if seen.target.startswith("/9?"):
            shutil.move(folder, tmp_path / "moved")
            folder.symlink_to(outside)
        return Fault(delay=0.01)

    origin.schedule = exchange
    get(tmp_path, "l.csv", "--to", "t", "--concurrency", "1", code=0)
    assert files(outside) == {}
    assert len(files(tmp_path / "moved")) == 50


@pytest.mark.parametrize("limit", [24, 32, 64])
def test_few_descriptors_slow_a_run_and_do_not_end_it(limit: int, origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 50))
    command = f"ulimit -n {limit}; exec {' '.join(BULKPRESIGN)} get l.csv --to t --failures f.csv"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path / "t")) == 50


def test_connections_to_many_servers_do_not_use_up_the_descriptors(origin: FaultProxy, tmp_path: Path) -> None:
    """Those that are idle are closed where another one is needed. Each spelling of the host counts as a server."""
    hosts = ["".join(letters) for letters in product(*zip("localhost", "LOCALHOST", strict=True))][:100]
    rows = [{"url": f"http://{host}:{origin.port}/1", "path": host} for host in hosts]
    links(tmp_path / "l.csv", rows)
    command = f"ulimit -n 64; exec {' '.join(BULKPRESIGN)} get l.csv --to t"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(files(tmp_path / "t")) == 100


def test_a_name_that_is_too_long_is_reported(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 2))
    for name in ("x" * 300, f"{'x' * 300}/y"):
        assert "can't be made: File name too long" in get(tmp_path, "l.csv", "--to", name, code=2)
    assert origin.count == 0


def test_an_object_under_the_temporary_name_of_another(origin: FaultProxy, tmp_path: Path) -> None:
    """As where a folder was uploaded with an unfinished download in it. The download of 1 would take 2 away."""
    taken = Folder(tmp_path).target("1").temporary_name
    rows = [{"url": f"{origin.url}/1", "path": "1"}, {"url": f"{origin.url}/2", "path": taken}]
    for table in (rows, rows[::-1]):
        links(tmp_path / "l.csv", table)
        said = get(tmp_path, "l.csv", "--to", "t", code=2)
        assert f"path '{taken}' is refused: it is the temporary name of '1'; column path names another file" in said
    get(tmp_path, "l.csv", "--to", "t", "--exclude", "*.part", code=0)
    assert files(tmp_path / "t") == {"1": b"object 1"}


def test_a_server_whose_clock_is_ahead_ends_no_link_of_another(origin: FaultProxy, tmp_path: Path) -> None:
    with FaultProxy() as ahead:
        ahead.always = Fault(200, {"Date": date_in(days=2)}, b"x")
        ends = [f"{utc_now() + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (3, 24)]
        rows = [{"url": f"{ahead.url}/a", "path": "a", "expires_at": ends[0]}, *many(origin, 50, expires_at=ends[1])]
        links(tmp_path / "l.csv", rows)
        get(tmp_path, "l.csv", "--to", "t", "--concurrency", "1", code=0)
    assert len(files(tmp_path / "t")) == 51


def test_large_objects_keep_their_time(tmp_path: Path) -> None:
    """As small ones do."""
    with FaultProxy(answer_headers={"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}) as proxy:
        proxy.objects = {"/big": os.urandom(MIB), "/1": b"small"}
        proxy.gives_ranges = True
        proxy.etags["/big"] = '"opaque"'
        links(tmp_path / "l.csv", [{"url": f"{proxy.url}/big", "size": str(MIB)}, {"url": f"{proxy.url}/1"}])
        get(tmp_path, "l.csv", "--to", "t", "--part-size", "256KiB", code=0)
        assert sum(seen.header("range") is not None for seen in proxy.seen) >= 3
    assert {(tmp_path / "t" / name).stat().st_mtime for name in ("big", "1")} == {784111777.0}


def test_a_weak_etag_guards_no_resume(origin: FaultProxy, tmp_path: Path) -> None:
    """Two objects can share one, so what is there of the first is of no use."""
    body = origin.objects["/big"] = os.urandom(3 * MIB)
    origin.etags["/big"] = 'W/"weak"'
    origin.gives_ranges = True
    links(tmp_path / "l.csv", [{"url": f"{origin.url}/big", "path": "big"}])
    origin.faults.append(Fault(cut_after=2 * MIB))
    get(tmp_path, "l.csv", "--to", "t", "--attempts", "1", code=1)
    since = origin.count
    get(tmp_path, "l.csv", "--to", "t", code=0)
    assert [seen.header("range") for seen in origin.seen[since:]] == [None]
    assert files(tmp_path / "t") == {"big": body}


@pytest.mark.parametrize("extra", [0, 1])
def test_as_many_bytes_as_the_object_has_are_no_beginning(extra: int, origin: FaultProxy, tmp_path: Path) -> None:
    body = origin.objects["/big"] = os.urandom(2 * MIB)
    origin.gives_ranges = True
    links(tmp_path / "l.csv", [{"url": f"{origin.url}/big", "path": "big"}])
    origin.faults.append(Fault(cut_after=MIB))
    get(tmp_path, "l.csv", "--to", "t", "--attempts", "1", code=1)
    part = Path(Folder(tmp_path / "t").target("big").temporary_full_name)
    part.write_bytes(bytes(len(body) + extra))
    since = origin.count
    get(tmp_path, "l.csv", "--to", "t", code=0)
    assert [seen.header("range") for seen in origin.seen[since:]] == [None]
    assert files(tmp_path / "t") == {"big": body}


def test_expired_goes_before_failed(origin: FaultProxy, tmp_path: Path) -> None:
    over = {"url": f"{origin.url}/1", "path": "1", "expires_at": "2020-01-01T00:00:00Z"}
    links(
        tmp_path / "l.csv", [over, {"url": f"{origin.url}/missing", "path": "m", "expires_at": "2099-01-01T00:00:00Z"}]
    )
    origin.schedule = lambda seen: (
        Fault(403, body=b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
        if seen.target == "/1"
        else None
    )
    said = get(tmp_path, "l.csv", "--to", "t", code=3)
    assert "1 failed, 1 expired" in said
