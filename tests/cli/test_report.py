"""The output of `bulkpresign report`."""

import json
from pathlib import Path

from bulkpresign.ledger.journal import Journal
from bulkpresign.model import ObjectRef, Outcome
from tests.servers.proxy import Fault, FaultProxy
from tests.support.cli import run
from tests.support.links import links


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


def test_by_the_folder(tmp_path: Path) -> None:
    journal(tmp_path)
    (tmp_path / "data").mkdir()
    assert run("report", "data/", folder=tmp_path).stdout == run("report", "data.journal", folder=tmp_path).stdout
    with Journal(tmp_path / "data.put.journal", "put", "its links"):
        pass
    said = run("report", "data", folder=tmp_path).stdout.splitlines()
    assert [line for line in said if "journal" in line or " to " in line][:4] == [
        f"{tmp_path / 'data.journal'}",
        "get to /data",
        *[line for line in said if line.startswith("time ")],
        f"{tmp_path / 'data.put.journal'}",
    ]
    both = [json.loads(line) for line in run("report", "data", "--json", folder=tmp_path).stdout.splitlines()]
    assert [one["verb"] for one in both] == ["get", "put"]


def test_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("url\n")
    done = run("report", "links.csv", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: links.csv is a manifest, not a journal: give the folder of the run, ")


def test_a_run_of_one_large_object_shows_all_the_time_in_which_it_moved(tmp_path: Path) -> None:
    with FaultProxy() as origin:
        origin.objects = {"/big": bytes(400_000)}
        origin.always = Fault(rate=100_000)
        links(tmp_path / "l.csv", [{"url": f"{origin.url}/big", "path": "big"}])
        assert run("get", "l.csv", "--to", "to", folder=tmp_path).returncode == 0
    found = json.loads(run("report", "to", "--json", folder=tmp_path).stdout)
    assert len([rate for rate in found["rates"] if rate["bytes"]]) >= 3
    assert sum(rate["bytes"] for rate in found["rates"]) == 400_000
    assert sum(rate["objects"] for rate in found["rates"]) == 1
