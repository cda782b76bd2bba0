"""`bulkpresign get` in its own process: exit codes, messages, requests, and files that remain."""

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.runs import Begun, get, refused
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.support.cli import BULKPRESIGN, run
from tests.support.disks import make_read_only, mounted
from tests.support.folders import files
from tests.support.links import OVER, links, many

LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": f"object {n}".encode() for n in range(50)}
        yield proxy


def test_all_is_done_and_nothing_else_is_left(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 50))
    said = get(tmp_path, "l.csv", "--to", "new/out", "--failures", "f.csv", code=0)
    assert said.startswith("get: 50 done; 440 B in ")
    assert said.count("\n") == 1
    assert files(tmp_path / "new/out") == {f"d/{n}": f"object {n}".encode() for n in range(50)}
    with (tmp_path / "f.csv").open() as stream:
        assert list(csv.DictReader(stream)) == []
    assert get(tmp_path, "f.csv", "--to", "x", code=0).splitlines()[-1] == (
        "warning: there were no rows: nothing to do"
    )
    said = get(tmp_path, "l.csv", "--to", "new/out", "-q", code=0)
    assert said == ""


def test_a_to_on_a_read_only_file_system(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 2))
    with mounted(tmp_path / "disk", "1m") as disk:
        (disk / "to").mkdir()
        make_read_only(disk)
        assert "disk/to can't be written: read-only file system" in refused(tmp_path, "l.csv", "--to", "disk/to")
        assert "disk/new can't be made: Read-only file system" in refused(tmp_path, "l.csv", "--to", "disk/new")


def test_a_to_that_cannot_be(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 2))
    (tmp_path / "file").write_text("x")
    before = files(tmp_path)
    assert "file is a file, not a folder" in refused(tmp_path, "l.csv", "--to", "file", "--failures", "f.csv")
    assert "file/a can't be made: Not a directory" in refused(tmp_path, "l.csv", "--to", "file/a")
    long = f"made/{'x' * 256}"
    assert "can't be made: File name too long" in refused(tmp_path, "l.csv", "--to", long)
    assert files(tmp_path) == before
    assert not (tmp_path / "made").exists()
    assert origin.count == 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_a_to_that_is_read_only(origin: FaultProxy, tmp_path: Path) -> None:
    """As a root without its powers, for a root that has them may write anywhere."""
    links(tmp_path / "l.csv", many(origin, 2))
    (tmp_path / "to").mkdir(mode=0o555)
    plain = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    for to, words in (("to", "to can't be written"), ("to/a/b", "to/a/b can't be made: Permission denied")):
        command = [*plain, *BULKPRESIGN, "get", str(tmp_path / "l.csv"), "--to", str(tmp_path / to)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    assert origin.count == 0


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "./a", "a/../b", "a/", "x" * 256, "out/a"])
def test_a_path_that_leaves_the_folder(path: str, origin: FaultProxy, tmp_path: Path) -> None:
    rows = many(origin, 3)
    rows[1]["path"] = path
    links(tmp_path / "l.csv", rows)
    (tmp_path / "outside").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "out").symlink_to(tmp_path / "outside")
    said = refused(tmp_path, "l.csv", "--to", "to", "--failures", "f.csv")
    assert said.startswith(f"error: l.csv:3: column path: path {path!r} is refused")
    assert "column path names another file, --exclude leaves the row out" in said
    assert origin.count == 0
    assert set(files(tmp_path)) == {"l.csv"}


def test_two_rows_on_one_path(origin: FaultProxy, tmp_path: Path) -> None:
    rows = many(origin, 3)
    links(tmp_path / "l.csv", [*rows, {**rows[1], "url": f"{origin.url}/9"}])
    links(tmp_path / "m.csv", rows[2:])
    links(tmp_path / "n.csv", rows)
    said = refused(tmp_path, "l.csv", "--to", "to")
    assert said == "error: l.csv:5: column path: path 'd/1' is the path of l.csv:3 as well\n"
    said = refused(tmp_path, "n.csv", "m.csv", "--to", "to")
    assert said == "error: m.csv:2: column path: path 'd/2' is the path of n.csv:4 as well\n"
    assert origin.count == 0
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "PUT"}, "l.csv:3: column method: a PUT link where GET links are needed"),
        ({"url": "ftp://h/a"}, "l.csv:3: column url: 'ftp://h/a' is not an http(s) url"),
        ({"url": ""}, "l.csv:3: column url: the url is empty"),
        ({"size": "many"}, "l.csv:3: column size: 'many' is not a number of bytes"),
        ({"expires_at": "soon"}, "l.csv:3: column expires_at: 'soon' is not a time"),
        ({"headers": "[]"}, "l.csv:3: column headers: not a JSON object"),
    ],
)
def test_a_bad_row(change: dict[str, str], words: str, origin: FaultProxy, tmp_path: Path) -> None:
    rows = many(origin, 3, method="GET", size="", expires_at="", headers="")
    rows[1] |= change
    links(tmp_path / "l.csv", rows)
    assert words in refused(tmp_path, "l.csv", "--to", "to", "--failures", "f.csv")
    assert origin.count == 0
    assert set(files(tmp_path)) == {"l.csv"}
    assert not (tmp_path / "to").exists()


