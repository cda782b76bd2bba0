"""Between the engine and everything that counts: no outcome is counted before the journal has it."""

import time
from collections.abc import Sequence

from bulkpresign.events import BytesMoved, Event, Listener, ObjectFinished, PartFinished, ResumePointChanged
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Outcome

#: A transaction for each outcome would cost more than a small object's transfer.
_MOST_HELD = 256
_LONGEST_HELD = 0.1
#: Seconds of moved bytes that are held where no outcome comes: a killed run loses these from its report.
_MOST_SECONDS = 10


class Recorder:
    """A listener that holds outcomes back until they are in the journal, and then passes them on.

    What a killed process had not recorded yet stands on disk, whole and verified, and the next run finds it there.
    The journal also gets the bytes of every second, for the report.
    """

    def __init__(self, journal: Journal | None, forward: Listener) -> None:
        self._journal = journal
        self._forward = forward
        self._held: list[ObjectFinished] = []
        self._finished_at: list[float] = []
        self._moved: dict[int, int] = {}
        self._since = 0.0

    @property
    def unrecorded(self) -> Sequence[Outcome]:
        """Outcomes that the journal does not have, and nobody has counted: more than a moment only where it failed."""
        return [event.outcome for event in self._held]

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        kind = type(event)
        if self._journal is None or kind is not ObjectFinished:
            self._forward(event)
        if self._journal is None:
            return
        if isinstance(event, ObjectFinished):
            if not self._held:
                self._since = time.monotonic()
            self._held.append(event)
            self._finished_at.append(time.time())
        elif isinstance(event, BytesMoved):
            second = int(time.time())
            self._moved[second] = self._moved.get(second, 0) + event.count
        elif kind is PartFinished or kind is ResumePointChanged:
            self._record_checkpoint(event)
        if (self._held and self._is_due) or len(self._moved) > _MOST_SECONDS:
            self.flush()

    def _record_checkpoint(self, event: Event) -> None:
        """At once: a run that is killed resumes from here."""
        assert self._journal is not None  # noqa: S101 - without a journal nothing is recorded
        if isinstance(event, PartFinished):
            self._journal.add_finished_part(event.link, event.number, event.proof)
        elif isinstance(event, ResumePointChanged):
            self._journal.set_resume_point(event.link, event.point)

    @property
    def _is_due(self) -> bool:
        return len(self._held) >= _MOST_HELD or time.monotonic() - self._since >= _LONGEST_HELD

    def flush(self) -> None:
        """Records what is held, and passes it on. What can't be recorded stays held."""
        if self._journal is not None and (self._held or self._moved):
            self._since = time.monotonic()
            self._journal.record(self.unrecorded, self._finished_at, self._moved)
            self._moved = {}
        held, self._held, self._finished_at = self._held, [], []
        for event in held:
            self._forward(event)
