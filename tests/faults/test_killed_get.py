"""`bulkpresign get` killed at any instant, while the server behind it misbehaves."""

import csv
from itertools import count
from pathlib import Path

import pytest

from bulkpresign.checksums import base64_of, hasher
from tests.faults.conftest import MakeScene
from tests.faults.scene import MIB, Counts, everything
from tests.faults.schedule import ROUNDS
from tests.servers.proxy import Fault
from tests.support.links import links

KILLS = 18
KILLS_IN_PARTS = 8
IN_PARTS = ("--part-size", "1MiB", "--part-concurrency", "4")


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


def with_checksums(file: Path, objects: dict[str, bytes]) -> None:
    """What lets an object move in parts that boto3's `put_object` gave one md5."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        value = hasher("crc64nvme")
        value.update(objects[row["key"]])
        row["checksum"] = f"crc64nvme:{base64_of(value.digest())}"
    links(file, rows)


@pytest.mark.timeout(240 * ROUNDS)
def test_a_get_in_parts_that_is_killed_again_and_again(make_scene: MakeScene, counts: Counts) -> None:
    """Over a link whose single connection is the limit, so that the parts of an object come side by side."""
    killed = resumed = 0
    number = count()
    while killed < KILLS_IN_PARTS * ROUNDS:
        scene, _ = make_scene("get", f"set {next(number)}", more=IN_PARTS, rate=0.15, ranges=0.15)
        with_checksums(scene.folder / "links.csv", scene.objects)
        scene.schedule.otherwise = Fault(rate=MIB // 2)
        command = scene.arguments("links.csv", "--to", "data")
        while killed < KILLS_IN_PARTS * ROUNDS and scene.kill(command, longest=4.0):
            killed += 1
        assert scene.proxy.most_open > 6, "each of six objects in flight was one request"
        scene.schedule.otherwise = None
        scene.finish(command)
        counts.close(scene, everything(scene.data))
        resumed += scene.resumed
    assert resumed >= killed // 2, "too few objects were met in their midst to prove anything"