def test_options_that_cannot_be(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 1))
    for option, value in (("--concurrency", "0"), ("--attempts", "0"), ("--progress", "maybe")):
        assert option.lstrip("-") in refused(tmp_path, "l.csv", "--to", "to", option, value)
    said = refused(tmp_path, "l.csv", "--to", "to", "--failures", "none/f.csv")
    assert "none/f.csv can't be written: No such file or directory" in said
    assert "no such file" in refused(tmp_path, "none.csv", "--to", "to")
    assert origin.count == 0
    assert set(files(tmp_path)) == {"l.csv"}
    assert not (tmp_path / "to").exists()


def test_links_that_are_over(origin: FaultProxy, tmp_path: Path) -> None:
    """The first is sent: who says that our clock is right? Once the server has told its time no other one is."""
    origin.always = expired()
    links(tmp_path / "l.csv", many(origin, 3, expires_at=OVER))
    said = get(tmp_path, "l.csv", "--to", "to", "--concurrency", "1", code=3)
    assert "expired: d/0: the link ended at 2020-01-01 00:00:00Z: 403 AccessDenied: Request has expired\n" in said
    assert "expired: d/1: the link ended at 2020-01-01 00:00:00Z\n" in said
    assert origin.count == 1


def test_links_that_are_over_beside_others(origin: FaultProxy, tmp_path: Path) -> None:
    origin.schedule = lambda seen: expired() if seen.target[1] in "34" else None
    rows = [*many(origin, 3, expires_at=LATER), *many(origin, 5, expires_at=OVER)[3:]]
    links(tmp_path / "l.csv", rows)
    said = get(tmp_path, "l.csv", "--to", "to", "--failures", "f.csv", "--concurrency", "1", code=3)
    assert "get: 3 done, 2 expired;" in said
    assert set(files(tmp_path / "to")) == {"d/0", "d/1", "d/2"}
    with (tmp_path / "f.csv").open() as stream:
        assert [(row["path"], row["reason"].partition(":")[0]) for row in csv.DictReader(stream)] == [
            ("d/3", "AccessDenied"),
            ("d/4", "LinkExpired"),
        ]


