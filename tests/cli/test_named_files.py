"""The files of options: no two may be the same file, and no name may be empty."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.errors import ParameterError
from tests.support.cli import run

LINKS = b"url,method,path\nhttp://127.0.0.1:1/k,%s,k\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables of links that lead nowhere, other names of them, a folder with a file, and a journal."""
    (tmp_path / "i.csv").write_bytes(LINKS % b"GET")
    (tmp_path / "u.csv").write_bytes(LINKS % b"PUT")
    for name in ("i.csv", "u.csv"):
        (tmp_path / f"symbolic-{name}").symlink_to(name)
        os.link(tmp_path / name, tmp_path / f"hard-{name}")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "k").write_bytes(b"x")
    with sqlite3.connect(tmp_path / "earlier") as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


GET = ["get", "i.csv", "--to", "data"]
PUT = ["put", "u.csv", "--from", "in"]
FOLDER = ["put", "in", "s3://bucket/p/"]
VERIFY = ["verify", "i.csv", "--in", "in"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(
            ([*verb, option, name], f"{option} {name} is the table {verb[1]}")
            for verb, option in ((GET, "--failures"), (GET, "--journal"), (PUT, "--failures"), (VERIFY, "--failures"))
            for name in (verb[1], f"symbolic-{verb[1]}", f"hard-{verb[1]}", f"in/../{verb[1]}")
        ),
        ([*GET, "--failures", "x", "--journal", "./x"], "--failures x is the journal of this run"),
        ([*GET, "--failures", "x-wal", "--journal", "x"], "--failures x-wal is the journal of this run"),
        ([*FOLDER, "--failures", "x", "--journal", "in/../x"], "--failures x is the journal of this run"),
        ([*GET, "--failures", "earlier"], "--failures earlier is a journal"),
        ([*VERIFY, "--failures", "earlier"], "--failures earlier is a journal"),
        ([*GET, "--failures", "data.journal"], "--failures data.journal has the name of a journal"),
        ([*GET, "--failures", ""], "--failures is empty"),
        ([*GET, "--journal", ""], "--journal is empty"),
        (["get", "i.csv", "--to", ""], "the name of the folder is empty"),
        (["put", "u.csv", "--from", ""], "the name of the folder is empty"),
        (["put", "", "s3://bucket/p/"], "the name of the folder is empty"),
        (["verify", "i.csv", "--in", ""], "the name of the folder is empty"),
        (["get", "", "--to", "data"], "the name of a source is empty: name a table, or s3://bucket/prefix/"),
        (["sign", "", "-o", "l.csv"], "the name of a source is empty"),
        (["sign", "i.csv", "-o", ""], "the name of the file to write is empty: name one; - is standard output"),
    ],
)
def test_a_name_that_would_destroy_something_is_refused(folder: Path, arguments: list[str], words: str) -> None:
    before = contents(folder)
    done = run(*arguments, folder=folder)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert words in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "i.csv", "--to"],
        ["put", "u.csv", "--from"],
        ["verify", "i.csv", "--in"],
        ["split", "i.csv", "-n", "2", "-o"],
        ["sign", "s3://bucket/key", "-o"],
        ["post", "s3://bucket/key", "-o"],
        ["verify", "in", "--write-certificate"],
        ["verify", "in", "in", "--differences"],
        [*GET, "--failures"],
        [*GET, "--journal"],
    ],
)
@pytest.mark.parametrize("name", ["s3://bucket/x/", "http://host/x/?X-Amz-Signature=secret"])
def test_the_name_of_a_local_file_or_folder_is_no_url(folder: Path, arguments: list[str], name: str) -> None:
    """As a path it is the folder `s3:` or `http:`, which would be made, and the bucket would get nothing."""
    before = contents(folder)
    (folder / "s3:" / "bucket").mkdir(parents=True)
    done = run(*arguments, name, folder=folder)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    if arguments[0] != "put" or name[:2] != "s3":  # for put with a bucket, the error shows its two forms
        place = "s3://bucket/x/ is in a bucket" if name[:2] == "s3" else "http://host/x/ is a url"
        assert f"error: {place}, and a local name is needed: " in done.stderr
    assert "secret" not in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["s3://bucket/x/", Path("s3://bucket/x/")])
def test_a_program_names_a_bucket_as_a_folder(name: Path | str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pathlib makes `s3:/bucket/x` of it."""
    monkeypatch.chdir(folder)
    with pytest.raises(ParameterError, match=r"s3:.* is in a bucket, and a local name is needed: copy and verify take"):
        asyncio.run(bp.get("i.csv", name))
    with pytest.raises(ParameterError, match=r"s3:.* is in a bucket, and a local name is needed: write a local file"):
        asyncio.run(bp.split("i.csv", name, parts=2))
    assert not Path("s3:").exists()


def test_a_failures_file_may_be_replaced_and_may_be_a_device(folder: Path) -> None:
    (folder / "failed.csv").write_text("key\n")
    for name in ("failed.csv", "/dev/null"):
        done = run(*GET, "--failures", name, "--journal", "run.journal", folder=folder)
        assert done.returncode == 1, done.stderr
    assert "reason" in (folder / "failed.csv").read_text()


def test_the_failures_file_of_an_earlier_run_is_input(folder: Path) -> None:
    (folder / "failed.csv").write_bytes(LINKS % b"GET")
    done = run("get", "failed.csv", "--to", "data", "--failures", "failed-2.csv", folder=folder)
    assert done.returncode == 1, done.stderr
