"""A disk that is full, and permission that is lost in the midst of a run."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeScene
from tests.faults.scene import Counts, Scene, everything
from tests.faults.schedule import ROUNDS
from tests.servers.proxy import Fault, Seen
from tests.support.disks import mounted
from tests.support.folders import files

pytestmark = pytest.mark.timeout(240 * ROUNDS)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "1m") as disk:
        yield disk


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def failing(scene: Scene, command: list[str]) -> None:
    """A run that can't do everything, and says so."""
    with scene.running(command) as process:
        code = process.wait(100)
    assert code in {1, 2}, scene.said


def test_a_disk_that_is_full(make_scene: MakeScene, counts: Counts, disk: Path) -> None:
    """In the midst of large objects, and again a bit later; the journal is on it as well."""
    scene, _ = make_scene("get", disk=disk)
    command = scene.arguments("links.csv", "--to", str(scene.data))
    for size in ("1m", "6m", "11m"):
        resize(disk, size)
        failing(scene, command)
        assert "No space left" in scene.said or "full" in scene.said
        scene.ours["disk full"] += 1
    assert [name for name in files(scene.data) if not name.endswith(".part")], "it was full before anything was whole"
    resize(disk, "64m")
    scene.finish(command)
    counts.close(scene, everything(scene.data))


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_permission_that_is_lost(make_scene: MakeScene, counts: Counts) -> None:
    """As a root without its powers, for a root that has them may write anywhere."""
    scene, _ = make_scene("get")
    plain = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    command = [*plain, *scene.arguments("links.csv", "--to", "data")]
    folders = [scene.data, *(scene.data / f"d{n}" for n in range(3))]
    lost = threading.Event()

    def hold(seen: Seen) -> Fault | None:
        """What is asked for once all folders are there has to wait until nothing may be written to them."""
        if all(map(Path.exists, folders)):
            lost.wait(30)
        return scene.schedule(seen)

    scene.proxy.schedule = hold
    with scene.running(command) as process:
        while process.poll() is None and not all(map(Path.exists, folders)):
            time.sleep(0.005)
        for folder in folders:
            folder.chmod(0o555)
        lost.set()
        code = process.wait(60)
    for folder in folders:
        folder.chmod(0o755)
    assert code == 1, scene.said
    assert "Permission denied" in scene.said
    scene.ours["permission lost"] += 1
    scene.finish(command)
    counts.close(scene, everything(scene.data))
