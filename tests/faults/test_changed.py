"""What changes under a run: files while they are sent, objects between their parts, and what a journal knew of them."""

import csv
import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from bulkpresign.errors import OutputError
from bulkpresign.events import ObjectsFinished
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.model import Link, ObjectRef, Outcome, ResumePoint
from bulkpresign.pipeline.run.completed import CompletedFilter, all_are_current, files_are_current
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.uploads.body import opened
from tests.conftest import Boto
from tests.faults.conftest import MakeScene, sign
from tests.faults.scene import MIB, Counts, Scene, download, everything
from tests.faults.schedule import ROUNDS
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.links import links

pytestmark = pytest.mark.timeout(240 * ROUNDS)

LARGE = "d2/o11"  # the one of 8 MiB


def test_a_file_that_changes_while_it_is_sent(
    make_scene: MakeScene, counts: Counts, boto: Boto, seaweedfs: S3Server
) -> None:
    scene, bucket = make_scene("put", rate=0.0)
    command = [*scene.arguments("links.csv", "--from", "data"), "--limit-rate", "8MiB"]
    other = scene.schedule.rng.randbytes(8 * MIB)

    def change(seen: Seen) -> None:
        if LARGE in seen.target:
            (scene.data / LARGE).write_bytes(other)

    scene.proxy.schedule = change
    with scene.running(command) as process:
        code = process.wait(60)
    scene.proxy.schedule = scene.schedule
    assert code == 1, scene.said
    assert "changed while it was sent" in scene.said or "shrank while it was sent" in scene.said  # as it is met
    scene.ours["file changed"] += 1
    scene.objects[LARGE] = other
    scene.finish(command)
    counts.close(scene, download(boto(seaweedfs), bucket))


def kill_within(scene: Scene, command: list[str], path: str) -> None:
    """Kills a run once an object has a part of some size, which the server lets grow no further."""
    scene.schedule.otherwise = Fault(hold_after=3 * MIB)
    with scene.running(command) as process:
        while process.poll() is None and not any(
            part.stat().st_size > MIB for part in scene.data.glob(f"{path}.*.part")
        ):
            time.sleep(0.005)
        process.kill()
    scene.schedule.otherwise = None
    assert list(scene.data.glob(f"{path}.*.part"))
    scene.ours["kill -9"] += 1


def keep_large(file: Path, **cells: str) -> None:
    """Leaves one row."""
    with file.open(newline="") as stream:
        rows = [row | cells for row in csv.DictReader(stream) if row["key"] == LARGE]
    links(file, rows)


@pytest.mark.parametrize("signed_again", [False, True], ids=["links without etags", "links signed again"])
@pytest.mark.parametrize("minds_conditions", [True, False])
def test_an_object_that_changes_between_its_parts(
    minds_conditions: bool,
    signed_again: bool,
    make_scene: MakeScene,
    counts: Counts,
    boto: Boto,
    seaweedfs: S3Server,
) -> None:
    scene, bucket = make_scene("get", rate=0.0, ranges=0.0)
    file = scene.folder / "links.csv"
    unknown = {} if signed_again else {"size": "", "etag": "", "checksum": ""}
    keep_large(file, **unknown)
    scene.objects = {LARGE: scene.objects[LARGE]}
    command = [*scene.arguments("links.csv", "--to", "data"), "--limit-rate", "4MiB"]
    kill_within(scene, command, LARGE)
    scene.objects[LARGE] = scene.schedule.rng.randbytes(8 * MIB)
    boto(seaweedfs).put_object(Bucket=bucket, Key=LARGE, Body=scene.objects[LARGE])
    if signed_again:
        sign(scene.folder, f"s3://{bucket}/", "GET")
        keep_large(file)
    if not minds_conditions:
        scene.proxy.drop_conditions = True
    scene.ours["object changed"] += 1
    scene.finish(command)
    assert scene.resumed == 1
    counts.close(scene, everything(scene.data))


def link(url: str = "http://h/a") -> Link:
    return Link("PUT", url, {}, None, ObjectRef("bucket", "a"))


def test_a_file_that_changes_before_its_outcome_is_recorded(tmp_path: Path) -> None:
    """The record is of what was sent, however late it is written."""
    file = tmp_path / "a"
    file.write_bytes(b"sent")
    with Journal(tmp_path / "j", "put", "x") as journal, opened(Folder(tmp_path), "a") as sent:
        record = Recorder(journal, lambda _: None)
        record(ObjectsFinished([Outcome(link().object, "done", 4, link=link(), evidence=sent.evidence("etag"))]))
        file.write_bytes(b"SENT")
        record.flush()
    with Journal(tmp_path / "j", "put", "x") as journal:
        assert CompletedFilter(journal, all_are_current).are_done([(link().object, link())]) == [True]
        completed = CompletedFilter(journal, files_are_current(tmp_path))
        assert completed.are_done([(link().object, link())]) == [False]


