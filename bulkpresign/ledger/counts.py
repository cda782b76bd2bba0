"""The counts of a running transfer: objects done, bytes moved, objects left."""

from collections.abc import Sequence

from bulkpresign.events import (
    BytesMoved,
    BytesResumed,
    Event,
    LoadMeasured,
    ObjectsSkipped,
    RowsRead,
    RunFinished,
    RunStarted,
    SourceEnded,
    outcomes_in,
)
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import INTERRUPTED, Outcome


class Counts(Tally):
    """A listener that counts for the progress display. Other threads may read its attributes.

    `moved` counts the bytes that this run moved, `resumed` those of earlier runs. Totals are those of the manifest,
    None if unknown: those of a listing are known once it ended.
    """

    def __init__(self, verb: str) -> None:
        super().__init__(verb)
        self.verb = verb
        self.is_started = self.is_finished = False
        self.total_objects: int | None = None
        self.total_bytes: int | None = None
        self.rows = 0
        self.moved = 0
        self.resumed = 0
        self.interrupted = 0
        self.skipped_bytes = 0
        #: The last measured load of the run, None before the first measurement.
        self.load: LoadMeasured | None = None
        self._ended_bytes = 0  # the sizes of all objects with an outcome, except skipped ones
        self._done_bytes = 0
        self._left_out = self._left_out_bytes = 0  # by the journal or a listing: they were no jobs

    @property
    def attempted(self) -> int:
        """The number of objects with an outcome, except skipped ones."""
        report = self._report
        return report.done + report.failed + report.expired

    @property
    def bytes_there(self) -> int:
        """The bytes that are finished or in flight, except those of skipped objects. At the end, it is their total.

        An object with an outcome counts with its size, however many bytes were moved.
        """
        in_flight = self.moved + self.resumed - self._done_bytes
        return self._ended_bytes + max(0, in_flight)

    @property
    def objects_left(self) -> int | None:
        """The number of objects without an outcome, or interrupted; None if the total is unknown."""
        if self.total_objects is None:
            return None
        return max(0, self.total_objects - self._report.skipped - self.attempted + self.interrupted)

    def __call__(self, event: Event) -> None:
        """Counts one event."""
        kind = type(event)
        if kind is BytesMoved:  # most events
            self.moved += event.count  # type: ignore[union-attr]
            return
        super().__call__(event)
        if outcomes := outcomes_in(event):
            self._add_outcomes(outcomes)
        elif isinstance(event, ObjectsSkipped):
            self.skipped_bytes += event.bytes
            self._left_out += event.count
            self._left_out_bytes += event.bytes
        elif isinstance(event, SourceEnded):
            self._add_totals(event)
        elif isinstance(event, BytesResumed):
            self.resumed += event.count
        elif isinstance(event, LoadMeasured):
            self.load = event
        elif isinstance(event, RowsRead):
            self.rows += event.count
        elif isinstance(event, RunFinished):
            self.is_finished = True
        elif isinstance(event, RunStarted):
            self.is_started = True
            self.total_objects, self.total_bytes = event.objects, event.bytes

    def _add_totals(self, ended: SourceEnded) -> None:
        """Sets the totals of a source that did not tell them before it was read, such as a listing."""
        if self.total_objects is None:
            self.total_objects = self._left_out + ended.objects
            self.total_bytes = None if ended.bytes is None else self._left_out_bytes + ended.bytes

    def _add_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            size = outcome.object.size or 0
            if outcome.status == "skipped":
                self.skipped_bytes += size
                continue
            self._ended_bytes += size
            if outcome.status == "done":
                self._done_bytes += outcome.bytes
            self.interrupted += outcome.code == INTERRUPTED
