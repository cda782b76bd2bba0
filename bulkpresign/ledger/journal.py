"""The journal: the outcome of every object, kept over runs, in one SQLite file beside the destination.

An outcome is in it before it is counted, so the next run for the same verb and destination goes on where this one
ended, however it ended. It holds no signature: rows are known by endpoint, bucket, key, version and path, and links
without a key by their url without its query.

The journal is memory, not evidence: it records how each object and its file were, so that a row, a file or a listing
that says otherwise is believed instead (`contradicts`).
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Self

from msgspec.structs import astuple

from bulkpresign.errors import JournalError, OutputError
from bulkpresign.ledger.recorded import RECORDED_COLUMNS, Recorded, claims_of
from bulkpresign.model import Checkpoint, Evidence, Link, ObjectRef, Outcome, ResumePoint, endpoint_of, without_query
from bulkpresign.redact import without_secrets

#: Marks the file as ours ("bprs"), and tells how its tables look.
APPLICATION_ID = 0x62707273
VERSION = 2

_FINISHED = frozenset({"done", "skipped"})
_IS_FINISHED = "AND status IN ('done', 'skipped') AND message IS NULL"
_LOOK_UP = 1000
_HEADER_BYTES = 100  # of SQLite; it takes a shorter file for an empty one
_CACHE_KIB = 32 * 1024
_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    # `size`, `mtime` and `ctime` (ns) are the file's; `said` is what the row claimed, where that is not what was found.
    """CREATE TABLE outcomes (
        id TEXT PRIMARY KEY, status TEXT, bytes INTEGER, attempts INTEGER, verified_by TEXT, code TEXT, message TEXT,
        finished_at REAL, seconds REAL,
        size INTEGER, mtime INTEGER, ctime INTEGER, etag TEXT, checksum TEXT, part_size INTEGER, said TEXT
    ) WITHOUT ROWID""",
    "CREATE TABLE parts (id TEXT PRIMARY KEY, etag TEXT, size INTEGER, part_size INTEGER) WITHOUT ROWID",
    """CREATE TABLE finished_parts (
        id TEXT, part_number INTEGER, proof TEXT, PRIMARY KEY (id, part_number)
    ) WITHOUT ROWID""",
    # Bytes by the second (Unix time) in which they were moved.
    "CREATE TABLE moved (second INTEGER PRIMARY KEY, bytes INTEGER)",
)
_ADD_MOVED = "INSERT INTO moved VALUES (?, ?) ON CONFLICT (second) DO UPDATE SET bytes = bytes + excluded.bytes"
#: An object that was done and is found as it was, keeps its record: that tells when it came, and what proved it.
_RECORD = """INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status, bytes = excluded.bytes, attempts = excluded.attempts,
        verified_by = excluded.verified_by, code = excluded.code, message = excluded.message,
        finished_at = excluded.finished_at, seconds = excluded.seconds,
        size = excluded.size, mtime = excluded.mtime, ctime = excluded.ctime, etag = excluded.etag,
        checksum = excluded.checksum, part_size = excluded.part_size, said = excluded.said
    WHERE NOT (
        outcomes.status = 'done' AND excluded.status = 'skipped' AND excluded.message IS NULL
        AND outcomes.size IS excluded.size AND outcomes.mtime IS excluded.mtime
        AND outcomes.ctime IS excluded.ctime AND outcomes.etag IS excluded.etag
    )"""
_NO_EVIDENCE = (None,) * 7


class Journal:
    """One run's journal, open for writing. Use as a context manager.

    A journal of another verb or destination in which nothing was done is begun anew. Raises JournalError where one has
    something done, or the file is no journal, is damaged, was written by a newer version, or is in use by another
    process.
    """

    def __init__(self, file: str | os.PathLike[str], verb: str, destination: str) -> None:
        self.file = Path(file)
        self._about = {"verb": verb, "destination": destination}
        self._lock = -1
        self._is_new = self._is_unwanted = False
        self._parts: dict[str, ResumePoint] = {}  # as many as objects were in flight, and large, when a run ended
        self._finished_parts: dict[str, dict[int, str]] = {}
        self._database: sqlite3.Connection

    def __enter__(self) -> Self:
        self._take_lock()
        try:
            with self._errors():
                self._database = sqlite3.connect(self.file, isolation_level=None)
                self._open()
        except BaseException as error:
            self._release()
            if isinstance(error, OutputError):  # nothing was sent yet: what an earlier run left stays
                raise JournalError(f"{error}; see --journal") from error
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._release()
        if self._is_unwanted:
            self.file.unlink(missing_ok=True)

    def discard_if_new(self) -> None:
        """Leaves no journal behind where this run made it: its input was bad, so there was no run."""
        self._is_unwanted = self._is_new and not holds_work(self._database)

    def finished(self, names: Sequence[str]) -> dict[str, Recorded]:
        """The records of those objects that are done, by their names (`name_of`).

        What was passed over for a reason, as under `--if-exists keep`, is not: another run may be told otherwise.
        """
        with self._errors():
            return _finished(self._database, names)

    def record(
        self,
        outcomes: Sequence[Outcome],
        finished_at: Sequence[float] | None = None,
        moved: Mapping[int, int] | None = None,
    ) -> None:
        """Keeps outcomes, in one transaction. An object that is done needs none of its parts any more.

        `finished_at`: when each of them ended, in Unix seconds (None: now). `moved`: bytes by the second in which they
        were moved, added to those that are there.
        """
        times = [time.time()] * len(outcomes) if finished_at is None else finished_at
        rows = [(_identity_of(outcome), *_cells(outcome, at)) for outcome, at in zip(outcomes, times, strict=True)]
        with self._errors(), self._transaction():
            self._database.executemany(_RECORD, rows)
            if moved:
                self._database.executemany(_ADD_MOVED, moved.items())
            if self._parts:
                whole = [(row[0],) for row in rows if row[1] in _FINISHED and str(row[0]) in self._parts]
                for (name,) in whole:
                    self._forget(str(name))

    @property
    def has_checkpoints(self) -> bool:
        """True where some object is unfinished."""
        return bool(self._parts)

    def checkpoint(self, link: Link) -> Checkpoint | None:
        """The state of an unfinished object, None where nothing is recorded."""
        name = identity(link)
        point = self._parts.get(name)
        return None if point is None else Checkpoint(point, dict(self._finished_parts.get(name, {})))

    def set_resume_point(self, link: Link, part: ResumePoint) -> None:
        """Keeps of which object the bytes are that are about to be moved."""
        name = identity(link)
        with self._errors(), self._transaction():
            self._forget(name)
            self._database.execute("INSERT INTO parts VALUES (?, ?, ?, ?)", (name, *astuple(part)))
        self._parts[name] = part

    def add_finished_part(self, link: Link, part_number: int, proof: str) -> None:
        """Keeps that one part of an object is there."""
        name = identity(link)
        with self._errors():
            row = (name, part_number, proof)
            self._database.execute("INSERT OR REPLACE INTO finished_parts VALUES (?, ?, ?)", row)
        self._finished_parts.setdefault(name, {})[part_number] = proof

    def _forget(self, name: str) -> None:
        if self._parts.pop(name, None) is not None:
            self._database.execute("DELETE FROM parts WHERE id = ?", (name,))
        if self._finished_parts.pop(name, None) is not None:
            self._database.execute("DELETE FROM finished_parts WHERE id = ?", (name,))

    def _open(self) -> None:
        execute = self._database.execute
        self._is_new = not execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        if self._is_new:
            execute("PRAGMA journal_mode = WAL")
            self._create()
        check_version(self.file, self._database)
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        found = dict(execute("SELECT name, value FROM about"))
        if found != self._about:
            self._begin_anew(found)
        self._parts = {
            name: ResumePoint(*cells) for name, *cells in execute("SELECT id, etag, size, part_size FROM parts")
        }
        for name, part_number, proof in execute("SELECT id, part_number, proof FROM finished_parts"):
            self._finished_parts.setdefault(name, {})[part_number] = proof

    def _create(self) -> None:
        """Makes the tables, all at once: a journal that a killed process made is whole or empty."""
        with self._transaction():
            for statement in _SCHEMA:
                self._database.execute(statement)
            self._database.executemany("INSERT INTO about VALUES (?, ?)", self._about.items())

    def _begin_anew(self, found: Mapping[str, str]) -> None:
        """Takes over the journal of another verb or destination. Raises JournalError where something was done there.

        Uploads and parts that are open count as well: that journal alone knows of them.
        """
        if holds_work(self._database):
            raise JournalError(
                f"{self.file} is the journal of {found.get('verb')} to {found.get('destination')}, "
                f"not of {self._about['verb']} to {self._about['destination']}: name another one with --journal"
            )
        with self._transaction():
            for table in _tables(self._database):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are the schema's
            self._database.executemany("INSERT INTO about VALUES (?, ?)", self._about.items())

    def _take_lock(self) -> None:
        try:
            # O_CREAT: the file may be new; the lock is on the file itself, so that none is left behind.
            self._lock = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise JournalError(f"{self.file} is in use by another run") from error
        except OSError as error:
            raise JournalError(f"the journal {self.file} can't be written: {error.strerror}; see --journal") from error
        if 0 < os.fstat(self._lock).st_size < _HEADER_BYTES:
            os.close(self._lock)
            raise JournalError(f"the journal {self.file} is damaged: move it away to start anew")

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


def _finished(database: sqlite3.Connection, names: Sequence[str]) -> dict[str, Recorded]:
    found: dict[str, Recorded] = {}
    for at in range(0, len(names), _LOOK_UP):
        ids = names[at : at + _LOOK_UP]
        query = f"SELECT {RECORDED_COLUMNS} FROM outcomes WHERE id IN ({','.join('?' * len(ids))}) {_IS_FINISHED}"  # noqa: S608
        for name, *cells in database.execute(query, ids):
            found[name] = Recorded(*cells)
    return found


def open_to_read(file: Path) -> sqlite3.Connection:
    """A journal for reading, which may be in use. Raises JournalError where it is none, or damaged."""
    if not file.is_file():
        raise JournalError(f"{file}: no such journal")
    with database_errors(file):
        database = _read_only(file)
        try:
            check_version(file, database)
        except BaseException:
            database.close()
            raise
    return database


def recorded_of(database: sqlite3.Connection, endpoint: str, refs: Sequence[ObjectRef]) -> dict[int, Recorded]:
    """The records of those objects that are done, of an endpoint, by their place among `refs`."""
    found = _finished(database, [name_of(ref, endpoint) for ref in refs])
    return {index: found[name] for index, ref in enumerate(refs) if (name := name_of(ref, endpoint)) in found}


def is_of_another(file: Path, verb: str, destination: str) -> bool:
    """True for a journal in which something was done for another verb or destination.

    False for what is no journal, or can't be read: opening it says so.
    """
    with suppress(sqlite3.Error), closing(_read_only(file)) as database:
        found = dict(database.execute("SELECT name, value FROM about"))
        return found != {"verb": verb, "destination": destination} and holds_work(database)
    return False


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def holds_work(database: sqlite3.Connection) -> bool:
    """True where a journal has an object that is done, or parts of one that is not whole."""
    query = "SELECT 1 FROM outcomes WHERE status IN ('done', 'skipped') UNION ALL SELECT 1 FROM parts LIMIT 1"
    return database.execute(query).fetchone() is not None


def _tables(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def identity(link: Link) -> str:
    """The name by which a link's object is known over runs."""
    return name_of(link.object, link.url)


