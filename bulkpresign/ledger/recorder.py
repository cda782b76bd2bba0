"""Writes outcomes to the journal before other listeners receive them."""

import time
from collections.abc import Sequence

from bulkpresign.events import (
    BytesMoved,
    Event,
    Listener,
    LoadMeasured,
    ObjectsFinished,
    PartFinished,
    ResumePointChanged,
)
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Outcome

#: Outcomes, and seconds, after which the pending outcomes are written. A transaction per outcome would take longer than
#: the transfer of a small object.
_MAX_PENDING = 1024
_MAX_DELAY = 0.1
#: Seconds of moved bytes that are pending without an outcome. If the run is killed, its report lacks them.
_MAX_MOVED_SECONDS = 10


class Recorder:
    """A listener that delays outcomes until they are in the journal, and then forwards them.

    If the process is killed, the files of pending outcomes are complete on disk, and the next run finds them. The bytes
    moved in each second are also written, for the report.
    """

    def __init__(self, journal: Journal | None, forward: Listener) -> None:
        self._journal = journal
        self._forward = forward
        self._pending: list[Outcome] = []
        self._finished_at: list[float] = []
        self._moved: dict[int, int] = {}
        self._since = 0.0
        self._load: Event | None = None

    @property
    def unrecorded(self) -> Sequence[Outcome]:
        """Pending outcomes, which are not written and not counted. After a failed write they stay pending."""
        return self._pending

    def __call__(self, event: Event) -> None:
        """Forwards one event, or adds its outcomes to the pending ones."""
        if self._journal is None:
            self._forward(event)
        elif isinstance(event, ObjectsFinished):
            self._add(event.outcomes)
        else:
            self._forward(event)
            self._take(event)

    def _add(self, outcomes: Sequence[Outcome]) -> None:
        now = time.time()
        if not self._pending:
            self._since = now
        self._pending += outcomes
        self._finished_at += [now] * len(outcomes)
        if len(self._pending) >= _MAX_PENDING or self._is_due(now):
            self.flush()

    def _take(self, event: Event) -> None:
        now = time.time()
        if isinstance(event, BytesMoved):
            second = int(now)
            self._moved[second] = self._moved.get(second, 0) + event.count
        elif isinstance(event, LoadMeasured):
            self._load = event
        else:
            self._record_checkpoint(event)
        if (self._pending and self._is_due(now)) or len(self._moved) > _MAX_MOVED_SECONDS:
            self.flush()

    def _is_due(self, now: float) -> bool:
        """True where the oldest pending outcome has waited long enough, or the clock went back."""
        return not 0 <= now - self._since < _MAX_DELAY

    def _record_checkpoint(self, event: Event) -> None:
        """At once: a run that is killed resumes from here."""
        assert self._journal is not None  # noqa: S101 - without a journal nothing is recorded
        if isinstance(event, PartFinished):
            self._journal.add_finished_part(event.link, event.number, event.proof)
        elif isinstance(event, ResumePointChanged):
            self._journal.set_resume_point(event.link, event.point)

    def close(self) -> None:
        """Records what is held, passes it on, and records the end of the run and its load."""
        self.flush()
        if self._journal is None:
            return
        self._journal.end_run()
        if isinstance(self._load, LoadMeasured):
            self._journal.record_load(self._load)

    def flush(self) -> None:
        """Writes the pending outcomes and forwards them. If the write fails, they stay pending."""
        if self._journal is not None and (self._pending or self._moved):
            self._journal.record(self._pending, self._finished_at, self._moved)
            self._moved = {}
        pending, self._pending, self._finished_at = self._pending, [], []
        if pending:
            self._forward(ObjectsFinished(pending))
