"""Runs that continue with a journal: no repeated requests, the owner of a journal, damaged journals."""

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.runs import Begun, get, refused
from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.disks import mounted
from tests.support.folders import files
from tests.support.links import links, many

COUNT = 20


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": f"object {n}".encode() for n in range(COUNT)}
        yield proxy


@pytest.fixture
def done(origin: FaultProxy, tmp_path: Path) -> Path:
    """A folder in which a run of `l.csv` to `to` has ended; the proxy has forgotten it."""
    links(tmp_path / "l.csv", many(origin, COUNT))
    get(tmp_path, "l.csv", "--to", "to", code=0)
    origin.seen.clear()
    return tmp_path


def again(folder: Path, *arguments: str, code: int = 0) -> str:
    return get(folder, "l.csv", "--to", "to", *arguments, code=code)


def test_what_is_done_is_not_asked_for_again(origin: FaultProxy, done: Path) -> None:
    """Nor does anything else tell that they are the same: the rows have no etags, and the summary says so."""
    said = again(done)
    assert said.startswith(f"get: 0 done, {COUNT} skipped; 0 B in ")
    reason = "as rows have no etag or checksum; --recheck asks the server"
    assert said.endswith(f"\nskipped because of to.journal, {reason}\n")
    assert origin.count == 0
    assert {path.name for path in done.iterdir()} == {"l.csv", "to", "to.journal"}


def test_nor_with_freshly_signed_links_or_by_another_name_of_the_folder(origin: FaultProxy, done: Path) -> None:
    rows = [{**row, "url": row["url"].replace("secret", "fresh-secret")} for row in many(origin, COUNT)]
    links(done / "l.csv", rows[::-1])
    assert f"0 done, {COUNT} skipped" in again(done)
    assert f"0 done, {COUNT} skipped" in get(done, "l.csv", "--to", f"{done}/to/.", code=0)
    assert origin.count == 0


def test_keys_from_a_real_server_signed_twice(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    """Through a proxy that counts; links, fresh links, and the same objects as a listing."""
    bucket = make_bucket(seaweedfs)
    for n in range(5):
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"k {n}", Body=b"x" * n)
    (tmp_path / "keys.csv").write_text("bucket,key\n" + "".join(f"{bucket},k {n}\n" for n in range(5)))
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        env = {**seaweedfs.environment, "AWS_ENDPOINT_URL": proxy.url}
        counts = []
        for _ in range(2):
            assert run("sign", "keys.csv", "-o", "l.csv", folder=tmp_path, env=env).returncode == 0
            time.sleep(1.1)  # the next signature is another
            assert run("get", "l.csv", "--to", "to", folder=tmp_path, env={}).returncode == 0
            counts.append(proxy.count)
        assert run("get", f"s3://{bucket}/", "--to", "to", folder=tmp_path, env=env).returncode == 0
        asked = [seen for seen in proxy.seen if "list-type" not in seen.target]
    assert counts == [5, 5]
    assert len(asked) == 5
    assert files(tmp_path / "to") == {f"k {n}": b"x" * n for n in range(5)}


@pytest.mark.parametrize("table", ["f.csv", "f.jsonl"])
def test_the_failures_file_continues_the_run(table: str, origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, COUNT))
    missing = {name: origin.objects.pop(name) for name in ("/3", "/4")}
    again(tmp_path, "--failures", table, code=1)
    origin.objects |= missing
    origin.seen.clear()
    assert get(tmp_path, table, "--to", "to", code=0).startswith("get: 2 done;")
    assert sorted(seen.target.partition("?")[0] for seen in origin.seen) == ["/3", "/4"]
    assert f"0 done, {COUNT} skipped" in again(tmp_path)
    assert origin.count == 2
    assert len(files(tmp_path / "to")) == COUNT


def _remove(file: Path) -> None:
    file.unlink()


def _shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _same_size_and_time(file: Path) -> None:
    before = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_remove, _shorten, _same_size_and_time])
