"""Ten thousand objects go from SeaweedFS to RGW and back, killed on each way, while the servers misbehave."""

import asyncio
import random
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.proof.certificate import CertificateReader
from tests.conftest import Boto, MakeBucket
from tests.faults.scene import Counts
from tests.faults.schedule import ATTEMPTS, SEED, Schedule, sparing_uploads
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.certificates import root_of
from tests.support.cli import BULKPRESIGN, run
from tests.support.sides import configure
from tests.support.tables import rows_of

COUNT, MIB = 10_000, 1 << 20
#: Requests to the destination before a run is killed, and runs that one way may take.
KILLED_AFTER, MOST_RUNS = COUNT // 3, 5
AWKWARD = ["a b+c", "tab\tx", "nl\ny", "é&<x>\"'", "per%20cent", "한글 😀", "~*?#[x]", "x!", "y,z"]
METADATA = {"ContentType": "text/csv; charset=utf-8", "Metadata": {"author": "me"}}


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    """Most are small; some go as a stream. Those below `parts/` are uploaded in parts."""
    rng = random.Random(f"{SEED} there and back")
    found = {f"awkward/{key}": rng.randbytes(rng.randrange(4096)) for key in AWKWARD}
    found |= {f"parts/{size}": rng.randbytes(size) for size in (16 * MIB, 16 * MIB + 1, 41 * MIB, 208 * MIB)}
    found |= {f"streams/{number}": rng.randbytes(300_000 + number) for number in range(20)}
    small = COUNT - len(found)
    return found | {f"d{n % 97}/o{n:05}": rng.randbytes(int(2 ** rng.uniform(0, 12)) - 1) for n in range(small)}


class Way:
    """One of the two ways: its buckets, and the proxies with faults, of which the last is that of the destination."""

    def __init__(self, name: str, folder: Path, buckets: Sequence[str], proxies: Sequence[FaultProxy]) -> None:
        self.name, self.folder = name, folder
        self.source, self.destination = buckets
        self._proxies = proxies
        self.schedules = [Schedule(f"{name} {number}", rate=0.005, ranges=0.02) for number in range(len(proxies))]

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.jsonl.gz"

    @property
    def command(self) -> list[str]:
        return [
            *(*BULKPRESIGN, "copy", f"s3://{self.source}/", f"s3://{self.destination}/", "--attempts", ATTEMPTS),
            *("--source-profile", "source", "--destination-profile", "destination"),
            *("--journal", f"{self.name}.journal", "--certificate", str(self.certificate)),
        ]

    def go(self) -> None:
        """Copies: a run that is killed, then as many as it takes."""
        for proxy, schedule in zip(self._proxies, self.schedules, strict=True):
            proxy.schedule = sparing_uploads(schedule)
        self._kill()
        self._run()
        skipped = re.search(r"([0-9,]+) skipped", self.said)
        assert skipped, self.said
        assert 0 < int(skipped[1].replace(",", "")) < COUNT
        for _ in range(MOST_RUNS):
            if self.certificate.exists():
                return
            self._run()
        raise AssertionError(self.said)

    def _run(self) -> None:
        for schedule in self.schedules:
            schedule.begin_run()
        done = subprocess.run(self.command, cwd=self.folder, capture_output=True, text=True, check=False)
        self.said = done.stderr
        assert (done.returncode == 0) == self.certificate.exists(), self.said

    def _kill(self) -> None:
        """Kills a run with SIGKILL when it has sent a third of the objects."""
        destination = self._proxies[-1]
        since = destination.count
        process = subprocess.Popen(self.command, cwd=self.folder, stderr=subprocess.DEVNULL)
        try:
            while destination.count - since < KILLED_AFTER:
                assert process.poll() is None
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait(30)
        assert not self.certificate.exists()


@pytest.fixture
def proxies(seaweedfs: S3Server, ceph: S3Server) -> Iterator[dict[str, FaultProxy]]:
    with ExitStack() as stack:
        found = {server.name: stack.enter_context(FaultProxy(server.endpoint_url)) for server in (seaweedfs, ceph)}
        for proxy in found.values():
            proxy.keeps_bodies = False
        yield found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_there_and_back(
    objects: dict[str, bytes],
    counts: Counts,
    seaweedfs: S3Server,
    ceph: S3Server,
    proxies: dict[str, FaultProxy],
    boto: Boto,
    make_bucket: MakeBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buckets = [make_bucket(server) for server in (seaweedfs, ceph, seaweedfs)]
    configure(monkeypatch, tmp_path, seaweedfs, ceph)
    store(boto(seaweedfs), buckets[0], objects, tmp_path / "files")
    root = root_of(objects)
    through = {server.name: replace(server, endpoint_url=proxies[server.name].url) for server in (seaweedfs, ceph)}
    ways = [
        (Way("there", tmp_path, buckets[:2], list(proxies.values())), through["seaweedfs"], through["ceph"]),
        (Way("back", tmp_path, buckets[1:], [proxies["seaweedfs"]]), ceph, through["seaweedfs"]),
    ]
    for way, source, destination in ways:
        configure(monkeypatch, tmp_path, source, destination)
        way.go()
        for schedule in way.schedules:
            counts.kinds.update(schedule.injected)
        counts.kinds["kill -9"] += 1
        assert CertificateReader(str(way.certificate)).certificate.root == root
    configure(monkeypatch, tmp_path, seaweedfs, ceph)  # without faults
    check_metadata(boto(seaweedfs), buckets[2])
    verify_finds_what_is_altered(boto(seaweedfs), buckets[0], buckets[2], objects, tmp_path)


def store(client: Any, bucket: str, objects: dict[str, bytes], folder: Path) -> None:
    """Uploads all objects: those with headers and those in parts one by one."""
    for key, body in objects.items():
        if key.startswith("awkward/"):
            client.put_object(Bucket=bucket, Key=key, Body=body, **METADATA)
            continue
        file = folder / ("parts" if key.startswith("parts/") else "others") / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    for name, part_size in (("parts", 8 * MIB), ("others", None)):
        settings: dict[str, Any] = {"profile_name": "source", "journal": folder / f"{name}.journal"}
        report = asyncio.run(bp.put(folder / name, f"s3://{bucket}/", part_size=part_size, **settings))
        assert report.failed == 0


def check_metadata(client: Any, bucket: str) -> None:
    for key in AWKWARD:
        found = client.head_object(Bucket=bucket, Key=f"awkward/{key}")
        assert {name: found[name] for name in METADATA} == METADATA


def verify_finds_what_is_altered(
    client: Any, source: str, destination: str, objects: dict[str, bytes], folder: Path
) -> None:
    """A byte of one object, an object that is removed, and one that is added, are named: no other."""
    command = ("verify", f"s3://{source}/", f"s3://{destination}/", "--differences", "found.csv")
    whole = run(*command, "--profile", "source", folder=folder, env={})
    assert whole.returncode == 0, whole.stderr
    assert f"verify: {COUNT:,} verified" in whole.stderr
    altered = bytearray(objects["streams/7"])
    altered[1234] ^= 1
    client.put_object(Bucket=destination, Key="streams/7", Body=bytes(altered))
    client.delete_object(Bucket=destination, Key="awkward/nl\ny")
    client.put_object(Bucket=destination, Key="added", Body=b"x")
    found = run(*command, "--profile", "source", folder=folder, env={})
    assert found.returncode == 1
    assert {row["path"]: row["difference"] for row in rows_of(folder / "found.csv")} == {
        "streams/7": "different",
        "awkward/nl\ny": "missing",
        "added": "extra",
    }
