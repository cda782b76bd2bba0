"""`bulkpresign report` as its reader sees it."""

import json
from pathlib import Path

from bulkpresign.ledger.journal import Journal
from bulkpresign.model import ObjectRef, Outcome
from tests.cli.command import run


def journal(folder: Path) -> str:
    file = folder / "data.journal"
    with Journal(file, "get", "/data") as opened:
        opened.record([Outcome(ObjectRef("bucket", f"key {n}"), "done", 2048, 2, "md5") for n in range(3)])
        opened.record([Outcome(ObjectRef("bucket", "gone"), "failed", code="NoSuchKey", message="404")])
    return str(file)


def test_as_text(tmp_path: Path) -> None:
    done = run("report", journal(tmp_path), folder=tmp_path)
    assert done.returncode == 0
    for line in (
        "get to /data",
        "objects   4: 3 done, 0 skipped, 1 failed, 0 expired",
        "bytes     6.0 KiB",
        "retries   3",
        "verified  3 by md5",
        "          1  NoSuchKey",
    ):
        assert line in done.stdout.splitlines()


def test_as_json(tmp_path: Path) -> None:
    done = run("report", journal(tmp_path), "--json", folder=tmp_path)
    found = json.loads(done.stdout)
    assert (found["done"], found["failed"], found["bytes"]) == (3, 1, 6144)


def test_no_journal(tmp_path: Path) -> None:
    done = run("report", str(tmp_path / "none.journal"), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'none.journal'}: no such journal\n"
