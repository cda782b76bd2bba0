"""A reading as one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.events import RunStarted
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.lines import log_line, status_line
from bulkpresign.ledger.meter import Reading
from tests.ledger.samples import EVENTS

HALF = Reading(
    seconds=65.0,
    fraction=0.5,
    by_bytes=True,
    bytes_there=20,
    bytes_total=40,
    objects_total=3,
    bytes_per_second=2048.0,
    objects_per_second=12.0,
    seconds_left=70.0,
)


def counts_of(verb: str = "get") -> Counts:
    counts = Counts(verb)
    for event in EVENTS:
        counts(event)
    return counts


def bar(fraction: float, width: int) -> str:
    return "#" * int(fraction * width) + "-" * (width - int(fraction * width))


def test_a_log_line_has_all_words() -> None:
    assert log_line(counts_of(), HALF) == (
        "get:  50% 20 B/40 B, 3/3 objects, 2.0 KiB/s, 12 objects/s, 1:10 left, "
        "1 failed, 1 expired, 1 skipped, 1 retry, 1:05"
    )


@given(st.integers(0, 200), st.sampled_from([HALF, Reading(seconds=1.0), Reading(seconds=9.0, stalled=6.0)]))
def test_a_line_is_no_wider_than_the_terminal(width: int, reading: Reading) -> None:
    assert len(status_line(counts_of(), reading, width, bar)) <= width


def test_failures_are_kept_longest() -> None:
    lines = [status_line(counts_of(), HALF, width, bar) for width in range(200, 0, -1)]
    shown = [{word for word in ("failed", "retry", "left", "skipped", "objects/s") if word in line} for line in lines]
    assert shown[0] == {"failed", "retry", "left", "skipped", "objects/s"}
    assert [words for words in shown if words][-1] == {"failed"}


@pytest.mark.parametrize(("width", "has_bar"), [(59, False), (60, True), (200, True)])
def test_there_is_a_bar_where_there_is_room(width: int, has_bar: bool) -> None:
    line = status_line(counts_of(), HALF, width, bar)
    assert ("|" in line) == has_bar
    assert line.count("#") <= 20


@pytest.mark.parametrize(("verb", "cause"), [("get", "the server"), ("verify", "the disk"), ("sign", "rows")])
def test_a_stalled_run_names_what_it_waits_for(verb: str, cause: str) -> None:
    assert f"waiting for {cause}, 6 s" in log_line(counts_of(verb), Reading(seconds=9.0, stalled=6.9))


def test_before_the_first_object() -> None:
    counts = Counts("get")
    assert log_line(counts, Reading(seconds=1.0)) == "get: starting, 0:01"
    counts(RunStarted("get", 2, None))
    assert log_line(counts, Reading(seconds=1.0, objects_total=2)) == "get: 0/2 objects, 0 objects/s, 0:01"
