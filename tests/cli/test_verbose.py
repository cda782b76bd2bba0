"""`-v` and `-vv`: what a run tells of its retries and of its requests, and that no signature is told."""

import json
from pathlib import Path

import pytest

from tests.servers.proxy import Fault, FaultProxy
from tests.support.cli import run

SECRET = "0123456789abcdef" * 4
QUERY = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-Signature={SECRET}"


def links(folder: Path, origin: FaultProxy) -> str:
    row = {"url": f"{origin.url}/a?{QUERY}", "path": "a", "headers": {"x-amz-security-token": SECRET}}
    (folder / "links.jsonl").write_text(json.dumps(row) + "\n")
    return "links.jsonl"


@pytest.mark.parametrize(
    ("options", "says_retry", "says_requests"), [((), False, False), (("-v",), True, False), (("-vv",), True, True)]
)
@pytest.mark.parametrize("transport", ["lean", "aiohttp"])
def test_v_tells_retries_and_vv_requests(
    options: tuple[str, ...], says_retry: bool, says_requests: bool, transport: str, tmp_path: Path
) -> None:
    with FaultProxy() as origin:
        origin.objects["/a"] = b"x"
        origin.faults.append(Fault(status=503, headers={"Retry-After": "0"}))
        done = run("get", links(tmp_path, origin), "--to", "to", "--transport", transport, *options, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        name = f"GET {origin.url}/a"
    lines = done.stderr.splitlines()
    assert any("retry in" in line for line in lines) is says_retry
    assert (f"debug: {name}: request" in lines) is says_requests
    for status in (503, 200):
        assert any(line.startswith(f"debug: {name}: status {status} after ") for line in lines) is says_requests
    assert ("connection opened" in done.stderr) is (says_requests and transport == "lean")
    assert SECRET not in done.stderr
    assert "X-Amz-Signature" not in done.stderr


def test_vv_stays_json_where_that_is_asked_for(tmp_path: Path) -> None:
    with FaultProxy() as origin:
        origin.objects["/a"] = b"x"
        done = run("get", links(tmp_path, origin), "--to", "to", "-vv", "--progress", "json", folder=tmp_path)
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    logged = [row["message"] for row in rows if row["event"] == "log"]
    assert f"GET {origin.url}/a: request" in logged
    assert {row["logger"] for row in rows if row["event"] == "log"} == {"bulkpresign.http"}
    assert SECRET not in done.stderr


@pytest.mark.parametrize(("options", "says_retry", "says_requests"), [((), False, False), (("-vv",), True, True)])
def test_sign_tells_the_retries_of_its_requests(
    options: tuple[str, ...], says_retry: bool, says_requests: bool, tmp_path: Path
) -> None:
    (tmp_path / "keys.csv").write_text("bucket,key\nbucket,a\n")
    with FaultProxy() as origin:
        origin.objects["/bucket/a"] = b"x"
        origin.faults.append(Fault(status=503, headers={"Retry-After": "0"}))
        arguments = ("sign", "keys.csv", "--head", "--endpoint-url", origin.url, "-o", "links.csv")
        done = run(*arguments, *options, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    assert ("retry in" in done.stderr) is says_retry
    assert (f"debug: HEAD {origin.url}/bucket/a: request" in done.stderr) is says_requests
    assert "X-Amz-Signature" not in done.stderr