def test_what_cannot_be_recorded_is_not_forgotten(tmp_path: Path) -> None:
    counted: list[object] = []
    with Journal(tmp_path / "j", "put", "x") as journal:
        record = Recorder(journal, counted.append)
        record(ObjectsFinished([Outcome(link().object, "done", 1, link=link())]))
        with closing(sqlite3.connect(tmp_path / "j", isolation_level=None)) as other:
            other.execute("DROP TABLE outcomes")
        with pytest.raises(OutputError):
            record.flush()
        assert not counted
        assert [outcome.object.key for outcome in record.unrecorded] == ["a"]


def test_a_journal_is_made_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it makes one leaves what the next one can use."""
    with Journal(tmp_path / "whole", "get", "x"):
        pass
    statements: list[str] = []
    real = sqlite3.connect

    def traced(*arguments: object, **more: object) -> sqlite3.Connection:
        made: sqlite3.Connection = real(*arguments, **more)  # type: ignore[call-overload]
        made.set_trace_callback(statements.append)
        return made

    monkeypatch.setattr(sqlite3, "connect", traced)
    with Journal(tmp_path / "traced", "get", "x"):
        pass
    in_file = [text for text in statements if not re.search(r"\btemp\b", text, re.IGNORECASE)]
    writes = [text.split()[0] for text in in_file if text.split()[0] in {"BEGIN", "CREATE", "INSERT", "COMMIT"}]
    assert writes == ["BEGIN", *["CREATE"] * 5, "INSERT", "INSERT", "COMMIT"]


def get(folder: Path, *arguments: str, code: int = 0) -> str:
    done = run("get", "links.csv", "--to", "data", *arguments, folder=folder, env={})
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture
def one(tmp_path: Path) -> FaultProxy:
    """A server with one large object, and a link for it."""
    proxy = FaultProxy()
    proxy.objects = {"/a": os.urandom(2 * MIB)}
    return proxy


def begun(folder: Path, proxy: FaultProxy, etag: str = "x") -> Path:
    """A run that was killed after the object's first 1,000 bytes."""
    links(folder / "links.csv", [{"bucket": "b", "key": "a", "url": f"{proxy.url}/a"}])
    (folder / "data").mkdir()
    item = Link("GET", f"{proxy.url}/a", {}, None, ObjectRef("b", "a"))
    with Journal(folder / "data.journal", "get", str(folder / "data")) as journal:
        journal.set_resume_point(item, ResumePoint(etag, 2 * MIB))
    part = Path(Folder(folder / "data").target("a").temporary_full_name)
    part.write_bytes(proxy.objects["/a"][:1000])
    return part


def rest(proxy: FaultProxy, etag: str, body: bytes | None = None) -> Fault:
    size = 2 * MIB
    headers = {"ETag": f'"{etag}"', "Content-Range": f"bytes 1000-{size - 1}/{size}"}
    return Fault(206, headers, proxy.objects["/a"][1000:] if body is None else body)


def test_a_part_of_another_object_is_not_gone_on_with(one: FaultProxy, tmp_path: Path) -> None:
    """Under a key of KMS no hash tells, so the etag has to."""
    with one:
        begun(tmp_path, one, "not-an-md5")
        one.faults.append(rest(one, "another", os.urandom(2 * MIB - 1000)))
        get(tmp_path)
        assert everything(tmp_path / "data") == {"a": one.objects["/a"]}
        assert [seen.header("range") for seen in one.seen] == ["bytes=1000-", None]


def test_a_part_does_not_replace_what_must_stay(one: FaultProxy, tmp_path: Path) -> None:
    with one:
        begun(tmp_path, one)
        (tmp_path / "data" / "a").write_bytes(b"another")
        one.always = rest(one, "x")
        assert "another file of that name" in get(tmp_path, "--if-exists", "fail", code=1)
        assert (tmp_path / "data" / "a").read_bytes() == b"another"


def test_a_part_goes_where_the_file_stays(one: FaultProxy, tmp_path: Path) -> None:
    """A run that ends with 0 leaves only the objects, and what was kept once may be replaced later."""
    with one:
        begun(tmp_path, one)
        (tmp_path / "data" / "a").write_bytes(b"another")
        get(tmp_path, "--if-exists", "keep")
        assert everything(tmp_path / "data") == {"a": b"another"}
        get(tmp_path, "--if-exists", "replace")
        assert everything(tmp_path / "data") == {"a": one.objects["/a"]}


def test_a_file_of_the_same_size_and_time_is_seen(one: FaultProxy, tmp_path: Path) -> None:
    """Put in the place of one that was done, as `mv` and `cp -p` do."""
    with one:
        links(tmp_path / "links.csv", [{"bucket": "b", "key": "a", "url": f"{one.url}/a"}])
        get(tmp_path)
        before = (tmp_path / "data" / "a").stat()
        time.sleep(0.02)
        (tmp_path / "other").write_bytes(os.urandom(2 * MIB))
        os.utime(tmp_path / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
        (tmp_path / "other").rename(tmp_path / "data" / "a")
        get(tmp_path)
        assert everything(tmp_path / "data") == {"a": one.objects["/a"]}
