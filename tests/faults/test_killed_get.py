"""`bulkpresign get` killed at any instant, while the server behind it misbehaves."""

from itertools import count

import pytest

from tests.faults.conftest import MakeScene
from tests.faults.scene import Counts, everything
from tests.faults.schedule import ROUNDS

KILLS = 18


@pytest.mark.timeout(240 * ROUNDS)
def test_a_get_that_is_killed_again_and_again(make_scene: MakeScene, counts: Counts) -> None:
    killed = resumed = 0
    number = count()
    while killed < KILLS * ROUNDS:
        scene, _ = make_scene("get", f"set {next(number)}")
        command = scene.arguments("links.csv", "--to", "data")
        while killed < KILLS * ROUNDS and scene.kill(command):
            killed += 1
        scene.finish(command)
        counts.close(scene, everything(scene.data))
        resumed += scene.resumed
    assert resumed >= killed // 6, "too few objects were met in their midst to prove anything"