def test_a_file_that_is_not_as_it_was_left_is_fetched_again(
    change: Callable[[Path], None], origin: FaultProxy, done: Path
) -> None:
    change(done / "to/d/7")
    assert f"1 done, {COUNT - 1} skipped" in again(done)
    assert [seen.target.partition("?")[0] for seen in origin.seen] == ["/7"]
    assert (done / "to/d/7").read_bytes() == b"object 7"


def test_an_upload_is_not_sent_twice_unless_its_file_changed(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "from/d").mkdir(parents=True)
    for n in range(3):
        (tmp_path / f"from/d/{n}").write_text(f"body {n}")
    links(tmp_path / "l.csv", many(origin, 3, method="PUT"))

    def put() -> str:
        sent = run("put", "l.csv", "--from", "from", folder=tmp_path, env={})
        assert sent.returncode == 0, sent.stderr
        return sent.stderr

    assert put().startswith("put: 3 done")
    assert put().startswith("put: 0 done, 3 skipped")
    assert origin.count == 3
    (tmp_path / "from/d/1").write_text("new body")
    assert put().startswith("put: 1 done, 2 skipped")
    assert origin.objects["/1"] == b"new body"
    assert {path.name for path in tmp_path.iterdir()} == {"l.csv", "from", "from.put.journal"}


def test_a_failure_is_tried_again_and_counted_once(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 3))
    origin.always = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    again(tmp_path, code=1)
    origin.always = None
    assert again(tmp_path).startswith("get: 3 done;")
    database = sqlite3.connect(tmp_path / "to.journal")
    rows = database.execute("SELECT status, code FROM outcomes").fetchall()
    database.close()
    assert rows == [("done", None)] * 3


def test_another_destination_or_verb_is_refused(origin: FaultProxy, done: Path) -> None:
    before = (done / "to.journal").read_bytes()
    said = refused(done, "l.csv", "--to", "elsewhere", "--journal", "to.journal")
    assert f"is the journal of get to {done}/to, not of get to {done}/elsewhere" in said
    links(done / "put.csv", many(origin, 1, method="PUT"))
    put = run("put", "put.csv", "--from", "to", "--journal", "to.journal", folder=done, env={})
    assert put.returncode == 2
    assert put.stderr.startswith("error: to.journal is the journal of get to ")
    assert put.stderr.count("\n") == 1
    assert origin.count == 0
    assert not (done / "elsewhere").exists()
    assert (done / "to.journal").read_bytes() == before


def test_a_second_process_is_refused(origin: FaultProxy, tmp_path: Path) -> None:
    begun = Begun(origin, tmp_path)
    try:
        assert "to.journal is in use by another run" in refused(tmp_path, "l.csv", "--to", "to")
    finally:
        begun.stop(signal.SIGTERM)


def test_a_journal_that_is_damaged(origin: FaultProxy, done: Path) -> None:
    (done / "to.journal").write_bytes(os.urandom(10_000))
    said = refused(done, "l.csv", "--to", "to")
    assert f"the journal {done}/to.journal is damaged" in said
    assert "move it away to start anew" in said
    (done / "to.journal").unlink()
    assert f"0 done, {COUNT} skipped" in again(done)  # each file is compared with the server's etag
    assert [seen.header("if-none-match") is not None for seen in origin.seen] == [True] * COUNT


def test_a_journal_of_a_newer_version(origin: FaultProxy, done: Path) -> None:
    database = sqlite3.connect(done / "to.journal")
    database.execute("PRAGMA user_version = 99")
    database.close()
    said = refused(done, "l.csv", "--to", "to")
    assert re.search(r"to.journal was written by a newer version .*: update bulkpresign$", said.strip())
    assert origin.count == 0


def test_a_file_that_is_something_else(origin: FaultProxy, done: Path) -> None:
    (done / "mine.txt").write_text("notes " * 100)
    assert "mine.txt is damaged" in refused(done, "l.csv", "--to", "new", "--journal", "mine.txt")
    assert (done / "mine.txt").read_text() == "notes " * 100
    assert "Is a directory" in refused(done, "l.csv", "--to", "new", "--journal", "to")
    assert "No such file or directory" in refused(done, "l.csv", "--to", "new", "--journal", "none/j")
    assert not (done / "new").exists()
    assert origin.count == 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
