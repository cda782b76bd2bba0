"""The figures of a journal's page, against the same sums in Python."""

import math
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import JournalError
from bulkpresign.ledger import figures
from bulkpresign.ledger.figures import (
    MAX_ATTEMPTS,
    Cause,
    duration_class,
    read_figures,
    shortest_of,
    size_class,
)
from bulkpresign.ledger.report import read_report
from bulkpresign.model import ObjectRef, Outcome
from tests.ledger.journals import START, journal, of_all_kinds

OUTCOMES = st.lists(
    st.tuples(
        st.sampled_from([START, START + 40.5, START + 7000]).flatmap(lambda at: st.floats(at, at + 900)),
        st.sampled_from(["done", "done", "done", "failed", "expired", "skipped"]),
        st.integers(0, 1 << 40),
        st.integers(0, 9),
        st.floats(0, 1e6),
        st.sampled_from(["md5", "size", None]),
    ),
    max_size=40,
)
MOVED = st.dictionaries(st.integers(START, START + 20_000), st.integers(0, 1 << 40), max_size=40)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures") / "data.journal"


@given(given=OUTCOMES, moved=MOVED)
def test_sums(file: Path, given: list[tuple[float, str, int, int, float, str | None]], moved: dict[int, int]) -> None:
    file.unlink(missing_ok=True)
    rows = [
        (at, Outcome(ObjectRef("b", f"{n}"), status, size, tries, proof, seconds=seconds, code=status))  # type: ignore[arg-type]
        for n, (at, status, size, tries, seconds, proof) in enumerate(given)
    ]
    found = read_figures(journal(file, rows, moved))
    slots, done = found.timeline.slots, [each for _, each in rows if each.status == "done"]
    worked = [each for _, each in rows if each.status != "skipped"]

    assert found.report == read_report(file)
    assert sum(slot.bytes for slot in slots) == sum(moved.values())
    assert sum(slot.objects for slot in slots) == len(done)
    assert sum(slot.failed for slot in slots) == len(worked) - len(done)
    assert sum(slot.retries for slot in slots) == sum(max(0, each.attempts - 1) for each in worked)
    seconds = {int(at) for at, each in rows if each.status != "skipped"} | set(moved)
    assert found.timeline.active + sum(found.timeline.pauses) == (max(seconds) + 1 - min(seconds) if seconds else 0)
    for slot in slots:
        within = range(slot.at, slot.at + slot.seconds)
        assert slot.bytes == sum(size for second, size in moved.items() if second in within)
        assert slot.objects == sum(int(at) in within for at, each in rows if each.status == "done")

    assert Counter({n: each.objects for n, each in found.sizes.items()}) == Counter(size_class(o.bytes) for o in done)
    assert sum(each.bytes for each in found.sizes.values()) == sum(outcome.bytes for outcome in done)
    cells = Counter((size_class(each.bytes), duration_class(each.seconds)) for each in done)
    assert found.durations == cells
    times = sorted(each.seconds for each in done)
    assert found.quantiles == [times[math.ceil(len(times) * q) - 1] for q in (0.5, 0.9, 0.99, 1) if times]
    assert found.attempts == Counter(min(each.attempts, MAX_ATTEMPTS) for _, each in rows if each.attempts)
    proofs = Counter(each.verified_by for _, each in rows if each.status in {"done", "skipped"})
    assert {each.verified_by: each.objects for each in found.verifications} == proofs
    assert found.unproven == sum(each.is_unproven for each in done)


@given(st.integers(0, 1 << 45))
def test_a_class_of_sizes(size: int) -> None:
    number = size_class(size)
    assert size < 1 << number
    assert number == 0 or size >= 1 << number - 1


@given(st.floats(1e-4, 1e7))
def test_a_class_of_durations(seconds: float) -> None:
    number = duration_class(seconds)
    assert shortest_of(number) <= seconds * (1 + 1e-9)
    assert seconds <= shortest_of(number + 1) * (1 + 1e-9)


def test_the_time_between_two_runs_is_left_out(tmp_path: Path) -> None:
    found = read_figures(of_all_kinds(tmp_path / "x.journal")).timeline
    assert [(span[0].at, span[-1].at + span[-1].seconds) for span in found.spans] == [
        (START, START + 200),
        (START + 90_000, START + 90_101),
    ]
    assert found.pauses == [89_800]
    assert {slot.seconds for slot in found.slots} == {3, 2}  # no more than 150 slots


def test_a_short_wait_is_no_pause(tmp_path: Path) -> None:
    found = read_figures(journal(tmp_path / "x.journal", [], {START: 5, START + 50: 5})).timeline
    assert (len(found.spans), found.active) == (1, 51)


def test_bytes_of_failed_attempts_are_subtracted_from_earlier_ones(tmp_path: Path) -> None:
    found = read_figures(journal(tmp_path / "x.journal", [], {START: 30, START + 1: 10, START + 2: -20}))
    assert [slot.bytes for slot in found.timeline.slots] == [20, 0, 0]


def test_causes_name_their_latest_object(tmp_path: Path) -> None:
    outcomes = [
        (START + at, Outcome(ObjectRef("b", f"{at}"), "failed", code=code, message=f"at {at}"))
        for at, code in ((3, "NoSuchKey"), (9, "NoSuchKey"), (5, "NoSuchKey"), (4, "SlowDown"))
    ]
    outcomes += [(START, Outcome(ObjectRef("b", f"c{n}"), "failed", code=f"Z{n}")) for n in range(20)]
    found = read_figures(journal(tmp_path / "x.journal", outcomes))
    assert found.causes[:2] == [
        Cause("NoSuchKey", 3, START + 9, "s3://b/9", "at 9"),
        Cause("SlowDown", 1, START + 4, "s3://b/4", "at 4"),
    ]
    assert (len(found.causes), found.more_causes) == (12, 10)


def test_what_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text("bucket,key\n")
    (tmp_path / "other").write_bytes(b"something else that is no database at all, and long enough" * 9)
    for name, words in (("links.csv", "is a manifest"), ("none", "no such journal"), ("other", "damaged")):
        with pytest.raises(JournalError, match=words):
            read_figures(tmp_path / name)


@pytest.mark.parametrize(("last", "seconds"), [(149, 1), (150, 2)])
def test_there_are_at_most_150_slots(tmp_path: Path, last: int, seconds: int) -> None:
    found = read_figures(journal(tmp_path / "x.journal", [], {START + at: 5 for at in (0, 50, 100, last)}))
    assert found.timeline.slots[0].seconds == seconds


def test_all_figures_are_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = journal(tmp_path / "x.journal", [(START, Outcome(ObjectRef("b", "first"), "done", 5))])
    causes = figures._causes

    def while_a_run_writes(database: sqlite3.Connection) -> list[Cause]:
        journal(file, [(START, Outcome(ObjectRef("b", "second"), "failed", code="NoSuchKey"))])
        return causes(database)

    monkeypatch.setattr(figures, "_causes", while_a_run_writes)
    found = read_figures(file)
    assert (found.report.objects, found.report.failed, found.causes) == (1, 0, [])
    assert read_report(file).objects == 2
