"""Checks the files that options name: an output must not overwrite an input."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from bulkpresign.errors import OutputError, ParameterError
from bulkpresign.tables import Table
from bulkpresign.tables.files import STDIN, WRITTEN_LOCALLY, check_local
from bulkpresign.tables.reading import output_format

Name = str | os.PathLike[str] | None

_JOURNAL_HEADER = b"SQLite format 3\0"
#: The suffixes of a journal, and of the files that SQLite creates next to it.
_JOURNAL_SUFFIXES = ("", "-wal", "-shm", "-journal")


def check_named_files(
    tables: Sequence[Table], failures: Name, journal: Name = None, *, option: str = "--failures"
) -> None:
    """Raises ParameterError if the failures file or the journal would overwrite another file.

    Neither may be an input table, have an empty name, or be a url. The failures file may not be a journal, of this or
    another run. Files are compared, not names, so that links and other spellings are found. `option` names the failures
    file.
    """
    for named, given in ((option, failures), ("--journal", journal)):
        name = None if given is None else os.fspath(given)
        if name == "":
            raise ParameterError(f"{named} is empty: name a file")
        if name is not None:
            check_local(name, WRITTEN_LOCALLY)
        for table in tables:
            if name is not None and table.file != STDIN and _are_one(name, table.file):
                raise ParameterError(
                    f"{named} {name} is the table {table.file}, which would be lost: name another file"
                )
    if failures is not None:
        check_no_journal(option, os.fspath(failures), journal)


def check_output(tables: Sequence[Table], name: Name, option: str) -> None:
    """Checks a manifest that is written at the end of a run before the run begins.

    Raises ParameterError as `check_named_files` does, and for a format that can't be written, and OutputError for a
    folder that does not exist.
    """
    check_named_files(tables, name, option=option)
    if name is None:
        return
    output_format(os.fspath(name))
    if not Path(name).absolute().parent.is_dir():
        raise OutputError(f"{os.fspath(name)} can't be written: there is no such folder")


def check_no_journal(option: str, file: str, journal: Name = None) -> None:
    """Raises ParameterError if the file of an option is a journal, of this or another run, or has the name of one."""
    hint = "name another file"
    if journal is not None and any(_are_one(file, f"{os.fspath(journal)}{suffix}") for suffix in _JOURNAL_SUFFIXES):
        raise ParameterError(f"{option} {file} is the journal of this run: {hint}")
    if file.lower().endswith(tuple(f".journal{suffix}" for suffix in _JOURNAL_SUFFIXES)):
        raise ParameterError(f"{option} {file} has the name of a journal: {hint}")
    if _is_journal(file):
        raise ParameterError(f"{option} {file} is a journal, which would be lost: {hint}")


def _are_one(first: str, second: str) -> bool:
    try:
        if os.path.exists(first) and os.path.exists(second):  # noqa: PTH110 - Path would normalize the names
            is_device = stat.S_ISCHR(os.stat(first).st_mode)  # noqa: PTH116 - as above; a terminal can't be overwritten
            return os.path.samefile(first, second) and not is_device  # noqa: PTH121
        return os.path.realpath(first) == os.path.realpath(second)
    except (OSError, ValueError):  # ValueError: a name with NUL, an error when it is opened
        return False


def _is_journal(file: str) -> bool:
    try:
        if not Path(file).is_file():  # opening a pipe would block
            return False
        with Path(file).open("rb") as stream:
            return stream.read(len(_JOURNAL_HEADER)) == _JOURNAL_HEADER
    except (OSError, ValueError):
        return False
