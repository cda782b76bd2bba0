"""`bulkpresign put` killed at any instant, while the server behind it misbehaves."""

from itertools import count

import pytest

from tests.conftest import Boto
from tests.faults.conftest import MakeScene
from tests.faults.scene import Counts, download, everything
from tests.faults.schedule import ROUNDS
from tests.servers.server import S3Server

KILLS = 16


@pytest.mark.timeout(240 * ROUNDS)
def test_a_put_that_is_killed_again_and_again(
    make_scene: MakeScene, counts: Counts, boto: Boto, seaweedfs: S3Server
) -> None:
    killed = 0
    number = count()
    while killed < KILLS * ROUNDS:
        scene, bucket = make_scene("put", f"set {next(number)}")
        command = scene.arguments("links.csv", "--from", "data")
        while killed < KILLS * ROUNDS and scene.kill(command):
            killed += 1
        scene.finish(command)
        counts.close(scene, download(boto(seaweedfs), bucket))
        assert everything(scene.data) == scene.objects
