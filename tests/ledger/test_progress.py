"""The progress display, driven only by events."""

import io
import json
import re
import threading
from pathlib import Path

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.events import BytesMoved, BytesResumed, Event, RowsRead, RunStarted
from bulkpresign.ledger import progress as module
from bulkpresign.ledger.console import Console
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.meter import Meter
from bulkpresign.ledger.progress import log_lines, progress, ticking
from tests.ledger.samples import EVENTS


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Lost(io.StringIO):
    """A stream whose reader has left."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def shown(mode: str, stream: io.StringIO, events: list[Event] = EVENTS) -> str:
    counts = Counts("get")
    with progress(mode, counts, Console(stream)):
        for event in events:
            counts(event)
    return stream.getvalue()


def test_json_lines_end_with_the_counts() -> None:
    rows = [json.loads(line) for line in shown("json", io.StringIO()).splitlines()]
    assert {
        "event": "progress",
        "verb": "get",
        "total_objects": 4,
        "total_bytes": 40,
        "objects": 4,
        "done": 1,
        "skipped": 1,
        "failed": 1,
        "expired": 1,
        "bytes": 10,
        "retries": 1,
        "stalled": 0,
    }.items() <= rows[-1].items()


def test_the_bar_says_objects_bytes_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    last = shown("on", io.StringIO()).rstrip("\n").split("\r")[-1]
    assert last.startswith("get: 100%|####")
    for words in ("30 B/30 B", "3/3 objects", "1 failed", "1 expired", "1 skipped", "1 retry", "objects/s"):
        assert words in last
    assert shown("auto", Terminal()).rstrip("\n").split("\r")[-1].startswith("get: 100%|████")


@pytest.mark.parametrize("columns", [*range(1, 60), 80, 120, 200])
def test_the_bar_fits_whatever_the_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", f"{columns}")
    said = shown("on", Terminal())
    assert all(len(line) < max(columns, 2) for line in said.rstrip("\n").split("\r"))
    if columns >= 30:
        assert "get: 100%" in said
        assert "1 failed" in said


def test_a_terminal_that_shrinks_is_not_written_beyond_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    console = Console(stream)
    for columns in (100, 40, 70):
        monkeypatch.setenv("COLUMNS", f"{columns}")
        stream.seek(stream.truncate(0))
        console.draw("x" * (columns - 1))
        console.draw("y")
        assert max(len(part) for part in stream.getvalue().split("\r")) == columns - 1
    console.line("a line")
    assert stream.getvalue().endswith("\r \ra line\ny")


def test_auto_is_for_terminals() -> None:
    assert shown("auto", io.StringIO()) == ""
    assert shown("off", Terminal()) == ""


def test_elsewhere_there_is_a_plain_line_now_and_then() -> None:
    stream, counts, ended = io.StringIO(), Counts("get"), threading.Event()
    show = log_lines(counts, Console(stream), 0.01)
    for event in EVENTS[:2]:
        counts(event)

    def notice(reading: object, is_last: bool) -> None:
        show(reading, is_last)  # type: ignore[arg-type]
        ended.set()

    with ticking(Meter(counts), notice, 0.02):
        assert ended.wait(20)
    first = stream.getvalue().splitlines()[0]
    assert first.startswith("get:  25% 10 B/40 B, 0/4 objects, ")
    assert re.search(r", 0:00, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", first)


def test_a_run_that_was_refused_shows_nothing() -> None:
    assert shown("json", io.StringIO(), []) == ""
    assert shown("on", io.StringIO(), []).strip() == ""


def test_rows_are_shown_before_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BAR_INTERVAL", 0.01)
    counts, drawn, lines = Counts("get"), threading.Event(), list[str]()

    def draw(_: Console, text: str) -> None:
        lines.append(text)
        drawn.set()

    monkeypatch.setattr(Console, "draw", draw)
    with progress("on", counts, Console(Terminal())):
        counts(RowsRead(1200))
        drawn.clear()
        assert drawn.wait(20)
    assert "get: 1,200 rows read, 0:00" in lines


@pytest.mark.parametrize("mode", ["on", "json"])
def test_a_closed_stream_does_not_stop_the_run(mode: str) -> None:
    before = threading.active_count()
    assert shown(mode, Lost()) == ""
    console = Console(Lost())
    console.line("a message")
    console.row({"a": 1})
    assert threading.active_count() == before


def test_an_unknown_mode() -> None:
    with (
        pytest.raises(ParameterError, match="progress 'maybe' is not one of auto, on, off, json"),
        progress("maybe", Counts("get"), Console(io.StringIO())),
    ):
        pass


def test_rows_hold_any_name() -> None:
    stream = io.StringIO()
    Console(stream).row({"name": "a\x1b[31m\n\udcff"})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().isascii()
    row = json.loads(stream.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row.pop("time"))
    assert row == {"name": "a\x1b[31m\n\udcff"}


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Console().line("a line")
    assert capsys.readouterr().err == "a line\n"


def test_resumed_bytes_do_not_count_in_the_rate() -> None:
    now = 0.0
    counts = Counts("get")
    meter = Meter(counts, lambda: now)
    counts(RunStarted("get", 2, 1000))
    counts(BytesResumed(500))
    now = 1.0
    counts(BytesMoved(100))
    reading = meter.read()
    assert (reading.bytes_per_second, reading.fraction, reading.seconds_left) == (100, 0.6, 4)
    counts(BytesResumed(-500))
    assert meter.read().fraction == 0.1


def test_a_failing_display_does_not_stop_the_run() -> None:
    shown = threading.Event()

    def show(_reading: object, _is_last: bool) -> None:
        shown.set()
        raise RuntimeError("a fault of the display")

    with ticking(Meter(Counts("get")), show, 0.01):
        assert shown.wait(20)
