"""A random history of one bucket, its copy and two folders, with a model of what has to be true after every run.

The model has every version of each object, and the time at which it came. Files and copies are read from the disk and
the server. A run that reports an object as done or skipped claims that its destination has a version that the source
had while the run went on.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bulkpresign as bp
from bulkpresign.errors import BreakerError
from bulkpresign.model import Outcome, Report
from bulkpresign.transfer.disk.paths import is_temporary
from tests.faults.scene import FINISHED, KIB, MIB, download
from tests.faults.schedule import ATTEMPTS, Schedule
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.support.cli import BULKPRESIGN
from tests.support.folders import files, write_all
from tests.support.tables import rows_of

PATHS = ("a", "b c+d", "d/é&<x>", "d/한글 😀", "d/x.part", "per%20cent", "q?#x*", "nl\ny")
SIZES = (0, 1, 5000, 5000, 64 * KIB, 200 * KIB, MIB + 1)
PART_SIZE = 64 * KIB
#: A run is disturbed by a change, a cancellation or a kill at one of its first requests, up to this one.
MOST_REQUESTS = 12
#: The kinds of disturbance of a run. A kill is rare, because it needs a new process, which takes long to start.
KINDS = (*("none", "none", "faults", "faults", "change", "cancel") * 2, "kill")


@dataclass
class Ran:
    """A run: when it began, what it told, and the requests that it sent. A run that was ended has no report."""

    since: float
    outcomes: list[Outcome] = field(default_factory=list)
    report: Report | None = None
    requests: int = 0

    @property
    def finished(self) -> set[str]:
        """The keys that were reported as done, or skipped because the right bytes are there."""
        return {it.object.key for it in self.outcomes if it.status in FINISHED and it.message is None}

    def check(self, *, must_succeed: bool) -> None:
        """An object has one outcome, and the report counts it."""
        keys = Counter(it.object.key for it in self.outcomes)
        assert max(keys.values(), default=0) <= 1, keys
        assert not must_succeed or self.finished == set(keys), self.outcomes
        assert not must_succeed or self.report is not None
        if self.report is not None:
            by, report = Counter(it.status for it in self.outcomes), self.report
            counted = (report.done, report.skipped, report.failed, report.expired)
            assert counted == (by["done"], by["skipped"], by["failed"], by["expired"])


class History:
    """One history. `buckets` are the one with the objects, and the one for copies and uploads."""

    def __init__(
        self,
        schedule: Schedule,
        proxy: FaultProxy,
        client: Any,
        buckets: tuple[str, str],
        folder: Path,
        presigner: bp.Presigner,
        run: Callable[..., Any],
    ) -> None:
        """`run` runs a coroutine on the loop of the presigner."""
        self._rng, self._schedule, self._proxy, self._client = schedule.rng, schedule, proxy, client
        self._presigner, self._run = presigner, run
        self.source, self.copies = buckets
        self.folder = folder
        self.data, self.uploads = folder / "data", folder / "uploads"
        self.uploads.mkdir()
        self._versions: dict[str, list[tuple[float, bytes | None]]] = {path: [(0.0, None)] for path in PATHS}
        #: Bytes that were written into the downloads by others.
        self._foreign: dict[str, list[bytes]] = defaultdict(list)

    def step(self) -> None:
        """Something changes, and then something runs."""
        changes = (self.change_object, self.change_object, self.change_copy, self.change_file, self.change_journal)
        for _ in range(self._rng.randrange(4)):
            self._rng.choice(changes)()
        run = self._rng.choice((self.get, self.get, self.get_links, self.put, self.copy, self.compare))
        run()

    # Changes between the runs

    def change_object(self) -> None:
        """Puts or deletes an object. A version counts from the moment at which its request is sent."""
        path, rng = self._rng.choice(PATHS), self._rng
        old = self.objects().get(path)
        if old is not None and rng.random() < 0.25:
            self._client.delete_object(Bucket=self.source, Key=path)
            self._versions[path].append((time.monotonic(), None))
            return
        body = rng.randbytes(rng.choice(SIZES) if old is None or rng.random() < 0.5 else len(old))
        self._versions[path].append((time.monotonic(), body))
        self._client.put_object(Bucket=self.source, Key=path, Body=body)

    def change_copy(self) -> None:
        """Others delete or replace an object at a destination."""
        found = [row["Key"] for row in self._client.list_objects_v2(Bucket=self.copies).get("Contents", ())]
        if found and self._rng.random() < 0.5:
            self._client.delete_object(Bucket=self.copies, Key=self._rng.choice(found))
        elif found:
            key = self._rng.choice(found)
            size = self._client.head_object(Bucket=self.copies, Key=key)["ContentLength"]
            self._client.put_object(Bucket=self.copies, Key=key, Body=self._rng.randbytes(size))

    def change_file(self) -> None:
        """Adds a file to upload; and changes one with its bytes, its size or its mtime as they were, or removes it."""
        rng = self._rng
        write_all(self.uploads, {rng.choice(PATHS): rng.randbytes(rng.choice(SIZES))})
        folder = rng.choice((self.data, self.uploads))
        file = rng.choice([folder / path for path in PATHS])
        change = rng.choice(("bytes", "size", "time", "gone"))
        if not file.exists():
            return
        if change == "gone":
            file.unlink()
            return
        state = file.stat()
        if change != "time":
            size = state.st_size if change == "bytes" else rng.randrange(state.st_size + 1)
            file.write_bytes(rng.randbytes(size))
            self._foreign[file.name].append(file.read_bytes())
        if rng.random() < 0.5:
            os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))

    def change_journal(self) -> None:
        """Keeps the journals elsewhere, and puts those that were kept before in their place, or none."""
        kept, older = self.folder / "kept", self.folder / "older"
        if kept.exists():
            kept.rename(older)
        kept.mkdir()
        for file in self.folder.glob("*.journal*"):
            shutil.move(file, kept)
        if older.exists():
            shutil.copytree(older, self.folder, dirs_exist_ok=True)
            shutil.rmtree(older)

    # Runs

    def get(self, kind: str | None = None) -> Ran:
        """Downloads what the listing has."""
        return self._get(f"s3://{self.source}/", kind)

    def get_links(self) -> None:
        """Downloads through links that were signed now or earlier, whose rows tell etags."""
        file = self.folder / f"links{self._rng.randrange(2)}.csv"
        if not file.exists() or self._rng.random() < 0.4:
            self._run(bp.sign(f"s3://{self.source}/", file, presigner=self._presigner))
        etags = {row["key"]: row["etag"] for row in rows_of(file)}
        if etags:
            self._get(str(file), None, etags)

    def _get(self, source: str, kind: str | None, etags: Mapping[str, str] | None = None) -> Ran:
        settings = {"to": self.data, "part_size": PART_SIZE}
        ran = self._disturbed("get", source, kind=kind, is_stale=etags is not None, **settings)
        now = files(self.data) if self.data.exists() else {}
        for path in ran.finished:
            if etags is None:
                assert now.get(path) in self._had(path, ran.since), f"{path} is no version"
            else:
                assert hashlib.md5(now[path]).hexdigest() == etags[path], f"{path} is not the object of its row"
        for path in PATHS:
            whole = [body for _, body in self._versions[path]] + self._foreign[Path(path).name]
            assert now.get(path) in [*whole, None], f"{path} is not whole"
        return ran

    def put(self, kind: str | None = None) -> Ran:
        """Uploads a folder."""
        local = files(self.uploads)
        ran = self._disturbed("put", str(self.uploads), f"s3://{self.copies}/up/", kind=kind)
        copies = self._copies("up/")
        for key in ran.finished:
            path = key.removeprefix("up/")
            assert copies.get(path) == local[path], f"{path} is not what was uploaded"
        return ran

    def copy(self, kind: str | None = None) -> Ran:
        """Copies from bucket to bucket."""
        relays = self._rng.random() < 0.5
        sides, journal = (f"s3://{self.source}/", f"s3://{self.copies}/to/"), self.folder / "copy.journal"
        ran = self._disturbed("copy", *sides, kind=kind, journal=journal, relay=relays)
        copies = self._copies("to/")
        for path in ran.finished:
            assert copies.get(path) in self._had(path, ran.since), f"{path} is no version"
        return ran

    def compare(self) -> None:
        """Compares the bucket with a folder or its copies: it finds what differs, and nothing else."""
        self.data.mkdir(exist_ok=True)
        found = files(self.data)
        present = {path: body for path, body in found.items() if not is_temporary(str(self.data / path))}
        sides = ((str(self.data), present), (f"s3://{self.copies}/to/", self._copies("to/")))
        other, theirs = self._rng.choice(sides)
        ours, file = self.objects(), self.folder / "differences.csv"
        self._run(bp.compare(f"s3://{self.source}/", other, differences=file))
        expected = dict.fromkeys(ours.keys() - theirs.keys(), "missing")
        expected |= dict.fromkeys(theirs.keys() - ours.keys(), "extra")
        expected |= {path: "different" for path in ours.keys() & theirs.keys() if ours[path] != theirs[path]}
        assert {row["path"]: row["difference"] for row in rows_of(file)} == expected

    def finish(self) -> None:
        """Two runs of each verb that nothing disturbs: the first one leaves nothing to do."""
        for verb in (self.get, self.put, self.copy):
            for again in (False, True):
                ran = verb("none")
                assert not again or (ran.report and ran.report.done == 0), "something was left to do"
                assert not again or ran.requests <= 2, "more was asked than two listings"
        ours = self.objects()
        assert {path: body for path, body in files(self.data).items() if path in ours} == ours
        assert {path: body for path, body in self._copies("to/").items() if path in ours} == ours
        assert files(self.uploads).items() <= self._copies("up/").items()

    # How a run is disturbed

    def _disturbed(self, verb: str, *arguments: str, kind: str | None, is_stale: bool = False, **settings: Any) -> Ran:
        """Runs a verb. `is_stale`: its links can be those of objects that are others now, and fail."""
        kind = kind or self._rng.choice(KINDS)
        self._schedule.begin_run()
        ran, first = Ran(time.monotonic()), self._proxy.count
        at = first + self._rng.randint(1, MOST_REQUESTS)
        if kind == "kill":
            self._kill(verb, arguments, settings, at)
        else:
            try:
                self._run(self._in_process(ran, verb, arguments, settings, kind, at))
            except asyncio.CancelledError:
                assert kind == "cancel"
            except BreakerError:
                assert is_stale
        while self._proxy.open_now:  # a request that was sent may still reach the server
            time.sleep(0.002)
        self._proxy.schedule = lambda _: None
        ran.requests = self._proxy.count - first
        ran.check(must_succeed=kind in ("none", "faults") and not is_stale)
        return ran

    async def _in_process(
        self, ran: "Ran", verb: str, arguments: Sequence[str], settings: Mapping[str, Any], kind: str, at: int
    ) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None

        def meet(seen: Seen) -> Fault | None:
            if kind == "faults":
                return self._schedule(seen)
            if self._proxy.count == at and kind == "change":
                self.change_object()
            elif self._proxy.count == at and kind == "cancel":
                loop.call_soon_threadsafe(task.cancel)
            return None

        self._proxy.schedule = meet
        sides = ("source_presigner", "destination_presigner") if verb == "copy" else ("presigner",)
        presigner = dict.fromkeys(sides, self._presigner)
        outcomes = getattr(bp, f"{verb}_outcomes")(*arguments, attempts=int(ATTEMPTS), **presigner, **settings)
        async with outcomes:
            async for outcome in outcomes:
                ran.outcomes.append(outcome)
        ran.report = outcomes.report

    def _kill(self, verb: str, arguments: Sequence[str], settings: Mapping[str, Any], at: int) -> None:
        names = {"to": "--to", "part_size": "--part-size", "journal": "--journal"}
        options = [text for name, option in names.items() if name in settings for text in (option, settings[name])]
        command = [*BULKPRESIGN, verb, *arguments, *map(str, options), *(["--relay"] if settings.get("relay") else [])]
        with subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and self._proxy.count < at:
                time.sleep(0.001)
            process.kill()

    # The model

    def objects(self) -> dict[str, bytes]:
        """The objects of the source now."""
        return {path: body for path in PATHS if (body := self._versions[path][-1][1]) is not None}

    def _had(self, path: str, since: float) -> list[bytes | None]:
        """The versions of an object from a time on, None for none."""
        versions = self._versions[path]
        return [[body for at, body in versions if at < since][-1], *(body for at, body in versions if at >= since)]

    def _copies(self, prefix: str) -> dict[str, bytes]:
        found = download(self._client, self.copies)
        return {key.removeprefix(prefix): body for key, body in found.items() if key.startswith(prefix)}
