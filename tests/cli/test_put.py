"""`bulkpresign put` in its own process."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkpresign.transfer.disk.paths import temporary_name
from tests.cli.runs import Begun
from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.folders import files
from tests.support.links import links


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        yield proxy


@pytest.fixture
def folder(origin: FaultProxy, tmp_path: Path) -> Path:
    """`in/0` to `in/4`, and links for them in `l.csv`."""
    (tmp_path / "in").mkdir()
    for n in range(5):
        (tmp_path / "in" / f"{n}").write_text(f"object {n}")
    links(tmp_path / "l.csv", many(origin, 5))
    return tmp_path


def many(origin: FaultProxy, count: int, **more: str) -> list[dict[str, str]]:
    return [
        {"method": "PUT", "url": f"{origin.url}/{n}?X-Amz-Signature=secret", "path": f"{n}", **more}
        for n in range(count)
    ]


def put(folder: Path, *arguments: str, code: int) -> str:
    done = run("put", *arguments, folder=folder, env={})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    if code == 2 and "Usage:" not in done.stderr:
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    return done.stderr


def test_all_is_done(origin: FaultProxy, folder: Path) -> None:
    before = files(folder / "in")
    assert put(folder, "l.csv", "--from", "in", code=0).startswith("put: 5 done; 40 B in ")
    assert origin.objects == {f"/{n}": f"object {n}".encode() for n in range(5)}
    assert files(folder / "in") == before


def test_the_headers_of_a_row_are_sent(origin: FaultProxy, folder: Path) -> None:
    links(folder / "l.csv", many(origin, 1, headers='{"Content-Type": "image/png", "x-amz-meta-a": "\ud55c"}'))
    put(folder, "l.csv", "--from", "in", code=0)
    assert origin.seen[0].header("content-type") == "image/png"
    assert origin.seen[0].header("x-amz-meta-a") == "\ud55c".encode().decode("latin-1")


def test_a_from_that_cannot_be(origin: FaultProxy, folder: Path) -> None:
    assert "none is missing" in put(folder, "l.csv", "--from", "none", "--failures", "f.csv", code=2)
    assert "l.csv is not a folder" in put(folder, "l.csv", "--from", "l.csv", code=2)
    assert "put LINKS... --from DIR" in put(folder, "l.csv", code=2)
    said = put(folder, "s3://bucket/prefix/", "in", code=2)
    assert "put DIR s3://bucket/prefix/; get downloads: get s3://bucket/prefix/ --to DIR\n" in said
    said = put(folder, "in/0", "s3://bucket/prefix/", code=2)
    assert said == "error: in/0 is not a folder; --include GLOB selects files of a folder\n"
    (folder / "keys.csv").write_text("key\n0\n")
    assert "put needs a table of links" in put(folder, "keys.csv", "--from", "in", code=2)
    (folder / "failed.csv").write_text("bucket,key,reason\nb,k,503 SlowDown\n")
    assert "sent by the same command again" in put(folder, "failed.csv", "--from", "in", code=2)
    assert origin.count == 0
    assert not (folder / "f.csv").exists()


@pytest.mark.parametrize("path", ["../l.csv", "/etc/passwd", "a//b", "x/../0", "out/l.csv", "link"])
def test_a_path_that_leaves_the_folder(path: str, origin: FaultProxy, folder: Path) -> None:
    (folder / "in" / "out").symlink_to(folder)
    (folder / "in" / "link").symlink_to(folder / "l.csv")
    rows = many(origin, 3)
    rows[1]["path"] = path
    links(folder / "l.csv", rows)
    said = put(folder, "l.csv", "--from", "in", "--failures", "f.csv", code=2)
    assert said.startswith(f"error: l.csv:3: column path: path {path!r} is refused")
    assert origin.count == 0
    assert not (folder / "f.csv").exists()


def test_rows_that_cannot_be_used(origin: FaultProxy, folder: Path) -> None:
    rows = many(origin, 2)
    rows[1]["method"] = "GET"
    links(folder / "l.csv", rows)
    said = put(folder, "l.csv", "--from", "in", code=2)
    assert said == "error: l.csv:3: column method: a GET link where PUT links are needed\n"
    links(folder / "l.csv", many(origin, 2) + many(origin, 1))
    said = put(folder, "l.csv", "--from", "in", code=2)
    assert said == "error: l.csv:4: column path: path '0' is the path of l.csv:2 as well\n"
    assert origin.count == 0


def test_files_that_are_missing_fail_and_the_rest_is_done(origin: FaultProxy, folder: Path) -> None:
    (folder / "in" / "3").unlink()
    said = put(folder, "l.csv", "--from", "in", "--failures", "f.csv", code=1)
    assert "failed: 3: in/3 can't be read: No such file or directory\n" in said
    assert len(origin.objects) == 4
    (folder / "in" / "3").write_text("object 3")
    put(folder, "f.csv", "--from", "in", code=0)
    assert len(origin.objects) == 5


def test_links_that_are_over(origin: FaultProxy, folder: Path) -> None:
    rows = many(origin, 5, expires_at="2099-01-01T00:00:00Z")
    for row in rows[2:]:
        row["expires_at"] = "2020-01-01T00:00:00Z"
    origin.schedule = lambda seen: expired() if seen.target[1] in "234" else None
    links(folder / "l.csv", rows)
    assert "2 done, 3 expired" in put(folder, "l.csv", "--from", "in", "--concurrency", "1", code=3)
    assert origin.count == 3  # the first that is over tells the server's time
    links(folder / "l.csv", rows[2:])
    put(folder, "l.csv", "--from", "in", "--concurrency", "1", code=3)
    assert origin.count == 4


def test_a_refusal(origin: FaultProxy, folder: Path) -> None:
    (folder / "in" / "0").write_bytes(os.urandom(5_000_000))
    origin.always = Fault(403, body=b"<Error><Code>SignatureDoesNotMatch</Code></Error>", early=True)
    for _ in range(3):  # uvloop here
        said = put(folder, "l.csv", "--from", "in", code=1)
        assert said.count("403 SignatureDoesNotMatch (the method") == 5
    # A server that hangs up on bytes it did not read sends a reset, which can overtake its answer (RFC 9112, 9.6);
    # the object is then tried again. A refusal that is read is never tried again, so that is rare.
    assert 15 <= origin.count <= 18


def test_stopped_in_the_middle(origin: FaultProxy, folder: Path) -> None:
    origin.faults.extend([None, None])
    origin.always = Fault(delay=60)
    command = [*BULKPRESIGN, "put", "l.csv", "--from", "in", "--failures", "f.csv", "--concurrency", "1"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    while origin.count < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "interrupted: 2 done, 3 left; run the same command to continue\n"
    with (folder / "f.csv").open() as stream:
        left = [row["path"] for row in csv.DictReader(stream)]
    assert left == ["2", "3", "4"]
    origin.always = None
    put(folder, "f.csv", "--from", "in", code=0)
    assert len(origin.objects) == 5


def test_the_two_forms_are_told_apart(folder: Path) -> None:
    for arguments in (["in", "s3://bucket/", "--from", "in"], ["in", "elsewhere"], ["in"]):
        assert "put LINKS... --from DIR, or: put DIR s3://bucket/prefix/" in put(folder, *arguments, code=2)
    assert "is a key" in put(folder, "in", "s3://bucket/key", code=2)


@pytest.mark.slow
def test_unfinished_downloads_and_journals_in_a_folder_are_left_out(
    origin: FaultProxy, seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    """A folder of a killed download and its journal are in the folder. Other files with such names are data."""
    begun = Begun(origin, tmp_path)
    begun.stop(signal.SIGKILL)
    names = {"to/mine.0a1b2c3d.part", "mine.journal", "x.part"}
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    unfinished = [f"to/d/{temporary_name(path)}" for path in ("d/150", f"d/{'long' * 60}")]
    for name in unfinished:
        (tmp_path / name).write_bytes(b"half")
    journals = [path for path in files(tmp_path) if path.startswith("to.journal")]
    assert len(journals) == 3
    whole = files(tmp_path).keys() - {*unfinished, *journals}
    bucket = make_bucket(seaweedfs)
    settings = ["--failures", "bad.csv", "--journal", "my.db"]
    for _ in range(2):
        done = run("put", ".", f"s3://{bucket}/", *settings, folder=tmp_path, env=seaweedfs.environment)
        assert done.returncode == 0, done.stderr
        assert "of bulkpresign: unfinished downloads (.part) and journals" in done.stderr
    listed = boto(seaweedfs).list_objects_v2(Bucket=bucket)["Contents"]
    assert {row["Key"] for row in listed} == whole
    nested = run("put", "to/d", f"s3://{bucket}/d/", "--dry-run", folder=tmp_path, env=seaweedfs.environment)
    assert f"left out: {len(unfinished)} files of bulkpresign" in nested.stderr
    compared = [".", f"s3://{bucket}/", "--exclude", "bad.csv", "--exclude", "my.db*"]
    verified = run("verify", *compared, folder=tmp_path, env=seaweedfs.environment)
    assert verified.returncode == 0, verified.stderr
    assert f"left out: {len(unfinished) + 3} files of bulkpresign" in verified.stderr
    certified = run("verify", ".", "--write-certificate", "../c.jsonl", folder=tmp_path, env={})
    assert f"left out: {len(unfinished) + 3} files of bulkpresign" in certified.stderr
