"""The summary and the advice at the end of a run."""

import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulkpresign.cli.summary import certificate_notes, expired_advice, interruption, left_open, summary
from bulkpresign.events import ObjectFinished, ObjectsSkipped, RunStarted
from bulkpresign.ledger.counts import Counts
from bulkpresign.model import Certificate, ObjectRef, Outcome, Report
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.support.cli import BULKPRESIGN, run
from tests.support.links import OVER, links, many


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {"/0": b"x"}
        yield proxy


def counts(total: int | None, *outcomes: Outcome) -> Counts:
    made = Counts("get")
    made(RunStarted("get", total))
    for outcome in outcomes:
        made(ObjectFinished(outcome))
    return made


def ended(status: str, code: str | None = None) -> Outcome:
    return Outcome(ObjectRef("b", "k"), status, code=code)  # type: ignore[arg-type]


def test_how_far_an_interrupted_run_came() -> None:
    go_on = "; run the same command to continue"
    assert interruption("interrupted", Counts("get")) == "interrupted"
    cut_off = ended("failed", "Interrupted")
    assert (
        interruption("interrupted", counts(5003, ended("done"), cut_off)) == f"interrupted: 1 done, 5,002 left{go_on}"
    )
    assert interruption("terminated", counts(None, ended("done"))) == f"terminated: 1 done{go_on}"
    made = counts(10, ended("done"), ended("failed", "NoSuchKey"), ended("expired"), cut_off)
    made(ObjectsSkipped(2))
    assert interruption("hung up", made) == f"hung up: 1 done, 2 skipped, 1 failed, 1 expired, 5 left{go_on}"
    assert interruption("interrupted", counts(1), None) == "interrupted: 0 done, 1 left"


def test_singular_and_plural() -> None:
    assert "1 retry;" in summary(Report(verb="get", done=1, retries=1))
    assert "2 retries;" in summary(Report(verb="get", done=1, retries=2))
    assert "; 1 not proven by its bytes" in summary(Report(verb="get", done=2, unproven=1))
    assert "; 2 not proven by their bytes" in summary(Report(verb="get", done=2, unproven=2))
    assert left_open(1).startswith("1 upload stays open: ")
    assert left_open(2).startswith("2 uploads stay open: ")


def test_the_rate_is_that_of_what_was_moved() -> None:
    report = Report(verb="get", done=1, bytes=4 << 20, seconds=2.0)
    assert "4.0 MiB in 2.0 s (0 objects/s, 512.0 KiB/s)" in summary(report, 1 << 20)
    assert "(0 objects/s, 2.0 MiB/s)" in summary(report)
    assert "(0 objects/s, 2.0 MiB/s)" in summary(report, 9 << 20), "some of it was moved twice"
    assert "(0 objects/s, 0 B/s)" in summary(report, -(9 << 20))


def test_all_that_a_run_did_in_one_line() -> None:
    report = Report(verb="put", done=1, skipped=2000, failed=3, expired=4, skipped_by="j", retries=2, slowed=1)
    line = "put: 1 done, 2,000 skipped (done before, by j), 3 failed, 4 expired, 2 retries; 0 B in 0.0 s"
    assert summary(report).startswith(line)
    assert summary(report).endswith("; slowed 1 time by the server")


def test_whether_the_certificate_of_copies_is_written() -> None:
    certificate = Certificate(
        format="f",
        version=1,
        algorithm="sha256",
        objects=2,
        bytes=1024,
        root="ab",
        created_at=datetime.now(UTC),
        created_by="bulkpresign",
    )
    report = Report(verb="copy", done=2, certificate=certificate)
    written = ("certificate: 2 objects, 1.0 KiB in c.jsonl; root ab", "info")
    assert certificate_notes(report, "c.jsonl", quiet=False) == [written]
    assert certificate_notes(report, "c.jsonl", quiet=True) == []
    report = Report(verb="copy", done=2, failed=1, expired=1)
    (note,) = certificate_notes(report, "c.jsonl", quiet=True)
    assert note == ("no certificate is written: 2 objects failed", "error")


def test_advice_about_links_that_expired_for_two_reasons_is_the_general_one() -> None:
    for code in ("RenewalFailed", "ExpiredToken"):
        assert expired_advice({code, "LinkExpired"}) == expired_advice({"LinkExpired"})


def test_what_to_do_about_links_that_had_expired(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 1, expires_at=OVER))
    origin.always = expired()
    done = run("get", "l.csv", "--to", "to", folder=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == expired_advice({"LinkExpired"})
    assert "ask the sender for fresh links, then run this again" in done.stderr
    done = run("get", "l.csv", "--to", "to", "--renew-command", "false", folder=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == expired_advice({"RenewalFailed"})
    assert "sender" not in done.stderr
    origin.always = Fault(400, body=b"<Error><Code>ExpiredToken</Code></Error>")
    links(tmp_path / "l.csv", many(origin, 1))
    done = run("get", "l.csv", "--to", "to", folder=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("the credentials that signed the links had expired: renew them")


def test_what_failed_before_a_stop_is_named_and_what_was_cut_off_is_not(origin: FaultProxy, tmp_path: Path) -> None:
    """The server answers 404 to the first and holds the second back."""
    links(tmp_path / "l.csv", many(origin, 4))
    origin.faults.extend([Fault(404, body=b"<Error><Code>NoSuchKey</Code></Error>"), Fault(delay=60)])
    command = [*BULKPRESIGN, "get", "l.csv", "--to", "to", "--concurrency", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while origin.count < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines() == [
        "failed: d/0: 404 NoSuchKey",
        "interrupted: 0 done, 1 failed, 3 left; run the same command to continue",
    ]
