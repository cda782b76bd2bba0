"""The files that bulkpresign itself makes below a folder, which are no data."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bulkpresign.ledger.schema import is_journal
from bulkpresign.model import ObjectRef
from bulkpresign.tables.files import is_temporary_of
from bulkpresign.transfer.disk.paths import TEMPORARY_SUFFIX, is_temporary

_JOURNAL = ".journal"
#: The endings of a database of SQLite and of the files beside it.
_OF_SQLITE = ("", "-wal", "-shm", "-journal")
_JOURNALS = tuple(f"{_JOURNAL}{suffix}" for suffix in _OF_SQLITE)
_SUFFIXES = (TEMPORARY_SUFFIX, *_JOURNALS)


class OwnFiles:
    """Leaves out temporary files of unfinished downloads, and journals. `count` is the number of those.

    The downloads can be into the folder, or one below or above it. `written` names files that the run itself writes,
    which are left out as well.
    """

    def __init__(self, folder: str | os.PathLike[str], written: Sequence[str | os.PathLike[str] | None] = ()) -> None:
        self._root = os.path.realpath(folder)
        self._written = tuple(os.path.realpath(name) for name in written if name is not None)
        self.count = 0

    def without(self, batches: Iterator[list[ObjectRef]]) -> Iterator[list[ObjectRef]]:
        """The objects of all other files."""
        for refs in batches:
            yield [ref for ref in refs if not self.leaves_out(ref.file_path)]

    def leaves_out(self, path: str) -> bool:
        """True, and counted, for a file that is no data. `path` is that below the folder."""
        if not self._written and not path.endswith(_SUFFIXES):
            return False
        file = f"{self._root}/{path}"
        found = is_temporary(file) or _is_of_journal(file) or self._is_written(file)
        self.count += found
        return found

    def _is_written(self, file: str) -> bool:
        return any(
            file in {f"{name}{suffix}" for suffix in _OF_SQLITE} or is_temporary_of(name, file)
            for name in self._written
        )


def _is_of_journal(file: str) -> bool:
    """True for a journal, and for the files that SQLite has beside it during a run, or after one that was killed."""
    return file.endswith(_JOURNALS) and is_journal(Path(file[: file.rindex(_JOURNAL)] + _JOURNAL))