@pytest.mark.parametrize("journal_too", [False, True])
def test_a_folder_that_is_read_only(
    journal_too: bool, origin: FaultProxy, done: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The data may be written, what is beside it may not: as a root without its powers."""
    plain = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if journal_too:
        (done / "to.journal").unlink()
    failures = tmp_path_factory.mktemp("kept") / "f.csv"
    failures.write_text("of an earlier run")
    done.chmod(0o555)
    try:
        command = [*plain, *BULKPRESIGN, "get", "l.csv", "--to", "to", "--failures", str(failures)]
        ended = subprocess.run(command, cwd=done, capture_output=True, text=True, timeout=60, check=False)
    finally:
        done.chmod(0o755)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(f"error: the journal {done}/to.journal can't be written: ")
    assert origin.count == 0
    assert failures.read_text() == "of an earlier run"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a new journal, and not for 600 objects."""
    with mounted(tmp_path, "128k") as disk:
        yield disk


def test_a_full_disk(origin: FaultProxy, small_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The journal's disk is full, the data's is not: what was done and not recorded is looked at again."""
    folder = tmp_path_factory.mktemp("full")
    origin.objects = {f"/{n}": b"x" for n in range(600)}
    rows = [
        {**row, "key": f"{n}", "version_id": (version := f"{n}" * 100), "url": f"{row['url']}&versionId={version}"}
        for n, row in enumerate(many(origin, 600))
    ]
    links(folder / "l.csv", rows)
    ended = run(
        *("get", "l.csv", "--to", "to", "--journal", str(small_disk / "j"), "--failures", "f.csv"),
        folder=folder,
        env={},
    )
    assert ended.returncode == 1, ended.stderr
    told = f"error: the journal {small_disk}/j can't be written: database or disk is full, so the run ends"
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    with (folder / "f.csv").open() as stream:
        left = list(csv.DictReader(stream))
    done = int(ended.stderr.partition("get: ")[2].partition(" done")[0]) if "get: " in ended.stderr else 0
    assert len(left) + done >= 600
    get(folder, "f.csv", "--to", "to", code=0)
    assert len(files(folder / "to")) == 600


def test_the_journal_is_beside_the_folder_and_holds_no_signature(origin: FaultProxy, done: Path) -> None:
    assert {name.partition("/")[0] for name in files(done / "to")} == {"d"}
    assert b"secret" not in (done / "to.journal").read_bytes()
    assert (done / "to.journal").stat().st_mode & 0o777 == 0o600
    assert "name a journal with --journal" in refused(done, "l.csv", "--to", "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_ended_goes_on(number: signal.Signals, origin: FaultProxy, tmp_path: Path) -> None:
    begun = Begun(origin, tmp_path)
    begun.stop(number)
    whole = {name for name in files(tmp_path / "to") if not name.endswith(".part")}
    assert 0 < len(whole) < 200
    unfinished = run("report", "to", folder=tmp_path).stdout
    assert "\nrun       not complete: it goes on, or was stopped and the same command continues it\n" in unfinished
    assert (" 0 failed, 0 expired" in unfinished, " interrupted\n" in unfinished) == (True, number == signal.SIGTERM)
    origin.seen.clear()
    assert f" done, {len(whole)} skipped" in get(tmp_path, "l.csv", "--to", "to", code=0)
    bodies = [seen for seen in origin.seen if seen.header("if-none-match") is None]
    assert len(bodies) == 200 - len(whole)
    if number == signal.SIGTERM:
        assert origin.count == 200 - len(whole)
    assert files(tmp_path / "to") == begun.bodies
    origin.seen.clear()
    assert "not complete" not in run("report", "to", folder=tmp_path).stdout
    assert "0 done, 200 skipped" in get(tmp_path, "l.csv", "--to", "to", code=0)
    assert origin.count == 0


def test_progress_counts_what_was_done_before(origin: FaultProxy, done: Path) -> None:
    said = get(done, "l.csv", "--to", "to", "--progress", "json", "-q", code=0)
    last = json.loads(said.splitlines()[-1])
    assert (last["objects"], last["total_objects"]) == (COUNT, COUNT)
