"""Bars and lines from the same events; neither knows what made them."""

import io
import json

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.events import BytesMoved, Event, ObjectFinished, ObjectRetried, RunFinished, RunStarted
from bulkpresign.ledger.progress import progress, write_line
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import ObjectRef, Outcome, Report

A = ObjectRef("b", "a")
EVENTS: list[Event] = [
    RunStarted("get", 4, 30),
    BytesMoved(10),
    BytesMoved(20),
    ObjectRetried(A, 1, 0.1, "SlowDown", "503 SlowDown"),
    BytesMoved(-20),
    ObjectFinished(Outcome(A, "done", 10)),
    ObjectFinished(Outcome(A, "skipped")),
    ObjectFinished(Outcome(A, "failed")),
    ObjectFinished(Outcome(A, "expired")),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(mode: str, stream: io.StringIO) -> str:
    listener = progress(mode, stream)
    assert listener is not None
    for event in [*EVENTS, RunFinished(Report(verb="get"))]:
        listener(event)
    return stream.getvalue()


def test_json_lines_end_with_the_counts() -> None:
    rows = [json.loads(line) for line in shown("json", io.StringIO()).splitlines()]
    assert rows[0]["event"] == "progress"
    seconds = rows[-1].pop("seconds")
    assert 0 <= seconds < 10
    assert rows[-1] == {
        "event": "finished",
        "verb": "get",
        "total_objects": 4,
        "total_bytes": 30,
        "objects": 4,
        "bytes": 10,
        "failed": 1,
        "expired": 1,
        "retries": 1,
    }


def test_the_bar_says_objects_bytes_and_failures() -> None:
    last = shown("on", io.StringIO()).split("\r")[-1]
    assert last.startswith("get: 100%")
    for words in ("4/4", "10.0B/30.0B", "1 failed", "1 expired", "1 retries", "objects/s"):
        assert words in last


def test_auto_is_for_terminals() -> None:
    assert progress("auto", io.StringIO()) is None
    assert progress("off", Terminal()) is None
    assert "4/4" in shown("auto", Terminal())


def test_an_unknown_mode() -> None:
    with pytest.raises(ParameterError, match="progress 'maybe' is none of auto, on, off, json"):
        progress("maybe")


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_line("a line")
    assert capsys.readouterr().err == "a line\n"


def test_the_tally() -> None:
    tally = Tally("get")
    for event in EVENTS:
        tally(event)
    report = tally.report
    assert (report.done, report.skipped, report.failed, report.expired) == (1, 1, 1, 1)
    assert (report.bytes, report.retries, report.objects) == (10, 1, 4)
