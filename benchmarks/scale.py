"""`sign` by two worker processes against one process, and the coordinator's limit.

The limit is that of the real coordinator, with its journal, and workers that move nothing. Each worker sleeps, and says
that the objects of its batch are done. What is measured is the CPU time of the coordinating process: batches are
encoded and handed out, results are decoded, counted and recorded. The goal was set in objects a second, on a machine
where csv.reader reads 1.9 million rows a second: their ratio goes to any machine. Both are the best of several rounds,
in turn.
"""

import asyncio
import csv
import gc
import io
import math
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from benchmarks.measuring import cpu_seconds, goal, scratch_folder
from benchmarks.sign import ACCESS, BUCKET, REGION, ROUNDS, SECRET, make_keys
from bulkpresign.cli import GC_THRESHOLD
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome, utc_now
from bulkpresign.scale.coordinator import RemoteExecutor
from bulkpresign.scale.messages import BatchResult, decode_batch, encode_result, finished
from bulkpresign.scale.processes import Processes
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.queue import JobQueue
from bulkpresign.transfer.executor import LocalExecutor
from bulkpresign.transfer.spec import TransferSpec

BATCH = 1000
#: The goal for the coordinator, and what csv.reader read a second on the machine for which it was set.
OBJECTS_PER_SECOND, ROWS_PER_SECOND = 200_000, 1_900_000
#: Objects a second of a worker, as it says, and how much faster it really is, so that the coordinator is the limit.
SPEED, HASTE = 10_000, 20
QUERY = f"X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261124%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature={'4f' * 32}"


def main(*, quick: bool) -> None:
    count = 50_000 if quick else 1_000_000
    with scratch_folder() as folder:
        sign_in_processes(4 * count, folder)
    for workers in (2,) if quick else (2, 8):
        rows, (cpu, wall, batches) = 0.0, (math.inf, math.inf, 0)
        for _ in range(1 if quick else ROUNDS):
            rows = max(rows, csv_rate(count))
            with scratch_folder() as folder:
                cpu, wall, batches = min((cpu, wall, batches), asyncio.run(hand_out(count, workers, folder)))
        print(f"\nA coordinator with {workers} workers, {count:,} objects in {batches:,} batches: {wall:.1f} s")
        print(f"  {cpu:.2f} s of CPU, {cpu / count * 1e6:.1f} us an object, {cpu / batches * 1e3:.1f} ms a batch")
        print(f"  {batches / cpu:,.0f} batches and {count / cpu:,.0f} objects a second of CPU")
        print(f"  {rows:,.0f} rows of csv.reader a second of CPU")
        least = OBJECTS_PER_SECOND / ROWS_PER_SECOND
        goal("objects handed out and recorded, against rows of csv.reader", count / cpu / rows, least=least)


def csv_rate(count: int) -> float:
    """Rows that csv.reader reads a second of CPU: a yardstick for this machine and this Python."""
    text = "".join(f"{BUCKET},{key}\n" for key in make_keys(count))
    return count / cpu_seconds(lambda: deque(csv.reader(io.StringIO(text)), maxlen=0))


