"""The coordinator with executors of the calling program: lost workers, bounds for all of them, other versions."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import botocore
import msgspec
import pytest

import bulkpresign as bp
from bulkpresign.events import BytesMoved, Event
from bulkpresign.scale import messages, processes, sealing
from bulkpresign.scale.mark import check_mark, marked
from bulkpresign.scale.messages import Batch, decode_result, encode_batch
from bulkpresign.scale.pace import Pace
from bulkpresign.scale.worker import close_idle, run_batch
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.spec import TransferSpec
from tests.scale.losing import Losing
from tests.scale.processes import wait_until, workers_of
from tests.servers.proxy import Fault, FaultProxy
from tests.support.events import heard
from tests.support.folders import files


def many(origin: FaultProxy, count: int) -> list[str]:
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(count)}
    return [f"{origin.url}/{n}" for n in range(count)]


def bodies(count: int) -> dict[str, bytes]:
    return {f"{n}": f"object {n}".encode() for n in range(count)}


def get(urls: list[str], to: Path, executor: Executor, **settings: Any) -> tuple[bp.Report, list[bp.Outcome]]:
    outcomes: list[bp.Outcome] = []
    with executor:
        report = asyncio.run(bp.get(urls, to, executor=executor, listeners=[heard(outcomes)], **settings))
    return report, outcomes


def test_any_executor_will_do(origin: FaultProxy, tmp_path: Path) -> None:
    report, outcomes = get(many(origin, 500), tmp_path / "to", ThreadPoolExecutor(3))
    assert (report.done, report.failed) == (500, 0)
    assert files(tmp_path / "to") == bodies(500)
    assert {outcome.object.path for outcome in outcomes} == set(bodies(500))
    assert all(outcome.link is not None and outcome.evidence is not None for outcome in outcomes)


def test_bytes_that_workers_move_are_counted(origin: FaultProxy, tmp_path: Path) -> None:
    urls, events = many(origin, 500), list[Event]()
    with ThreadPoolExecutor(2) as executor:
        report = asyncio.run(bp.get(urls, tmp_path / "to", executor=executor, listeners=[events.append]))
    moved = sum(event.count for event in events if isinstance(event, BytesMoved))
    assert moved == report.bytes == sum(map(len, bodies(500).values()))


def test_a_worker_keeps_its_connections_for_all_batches_of_a_run(origin: FaultProxy, tmp_path: Path) -> None:
    """And nothing of a run for the next one."""
    urls = many(origin, 1000)
    with Losing(lambda _: False) as executor:
        for name in ("one", "two"):
            opened = origin.opened
            report = asyncio.run(bp.get(urls, tmp_path / name, executor=executor, concurrency=4))
            assert report.done == 1000
            assert files(tmp_path / name) == bodies(1000)
            assert 1 <= origin.opened - opened <= 4
    assert len({batch.run for batch in executor.batches}) == 2
    assert len(executor.batches) >= 6


RUNS = """
import asyncio, os, sys
from concurrent.futures import ThreadPoolExecutor
import bulkpresign as bp

def run(number, executor):
    assert asyncio.run(bp.get(sys.argv[2:], f"{sys.argv[1]}/{number}", executor=executor)).done == len(sys.argv) - 2
    print(len(os.listdir("/proc/self/fd")))

for number in range(3):
    with ThreadPoolExecutor(2) as executor:
        run(number, executor)
with ThreadPoolExecutor(2) as executor:
    for number in range(3, 6):
        run(number, executor)
