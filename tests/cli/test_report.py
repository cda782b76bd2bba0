"""The output of `bulkpresign report`."""

import json
import subprocess
from pathlib import Path

import pytest

from bulkpresign.ledger.journal import Journal
from bulkpresign.model import ObjectRef, Outcome
from tests.servers.proxy import Fault, FaultProxy
from tests.support.cli import BULKPRESIGN, run
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


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    with Journal(tmp_path / "data.journal", "get", "/da\x1b[31mta") as opened:
        opened.record([Outcome(ObjectRef("bucket", "k\x1b]0;title\x07\nerrors  \u202e"), "done", 2048)])
    done = run("report", "data.journal", folder=tmp_path)
    assert done.stdout.replace("\n", "").isprintable()
    assert "get to /da\\x1b[31mta" in done.stdout
    assert r"s3://bucket/k\x1b]0;title\x07\nerrors  \u202e" in done.stdout


def test_as_json(tmp_path: Path) -> None:
    done = run("report", journal(tmp_path), "--json", folder=tmp_path)
    found = json.loads(done.stdout)
    assert (found["done"], found["failed"], found["bytes"]) == (3, 1, 6144)


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_standard_output_on_a_full_disk(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [*BULKPRESIGN, "report", journal(tmp_path), *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.stderr == "error: standard output can't be written: No space left on device\n"
    assert done.returncode == 2


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


def test_as_a_page(tmp_path: Path) -> None:
    done = run("report", journal(tmp_path), "--html", "report.html", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "report: 1 journal in report.html\n")
    page = tmp_path / "report.html"
    assert page.read_text("utf-8").startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.stat().st_mode & 0o777 == 0o600
    printed = run("report", "data.journal", "--html", "-", folder=tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "s3://bucket/gone" in printed.stdout


def test_a_page_of_a_folder_has_all_its_journals(tmp_path: Path) -> None:
    journal(tmp_path)
    (tmp_path / "data").mkdir()
    with Journal(tmp_path / "data.put.journal", "put", "its links"):
        pass
    done = run("report", "data", "--html", "report.html", folder=tmp_path)
    assert done.stderr == "report: 2 journals in report.html\n"
    assert "Report: get to /data and put to its links" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--html", "data.journal"], "--html data.journal has the name of a journal: name another file"),
        (["--html", "alias"], "--html alias is a journal, which would be lost: name another file"),
        (["--html", ""], "--html is empty: name a file"),
        (["--html", "none/report.html"], "none/report.html can't be written: No such file or directory"),
        (["--html", "folder"], "folder can't be written: it is a folder"),
        (["--html", "x.html", "--json"], "--json and --html exclude each other."),
    ],
)
def test_a_page_that_can_not_be_written(tmp_path: Path, words: list[str], problem: str) -> None:
    before = Path(journal(tmp_path)).read_bytes()
    (tmp_path / "alias").symlink_to("data.journal")
    (tmp_path / "folder").mkdir()
    done = run("report", "data.journal", *words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].lower() == f"error: {problem}".lower()
    assert (tmp_path / "data.journal").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if "html" in path.name]


def test_no_page_of_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("url\n")
    done = run("report", "links.csv", "--html", "report.html", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: links.csv is a manifest, not a journal: give the folder of the run, ")
    assert not (tmp_path / "report.html").exists()


def test_nothing_is_left_beside_the_journal(tmp_path: Path) -> None:
    name = journal(tmp_path)
    assert run("report", name, folder=tmp_path).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == [Path(name).name]
