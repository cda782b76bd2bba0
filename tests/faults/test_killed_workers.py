"""Runs with worker processes: the run is killed at any instant, or a worker of it, while the server misbehaves."""

import os
import signal

import pytest

from tests.conftest import Boto
from tests.faults.conftest import MakeScene
from tests.faults.scene import Counts, Scene, download, everything
from tests.faults.schedule import ROUNDS
from tests.scale.processes import wait_until, workers_of
from tests.servers.server import S3Server

KILLS, WORKER_KILLS = 2, 3
PROCESSES = ("--executor", "processes:2")


@pytest.mark.timeout(240 * ROUNDS)
@pytest.mark.parametrize(("verb", "option"), [("get", "--to"), ("put", "--from")])
def test_nothing_is_lost(
    verb: str, option: str, make_scene: MakeScene, counts: Counts, boto: Boto, seaweedfs: S3Server
) -> None:
    for number in range(ROUNDS):
        scene, bucket = make_scene(verb, f"set {number}", more=PROCESSES)
        command = scene.arguments("links.csv", option, "data")
        for _ in range(KILLS):
            scene.kill(command)
        finish_without_workers(scene, command)
        scene.finish(command)
        counts.close(scene, everything(scene.data) if verb == "get" else download(boto(seaweedfs), bucket))
        assert everything(scene.data) == scene.objects


def finish_without_workers(scene: Scene, command: list[str]) -> None:
    """A run that comes to its end although its workers are killed, one after another."""
    with scene.running(command) as process:
        for _ in range(WORKER_KILLS):
            wait_until(lambda: bool(workers_of(process.pid)) or process.poll() is not None)
            scene.wait_for_instant(process, 0.5)
            for pid in workers_of(process.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
                scene.ours["worker killed"] += 1
        code = process.wait(100)
    assert code == 0, scene.said
    assert set(scene.rows()) == set(scene.objects)
