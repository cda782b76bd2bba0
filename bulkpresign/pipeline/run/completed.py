"""Objects that an earlier run completed: recorded in its journal, and not contradicted by their rows and files."""

import os
from collections.abc import Callable, Sequence

from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.record import Record, contradicts
from bulkpresign.model import Evidence, Link, ObjectRef

#: An object, and its link where it has one already.
Row = tuple[ObjectRef, Link | None]
#: Tells whether files, and copies elsewhere, are as they were recorded: one answer for each object, in order.
AreCurrent = Callable[[Sequence[tuple[ObjectRef, Record]]], Sequence[bool]]


class CompletedFilter:
    """Tells for which objects nothing is left to do. Without a journal there are none."""

    def __init__(self, journal: Journal | None, are_current: AreCurrent) -> None:
        self._journal = journal
        self._are_current = are_current

    @property
    def is_empty(self) -> bool:
        """True if nothing is recorded, so that no object is done."""
        return self._journal is None or not self._journal.has_earlier

    def are_done(self, rows: Sequence[Row]) -> list[bool]:
        """For each object whether it is done: recorded, and contradicted neither by its row nor by its file."""
        return [record is not None for record in self.records(rows)]

    def records(self, rows: Sequence[Row]) -> list[Record | None]:
        """The record of each object that is done, None for the others.

        An object without a link has no endpoint yet, so it counts as not done.
        """
        done: list[Record | None] = [None] * len(rows)
        if self._journal is None or self.is_empty:
            return done
        identity_of = self._journal.identity_of
        names = [identity_of(ref, link.url) if link else "" for ref, link in rows]
        recorded = self._journal.finished(names)
        if not recorded:
            return done
        found = [
            (index, ref, known)
            for index, (name, (ref, _)) in enumerate(zip(names, rows, strict=True))
            if (known := recorded.get(name)) is not None and not contradicts(ref, known)
        ]
        for (index, _, known), is_current in zip(found, self._are_current([it[1:] for it in found]), strict=True):
            done[index] = known if is_current else None
        return done


def all_are_current(found: Sequence[tuple[ObjectRef, Record]]) -> Sequence[bool]:
    """Counts every recorded object as unchanged."""
    return [True] * len(found)


def files_are_current(root: str | os.PathLike[str]) -> AreCurrent:
    """Compares the files below a folder with what was recorded of them."""
    folder = os.fspath(root)

    def are_current(found: Sequence[tuple[ObjectRef, Record]]) -> list[bool]:
        return [_is_as_recorded(f"{folder}/{ref.file_path}", known) for ref, known in found]

    return are_current


def tells_no_bytes(ref: ObjectRef) -> bool:
    """True for the row of an object that could have other bytes than before, and the same row."""
    return ref.etag is None and ref.checksum is None


def noting(are_current: AreCurrent, note: Callable[[], object]) -> AreCurrent:
    """The same function. It calls `note` where the journal alone tells that nothing is left to do."""

    def noted(found: Sequence[tuple[ObjectRef, Record]]) -> Sequence[bool]:
        current = are_current(found)
        if any(is_current and tells_no_bytes(ref) for is_current, (ref, _) in zip(current, found, strict=True)):
            note()
        return current

    return noted


def recorded_evidence(journal: Journal, links: Sequence[Link]) -> list[Evidence | None]:
    """The recorded state of objects that are done, and of their files, where their rows don't contradict it."""
    names = [journal.identity_of(link.object, link.url) for link in links]
    recorded = journal.finished(names)
    return [_evidence_of(link.object, recorded.get(name)) for link, name in zip(links, names, strict=True)]


def _evidence_of(ref: ObjectRef, recorded: Record | None) -> Evidence | None:
    if recorded is None or contradicts(ref, recorded):
        return None
    size, mtime_ns, ctime_ns = recorded.size, recorded.mtime_ns, recorded.ctime_ns
    if size is None or mtime_ns is None or ctime_ns is None:
        return None
    return Evidence(size, mtime_ns, ctime_ns, recorded.etag)


def _is_as_recorded(file: str, recorded: Record) -> bool:
    """True where a file has the recorded size and times. An edit shows in mtime; a rename and a copied mtime in ctime.

    They are compared for equality, as no clock can be trusted. A change that alters no byte (chmod) costs one more look
    at the file.
    """
    try:
        found = os.stat(file)  # noqa: PTH116 - Path would fold the name
    except (OSError, ValueError):
        return False
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (
        recorded.size,
        recorded.mtime_ns,
        recorded.ctime_ns,
    )
