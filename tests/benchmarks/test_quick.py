"""`python -m benchmarks get|put|resume --quick` runs, and what it calls proven is proven."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import nginx
from benchmarks.transfers import BY_CRC, BY_MD5, CURL, OURS, PROOFS, Files, Transfer, Work

ROOT = Path(__file__).parents[2]
NGINX = ["nginx", "--size", "4 KiB"]

pytestmark = pytest.mark.slow
needs_nginx = pytest.mark.skipif(bool(nginx.missing()) and "CI" not in os.environ, reason=str(nginx.missing()))


def benchmark(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments, "--quick"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=100).stdout


@needs_nginx
@pytest.mark.parametrize("verb", ["get", "put"])
def test_at_nginx(verb: str) -> None:
    output = benchmark(verb, "--only", *NGINX)
    for protocol in nginx.PROTOCOLS:
        title = f"{verb.upper()} 200 x 4 KiB, nginx, {protocol}"
        assert f"\n{title}: us an object" in output
    assert f"\n  {BY_MD5} " in output
    assert f"\n  {BY_CRC} " in output
    assert f"{verb.upper()} 200 x 4 KiB, nginx, http, {BY_MD5}: client CPU against {CURL}" in output


@pytest.mark.parametrize("verb", ["get", "put"])
def test_at_seaweedfs(verb: str) -> None:
    output = benchmark(verb, "--only", "seaweedfs")
    assert f"\n{verb.upper()} 200 x 4 KiB, SeaweedFS: us an object" in output
    assert f"SeaweedFS, {BY_CRC}: wall time against {CURL}" in output


@needs_nginx
def test_growth() -> None:
    output = benchmark("get", "--only", "growth")
    for step, counts in {"sign": "1,000 10,000", "get": "100 1,000", "finished run again": "1,000 10,000"}.items():
        for count in counts.split():
            assert f"\n  {step:<20} {count:>10} " in output
    assert "sign, 10,000 objects against 1,000: peak memory" in output


def test_a_finished_run_again() -> None:
    output = benchmark("resume")
    assert "\nA finished run of 100,000 objects again: " in output
    for step in ("recorded", "indexed by the next run", "found by a run", "merged of 4 journals"):
        assert f"\n  {step} " in output
    assert "recorded and indexed, random order against key order: " in output


@needs_nginx
@pytest.mark.parametrize("verb", ["GET", "PUT"])
@pytest.mark.parametrize("size", [4096, 9 << 20], ids=["small", "in chunks"])
def test_both_proofs_hold(verb: str, size: int, tmp_path: Path) -> None:
    files = Files(Work(verb, size, 3), tmp_path)
    with nginx.started(tmp_path / "nginx", files.etags()) as (http, https):
        if verb == "GET":
            files.upload(http)
        for server in (http, https):
            transfer = Transfer(files, server)
            for name, proof in PROOFS.items():
                transfer.run(name)
                report = subprocess.run([*OURS, "report", "run.journal"], cwd=tmp_path, check=True, capture_output=True)
                assert f"verified  3 by {proof}".encode() in report.stdout


@needs_nginx
def test_a_run_that_moves_too_little_is_an_error(tmp_path: Path) -> None:
    files = Files(Work("PUT", 4096, 3), tmp_path)
    with nginx.started(tmp_path / "nginx", files.etags()) as (http, _):
        transfer = Transfer(files, http, {"idle": ["true"]})
        with pytest.raises(SystemExit, match=r"idle moved 0 objects of PUT 3 x 4 KiB, nginx, http"):
            transfer.run("idle")


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    benchmark("put", "--only", "seaweedfs", "--plot", str(tmp_path / "put.svg"))
    assert "SeaweedFS" in (tmp_path / "put.svg").read_text()