def sign_in_processes(count: int, folder: Path) -> None:
    """Signs keys of a CSV file, as commands. Starting the command, and writing the manifest, are in the times.

    Two commands of half the keys each, at the same time, show what the machine gives to processes that share nothing.
    """
    keys, halves = folder / "keys.csv", [folder / "half0.csv", folder / "half1.csv"]
    names = list(make_keys(count))
    for file, some in ((keys, names), (halves[0], names[: count // 2]), (halves[1], names[count // 2 :])):
        with file.open("w") as stream:
            stream.write("bucket,key\n")
            stream.writelines(f"{BUCKET},{key}\n" for key in some)
    ways: dict[str, list[list[str]]] = {
        "one process": [_sign(keys)],
        "processes:2": [_sign(keys, "--executor", "processes:2")],
        "two commands of half the keys": [_sign(half) for half in halves],
    }
    best = dict.fromkeys(ways, math.inf)
    for _ in range(ROUNDS):
        for way, commands in ways.items():
            best[way] = min(best[way], _seconds(commands))
    print(f"\nsign of {count:,} keys: " + ", ".join(f"{way} {seconds:.2f} s" for way, seconds in best.items()))
    one, two, apart = best.values()
    goal("sign by two processes against one", one / two, least=1.8)
    print(f"  two processes that share nothing against one: {one / apart:.2f}, the most that this machine gives")


def _sign(keys: Path, *more: str) -> list[str]:
    output = keys.with_suffix(".links.csv")
    return [sys.executable, "-m", "bulkpresign", "sign", str(keys), "-o", str(output), "-q", *more]


def _seconds(commands: list[list[str]]) -> float:
    """Seconds until all commands, started together, have ended."""
    environment = os.environ | {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
    began = time.monotonic()
    running = [subprocess.Popen(command, env=environment) for command in commands]
    failed = [process.args for process in running if process.wait()]
    if failed:
        raise RuntimeError(f"failed: {failed}")
    return time.monotonic() - began


async def hand_out(count: int, workers: int, folder: Path) -> tuple[float, float, int]:
    """CPU seconds of this process, wall seconds, and batches, for so many objects."""
    clock, tally = Clock(), Tally("get")
    spec = TransferSpec(folder=str(folder / "to"))
    pool = Asleep(workers)
    async with HttpClient(1, clock) as http:
        with Journal(folder / "to.journal", "get", "to") as journal:
            record = Recorder(journal, tally)
            local = LocalExecutor(spec, record, http=http, clock=clock)
            executor = RemoteExecutor(spec, record, pool, local, owner=None)
            made = [jobs(first) for first in range(0, count, BATCH)]
            gc.freeze()  # a run makes its jobs as it goes, and the command line has this threshold
            gc.set_threshold(GC_THRESHOLD)
            cpu, wall = time.process_time(), time.monotonic()
            await executor.run(JobQueue(each(made)), Coordinator())
            record.close()
            cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    pool.close()
    assert tally.report.done == count
    return cpu, wall, pool.executor.batches


def jobs(first: int) -> list[Job]:
    """Downloads, as a manifest of links gives them."""
    return [
        Job(RenewableLink(link(f"d/{number:09d}")), LocalFile(f"d/{number:09d}"))
        for number in range(first, first + BATCH)
    ]


def link(key: str) -> Link:
    return Link(
        "GET", f"https://bucket.s3.amazonaws.com/{key}?{QUERY}", {}, utc_now(), ObjectRef("bucket", key, size=4096)
    )


async def each(made: Sequence[list[Job]]) -> AsyncIterator[list[Job]]:
    for one in made:
        yield one


class Asleep:
    """Worker processes that sleep: see `scale.workers.Workers`."""

    are_local = True
    problem: str | None = None

    def __init__(self, count: int) -> None:
        self.count, self._processes = count, Processes(count)
        self.executor = AsleepExecutor(self._processes)

    def on_report(self, take: Callable[[bytes], object]) -> None:
        self._processes.on_report = take

    def interrupt(self) -> None:
        self._processes.interrupt()

    def close(self) -> None:
        self._processes.shutdown()


class AsleepExecutor(Executor):
    def __init__(self, processes: Executor) -> None:
        self._processes = processes
        self.batches = 0

    def submit(self, _fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.batches += 1
        return self._processes.submit(sleep, *args, **kwargs)


def sleep(data: bytes) -> bytes:
    """The answer of a worker: all objects of the batch are done."""
    batch = decode_batch(data)
    seconds = len(batch.jobs) / SPEED
    time.sleep(seconds / HASTE)
    evidence = Evidence(4096, 1_700_000_000_000_000_000, 1_700_000_000_000_000_000, "5d41402abc4b2a76b9719d911017c592")
    outcome = Outcome(ObjectRef("", ""), "done", 4096, 1, "md5", seconds=0.05, evidence=evidence)
    outcomes = [finished(index, outcome) for index in range(len(batch.jobs))]
    return encode_result(BatchResult(worker="w", outcomes=outcomes, moved=4096 * len(outcomes), seconds=seconds))