def test_a_server_that_says_that_a_link_is_over(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 1))
    origin.always = Fault(403, body=b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
    assert "expired: d/0: 403 AccessDenied: Request has expired\n" in get(tmp_path, "l.csv", "--to", "to", code=3)


def test_servers_that_cannot_be_reached(tmp_path: Path) -> None:
    links(
        tmp_path / "l.csv",
        [{"url": "http://127.0.0.1:1/a?secret"}, {"url": "https://no-such-host.invalid/b?secret"}],
    )
    said = get(tmp_path, "l.csv", "--to", "to", "--attempts", "2", "-v", code=1)
    assert "failed: a: no connection to 127.0.0.1:1: Connect" in said
    assert "failed: b: no such host: no-such-host.invalid (attempt 2)\n" in said
    assert "retry in 0." in said
    assert said.count("\n") == 5


def test_failures_are_named_and_can_be_done_again(origin: FaultProxy, tmp_path: Path) -> None:
    rows = many(origin, 40, bucket="bucket", note="kept, as it is")
    links(tmp_path / "l.csv", [{**row, "key": str(number)} for number, row in enumerate(rows)])
    objects, origin.objects = origin.objects, {f"/{n}": b"x" for n in range(0, 40, 2)}
    said = get(tmp_path, "l.csv", "--to", "to", "--failures", "f.csv", code=1)
    assert said.count("failed: s3://bucket/") == 10
    assert "404 NoSuchKey" in said
    assert "... and 10 more: --failures FILE lists all of them\n" in said
    assert "get: 20 done, 20 failed;" in said
    with (tmp_path / "f.csv").open() as stream:
        failed = list(csv.DictReader(stream))
    assert {row["path"] for row in failed} == {f"d/{n}" for n in range(1, 40, 2)}
    assert {(row["reason"], row["note"]) for row in failed} == {("NoSuchKey: 404 NoSuchKey", "kept, as it is")}
    assert (tmp_path / "f.csv").stat().st_mode & 0o777 == 0o600
    signed = run("sign", "f.csv", folder=tmp_path)
    assert signed.returncode == 0
    assert signed.stdout.count("\n") == 21
    origin.objects = objects
    get(tmp_path, "f.csv", "--to", "to", "--failures", "f2.csv", "-q", code=0)
    assert set(files(tmp_path / "to")) == {f"d/{n}" for n in range(40)}


def test_rows_from_standard_input(origin: FaultProxy, tmp_path: Path) -> None:
    table = "".join(json.dumps(row) + "\n" for row in many(origin, 3))
    done = run("get", "-", "--from-format", "jsonl", "--to", "to", folder=tmp_path, given=table, env={})
    assert done.returncode == 0, done.stderr
    assert set(files(tmp_path / "to")) == {"d/0", "d/1", "d/2"}
    bad = "".join(json.dumps(row) + "\n" for row in [*many(origin, 1), {"url": "no"}])
    done = run("get", "-", "--from-format", "jsonl", "--to", "bad", folder=tmp_path, given=bad, env={})
    assert done.returncode == 2
    assert "-:2: column url: 'no' is not an http(s) url" in done.stderr


def test_rows_that_bring_other_columns_late(origin: FaultProxy, tmp_path: Path) -> None:
    """A failures file of CSV can't take columns that turn up after its header; the run is worth more than those."""
    rows = [{**row, "url": f"{origin.url}/none{n}"} for n, row in enumerate(many(origin, 1500))]
    rows[-1]["late"] = "x"
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    get(tmp_path, "l.jsonl", "--to", "to", "--failures", "f.csv", code=1)
    with (tmp_path / "f.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 1500


def test_a_full_disk(origin: FaultProxy, tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("full")
    origin.objects = {f"/{n}": os.urandom(20_000) for n in range(6)}
    links(folder / "l.csv", many(origin, 6))
    said = get(folder, "l.csv", "--to", str(tiny_disk), "--failures", "f.csv", code=1)
    assert "No space left on device" in said
    whole = {name: body for name, body in files(tiny_disk).items() if not name.endswith(".part")}
    assert whole == {name: origin.objects[f"/{name.removeprefix('d/')}"] for name in whole}
    with (folder / "f.csv").open() as stream:
        failed = {row["path"] for row in csv.DictReader(stream) if row["reason"].startswith("DiskFull: ")}
    assert failed | set(whole) == {f"d/{n}" for n in range(6)}
    assert failed


def test_a_name_that_would_steer_the_terminal_is_shown_escaped(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [{"url": f"{origin.url}/none", "path": "a\x1b[31m\nb"}])
    assert "failed: a\\x1b[31m\\nb: 404 NoSuchKey\n" in get(tmp_path, "l.csv", "--to", "to", code=1)


def test_progress(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 50, size="8"))
    origin.objects = {f"/{n}": b"x" * 8 for n in range(49)}
    said = get(tmp_path, "l.csv", "--to", "json", "--progress", "json", "-q", code=1)
    events = [json.loads(line) for line in said.splitlines()]
    assert events[0]["event"] == "progress"
    expected = {"event": "finished", "objects": 50, "failed": 1, "bytes": 392, "total_objects": 50, "total_bytes": 400}
    expected |= {"done": 49, "skipped": 0, "expired": 0, "bytes_done": 392, "exit_code": 1, "verb": "get"}
    assert expected.items() <= events[-1].items()
    failed = {"event": "failed", "level": "error", "object": "d/49", "code": "NoSuchKey", "message": "404 NoSuchKey"}
    assert failed.items() <= events[-2].items()
    said = get(tmp_path, "l.csv", "--to", "bar", "--progress", "on", code=1)
    assert "get: 100%|" in said
    assert "1 failed" in said


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung up")],
)
def test_stopped_in_the_middle(
    number: signal.Signals, code: int, word: str, origin: FaultProxy, tmp_path: Path
) -> None:
    begun = Begun(origin, tmp_path)
    ended, said = begun.stop(number)
    assert ended == code
    found = files(tmp_path / "to")
    whole = {name: body for name, body in found.items() if not name.endswith(".part")}
    assert said == f"{word}: {len(whole)} done, {200 - len(whole)} left; run the same command to continue\n"
    assert 0 < len(whole) < 200
    assert whole == {name: begun.bodies[name] for name in whole}
    with (tmp_path / "f.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["path"] for row in rows) == sorted(set(begun.bodies) - set(whole))
    assert {row["reason"].split(":")[0] for row in rows} == {"Interrupted"}
    get(tmp_path, "f.csv", "--to", "to", "-q", code=0)
    assert files(tmp_path / "to") == begun.bodies


def test_a_file_of_failures_that_is_there_survives_bad_input(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("mine")
    (tmp_path / "file").write_text("")
    links(tmp_path / "l.csv", many(origin, 1))
    refused(tmp_path, "l.csv", "--to", "file", "--failures", "f.csv")
    assert (tmp_path / "f.csv").read_text() == "mine"
