"""`bulkpresign copy` killed at any instant, while the servers on both of its sides misbehave."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Boto, MakeBucket
from tests.faults.scene import Counts, Scene, contents, download, upload
from tests.faults.schedule import ROUNDS, Schedule, sparing_uploads
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.uploads import open_uploads

KILLS = 10
#: They say that an object changed: a copy reports that, and does not begin again.
CHANGES = frozenset({"412", "416"})


class Copies(Scene):
    """A scene whose objects go from a bucket to another one, through one proxy."""

    def __init__(self, folder: Path, proxy: FaultProxy, schedule: Schedule, buckets: tuple[str, str]) -> None:
        more = ("--journal", "copy.journal", "--relay", "--part-size", "5MiB")
        super().__init__("copy", folder, proxy, schedule, contents(schedule.rng), more=more)
        self.journal = folder / "copy.journal"
        self.source, self.destination = buckets

    @property
    def command(self) -> list[str]:
        return self.arguments(f"s3://{self.source}/", f"s3://{self.destination}/")


@pytest.fixture
def make_copies(
    proxy: FaultProxy,
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Any:
    def make(name: str) -> Copies:
        schedule = Schedule(f"{request.node.name} {name}", rate=0.2, ranges=0.3)
        schedule.without = CHANGES
        folder = tmp_path / name
        folder.mkdir()
        scene = Copies(folder, proxy, schedule, (make_bucket(seaweedfs), make_bucket(seaweedfs)))
        upload(boto(seaweedfs), scene.source, scene.objects)
        proxy.schedule = sparing_uploads(schedule)
        return scene

    return make


@pytest.mark.timeout(240 * ROUNDS)
def test_a_copy_that_is_killed_again_and_again(
    make_copies: Any, counts: Counts, boto: Boto, seaweedfs: S3Server
) -> None:
    killed, number = 0, count()
    client: Any = boto(seaweedfs)
    while killed < KILLS * ROUNDS:
        scene = make_copies(f"set {next(number)}")
        while killed < KILLS * ROUNDS and scene.kill(scene.command):
            killed += 1
        scene.finish(scene.command)
        counts.close(scene, download(client, scene.destination))
        ended = run("abort", f"s3://{scene.destination}/", folder=scene.folder, env={})
        assert ended.returncode == 0, ended.stderr
        left = open_uploads(client, scene.destination)
        assert left == [], (left, ended.stdout, ended.stderr)
