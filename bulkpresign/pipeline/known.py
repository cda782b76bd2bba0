"""What earlier runs did, as their journal tells and the folder still shows."""

import os
from collections.abc import Sequence

from bulkpresign.ledger.journal import Finished, Journal, name_of
from bulkpresign.model import Link, ObjectRef

#: An object, and its link where it has one already.
Row = tuple[ObjectRef, Link | None]


class Known:
    """Tells of objects whether nothing is left to do: `root` is the folder of their files.

    Without a journal nothing is known.
    """

    def __init__(self, journal: Journal | None, root: str | os.PathLike[str]) -> None:
        self._journal = journal
        self._root = os.fspath(root)

    def are_done(self, rows: Sequence[Row]) -> list[bool]:
        """For each object whether the journal knows it to be done, and its file is still the one that it knows."""
        if self._journal is None:
            return [False] * len(rows)
        names = [name_of(ref, link.url if link else "") for ref, link in rows]
        finished = self._journal.finished(names)
        if not finished:
            return [False] * len(rows)
        root = self._root
        return [
            (known := finished.get(name)) is not None and _is_there(known, f"{root}/{ref.place}")
            for name, (ref, _) in zip(names, rows, strict=True)
        ]


def _is_there(known: Finished, file: str) -> bool:
    """True where the file is still the one of which the journal tells."""
    try:
        found = os.stat(file)  # noqa: PTH116 - Path would fold the name
    except OSError:
        return False
    if known.status != "skipped" and found.st_size != known.bytes:
        return False
    # A rename and a copied mtime show in ctime alone. Whoever changes no byte (chmod) pays with a look at them.
    return found.st_mtime <= known.finished_at and found.st_ctime <= known.finished_at
