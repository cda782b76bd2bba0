"""SIGTERM: what is not done is named, and the names are what the next run starts from."""

import csv
from itertools import count

import pytest

from tests.conftest import Boto
from tests.faults.conftest import MakeScene
from tests.faults.scene import FINISHED, Counts, Scene, download, everything
from tests.faults.schedule import ROUNDS
from tests.servers.server import S3Server

pytestmark = pytest.mark.timeout(240 * ROUNDS)

STOPS = 3


def stop(scene: Scene, command: list[str], left: set[str]) -> bool:
    """A run that is asked to end; false where it had ended before. Of `left` each one is done or named, never both."""
    since = scene.proxy.count
    with scene.running(command) as process:
        scene.wait_for_instant(process, 0.5)
        process.terminate()
        code = process.wait(30)
    if code in {0, -15}:  # it had not come to its own handler yet: no stop that counts
        return code != 0
    assert code == 143, scene.said
    scene.ours["SIGTERM"] += 1
    if not scene.failures.exists():  # it had not begun yet
        assert scene.proxy.count == since
        return True
    done = {path for path, (status, _) in scene.rows().items() if status in FINISHED}
    with scene.failures.open(newline="") as stream:
        named = [row["path"] or row["key"] for row in csv.DictReader(stream)]
    assert len(named) == len(set(named))
    assert set(named) == left - done
    return True


def stop_and_go_on(scene: Scene, *where: str) -> None:
    """Each run starts from what the one before has named, the last one from all links."""
    file, left = "links.csv", set(scene.objects)
    number = count()
    while scene.ours["SIGTERM"] < STOPS * ROUNDS and stop(scene, scene.arguments(file, *where), left):
        if scene.failures.exists():
            file = f"left{next(number)}.csv"
            scene.failures.rename(scene.folder / file)
            left -= {path for path, (status, _) in scene.rows().items() if status in FINISHED}
    assert scene.ours["SIGTERM"]
    scene.finish(scene.arguments("links.csv", *where))


def test_a_get_that_is_told_to_end(make_scene: MakeScene, counts: Counts) -> None:
    scene, _ = make_scene("get")
    stop_and_go_on(scene, "--to", "data")
    counts.close(scene, everything(scene.data))


def test_a_put_that_is_told_to_end(make_scene: MakeScene, counts: Counts, boto: Boto, seaweedfs: S3Server) -> None:
    scene, bucket = make_scene("put")
    stop_and_go_on(scene, "--from", "data")
    counts.close(scene, download(boto(seaweedfs), bucket))
