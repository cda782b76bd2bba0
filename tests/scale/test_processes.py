"""The executor of worker processes, and the program that they run."""

import operator
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulkpresign.errors import WorkerLostError
from bulkpresign.scale import processes
from bulkpresign.scale.processes import LENGTH, Processes
from tests.scale.processes import is_alive, wait_until, workers_of


def test_calls_run_in_processes_of_their_own() -> None:
    with Processes(2) as executor:
        pids = {executor.submit(os.getpid).result() for _ in range(10)}
        assert os.getpid() not in pids
        assert len(pids) <= 2
        with pytest.raises(FileNotFoundError, match="missing"):
            executor.submit(os.stat, "missing").result()
    assert workers_of(os.getpid()) == []
    with pytest.raises(RuntimeError, match="was shut down"):
        executor.submit(os.getpid)


def test_they_start_before_there_is_a_call() -> None:
    """Meanwhile the coordinator loads its credentials."""
    with Processes(2):
        wait_until(lambda: len(workers_of(os.getpid())) == 2)
    assert workers_of(os.getpid()) == []


def test_only_the_call_of_a_lost_worker_fails() -> None:
    with Processes(1) as executor:
        first = executor.submit(os.getpid).result()
        with pytest.raises(WorkerLostError, match="a worker ended by signal 9"):
            executor.submit(os.kill, first, signal.SIGKILL).result()
        with pytest.raises(WorkerLostError, match="a worker ended with code 3"):
            executor.submit(os._exit, 3).result()
        assert executor.submit(os.getpid).result() != first


def test_a_worker_that_is_killed_while_it_waits_costs_no_call() -> None:
    with Processes(1) as executor:
        first = executor.submit(os.getpid).result()
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)  # once all of its threads have ended
        assert executor.submit(os.getpid).result() != first


def test_one_that_stops_answering_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SILENCE", 2.5)
    with Processes(1) as executor:
        assert executor.submit(time.sleep, 4).result() is None, "it sends heartbeats"
        first = executor.submit(os.getpid).result()
        with pytest.raises(WorkerLostError, match=r"no heartbeat for 2\.5 s"):
            executor.submit(os.kill, first, signal.SIGSTOP).result()
        assert executor.submit(os.getpid).result() != first
    assert workers_of(os.getpid()) == []


def test_nothing_is_imported_from_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the folder of a download: a partner chooses the names there."""
    monkeypatch.chdir(tmp_path)
    for name in ("pickle", "queue", "msgspec"):
        (tmp_path / f"{name}.py").write_text("open('was imported', 'w')")
    with Processes(1) as executor:
        assert executor.submit(os.getcwd).result() == os.fspath(tmp_path)
    assert not (tmp_path / "was imported").exists()


@pytest.mark.parametrize(
    ("name", "is_given"),
    [
        ("AWS_SECRET_ACCESS_KEY", False),
        ("BULKPRESIGN_RENEW_URL", False),
        ("AWS_CA_BUNDLE", True),
        ("HTTPS_PROXY", True),
    ],
)
def test_the_environment_of_workers(name: str, is_given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "value")
    with Processes(1) as executor:
        assert executor.submit(os.getenv, name).result() == ("value" if is_given else None)


def test_a_call_that_can_not_be_interrupted_is_ended() -> None:
    """As one whose interrupt gets lost in an import: Ctrl-C ended a run once its worker had moved a large object."""
    executor = Processes(1)
    pid = executor.submit(os.getpid).result()
    future = executor.submit(os.system, "sleep 15")
    wait_until(future.running)
    executor.shutdown(cancel_futures=True)
    assert not is_alive(pid)
    with pytest.raises(WorkerLostError):
        future.result()


def test_a_worker_that_starts_during_an_interrupt_is_interrupted() -> None:
    with Processes(1) as executor:
        executor.interrupt()
        with pytest.raises(WorkerLostError, match="the worker was stopped"):
            executor.submit(os.getpid).result()


def test_bytes_of_any_size_arrive_in_order() -> None:
    """They go beside the pickled call."""
    given = [os.urandom(size) for size in (0, 1, 70_000, 3 << 20)]
    with Processes(1) as executor:
        assert executor.submit(operator.concat, given[2], given[3]).result() == given[2] + given[3]
        assert executor.submit(b"".join, given).result() == b"".join(given)
        assert executor.submit(bytes.join, b"", given).result() == b"".join(given)
        assert executor.submit(type, given[0]).result() is bytes


def test_what_a_call_prints_is_no_answer() -> None:
    with Processes(1) as executor:
        assert executor.submit(os.write, 1, b"e" * 100).result() == 100


@pytest.mark.parametrize("shell", ["", "trap '' INT; "], ids=["plain", "SIGINT ignored"])
def test_a_worker_ends_with_its_input(shell: str) -> None:
    """In the middle of a call, and also where a shell has SIGINT ignored, as for background processes."""
    command = f"{shell}exec {sys.executable} -m bulkpresign.scale.process"
    data = pickle.dumps((time.sleep, (60,), {}))
    with subprocess.Popen(["bash", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        worker.stdin.write((1).to_bytes(LENGTH, "big") + len(data).to_bytes(LENGTH, "big") + data)
        worker.stdin.flush()
        assert worker.stdout is not None
        assert worker.stdout.read(1) == b"a"
        worker.stdin.close()
        wait_until(lambda: worker.poll() is not None, 10)
    assert worker.returncode == 0


@pytest.mark.parametrize("sent", range(0, 60, 7))
def test_a_call_that_was_not_sent_whole_is_not_made(sent: int, tmp_path: Path) -> None:
    """Its coordinator ended. Without the bytes that are arguments, the call itself would be whole."""
    made = tmp_path / "made"
    buffers: list[pickle.PickleBuffer] = []
    call = (os.symlink, (pickle.PickleBuffer(b"to" * 20), os.fsencode(made)), dict[str, object]())
    pieces = [pickle.dumps(call, protocol=5, buffer_callback=buffers.append), b"to" * 20]
    frame = len(pieces).to_bytes(LENGTH, "big")
    frame += b"".join(len(piece).to_bytes(LENGTH, "big") + piece for piece in pieces)
    command = [sys.executable, "-m", "bulkpresign.scale.process"]
    ended = subprocess.run(command, input=frame[: len(frame) - 1 - sent], capture_output=True, check=True)
    assert not made.is_symlink()
    assert not ended.stderr


def test_a_worker_that_is_interrupted_before_its_first_batch_ends_quietly() -> None:
    code = "from bulkpresign.scale.worker import Worker; Worker()"
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=True)
    assert not ended.stderr


def test_a_worker_without_any_call_ends_quietly() -> None:
    """As where a run is cancelled while its workers start. One in three printed a traceback."""
    command = [sys.executable, "-m", "bulkpresign.scale.process"]
    for _ in range(10):
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
        assert not ended.stderr
