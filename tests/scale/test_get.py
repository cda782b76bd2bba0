"""`get` with worker processes: the same result as in one process, whatever becomes of a worker."""

import asyncio
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.checksums import base64_of, hasher
from bulkpresign.events import RunFinished
from bulkpresign.scale import workers
from bulkpresign.scale.workers import usable_cores
from tests.cli.runs import get, refused
from tests.conftest import Boto, MakeBucket
from tests.scale.processes import is_alive, memory_has, wait_until, workers_of
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.folders import files
from tests.support.links import OVER, links, many

PROCESSES = ("--executor", "processes:2")


def outcomes(journal: Path) -> list[tuple[object, ...]]:
    """Rows of the journal, without times."""
    with closing(sqlite3.connect(journal)) as database:
        columns = "id, status, bytes, attempts, verified_by, code, message, size, etag, checksum, part_size, said"
        return sorted(database.execute(f"SELECT {columns} FROM outcomes").fetchall())


class Workers:
    """A run with two workers over many objects, each of which takes a moment."""

    def __init__(self, origin: FaultProxy, folder: Path, count: int = 1200, env: dict[str, str] | None = None) -> None:
        origin.objects = {f"/{n}": f"object {n}".encode() for n in range(count)}
        origin.always = Fault(delay=0.02)
        self.origin, self.count = origin, count
        self.bodies = {f"d/{n}": f"object {n}".encode() for n in range(count)}
        links(folder / "l.csv", many(origin, count))
        command = [*BULKPRESIGN, "get", "l.csv", "--to", "to", "--failures", "f.csv", "--concurrency", "8", *PROCESSES]
        self.process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, env=None if env is None else os.environ | env
        )
        wait_until(lambda: origin.count > 200 and len(workers_of(self.process.pid)) == 2)
        self.pids = workers_of(self.process.pid)

    def end(self) -> str:
        """Waits for the end of the run; its messages."""
        _, said = self.process.communicate(timeout=60)
        assert "Traceback" not in said
        wait_until(lambda: not any(map(is_alive, self.pids)))
        return said


def test_the_same_as_in_one_process(origin: FaultProxy, tmp_path: Path) -> None:
    origin.objects = {f"/{n}": f"object {n}".encode() * (n % 50) for n in range(800)}
    origin.schedule = lambda seen: Fault(404) if seen.target.startswith("/77?") else None
    rows = many(origin, 800)
    links(tmp_path / "l.csv", rows)
    said = get(tmp_path, "l.csv", "--to", "one", code=1)
    assert "get: 799 done, 1 failed" in said
    assert "get: 799 done, 1 failed" in get(tmp_path, "l.csv", "--to", "two", *PROCESSES, code=1)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert outcomes(tmp_path / "one.journal") == outcomes(tmp_path / "two.journal")
    asked = origin.count
    assert "get: 0 done, 799 skipped, 1 failed" in get(tmp_path, "l.csv", "--to", "two", *PROCESSES, code=1)
    assert origin.count == asked + 1, "what is done is not asked for again"


def test_a_worker_that_is_killed_loses_nothing(origin: FaultProxy, tmp_path: Path) -> None:
    begun = Workers(origin, tmp_path)
    os.kill(begun.pids[0], signal.SIGKILL)
    said = begun.end()
    assert begun.process.returncode == 0, said
    assert files(tmp_path / "to") == begun.bodies
    assert len(outcomes(tmp_path / "to.journal")) == begun.count


