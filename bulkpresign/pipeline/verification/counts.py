"""The counts of a verification."""

import time
from collections.abc import Callable, Sequence

import msgspec

from bulkpresign.events import Event, Listener, ObjectFinished, broadcast
from bulkpresign.model import Outcome, Report
from bulkpresign.proof.files import MISSING, UNPROVEN

#: Is called with the path of a file that no row names, and with the problem.
Extras = Callable[[str, str], object]


class VerifyReport(Report, kw_only=True):
    """The counts of one verification. `bytes` are those of the files that are as they should be.

    `by` counts what they were verified by: `crc64nvme`, `md5`, `md5-parts`, and where that is accepted `size`, or
    `presence` for rows that tell nothing. `unproven` counts files that are there and may hold anything of their size;
    they are among the `failed`.
    """

    missing: int = 0
    extra: int = 0
    by: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def verified(self) -> int:
        """The number of files that match their rows."""
        return self.done

    @property
    def different(self) -> int:
        """The number of files that differ from their rows, or can't be read."""
        return self.failed - self.missing - self.unproven

    @property
    def is_good(self) -> bool:
        """True where nothing differs, is missing, unproven or extra."""
        return not (self.failed or self.extra)


class Counts:
    """Passes events on, and counts what they tell."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._tell = broadcast(listeners)
        self._report = VerifyReport(verb="verify")
        self._began = time.monotonic()

    @property
    def report(self) -> VerifyReport:
        """The counts so far."""
        self._report.seconds = time.monotonic() - self._began
        return self._report

    def emit(self, event: Event) -> None:
        """Counts an event, and passes it on."""
        if isinstance(event, ObjectFinished):
            self._count(event.outcome)
        self._tell(event)

    def finished(self, _: object, outcomes: Sequence[Outcome]) -> None:
        """Counts the outcomes of a batch, and passes them on."""
        for outcome in outcomes:
            self.emit(ObjectFinished(outcome))

    def _count(self, outcome: Outcome) -> None:
        report = self._report
        if outcome.status == "done":
            name = outcome.verified_by or "presence"
            report.by[name] = report.by.get(name, 0) + 1
            report.done += 1
            report.bytes += outcome.bytes
        elif outcome.status == "skipped":
            report.skipped += 1
        else:
            report.failed += 1
            report.missing += outcome.code == MISSING
            report.unproven += outcome.code == UNPROVEN