def name_of(ref: ObjectRef, url: str) -> str:
    """The name by which an object is known over runs; `url` is its link's: the same key elsewhere is another object."""
    if ref.key:
        return f"{endpoint_of(url)}\0{ref.bucket}\0{ref.key}\0{ref.version_id or ''}\0{ref.file_path}"
    return f"{without_query(url)}\0\0\0{ref.version_id or ''}\0{ref.file_path}"


def check_version(file: Path, database: sqlite3.Connection) -> None:
    """Raises JournalError where the file is no journal, or one that a newer version wrote."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise JournalError(f"{file} is no journal of bulkpresign")
    if version > VERSION:
        raise JournalError(f"{file} was written by a newer version (its format is {version}, this one reads {VERSION})")
    if version < VERSION:
        raise JournalError(
            f"{file} was written by an older version (its format is {version}, this one reads {VERSION}): move it "
            "away; files that are whole are found without it, bulkpresign abort ends open uploads"
        )


@contextmanager
def database_errors(file: Path) -> Iterator[None]:
    """SQLite's errors as ours: a damaged file is bad input, one that can't be written is a run that can't go on."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"the journal {file} can't be written: {error}") from error
    except sqlite3.DatabaseError as error:
        raise JournalError(f"the journal {file} is damaged ({error}): move it away to start anew") from error


def _identity_of(outcome: Outcome) -> str:
    return name_of(outcome.object, outcome.link.url if outcome.link else "")


def _cells(outcome: Outcome, finished_at: float) -> tuple[object, ...]:
    evidence = outcome.evidence
    return (
        outcome.status,
        outcome.bytes,
        outcome.attempts,
        outcome.verified_by,
        outcome.code,
        outcome.message and without_secrets(outcome.message),
        finished_at,
        outcome.seconds,
        *(_NO_EVIDENCE if evidence is None else _evidence_cells(outcome.object, evidence)),
    )


def _evidence_cells(ref: ObjectRef, found: Evidence) -> tuple[object, ...]:
    """How object and file were; what the row claimed is kept only where it differs, for one row in many."""
    is_as_said = ref.etag in {None, found.etag} and ref.size in {None, found.size} and ref.checksum == found.checksum
    said = None if is_as_said else claims_of(ref)
    return found.size, found.mtime_ns, found.ctime_ns, found.etag, found.checksum, found.part_size, said