@pytest.mark.parametrize("is_worker", [True, False], ids=["the worker", "the run"])
def test_finished_parts_outlive_who_is_killed(is_worker: bool, origin: FaultProxy, tmp_path: Path) -> None:
    parts, size = 20, 1 << 20
    origin.objects = {"/0": os.urandom(parts * size)}
    origin.gives_ranges = True
    origin.always = Fault(rate=size)
    value = hasher("crc64nvme")
    value.update(origin.objects["/0"])
    checksum = f"crc64nvme:{base64_of(value.digest())}"
    links(tmp_path / "l.csv", [row | {"size": parts * size, "checksum": checksum} for row in many(origin, 1)])
    given = ("l.csv", "--to", "to", "--part-size", "1MiB", "--part-concurrency", "3", "--executor", "processes:1")
    with subprocess.Popen([*BULKPRESIGN, "get", *given], cwd=tmp_path, stderr=subprocess.PIPE) as process:
        wait_until(lambda: origin.count >= 12)
        (worker,) = workers_of(process.pid)
        os.kill(worker if is_worker else process.pid, signal.SIGKILL)
        if not is_worker:
            process.wait()
            wait_until(lambda: not is_alive(worker))
        before, origin.always = origin.count, None
        process.wait(30)
    if not is_worker:
        get(tmp_path, *given, code=0)
    assert origin.count - before < parts, "some parts came before, and were reported"
    assert files(tmp_path / "to") == {"d/0": origin.objects["/0"]}


def test_ctrl_c_ends_all_of_it(origin: FaultProxy, tmp_path: Path) -> None:
    begun = Workers(origin, tmp_path)
    begun.process.send_signal(signal.SIGINT)
    begun.end()
    assert begun.process.returncode == 130
    kept = files(tmp_path / "to")
    assert all(begun.bodies[path] == body for path, body in kept.items() if not path.endswith(".part"))
    done = [row for row in outcomes(tmp_path / "to.journal") if row[1] == "done"]
    left = (tmp_path / "f.csv").read_text().count("\n") - 1
    assert len(done) + left == begun.count, "each object is done, or in the failures file"
    origin.always = None
    assert "failed" not in get(tmp_path, "l.csv", "--to", "to", *PROCESSES, code=0)
    assert files(tmp_path / "to") == begun.bodies


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_loses_no_outcome(number: int, origin: FaultProxy, tmp_path: Path) -> None:
    """As service managers and batch systems send it to all processes of a job."""
    begun = Workers(origin, tmp_path)
    for pid in (*begun.pids, begun.process.pid):
        os.kill(pid, number)
    begun.end()
    assert begun.process.returncode == 128 + number
    whole = [path for path in files(tmp_path / "to") if not path.endswith(".part")]
    done = [row for row in outcomes(tmp_path / "to.journal") if row[1] == "done"]
    assert len(done) == len(whole) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_alone_gets_a_signal_goes_on(number: int, origin: FaultProxy, tmp_path: Path) -> None:
    begun = Workers(origin, tmp_path)
    os.kill(begun.pids[0], number)
    said = begun.end()
    assert begun.process.returncode == 0, said
    assert f"get: {begun.count:,} done" in said
    assert files(tmp_path / "to") == begun.bodies


def test_more_processes_than_cores(origin: FaultProxy, tmp_path: Path) -> None:
    """A warning, and the run goes on."""
    origin.objects = {"/0": b"object"}
    links(tmp_path / "l.csv", many(origin, 1))
    cores = usable_cores()
    said = get(tmp_path, "l.csv", "--to", "to", "--executor", f"processes:{cores + 1}", code=0)
    warning, _ = said.splitlines()
    assert warning.startswith(f"warning: executor processes:{cores + 1}: this process may use {cores} core")
    assert files(tmp_path / "to") == {"d/0": b"object"}
    assert "warning" not in get(tmp_path, "l.csv", "--to", "b", "--executor", f"processes:{cores}", code=0)


def test_workers_end_with_a_coordinator_that_is_killed(origin: FaultProxy, tmp_path: Path) -> None:
    begun = Workers(origin, tmp_path)
    begun.process.kill()
    begun.end()
    origin.always = None
    get(tmp_path, "l.csv", "--to", "to", code=0)
    assert files(tmp_path / "to") == begun.bodies


def test_the_coordinator_renews(origin: FaultProxy, tmp_path: Path) -> None:
    """And a server that is asked for checksums, and refuses, is asked without."""
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(600)}
    origin.schedule = lambda seen: None if "fresh" in seen.target else expired()
    links(tmp_path / "l.csv", [row | {"expires_at": OVER} for row in many(origin, 600)])
    (tmp_path / "renew.py").write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    row = json.loads(line)\n"
        "    row['url'] = row['url'].partition('?')[0] + '?X-Amz-Signature=fresh-secret'\n"
        "    print(json.dumps(row | {'expires_at': '2099-01-01T00:00:00Z'}))\n"
    )
    command = f"{shlex.quote(sys.executable)} renew.py"
    assert "get: 600 done" in get(tmp_path, "l.csv", "--to", "to", "--renew-command", command, *PROCESSES, code=0)
    assert "600 expired" in get(tmp_path, "l.csv", "--to", "other", *PROCESSES, code=3)


