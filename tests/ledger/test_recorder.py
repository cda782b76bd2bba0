"""The journal has each outcome before it is counted, and each is counted once."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bulkpresign.errors import OutputError
from bulkpresign.events import BytesMoved, Event, ObjectsFinished, ObjectsSkipped, RunStarted
from bulkpresign.ledger import recorder
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.model import Link, ObjectRef, Outcome
from tests.support.events import outcomes_of


def finished(*keys: str, **more: Any) -> ObjectsFinished:
    links = [Link("GET", f"http://h/{key}", {}, None, ObjectRef("bucket", key)) for key in keys]
    return ObjectsFinished([Outcome(link.object, "done", link=link, **more) for link in links])


class Kept(Journal):
    """A journal that remembers what it was given, and fails when told to."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, "get", "/data")
        self.kept: list[str] = []
        self.times: list[float] = []
        self.moved: dict[int, int] = {}
        self.fails = False

    def record(
        self,
        outcomes: Sequence[Outcome],
        finished_at: Sequence[float] | None = None,
        moved: Mapping[int, int] | None = None,
    ) -> None:
        if self.fails:
            raise OutputError("disk full")
        self.kept += [outcome.object.key for outcome in outcomes]
        self.times += finished_at or []
        for second, count in (moved or {}).items():
            self.moved[second] = self.moved.get(second, 0) + count


@pytest.fixture
def journal(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "j")


@pytest.fixture
def told() -> list[Event]:
    return []


def test_outcomes_are_recorded_before_they_are_forwarded(journal: Kept, told: list[Event]) -> None:
    def tell(event: Event) -> None:
        assert {outcome.object.key for outcome in outcomes_of([event])} <= set(journal.kept)
        told.append(event)

    record = Recorder(journal, tell)
    keys = [f"{n}" for n in range(600)]
    for key, other in zip(keys[::2], keys[1::2], strict=True):
        record(finished(key, other))
    record.flush()
    assert [outcome.object.key for outcome in outcomes_of(told)] == keys
    assert journal.kept == keys
    assert record.unrecorded == []


def test_a_few_outcomes_wait_for_the_delay(journal: Kept, told: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder(journal, told.append)
    record(finished("a"))
    assert (told, journal.kept) == ([], [])
    assert [outcome.object.key for outcome in record.unrecorded] == ["a"]
    monkeypatch.setattr(recorder, "_MAX_DELAY", 0.0)
    record(BytesMoved(1))
    assert journal.kept == ["a"]
    assert [type(event) for event in told] == [BytesMoved, ObjectsFinished]


def test_times_are_those_of_the_events(journal: Kept, told: list[Event]) -> None:
    """A file that is changed between that and the record is another one."""
    record = Recorder(journal, told.append)
    before = time.time()
    record(finished("a"))
    after = time.time()
    time.sleep(0.02)
    record.flush()
    assert before <= journal.times[0] <= after


def test_other_events_are_forwarded_at_once(journal: Kept, told: list[Event]) -> None:
    record = Recorder(journal, told.append)
    events: list[Event] = [RunStarted("get", None, None), ObjectsSkipped(3), BytesMoved(1)]
    for event in events:
        record(event)
    record.flush()
    assert told == events
    assert journal.kept == []


def test_without_a_journal_all_events_are_forwarded_at_once(told: list[Event]) -> None:
    record = Recorder(None, told.append)
    event = finished("a")
    record(event)
    assert told == [event]
    record.flush()
    assert told == [event]


def test_outcomes_that_cannot_be_recorded_stay_pending(journal: Kept, told: list[Event]) -> None:
    journal.fails = True
    record = Recorder(journal, told.append)
    record(finished("a"))
    with pytest.raises(OutputError):
        record.flush()
    assert told == []
    assert [outcome.object.key for outcome in record.unrecorded] == ["a"]
    journal.fails = False
    record.flush()
    record.flush()
    assert len(told) == 1
    assert journal.kept == ["a"]


def test_moved_bytes_are_recorded_per_second(journal: Kept, told: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    record = Recorder(journal, told.append)
    for count in (5, 7):
        record(BytesMoved(count))
    now = 1001.5
    record(BytesMoved(-2))
    assert journal.moved == {}
    record.flush()
    assert journal.moved == {1000: 12, 1001: -2}
    record.flush()
    assert journal.moved == {1000: 12, 1001: -2}
    for _ in range(20):
        now += 1
        record(BytesMoved(1))
    assert len(journal.moved) > 10  # without an outcome, and without the end of the run
    assert len(told) == 23
