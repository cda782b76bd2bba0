"""The journal: a SQLite file beside the destination with the outcome of every object, for all runs.

An outcome is written before it is counted. So the next run with the same verb and destination continues where this one
stopped, even after a crash. The journal holds no signature: `identity` names an object by endpoint, bucket, key,
version and path, or by a url without its query.

The journal can be out of date. It records the state of each object and its file; if a row, a file or a listing differs
from the record, that is used instead (`contradicts`).
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Self

import msgspec
from msgspec.structs import astuple

from bulkpresign.errors import JournalError, OutputError
from bulkpresign.events import LoadMeasured
from bulkpresign.ledger.earlier import index_outcomes, index_temporarily
from bulkpresign.ledger.identity import copy_identity_of, identity_of
from bulkpresign.ledger.lock import lock_file
from bulkpresign.ledger.record import Record, claims_of, find_records
from bulkpresign.ledger.schema import (
    ADD_FIRST_OUTCOMES,
    ADD_MOVED,
    ADD_OUTCOMES,
    BEGUN,
    ENDED,
    MANY,
    MARK,
    RUN,
    SCHEMA,
    check_version,
    connect_to_read,
    database_errors,
    has_work,
    table_names,
)
from bulkpresign.model import Checkpoint, Link, ObjectRef, Outcome, ResumePoint
from bulkpresign.redact import without_secrets

_FINISHED = frozenset({"done", "skipped"})
_CACHE_KIB = 8 * 1024
_NO_EVIDENCE = (None,) * 6
#: The cells of an outcome that those before and after it mostly have as well, and its own: see `schema`.
_Cells = tuple[tuple[object, ...], tuple[object, ...]]
#: Seconds. A rate of fewer ones says little, for the first and the last are not whole.
_LEAST_MEASURED = 3


class Journal:
    """A journal that is open for writing. Use as a context manager.

    A journal of another verb or destination is cleared if nothing was done in it. Raises JournalError if something was
    done, and for a file that is not a journal, is damaged, has another version, or is in use by another run. If that
    run has another verb or destination, the file `other` is used, where one is given.
    """

    def __init__(
        self, file: str | os.PathLike[str], verb: str, destination: str, other: str | os.PathLike[str] | None = None
    ) -> None:
        self.file = Path(file)
        self._other = None if other is None else Path(other)
        self._about = {"verb": verb, "destination": destination}
        #: The identity of an object, by the url of its link.
        self.identity_of: Callable[[ObjectRef, str], str] = copy_identity_of if verb == "copy" else identity_of
        #: True if earlier runs recorded outcomes.
        self.has_earlier = False
        self._lock = -1
        self._is_new = self._is_discarded = False
        self._parts: dict[str, ResumePoint] = {}  # at most as many as large objects were in flight
        self._finished_parts: dict[str, dict[int, str]] = {}
        self._database: sqlite3.Connection

    def __enter__(self) -> Self:
        self._lock = self._locked()
        try:
            with self._errors():
                self._database = sqlite3.connect(self.file, isolation_level=None)
                self._open()
        except BaseException as error:
            self._release()
            if isinstance(error, OutputError):  # nothing was sent yet, so this is bad input
                raise JournalError(f"{error}; see --journal") from error
            raise
        return self

    def _locked(self) -> int:
        try:
            return lock_file(self.file)
        except JournalError:
            if self._other is None or not _is_of_another_run(self.file, self._about):
                raise
        self.file = self._other
        return lock_file(self.file)

    def __exit__(self, *exc_info: object) -> None:
        self._release()
        if self._is_discarded:
            self.file.unlink(missing_ok=True)

    def discard_if_new(self) -> None:
        """Deletes the journal at the end if this run created it and did nothing, because its input was not valid."""
        self._is_discarded = self._is_new and not has_work(self._database)

    def finished(self, identities: Sequence[str]) -> dict[str, Record]:
        """The records of those objects that earlier runs completed, by `identity_of`."""
        with self._errors():
            return find_records(self._database, identities)

    def record(
        self,
        outcomes: Sequence[Outcome],
        finished_at: Sequence[float] | None = None,
        moved: Mapping[int, int] | None = None,
    ) -> None:
        """Writes outcomes in one transaction. The parts of an object that is done are deleted.

        An object has one outcome in a run. It replaces that of an earlier run, unless the object was done and has not
        changed.

        `finished_at` is the time of each outcome in Unix seconds (None: now). `moved` is the number of bytes moved in
        each second; it is added to the recorded number.
        """
        times = [time.time()] * len(outcomes) if finished_at is None else finished_at
        rows = [self._cells(outcome, at) for outcome, at in zip(outcomes, times, strict=True)]
        with self._errors(), self._transaction():
            self._add(rows)
            if moved:
                self._database.executemany(ADD_MOVED, moved.items())
            if self._parts:
                for name in [str(own[0]) for (status, *_), own in rows if status in _FINISHED]:
                    self._forget(name)

    def _add(self, rows: Sequence[_Cells]) -> None:
        add_many, add_one = ADD_OUTCOMES if self.has_earlier else ADD_FIRST_OUTCOMES
        for common, group in groupby(rows, itemgetter(0)):
            own = [cells for _, cells in group]
            rest = len(own) - len(own) % MANY
            if rest:
                many = (chain(common, *own[at : at + MANY]) for at in range(0, rest, MANY))
                self._database.executemany(add_many, map(tuple, many))
            self._database.executemany(add_one, [common + cells for cells in own[rest:]])

    def begin_run(self) -> None:
        """Records that a run began. Until `end_run`, objects of its input may have no outcome."""
        self._record_run(BEGUN)

    def end_run(self) -> None:
        """Records that each object of the run's input has an outcome."""
        self._record_run(ENDED)

    def _record_run(self, state: str) -> None:
        with self._errors():
            self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (RUN, state))

    def record_load(self, load: LoadMeasured) -> None:
        """Records what bounded the last run, for the report."""
        with self._errors():
            row = ("load", msgspec.json.encode(load).decode())
            self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", row)

    @property
    def has_checkpoints(self) -> bool:
        """True if an object is unfinished."""
        return bool(self._parts)

    def measured_rate(self) -> float | None:
        """Bytes per second of all runs, in the seconds in which some moved. None for fewer than 3 of them."""
        with self._errors():
            seconds, moved = self._database.execute("SELECT count(*), sum(bytes) FROM moved WHERE bytes > 0").fetchone()
        return moved / seconds if seconds >= _LEAST_MEASURED else None

    def checkpoint(self, link: Link) -> Checkpoint | None:
        """The recorded state of an unfinished object, None if there is none."""
        name = self.identity_of(link.object, link.url)
        point = self._parts.get(name)
        return None if point is None else Checkpoint(point, dict(self._finished_parts.get(name, {})))

    def set_resume_point(self, link: Link, part: ResumePoint) -> None:
        """Writes the resume point of an object before its bytes are moved, and deletes its finished parts."""
        name = self.identity_of(link.object, link.url)
        with self._errors(), self._transaction():
            self._forget(name)
            self._database.execute("INSERT INTO parts VALUES (?, ?, ?, ?)", (name, *astuple(part)))
        self._parts[name] = part

    def add_finished_part(self, link: Link, part_number: int, proof: str) -> None:
        """Records a finished part of an object."""
        name = self.identity_of(link.object, link.url)
        with self._errors():
            row = (name, part_number, proof)
            self._database.execute("INSERT OR REPLACE INTO finished_parts VALUES (?, ?, ?)", row)
        self._finished_parts.setdefault(name, {})[part_number] = proof

    def _cells(self, outcome: Outcome, finished_at: float) -> _Cells:
        """The cells of an outcome. The claims of its row are stored only if they differ, which is rare."""
        ref, link, found, message = outcome.object, outcome.link, outcome.evidence, outcome.message
        name = self.identity_of(ref, "" if link is None else link.url)
        message = message and without_secrets(message)
        part_size = None if found is None else found.part_size
        common = (outcome.status, outcome.attempts, outcome.verified_by, outcome.code, message, part_size)
        own = (name, outcome.bytes, finished_at, outcome.seconds)
        if found is None:
            return common, own + _NO_EVIDENCE
        size, etag, checksum = found.size, found.etag, found.checksum
        is_same_object = (ref.etag is None or ref.etag == etag) and (ref.size is None or ref.size == size)
        claims = None if is_same_object and ref.checksum == checksum else claims_of(ref)
        state = (size, found.mtime_ns, found.ctime_ns, etag, checksum, claims)
        return common, own + state

    def _forget(self, name: str) -> None:
        if self._parts.pop(name, None) is not None:
            self._database.execute("DELETE FROM parts WHERE id = ?", (name,))
        if self._finished_parts.pop(name, None) is not None:
            self._database.execute("DELETE FROM finished_parts WHERE id = ?", (name,))

    def _open(self) -> None:
        execute = self._database.execute
        self._is_new = not execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        if self._is_new:
            execute("PRAGMA synchronous = OFF")  # there is nothing to lose yet
            execute(MARK)  # into the file's header: in WAL mode it would be in the file beside it at first
            execute("PRAGMA journal_mode = WAL")
            self._create()
        check_version(self.file, self._database)
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        found = dict(execute("SELECT name, value FROM about"))
        if {name: found.get(name) for name in self._about} != self._about:
            self._clear(found)
        self._index()
        self._parts = {
            name: ResumePoint(*cells) for name, *cells in execute("SELECT id, etag, size, part_size FROM parts")
        }
        for name, part_number, proof in execute("SELECT id, part_number, proof FROM finished_parts"):
            self._finished_parts.setdefault(name, {})[part_number] = proof

    def _index(self) -> None:
        if self._is_new:
            index_temporarily(self._database)
        else:
            with self._transaction():
                index_outcomes(self._database)
        self.has_earlier = self._database.execute("SELECT 1 FROM earlier LIMIT 1").fetchone() is not None

    def _create(self) -> None:
        """Creates all tables in one transaction: if the process is killed, the file has all or none."""
        with self._transaction():
            for statement in SCHEMA:
                self._database.execute(statement)
            self._database.executemany("INSERT INTO about VALUES (?, ?)", self._about.items())

    def _clear(self, found: Mapping[str, str]) -> None:
        """Clears a journal of another verb or destination. Raises JournalError if something was done in it.

        Open uploads and parts count as done, because no other journal has them.
        """
        if has_work(self._database):
            raise JournalError(
                f"{self.file} is the journal of {found.get('verb')} to {found.get('destination')}, "
                f"not of {self._about['verb']} to {self._about['destination']}: name another one with --journal"
            )
        with self._transaction():
            for table in table_names(self._database):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are the schema's
            self._database.executemany("INSERT INTO about VALUES (?, ?)", self._about.items())

    def _release(self) -> None:
        if hasattr(self, "_database"):
            self._database.close()
        os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.rollback()
            raise
        self._database.execute("COMMIT")

    def _errors(self) -> AbstractContextManager[None]:
        return database_errors(self.file)


def open_read_only(file: Path) -> sqlite3.Connection:
    """Opens a journal to look up records, even if it is in use. Raises JournalError if it is not valid or damaged."""
    if not file.is_file():
        raise JournalError(f"{file}: no such journal")
    with database_errors(file):
        database = connect_to_read(file)
        try:
            check_version(file, database)
            index_temporarily(database)
        except BaseException:
            database.close()
            raise
    return database


def belongs_to_another_run(file: Path, verb: str, destination: str) -> bool:
    """True for a journal in which something was done with another verb or destination.

    False for a file that is not a journal or can't be read: opening it raises the error.
    """
    with suppress(sqlite3.Error), closing(connect_to_read(file)) as database:
        return has_work(database) and _is_of_another_run(file, {"verb": verb, "destination": destination})
    return False


def _is_of_another_run(file: Path, about: Mapping[str, str]) -> bool:
    """True for a journal of another verb or destination, also if nothing was done in it yet."""
    with suppress(sqlite3.Error), closing(connect_to_read(file)) as database:
        found = dict(database.execute("SELECT name, value FROM about"))
        return bool(found) and any(found.get(name) != value for name, value in about.items())
    return False
