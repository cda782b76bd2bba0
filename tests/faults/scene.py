"""A server behind a proxy with faults, runs of the command line that are stopped in every way, and what must hold."""

import csv
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from tests.faults.schedule import ATTEMPTS, Schedule
from tests.servers.proxy import FaultProxy
from tests.support.cli import BULKPRESIGN
from tests.support.folders import files

KIB, MIB = 1 << 10, 1 << 20
SIZES = (0, 1, 1000, 64 * KIB, 300 * KIB, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB, 5 * MIB, 8 * MIB)
SMALL_OBJECTS = 24
#: Two seconds for all of the bytes, the first of them free, so that a run can be met in the midst of them.
RATE = "8MiB"
FINISHED = {"done", "skipped"}
MOST_RUNS = 4

#: By an object's path: status, and when.
Rows = dict[str, tuple[str, float]]


def contents(rng: random.Random) -> dict[str, bytes]:
    """Objects from nothing to 8 MiB, by their paths."""
    sizes = [*SIZES, *(rng.randrange(20 * KIB) for _ in range(SMALL_OBJECTS))]
    return {f"d{n % 3}/o{n:02}": rng.randbytes(size) for n, size in enumerate(sizes)}


class Watch:
    """Looks at every file under a final name, all the time and in a thread of its own."""

    def __init__(self, folder: Path, objects: dict[str, bytes]) -> None:
        self._folder, self._objects = folder, objects
        self._known: set[tuple[str, int, int, int]] = set()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def look(self) -> None:
        for file in list(self._folder.rglob("*")):
            try:
                self._compare(file)
            except FileNotFoundError:  # a part that got its name meanwhile
                continue

    def _run(self) -> None:
        while not self._ends.wait(0.03):
            self.look()

    def _compare(self, file: Path) -> None:
        found = file.stat()
        path = file.relative_to(self._folder).as_posix()
        state = (path, found.st_ino, found.st_size, found.st_mtime_ns)
        if not file.is_file() or path.endswith(".part") or state in self._known:
            return
        self._known.add(state)
        if file.read_bytes() != self._objects.get(path):
            self.wrong.append(path)


class Kept(NamedTuple):
    """What a run left of an object: so many bytes in its file, or finished parts."""

    size: int
    part_size: int
    finished: set[int]

    def is_gone_on_with(self, asked: str) -> bool:
        """True where a Range asks for what is not there."""
        start, _, _ = asked.removeprefix("bytes=").partition("-")
        if not self.part_size:
            return asked == f"bytes={self.size}-"
        return start.isdecimal() and int(start) // self.part_size + 1 not in self.finished