"""


def test_no_file_stays_open_after_a_run(origin: FaultProxy, tmp_path: Path) -> None:
    """Neither by the threads that worked for it and have ended, nor by those that go on."""
    command = [sys.executable, "-c", RUNS, str(tmp_path), *many(origin, 20)]
    counts = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert counts == counts[:1] * 6


def test_the_folder_is_closed_between_the_batches_of_a_worker(origin: FaultProxy, tmp_path: Path) -> None:
    """It may be on a disk that is to be unmounted, and a worker on another machine is told of no end of a run."""
    links = [bp.Link("GET", url, {}, None, bp.ObjectRef("b", "k", path="d/k")) for url in many(origin, 1)]
    jobs = [Job(RenewableLink(link), LocalFile(link.object.file_path)) for link in links]
    batch = msgspec.structs.replace(_batch(str(tmp_path / "to")), jobs=jobs)
    with ThreadPoolExecutor(1) as executor:
        result = decode_result(executor.submit(run_batch, encode_batch(batch)).result())
        assert [finished.status for finished in result.outcomes] == ["done"]
        assert not [file for file in open_files() if file.startswith(str(tmp_path))]
    close_idle()


def test_a_run_that_is_left_closes_what_its_workers_keep_open(origin: FaultProxy, tmp_path: Path) -> None:
    """They are in threads of the program, and each has an event loop with its connections."""

    async def leave() -> None:
        before = open_loops()
        with ThreadPoolExecutor(2) as executor:
            async with bp.get_outcomes(many(origin, 100), tmp_path / "to", executor=executor) as outcomes:
                async for _ in outcomes:
                    break
        assert open_loops() == before

    def open_loops() -> int:
        return open_files().count("anon_inode:[eventpoll]")

    asyncio.run(leave())


def open_files() -> list[str]:
    """The files that this process has open, by their names."""
    names = list[str]()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor with which the folder was listed is closed now
            names.append(str(descriptor.readlink()))
    return names


def test_a_slow_consumer_slows_the_workers(origin: FaultProxy, tmp_path: Path) -> None:
    urls = many(origin, 1200)

    async def consume() -> list[bp.Outcome]:
        found = []
        with ThreadPoolExecutor(2) as executor:
            async with bp.get_outcomes(urls, tmp_path / "to", executor=executor, concurrency=4) as outcomes:
                async for outcome in outcomes:
                    found.append(outcome)
                    if len(found) == 1:
                        await asyncio.sleep(0.5)
                        assert origin.count <= 4 + 256 + 1, "one was taken"
        return found

    found = asyncio.run(consume())
    assert sorted(outcome.object.file_path for outcome in found) == sorted(bodies(1200))
    assert {outcome.status for outcome in found} == {"done"}


def test_an_object_that_costs_its_worker_each_time_is_found(origin: FaultProxy, tmp_path: Path) -> None:
    executor = Losing(lambda batch: any(job.link.url.endswith("/123") for job in batch.jobs))
    report, outcomes = get(many(origin, 300), tmp_path / "to", executor)
    assert (report.done, report.failed) == (299, 1)
    (failed,) = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert (failed.object.path, failed.code) == ("123", "WorkerLost")
    assert len(outcomes) == 300


def test_what_a_lost_worker_finished_is_not_moved_twice(origin: FaultProxy, tmp_path: Path) -> None:
    """Its batch was carried out, and the word of that was lost."""
    lost: list[Batch] = []

    def loses(batch: Batch) -> bool:
        if lost:
            return False
        lost.append(batch)
        thread = threading.Thread(target=run_batch, args=(encode_batch(batch),))
        thread.start()
        thread.join()
        return True

    urls = many(origin, 200)
    links = [
        bp.Link("GET", url, {}, None, bp.ObjectRef("b", url.rpartition("/")[2], size=len(body)))
        for url, body in zip(urls, bodies(200).values(), strict=True)
    ]
    links = [
        msgspec.structs.replace(link, object=msgspec.structs.replace(link.object, etag=_md5(link))) for link in links
    ]
    outcomes: list[bp.Outcome] = []
    executor = Losing(loses)
    with executor:
        asyncio.run(bp.get(links, tmp_path / "to", executor=executor, listeners=[heard(outcomes)]))
    assert origin.count == 200
    assert files(tmp_path / "to") == bodies(200)
    assert {outcome.status for outcome in outcomes} <= {"done", "skipped"}
    assert len(outcomes) == 200


def _md5(link: bp.Link) -> str:
    import hashlib

    return hashlib.md5(f"object {link.object.key}".encode()).hexdigest()


def test_the_bounds_are_for_all_workers_together(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(delay=0.01)
    get(many(origin, 400), tmp_path / "to", ThreadPoolExecutor(3), concurrency=6)
    assert 2 < origin.most_open <= 6
    origin.most_open = 0
    get(many(origin, 40), tmp_path / "other", ThreadPoolExecutor(3), concurrency=2)
    assert origin.most_open <= 2
    origin.always = None
    origin.objects = {f"/{n}": bytes(100_000) for n in range(20)}
    began = time.monotonic()
    get([f"{origin.url}/{n}" for n in range(20)], tmp_path / "third", ThreadPoolExecutor(2), limit_rate=1_000_000)
    assert time.monotonic() - began > 0.5, "2 MB at 1 MB a second, less what a limit lends at its start"


def test_a_server_that_slows_one_worker_slows_all(origin: FaultProxy, tmp_path: Path) -> None:
    urls = many(origin, 1200)
    origin.faults.extend([None] * 300 + [Fault(503, {"Retry-After": "0"})] * 20)
    executor = Losing(lambda _: False)
    report, _ = get(urls, tmp_path / "to", executor)
    assert report.done == 1200
    assert report.slowed > 0
    allowed = [batch.most for batch in executor.batches]
    assert min(allowed) < allowed[0] == 1024


def test_a_worker_of_another_version_is_refused_by_name(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = many(origin, 3)
    data = encode_batch(_batch(str(tmp_path)))
    monkeypatch.setattr(sealing, "__version__", "0.0.1")
    result = decode_result(run_batch(data))
    assert result.problem is not None
    assert f"worker {result.worker}: it has bulkpresign 0.0.1, and the run has {bp.__version__}" in result.problem

    class Old(Losing):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_result(run_batch(data))
            return future

    with pytest.raises(bp.ParameterError, match=r"it has bulkpresign 0\.0\.1"):
        get(urls, tmp_path / "to", Old(lambda _: False))
    assert origin.count == 0


def test_a_worker_with_another_folder_of_that_name_says_so(tmp_path: Path) -> None:
    batch = msgspec.structs.replace(_batch(str(tmp_path)), mark=".bulkpresign-run")
    result = decode_result(run_batch(encode_batch(batch)))
    assert result.problem is not None
    assert f"{tmp_path} is not the folder of the run" in result.problem
    (tmp_path / ".bulkpresign-run").touch()
    assert decode_result(run_batch(encode_batch(batch))).problem is None


@pytest.mark.parametrize("owner", ["", "/data.journal"])
def test_the_mark_that_a_killed_run_left_is_no_data(owner: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with marked(str(tmp_path), owner):
        assert len(files(tmp_path)) == 2
        report = asyncio.run(bp.write_certificate(tmp_path, tmp_path.with_suffix(".jsonl")))
    assert (report.done, report.left_out) == (1, 1)


def test_two_runs_can_mark_a_folder_and_both_name_one_that_is_missing(tmp_path: Path) -> None:
    with marked(str(tmp_path)) as one, marked(str(tmp_path)) as other:
        for mark in (one, other):
            check_mark(str(tmp_path), mark)
    with pytest.raises(bp.ParameterError, match="gone can't be written"), marked(str(tmp_path / "gone")):
        pass


def test_the_mark_is_gone_at_the_end(origin: FaultProxy, tmp_path: Path) -> None:
    get(many(origin, 3), tmp_path / "to", executor := Losing(lambda _: False))
    (mark,) = {batch.mark for batch in executor.batches}
    assert mark is not None
    assert files(tmp_path / "to") == bodies(3)


def test_a_row_that_can_not_be_sent(origin: FaultProxy, tmp_path: Path) -> None:
    (url,) = many(origin, 1)
    link = bp.Link("GET", url, {}, None, bp.ObjectRef("b", "0", extra={"n": 2**70}))
    with ThreadPoolExecutor(1) as executor, pytest.raises(bp.ParameterError, match="a number of over 64 bits"):
        asyncio.run(bp.get([link], tmp_path / "to", executor=executor))


def test_an_executor_that_was_shut_down(origin: FaultProxy, tmp_path: Path) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(bp.BreakerError, match="the executor takes no more work"):
        asyncio.run(bp.get(many(origin, 3), tmp_path / "to", executor=executor))


class Refusing(ThreadPoolExecutor):
    """Takes no call, as where the system allows no more processes."""

    def __init__(self, error: Exception) -> None:
        super().__init__(1)
        self.error = error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BlockingIOError(11, "Resource temporarily unavailable"), "temporarily"),
        (NotImplementedError(), "NotImplemented"),
    ],
)
def test_an_executor_that_takes_no_call(error: Exception, reason: str, origin: FaultProxy, tmp_path: Path) -> None:
    with pytest.raises(bp.BreakerError, match=f"the executor takes no more work: .*{reason}"):
        get(many(origin, 3), tmp_path / "to", Refusing(error))
    with pytest.raises(bp.BreakerError, match=f"the executor takes no more work: .*{reason}"):
        links = [bp.Link("GET", f"{origin.url}/0", {}, None, bp.ObjectRef("b", "0", size=1))]
        asyncio.run(bp.verify(links, tmp_path / "to", executor=Refusing(error)))


def test_an_executor_that_runs_calls_in_the_thread_of_the_run(origin: FaultProxy, tmp_path: Path) -> None:
    class Inline(Losing):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    with pytest.raises(bp.ParameterError, match="runs calls in the thread of the run: use one with threads"):
        get(many(origin, 3), tmp_path / "to", Inline(lambda _: False))


def test_a_worker_without_the_certificates_to_trust_says_so(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has another present folder: the file has a full name."""
    monkeypatch.chdir(tmp_path)
    (bundle,) = (Path(folder) / "cacert.pem" for folder in botocore.__path__)
    shutil.copy(bundle, "ca.pem")
    get(many(origin, 3), tmp_path / "to", executor := Losing(lambda _: False), ca_bundle="ca.pem")
    (batch,) = executor.batches
    assert batch.spec.ca_bundle == os.fspath(tmp_path / "ca.pem")
    Path("ca.pem").unlink()
    result = decode_result(run_batch(encode_batch(msgspec.structs.replace(batch, mark=None, run="other"))))
    assert result.problem is not None
    assert f"{tmp_path}/ca.pem is no file of certificates" in result.problem


