"""`get` on a Dask cluster of two workers: lost workers, another folder, no scheduler."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.scale import dask
from tests.cli.runs import get, refused
from tests.scale.processes import wait_until
from tests.servers.proxy import Fault, FaultProxy
from tests.support.cli import BULKPRESIGN, run
from tests.support.folders import files
from tests.support.links import links, many


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", "scheduler.json")
        wait_until(lambda: (folder / "scheduler.json").exists() and "Scheduler at" in self.log)
        self.address = next(word for word in self.log.split() if word.startswith("tcp://"))

    @property
    def log(self) -> str:
        return (self._folder / "0.log").read_text()

    def add_worker(self) -> "subprocess.Popen[bytes]":
        count = self.log.count("Starting worker compute stream")
        worker = self._start("worker", self.address, "--nthreads", "1", "--no-nanny", "--death-timeout", "20")
        wait_until(lambda: self.log.count("Starting worker compute stream") > count)
        return worker

    def retire_workers(self) -> None:
        """Ends the workers as their scheduler does it, with the calls that they are at."""
        workers = self._processes[1:]
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(20)

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        log = self._folder / f"{len(self._processes)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:], "--no-dashboard"],
                cwd=self._folder,
                stdout=stream,
                stderr=stream,
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        cluster.add_worker()
        cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()


def test_a_cluster_moves_the_objects(origin: FaultProxy, cluster: Cluster, tmp_path: Path) -> None:
    """One worker is killed in the middle, and another one joins."""
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(600)}
    origin.always = Fault(delay=0.02)
    links(tmp_path / "l.csv", many(origin, 600))
    worker = cluster.add_worker()
    command = [
        *BULKPRESIGN,
        "get",
        "l.csv",
        "--to",
        "to",
        "--concurrency",
        "9",
        "--executor",
        f"dask:{cluster.address}",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: origin.count > 150)
        worker.send_signal(signal.SIGKILL)
        cluster.add_worker()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert files(tmp_path / "to") == {f"d/{n}": f"object {n}".encode() for n in range(600)}
    assert "Traceback" not in said


def test_a_cluster_without_any_worker_for_a_while(origin: FaultProxy, cluster: Cluster, tmp_path: Path) -> None:
    """As an adaptive one, which ends its workers while a slow source gives nothing to do."""
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(40)}
    urls = [f"{origin.url}/{n}" for n in range(40)]

    async def slow() -> AsyncIterator[list[str]]:
        yield urls[:20]
        await asyncio.to_thread(wait_until, lambda: origin.count == 20)
        await asyncio.to_thread(cluster.retire_workers)
        await asyncio.sleep(3 * dask.CHECK_INTERVAL)
        yield urls[20:]
        await asyncio.to_thread(cluster.add_worker)

    report = asyncio.run(bp.get(slow(), tmp_path / "to", executor=f"dask:{cluster.address}"))
    assert (report.done + report.skipped, report.failed) == (40, 0)
    assert files(tmp_path / "to") == {f"{n}": f"object {n}".encode() for n in range(40)}


def test_a_cluster_without_any_worker_for_long(
    origin: FaultProxy, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "_MINUTES_WITHOUT_WORKERS", 0.1)
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(900)}
    origin.always = Fault(delay=0.02)

    def retire() -> None:
        wait_until(lambda: origin.count > 100)
        cluster.retire_workers()

    gone = threading.Thread(target=retire)
    gone.start()
    with pytest.raises(bp.BreakerError, match=r"has had no worker for 0\.1 minutes"):
        urls = [f"{origin.url}/{n}" for n in range(900)]
        asyncio.run(bp.get(urls, tmp_path / "to", concurrency=8, executor=f"dask:{cluster.address}"))
    gone.join()


def test_a_scheduler_that_goes_away_ends_the_run(origin: FaultProxy, cluster: Cluster, tmp_path: Path) -> None:
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(600)}
    origin.always = Fault(delay=0.05)
    links(tmp_path / "l.csv", many(origin, 600))
    command = [
        *BULKPRESIGN,
        "get",
        "l.csv",
        "--to",
        "to",
        "--concurrency",
        "4",
        "--executor",
        f"dask:{cluster.address}",
    ]
    with subprocess.Popen(
        [*command, "--failures", "f.csv"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: origin.count > 100)
        cluster.stop()
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 40
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert f"error: stopped: the scheduler at {cluster.address} is gone" in said
    origin.always = None
    get(tmp_path, "l.csv", "--to", "to", code=0)
    assert files(tmp_path / "to") == {f"d/{n}": f"object {n}".encode() for n in range(600)}


def test_a_scheduler_whose_loss_dask_notices_first(
    origin: FaultProxy,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Dask ends all calls then. One that it is given at that moment can't be cancelled without a traceback."""
    monkeypatch.setattr(dask, "_CONNECT_TIMEOUT", "1s")
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(900)}
    origin.always = Fault(delay=0.02)

    def stop() -> None:
        wait_until(lambda: origin.count > 100)
        cluster.stop()

    gone = threading.Thread(target=stop)
    gone.start()
    with pytest.raises(bp.BreakerError, match=f"^stopped: the scheduler at {cluster.address} is gone$"):
        urls = [f"{origin.url}/{n}" for n in range(900)]
        asyncio.run(bp.get(urls, tmp_path / "to", concurrency=8, executor=f"dask:{cluster.address}"))
    gone.join()
    assert caplog.text == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_stop_with_their_run(number: int, origin: FaultProxy, cluster: Cluster, tmp_path: Path) -> None:
    """They would go on for minutes, and the next run could not have the object."""
    origin.objects = {"/0": bytes(20 << 20)}
    origin.always = Fault(rate=100_000)
    links(tmp_path / "l.csv", many(origin, 1))
    command = [*BULKPRESIGN, "get", "l.csv", "--to", "to", "--executor", f"dask:{cluster.address}"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: any(part.stat().st_blocks for part in (tmp_path / "to/d").glob("*.part")))
        process.send_signal(number)
    wait_until(lambda: origin.open_now == 0)
    origin.always = None
    wait_until(lambda: run(*command[len(BULKPRESIGN) :], folder=tmp_path, env={}).returncode == 0)
    assert files(tmp_path / "to") == {"d/0": origin.objects["/0"]}, "the mark of the killed run is gone, too"


def test_no_scheduler(tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": "http://127.0.0.1:1/a"}])
    said = refused(tmp_path, "l.csv", "--to", "to", "--executor", "dask:tcp://127.0.0.1:1")
    assert "executor dask:tcp://127.0.0.1:1: there is no scheduler" in said
    assert "there is no scheduler" in refused(tmp_path, "l.csv", "--to", "to", "--executor", "dask:no address at all")


def test_without_dask(tmp_path: Path) -> None:
    """The extra is named."""
    (tmp_path / "distributed.py").write_text("raise ImportError('no such module')")
    links(tmp_path / "l.csv", [{"url": "http://127.0.0.1:1/a"}])
    done = subprocess.run(
        [*BULKPRESIGN, "get", "l.csv", "--to", "to", "--executor", "dask:tcp://127.0.0.1:1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "needs Dask: pip install 'bulkpresign[dask]'" in done.stderr
