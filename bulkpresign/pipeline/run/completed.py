"""Objects that an earlier run completed: recorded in its journal, and not contradicted by their rows and files."""

import os
from collections.abc import Callable, Sequence

from bulkpresign.ledger.identity import identity_of
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.record import Record, contradicts
from bulkpresign.model import Evidence, Link, ObjectRef

#: An object, and its link where it has one already.
Row = tuple[ObjectRef, Link | None]
#: Tells whether files, and copies elsewhere, are as they were recorded: one answer for each object, in order.
AreCurrent = Callable[[Sequence[tuple[ObjectRef, Record]]], Sequence[bool]]
#: Tells which objects are where they go already, whether recorded or not.
ArePresent = Callable[[Sequence[ObjectRef]], Sequence[bool]]


class CompletedFilter:
    """Tells for which objects nothing is left to do: those in the journal, and those that `are_present`."""

    def __init__(self, journal: Journal | None, are_current: AreCurrent, are_present: ArePresent | None = None) -> None:
        self._journal = journal
        self._are_current, self._are_present = are_current, are_present

    def are_done(self, rows: Sequence[Row]) -> list[bool]:
        """For each object whether it is done: present, or recorded and not contradicted by its row or its file.

        An object without a link has no endpoint yet, so it counts as not recorded.
        """
        done = self._are_recorded(rows)
        if self._are_present is None or all(done):
            return done
        present = self._are_present([ref for ref, _ in rows])
        return [one or other for one, other in zip(done, present, strict=True)]

    def _are_recorded(self, rows: Sequence[Row]) -> list[bool]:
        if self._journal is None:
            return [False] * len(rows)
        names = [identity_of(ref, link.url) if link else "" for ref, link in rows]
        recorded = self._journal.finished(names)
        if not recorded:
            return [False] * len(rows)
        found = [
            (index, ref, known)
            for index, (name, (ref, _)) in enumerate(zip(names, rows, strict=True))
            if (known := recorded.get(name)) is not None and not contradicts(ref, known)
        ]
        done = [False] * len(rows)
        for (index, _, _), is_current in zip(found, self._are_current([it[1:] for it in found]), strict=True):
            done[index] = is_current
        return done


def files_are_current(root: str | os.PathLike[str]) -> AreCurrent:
    """Compares the files below a folder with what was recorded of them."""
    folder = os.fspath(root)

    def are_current(found: Sequence[tuple[ObjectRef, Record]]) -> list[bool]:
        return [_is_as_recorded(f"{folder}/{ref.file_path}", known) for ref, known in found]

    return are_current


def recorded_evidence(journal: Journal, links: Sequence[Link]) -> list[Evidence | None]:
    """The recorded state of objects that are done, and of their files, where their rows don't contradict it."""
    names = [identity_of(link.object, link.url) for link in links]
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
