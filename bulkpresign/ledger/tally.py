"""Counts the events of a run."""

import time
from collections.abc import Sequence

from bulkpresign.events import (
    BytesMoved,
    Event,
    ObjectRetried,
    ObjectsSigned,
    ObjectsSkipped,
    ReadBackFailed,
    RunFinished,
    TagsDropped,
    outcomes_in,
)
from bulkpresign.model import NO_PROOF, Outcome, Report

#: The fields of a report that come with the last event.
_FINAL_FIELDS = (
    "bytes",
    "unproven",
    "planned",
    "plan",
    "certificate",
    "skipped_by",
    "slowed",
    "lowest_concurrency",
    "uploads_opened",
    "uploads_left_open",
    "left_out",
    "archived",
    "archived_bytes",
)
#: The codes of S3 for objects that have to be restored before they can be read, or copied.
_ARCHIVED = frozenset({"InvalidObjectState", "ObjectNotInActiveTierError"})


class Tally:
    """A listener that counts. `report` is up to date at any time."""

    takes_batches = True

    def __init__(self, verb: str) -> None:
        self._report = Report(verb=verb)
        self._began = time.monotonic()

    @property
    def report(self) -> Report:
        """The counts so far."""
        self._report.seconds = time.monotonic() - self._began
        return self._report

    def __call__(self, event: Event) -> None:
        """Counts one event."""
        if type(event) is BytesMoved:  # the most frequent event; bytes count when their object is done
            return
        if outcomes := outcomes_in(event):
            self._count(outcomes)
        elif isinstance(event, ObjectsSkipped):
            self._report.skipped += event.count
        elif isinstance(event, ObjectsSigned):
            self._report.done += event.count
        elif isinstance(event, ObjectRetried):
            self._report.retries += 1
        elif isinstance(event, ReadBackFailed):
            self._report.uncertified += 1
        elif isinstance(event, TagsDropped):
            self._report.untagged += 1
        elif isinstance(event, RunFinished):
            for name in _FINAL_FIELDS:
                setattr(self._report, name, getattr(event.report, name))

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        report = self._report
        done = [outcome for outcome in outcomes if outcome.status == "done"]
        report.done += len(done)
        report.bytes += sum([outcome.bytes for outcome in done])
        report.unproven += sum([outcome.is_unproven for outcome in done if outcome.verified_by in NO_PROOF])
        if len(done) == len(outcomes):
            return
        statuses = [outcome.status for outcome in outcomes]
        report.skipped += statuses.count("skipped")
        report.expired += statuses.count("expired")
        report.failed += statuses.count("failed")
        report.add_archived(outcome.object for outcome in outcomes if outcome.code in _ARCHIVED)