def test_workers_hold_no_credentials(seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path) -> None:
    bucket = make_bucket(seaweedfs)
    for number in range(40):
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"a/{number}", Body=f"object {number}".encode() * 1000)
    secret = seaweedfs.environment["AWS_SECRET_ACCESS_KEY"]
    command = [*BULKPRESIGN, "get", f"s3://{bucket}/a/", "--to", "to", "--limit-rate", "100KB", *PROCESSES]
    with subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | seaweedfs.environment, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: len(workers_of(process.pid)) >= 1 and len(list((tmp_path / "to").rglob("*"))) > 3)
        assert memory_has(process.pid, secret.encode()), "the scan finds it where it is"
        for pid in workers_of(process.pid):
            assert secret.encode() not in (Path("/proc") / str(pid) / "environ").read_bytes()
            assert not memory_has(pid, secret.encode())
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(files(tmp_path / "to")) == 40


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("processes:0", "the number of processes is from 1"),
        ("processes:x", "the number of processes is from 1"),
        ("threads", "is not one of processes, processes:N and dask:ADDRESS"),
        ("dask:", "is not one of processes, processes:N and dask:ADDRESS"),
    ],
)
def test_an_executor_that_is_none(tmp_path: Path, executor: str, message: str) -> None:
    links(tmp_path / "l.csv", [{"url": "http://127.0.0.1:1/a"}])
    assert message in refused(tmp_path, "l.csv", "--to", "to", "--executor", executor)
    assert not (tmp_path / "to").exists()


def test_more_processes_than_the_system_has_threads_for(tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": "http://127.0.0.1:1/a"}])
    script = 'ulimit -v 1500000; exec "$@"'
    words = ["get", "l.csv", "--to", "to", "--executor", "processes:4096"]
    done = subprocess.run(
        ["bash", "-c", script, "-", *BULKPRESIGN, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "error: executor processes:4096: can't start new thread: use fewer processes\n" in done.stderr
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("quota", "most"),
    [("100000 100000", 1), ("10000 100000", 1), ("150000 100000", 2), ("max 100000", 4096), ("", 4096)],
)
def test_a_container_has_the_cores_of_its_quota(
    quota: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(workers, "_CPU_QUOTA", tmp_path / "cpu.max")
    assert usable_cores() == min(most, len(os.sched_getaffinity(0)))


def test_workers_import_nothing_of_aws_and_start_fast(tmp_path: Path) -> None:
    mains = ("process", "worker", "sign_worker")
    code = "".join(f"import bulkpresign.scale.{main}\n" for main in mains) + "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "bulkpresign" in loaded
    assert not loaded & {"aioboto3", "aiobotocore", "boto3", "botocore", "aiohttp", "click", "tqdm", "sqlite3"}


def test_help_says_what_it_is() -> None:
    assert "--executor processes[:N]|dask:ADDRESS" in run("get", "--help", folder=Path(), env={}).stdout


def test_a_run_that_is_cancelled_while_its_workers_end_leaves_neither_these_nor_its_journal(
    origin: FaultProxy, tmp_path: Path
) -> None:
    origin.objects = {"/a": b"x"}

    async def main() -> None:
        def cancel(event: bp.Event) -> None:
            if isinstance(event, RunFinished):
                asyncio.get_running_loop().call_soon(task.cancel)

        settings: dict[str, Any] = {"executor": "processes:1", "listeners": [cancel]}
        task = asyncio.create_task(bp.get(f"{origin.url}/a", tmp_path / "to", **settings))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert workers_of(os.getpid()) == []
        assert (await bp.get(f"{origin.url}/a", tmp_path / "to")).skipped == 1

    asyncio.run(main())
