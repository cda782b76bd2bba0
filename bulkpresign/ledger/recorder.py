"""Between the engine and everything that counts: no outcome is counted before the journal has it."""

import time
from collections.abc import Sequence

from bulkpresign.events import Event, Listener, ObjectFinished
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Outcome

#: A transaction for each outcome would cost more than a small object's transfer.
_MOST_HELD = 256
_LONGEST_HELD = 0.1


class Recorder:
    """A listener that holds outcomes back until they are in the journal, and then passes them on.

    What a killed process had not recorded yet stands on disk, whole and verified, and the next run finds it there.
    """

    def __init__(self, journal: Journal | None, forward: Listener) -> None:
        self._journal = journal
        self._forward = forward
        self._held: list[ObjectFinished] = []
        self._finished_at: list[float] = []
        self._since = 0.0

    @property
    def unrecorded(self) -> Sequence[Outcome]:
        """Outcomes that the journal does not have, and nobody has counted: more than a moment only where it failed."""
        return [event.outcome for event in self._held]

    def __call__(self, event: Event) -> None:
        """Takes one event."""
        if self._journal is None or type(event) is not ObjectFinished:
            self._forward(event)
        else:
            if not self._held:
                self._since = time.monotonic()
            self._held.append(event)
            self._finished_at.append(time.time())
        if self._held and (len(self._held) >= _MOST_HELD or time.monotonic() - self._since >= _LONGEST_HELD):
            self.flush()

    def flush(self) -> None:
        """Records what is held, and passes it on. What can't be recorded stays held."""
        if self._held and self._journal is not None:
            self._since = time.monotonic()
            self._journal.record(self.unrecorded, self._finished_at)
        held, self._held, self._finished_at = self._held, [], []
        for event in held:
            self._forward(event)
