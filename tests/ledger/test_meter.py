"""Rates, fractions and remaining time, with a clock of the test."""

import pytest

from bulkpresign.events import BytesMoved, ObjectFinished, ObjectsSigned, ObjectsSkipped, RunStarted, SourceEnded
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.lines import log_line, status_line
from bulkpresign.ledger.meter import STALL_AFTER, WINDOW, Meter, Reading
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import ObjectRef, Outcome
from tests.ledger.samples import EVENTS


class Run:
    def __init__(self, verb: str, objects: int | None = None, size: int | None = None) -> None:
        self.now = 0.0
        self.counts = Counts(verb)
        self.meter = Meter(self.counts, lambda: self.now)
        self.counts(RunStarted(verb, objects, size))

    def after(self, seconds: float) -> Reading:
        self.now += seconds
        return self.meter.read()

    def end(self, count: int, status: str = "done", size: int | None = None) -> None:
        ref = ObjectRef("b", "k", size=size)
        for _ in range(count):
            self.counts(ObjectFinished(Outcome(ref, status, size or 0)))  # type: ignore[arg-type]

    def line(self, width: int = 199) -> str:
        return status_line(self.counts, self.meter.read(), width, lambda _, columns: "#" * columns)


def test_by_bytes_where_all_sizes_are_known() -> None:
    run = Run("get", 4, 4000)
    run.counts(BytesMoved(1000))
    reading = run.after(1)
    assert reading.by_bytes
    assert (reading.fraction, reading.bytes_per_second, reading.seconds_left) == (0.25, 1000, 3)


def test_by_objects_if_a_size_is_unknown() -> None:
    run = Run("get", 10)
    run.counts(BytesMoved(77))
    run.end(2)
    reading = run.after(1)
    assert (reading.by_bytes, reading.fraction, reading.objects_per_second, reading.seconds_left) == (False, 0.2, 2, 4)
    assert "2/10 objects" in run.line()
    run = Run("put")
    run.end(3)
    reading = run.after(1)
    assert (reading.fraction, reading.seconds_left) == (None, None)
    assert run.line().startswith("put: 3 objects, ")


@pytest.mark.parametrize(("size", "left"), [(900, 8), (None, 8)])
def test_a_listing_tells_its_totals_at_its_end(size: int | None, left: float) -> None:
    """Objects that a lister or the journal left out are no jobs, and jobs may turn out to be skipped."""
    run = Run("get")
    run.counts(ObjectsSkipped(5, 500))
    run.end(1, "done", 100)
    assert run.after(1).seconds_left is None
    run.counts(SourceEnded(9, size))
    reading = run.after(0)
    assert (run.counts.total_objects, run.counts.objects_left, reading.objects_total) == (14, 8, 9)
    assert run.counts.total_bytes == (None if size is None else 1400)
    run.counts(BytesMoved(100))
    assert run.after(0).seconds_left == left
    run.end(8, "skipped", 100)
    assert (run.counts.objects_left, run.after(1).fraction) == (0, 1)


def test_a_manifest_tells_its_totals_before() -> None:
    run = Run("get", 10, 1000)
    run.counts(SourceEnded(4, 400))
    assert (run.counts.total_objects, run.counts.total_bytes) == (10, 1000)


@pytest.mark.parametrize("sizes", [3000, None])
def test_skipped_objects_do_not_count_in_rate_and_work(sizes: int | None) -> None:
    run = Run("get", 30, sizes)
    run.counts(ObjectsSkipped(10, 1000))
    run.end(10, "skipped", 100)
    reading = run.after(1)
    assert (reading.fraction, reading.objects_per_second, reading.bytes_per_second) == (0, 0, 0)
    run.counts(BytesMoved(500))
    run.end(5, "done", 100)
    assert run.after(1).fraction == 0.5
    assert "20 skipped" in run.line()


def test_all_was_skipped() -> None:
    run = Run("get", 10, 1000)
    run.counts(ObjectsSkipped(10, 1000))
    assert run.after(1).fraction == 1
    assert run.line().startswith("get: 100%")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    run = Run("get", 1, 10**9)
    for _ in range(100):
        run.counts(BytesMoved(1_000_000))
        run.after(0.1)
    assert run.meter.read().bytes_per_second == pytest.approx(10_000_000, rel=0.01)
    for _ in range(int(WINDOW * 10) + 2):
        run.counts(BytesMoved(1000))
        run.after(0.1)
    assert run.meter.read().bytes_per_second == pytest.approx(10_000, rel=0.02)


def test_a_failed_attempt_is_not_a_negative_rate() -> None:
    run = Run("get", 1, 1000)
    run.counts(BytesMoved(500))
    run.after(WINDOW + 1)
    run.after(1)
    run.counts(BytesMoved(-500))
    reading = run.after(1)
    assert (reading.bytes_per_second, reading.fraction) == (0, 0)


def test_a_bar_is_full_at_the_end() -> None:
    """Objects that failed were not moved; those of a verification may prove themselves by their size."""
    run = Run("verify", 3, 300)
    run.counts(BytesMoved(100))
    run.end(2, "done", 100)
    run.end(1, "failed", 100)
    assert run.after(1).fraction == 1


def test_a_stall_shows_and_the_clock_goes_on() -> None:
    run = Run("get", 2, 100)
    run.counts(BytesMoved(50))
    run.after(1)
    run.after(STALL_AFTER - 1)
    assert "waiting" not in run.line()
    run.now += 14
    assert "waiting for the server, 18 s" in run.line()
    assert run.line().endswith("0:19")
    assert run.line(29) == "get:  50% waiting, 18 s, 0:19"
    assert "waiting for the server, 18 s" in log_line(run.counts, run.meter.read())
    run.counts(BytesMoved(1))
    assert "waiting" not in run.line()


def test_a_stall_names_its_cause() -> None:
    for verb, words in (("verify", "the disk"), ("sign", "rows"), ("put", "the server")):
        run = Run(verb)
        run.after(0)
        run.after(30)
        assert f"waiting for {words}, 30 s" in run.line()


def test_signing_counts_links() -> None:
    run = Run("sign")
    run.counts(ObjectsSigned(2000))
    run.after(1)
    assert run.line() == "sign: 2,000 links, 2,000 links/s, 0:01"
    assert run.counts.report.done == 2000


@pytest.mark.parametrize("width", range(1, 200))
def test_a_long_line_loses_the_least_important_part(width: int) -> None:
    run = Run("get", 2_000_000, 5 << 40)
    run.counts(BytesMoved(1 << 40))
    run.end(3, "failed", 10)
    run.after(4000)
    line = run.line(width)
    assert len(line) <= width
    if width >= 29:
        assert line.startswith("get:  20%")
        assert "3 failed" in line
        assert "1:06:40" in line
    assert ("|########" in line) == (width >= 60)
    assert "1.00 TiB/5.00 TiB" in line or width < 84


def test_the_tally() -> None:
    tally = Tally("get")
    for event in EVENTS:
        tally(event)
    report = tally.report
    assert (report.done, report.skipped, report.failed, report.expired) == (1, 1, 1, 1)
    assert (report.bytes, report.retries, report.objects) == (10, 1, 4)


def test_objects_left() -> None:
    run = Run("get", 10)
    run.end(3)
    run.end(1, "skipped")
    run.counts(ObjectFinished(Outcome(ObjectRef("b", "k"), "failed", code="Interrupted")))
    assert run.counts.objects_left == 6
    assert Run("put").counts.objects_left is None