class Scene:
    """One verb, one folder, one bucket, over any number of runs."""

    def __init__(
        self,
        verb: str,
        folder: Path,
        proxy: FaultProxy,
        schedule: Schedule,
        objects: dict[str, bytes],
        disk: Path | None = None,
        *,
        more: Sequence[str] = (),
    ) -> None:
        self.verb, self.folder, self.proxy, self.schedule = verb, folder, proxy, schedule
        self.objects = objects
        self.data = (disk or folder) / "data"
        self.journal = self.data.with_name("data.journal" if verb == "get" else "data.put.journal")
        self.failures = folder / "failures.csv"
        self.more = more
        self.said = ""
        self.ours: Counter[str] = Counter()
        self.resumed = 0
        self._times_done: Counter[str] = Counter()
        self._before: Rows = {}

    def arguments(self, *what: str) -> list[str]:
        """The command's, but for what it moves."""
        common = ("--attempts", ATTEMPTS, "--limit-rate", RATE, "--concurrency", "6", "--failures", str(self.failures))
        return [*BULKPRESIGN, self.verb, *what, *common, *self.more]

    @contextmanager
    def running(self, command: Sequence[str], env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        """A run, and whatever ends it, what must hold after it."""
        self.schedule.begin_run()
        self._before = self.rows()
        parts, since = self._parts(), self.proxy.count
        log = self.folder / "said.txt"
        with (
            log.open("wb") as stream,
            Watch(self.data if self.verb == "get" else self.folder / "none", self.objects) as watch,
        ):
            process = subprocess.Popen(command, cwd=self.folder, stderr=stream, env={**os.environ, **(env or {})})
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait(30)
        self.said = log.read_text()
        while self.proxy.open_now:  # what was on its way may still reach the server
            time.sleep(0.01)
        watch.look()
        assert watch.wrong == []
        assert "Traceback" not in self.said, self.said
        self._check_requests(parts, since)
        self._check_journal()

    def kill(self, command: Sequence[str], longest: float = 1.0) -> bool:
        """A run that is killed at a random instant; false where it had ended before."""
        with self.running(command) as process:
            self.wait_for_instant(process, longest)
            process.kill()
            code = process.wait(30)
        if code == -signal.SIGKILL:
            self.ours["kill -9"] += 1
            return True
        assert code == 0, self.said
        return False

    def wait_for_instant(self, process: "subprocess.Popen[bytes]", longest: float = 1.0) -> None:
        """Some instant: mostly while bytes are moving, now and then while it starts."""
        rng = self.schedule.rng
        count = self.proxy.count
        if rng.random() < 0.8:
            while self.proxy.count == count and process.poll() is None:
                time.sleep(0.005)
        time.sleep(rng.uniform(0, longest))

    def finish(self, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        """Runs until one ends well, which every one should that nobody stops."""
        for _ in range(MOST_RUNS):
            with self.running(command, env) as process:
                code = process.wait(100)
            if code == 0:
                break
        assert code == 0, self.said
        rows = self.rows()
        assert set(rows) == set(self.objects)
        assert {status for status, _ in rows.values()} <= FINISHED
        skipped = sum(status == "skipped" for status, _ in rows.values())
        assert self._times_done.total() + skipped == len(self.objects)
        with self.failures.open(newline="") as stream:
            assert list(csv.DictReader(stream)) == []

    def lost(self, found: dict[str, bytes]) -> list[str]:
        """Which objects are missing, wrong, or too many, parts among them."""
        return sorted(path for path in found.keys() | self.objects.keys() if found.get(path) != self.objects.get(path))

    def rows(self) -> Rows:
        """The journal's outcomes."""
        return {
            _path_of(name): (status, finished_at)
            for name, status, finished_at in _select(self.journal, "SELECT id, status, finished_at FROM outcomes")
        }

    def _parts(self) -> dict[str, Kept]:
        """By path, where a run has to go on."""
        if self.verb != "get":
            return {}
        finished: dict[str, set[int]] = {}
        for name, number in _select(self.journal, "SELECT id, part_number FROM finished_parts"):
            finished.setdefault(name, set()).add(number)
        found = {}
        for name, size, part_size in _select(self.journal, "SELECT id, size, part_size FROM parts"):
            path = _path_of(name)
            for part in self.data.glob(f"{path}.*.part"):
                kept = Kept(part.stat().st_size, part_size, finished.get(name, set()))
                if kept.finished if part_size else 0 < kept.size < size:
                    found[path] = kept
        return found

    def _check_requests(self, parts: dict[str, Kept], since: int) -> None:
        done = {path for path, (status, _) in self._before.items() if status in FINISHED}
        asked: set[str] = set()
        for seen in self.proxy.seen[since:]:
            name = seen.target.partition("?")[0]
            path = unquote(name).removeprefix("/").partition("/")[2]
            assert path not in done, f"{path} was done before and asked for again"
            kept = parts.get(path)
            if kept and (path not in asked or (kept.part_size and self.schedule.spared(name))):
                assert kept.is_gone_on_with(seen.header("range") or ""), f"{path} has that already"
                assert seen.header("if-match")
            if kept and path not in asked:
                self.resumed += 1
            asked.add(path)

    def _check_journal(self) -> None:
        now = self.rows()
        for path, row in self._before.items():
            if row[0] in FINISHED:
                assert now[path] == row, f"{path} was counted before"
        self._times_done.update(path for path, row in now.items() if row[0] == "done" and self._before.get(path) != row)
        assert max(self._times_done.values(), default=0) <= 1


class Counts:
    """The faults of one test, and what came of them."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.lost: list[str] = []

    def close(self, scene: Scene, found: dict[str, bytes]) -> None:
        """Adds a scene that is over, with what is where everything should be."""
        self.kinds.update(scene.schedule.injected)
        self.kinds.update(scene.ours)
        scene.schedule.injected.clear()
        scene.ours.clear()
        self.lost += scene.lost(found)
        assert self.lost == []

    def json(self, *, passed: bool) -> str:
        """For the closing line."""
        injected = self.kinds.total()
        survived = injected if passed else 0
        return json.dumps({"kinds": self.kinds, "injected": injected, "survived": survived, "lost": len(self.lost)})


def upload(client: Any, bucket: str, objects: dict[str, bytes]) -> None:
    for key, body in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)


def download(client: Any, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [row["Key"] for page in pages for row in page.get("Contents", ())]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def write(folder: Path, objects: dict[str, bytes]) -> None:
    for path, body in objects.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file, whatever its name."""
    return files(folder)


def _select(journal: Path, query: str) -> list[Any]:
    if not journal.exists():
        return []
    with closing(sqlite3.connect(journal)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            return []
        return database.execute(query).fetchall()


def _path_of(identity: str) -> str:
    return identity.rpartition("\0")[2]
