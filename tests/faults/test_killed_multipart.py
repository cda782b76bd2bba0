"""`bulkpresign put` killed at any instant while objects go up in parts, and the server behind it misbehaves."""

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.conftest import Boto, MakeBucket
from tests.faults.scene import MIB, Counts, Scene, download, everything, write
from tests.faults.schedule import ROUNDS, Schedule, sparing_uploads
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.uploads import open_uploads

KILLS = 5
PART_SIZE = "5MiB"
SIZES = (0, 1, 300_000, 5 * MIB, 5 * MIB + 1, 11 * MIB, 17 * MIB)

PartNumbers = set[tuple[str, int]]


class Uploads(Scene):
    """A scene in which no part goes up again that a run before had kept."""

    #: How many parts were kept over a run.
    kept = 0

    @contextmanager
    def running(self, command: Sequence[str], env: dict[str, str] | None = None) -> Iterator["Popen[bytes]"]:
        since = self.proxy.count
        there = self._finished_parts()
        with super().running(command, env) as process:
            yield process
        sent = {part for seen in self.proxy.seen[since:] if (part := _part(seen.method, seen.target))}
        assert not there & sent
        self.kept += len(there)

    def _finished_parts(self) -> PartNumbers:
        if not self.journal.exists():
            return set()
        with closing(sqlite3.connect(self.journal)) as database:
            try:
                rows = database.execute("SELECT id, part_number FROM finished_parts").fetchall()
            except sqlite3.OperationalError:  # killed before it had a table
                return set()
        return {(name.rpartition("\0")[2], number) for name, number in rows}


def _part(method: str, target: str) -> tuple[str, int] | None:
    number = parse_qs(urlsplit(target).query).get("partNumber")
    return (_path(target), int(number[0])) if number and method == "PUT" else None


def _path(target: str) -> str:
    return unquote(urlsplit(target).path).split("/", 2)[2]


MakeUploads = Callable[[str], tuple[Uploads, str]]


@pytest.fixture
def make_uploads(
    proxy: FaultProxy, seaweedfs: S3Server, make_bucket: MakeBucket, tmp_path: Path, request: pytest.FixtureRequest
) -> MakeUploads:
    def make(name: str) -> tuple[Uploads, str]:
        schedule = Schedule(f"{request.node.name} {name}", rate=0.2)
        bucket, folder = make_bucket(seaweedfs), tmp_path / name
        folder.mkdir()
        scene = Uploads("put", folder, proxy, schedule, _contents(schedule.rng))
        write(scene.data, scene.objects)
        proxy.schedule = sparing_uploads(schedule)
        return scene, bucket

    return make


def _contents(rng: random.Random) -> dict[str, bytes]:
    return {f"d{n % 2}/o{n}": rng.randbytes(size) for n, size in enumerate(SIZES)}


def _sign(scene: Uploads, bucket: str) -> None:
    keys = [f"{bucket},{key},{len(body)}" for key, body in scene.objects.items()]
    (scene.folder / "keys.csv").write_text("\n".join(["bucket,key,size", *keys, ""]))
    done = run(
        "sign", "keys.csv", "-o", "links.csv", "--method", "PUT", "--part-size", PART_SIZE, folder=scene.folder, env={}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(240 * ROUNDS)
@pytest.mark.parametrize("own", [False, True])
def test_a_multipart_put_that_is_killed_again_and_again(
    make_uploads: MakeUploads, counts: Counts, boto: Boto, seaweedfs: S3Server, own: bool
) -> None:
    killed, kept, number = 0, 0, count()
    client: Any = boto(seaweedfs)
    while killed < KILLS * ROUNDS or not kept:  # on a busy machine, all may be killed before their first part
        scene, bucket = make_uploads(f"set {next(number)}")
        if own:
            command = scene.arguments("data", f"s3://{bucket}/", "--part-size", PART_SIZE)
        else:
            _sign(scene, bucket)
            command = scene.arguments("links.csv", "--from", "data")
        left = max(1, KILLS * ROUNDS - killed)
        while left and scene.kill(command):
            killed, left = killed + 1, left - 1
        scene.finish(command)
        counts.close(scene, download(client, bucket))
        assert everything(scene.data) == scene.objects
        if own:  # one that was opened as the process was killed is known to the server alone
            ended = run("abort", f"s3://{bucket}/", folder=scene.folder, env={})
            assert ended.returncode == 0, ended.stderr
        assert open_uploads(client, bucket) == []
        kept += scene.kept
