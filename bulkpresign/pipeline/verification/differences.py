"""The results of a comparison: counted, passed on, and written to a manifest of differences."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from bulkpresign.events import ObjectFinished
from bulkpresign.manifest.writing import ManifestWriter, object_writer
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.pipeline.verification.counts import Counts, Extras
from bulkpresign.proof.files import MISSING, UNPROVEN
from bulkpresign.tables import open_output
from bulkpresign.tables.reading import output_format

#: The columns of a manifest of differences, besides those of objects.
DIFFERENCE_COLUMNS = ("difference", "reason")
_KINDS = {MISSING: "missing", UNPROVEN: "unproven"}
_BATCH = 256


class Results:
    """Takes the result of each object."""

    def __init__(self, counts: Counts, extras: Extras | None, writer: ManifestWriter[ObjectRef] | None) -> None:
        self._counts, self._extras, self._writer = counts, extras, writer
        self._rows: list[ObjectRef] = []
        #: Takes the objects that are done instead, until something more of them was compared. None: nothing does.
        self.hold: Callable[[Outcome], object] | None = None

    def add(self, outcome: Outcome) -> None:
        """Takes an object. It is done (the same), skipped (a folder has no file for it), or failed."""
        if outcome.status == "done" and self.hold is not None:
            self.hold(outcome)
            return
        if outcome.status == "failed":
            self._write(outcome.object, _KINDS.get(outcome.code or "", "different"), outcome.message or "")
        self._counts.emit(ObjectFinished(outcome))

    def fail(self, ref: ObjectRef, code: str, message: str) -> None:
        """Takes an object that is not as it should be."""
        self.add(Outcome(ref, "failed", code=code, message=message))

    def add_extra(self, ref: ObjectRef, problem: str) -> None:
        """Takes an object that is on the second side alone."""
        self._write(ref, "extra", problem)
        self._counts.report.extra += 1
        if self._extras is not None:
            self._extras(ref.file_path, problem)

    def _write(self, ref: ObjectRef, difference: str, reason: str) -> None:
        if self._writer is not None:
            path = os.fsencode(ref.file_path).decode(errors="replace")  # the name of a file need not be UTF-8
            extra = {"difference": difference, "reason": reason}
            self._rows.append(msgspec.structs.replace(ref, path=path, extra=extra))
            if len(self._rows) >= _BATCH:
                self.flush()

    def flush(self) -> None:
        """Writes the rows that wait."""
        rows, self._rows = self._rows, []
        if self._writer is not None:
            self._writer.write(rows)


@contextmanager
def results(file: str | os.PathLike[str] | None, counts: Counts, extras: Extras | None) -> Iterator[Results]:
    """Takes results, and writes those that are differences to a manifest, which appears at the end; None: no file."""
    if file is None:
        yield Results(counts, extras, None)
        return
    name = os.fspath(file)
    kind = output_format(name)
    with open_output(name) as stream:
        writer = object_writer(stream, name, kind, DIFFERENCE_COLUMNS)
        found = Results(counts, extras, writer)
        yield found
        found.flush()
        writer.finish()