def test_what_is_no_executor(tmp_path: Path) -> None:
    with pytest.raises(bp.ParameterError, match="executor of type int is no concurrent"):
        asyncio.run(bp.get(["http://127.0.0.1:1/a"], tmp_path / "to", executor=3))  # type: ignore[arg-type]


def test_a_worker_that_stops_answering_is_replaced(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SILENCE", 3.0)
    origin.always = Fault(delay=0.02)
    urls = many(origin, 900)
    stopped: list[int] = []

    def stop_one() -> None:
        wait_until(lambda: origin.count > 150 and len(workers_of(os.getpid())) == 2)
        stopped.append(workers_of(os.getpid())[0])
        os.kill(stopped[0], signal.SIGSTOP)

    thread = threading.Thread(target=stop_one)
    thread.start()
    report = asyncio.run(bp.get(urls, tmp_path / "to", executor="processes:2", concurrency=8))
    thread.join()
    assert stopped
    assert (report.done + report.skipped, report.failed) == (900, 0)
    assert files(tmp_path / "to") == bodies(900)
    assert workers_of(os.getpid()) == []


def test_batches_grow_to_about_a_second() -> None:
    pace, jobs = Pace(), _jobs(256)
    result = messages.BatchResult(worker="w", seconds=0.05)
    for _ in range(10):
        pace.add(jobs, result)
    assert pace.amount == pytest.approx(256 / 0.05, rel=0.1)
    slow = messages.BatchResult(worker="w", seconds=60.0)
    pace.add(jobs, slow)
    assert pace.amount == pytest.approx(128 / 0.05, rel=0.1)
    for _ in range(20):
        pace.add(jobs, slow)
    assert pace.amount == 16.0


def _jobs(count: int) -> list[Job]:
    return [
        Job(RenewableLink(bp.Link("GET", f"http://h/{n}", {}, None, bp.ObjectRef("b", f"{n}"))), LocalFile(f"{n}"))
        for n in range(count)
    ]


def _batch(folder: str) -> Batch:
    return Batch(run="r", spec=TransferSpec(folder=folder), most=8, mark=None, jobs=())
