"""The SQLite file of a journal: its tables, its version, and its errors."""

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bulkpresign.errors import JournalError, OutputError

#: Marks the file as ours ("bprs"). The version is that of the tables. Older files can be read from `OLDEST` on.
APPLICATION_ID = 0x62707273
_SQLITE, _ID, _ID_AT = b"SQLite format 3\0", struct.Struct(">I"), 68  # the header of SQLite's files
VERSION = 3
OLDEST = 2

#: The columns of an outcome. `id` is the identity of its object, and `said` has the claims of its row if it differs.
#: `size`, `mtime` and `ctime` (ns) are those of the file.
OUTCOME = """id TEXT NOT NULL, status TEXT, bytes INTEGER, attempts INTEGER, verified_by TEXT, code TEXT, message TEXT,
    finished_at REAL, seconds REAL,
    size INTEGER, mtime INTEGER, ctime INTEGER, etag TEXT, checksum TEXT, part_size INTEGER, said TEXT"""
OUTCOME_NAMES = (
    "id, status, bytes, attempts, verified_by, code, message, finished_at, seconds, "
    "size, mtime, ctime, etag, checksum, part_size, said"
)
#: Each object has one outcome. A run adds its own at the end, and finds those of the runs before it by an index: see
#: `earlier`.
OUTCOMES = f"CREATE TABLE outcomes (number INTEGER PRIMARY KEY, {OUTCOME})"
MARK = f"PRAGMA application_id = {APPLICATION_ID}"
SCHEMA = (
    MARK,
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    OUTCOMES,
    "CREATE TABLE parts (id TEXT PRIMARY KEY, etag TEXT, size INTEGER, part_size INTEGER) WITHOUT ROWID",
    """CREATE TABLE finished_parts (
        id TEXT, part_number INTEGER, proof TEXT, PRIMARY KEY (id, part_number)
    ) WITHOUT ROWID""",
    # The bytes that were moved in each second (Unix time).
    "CREATE TABLE moved (second INTEGER PRIMARY KEY, bytes INTEGER)",
)
#: The row of `about` that says whether the last run ended with an outcome for each object. Older journals have none.
RUN, BEGUN, ENDED = "run", "begun", "ended"
ADD_MOVED = "INSERT INTO moved VALUES (?, ?) ON CONFLICT (second) DO UPDATE SET bytes = bytes + excluded.bytes"
#: Most outcomes have some cells in common with that before. Those are bound once for all outcomes of a statement.
_COMMON = "status, attempts, verified_by, code, message, part_size"
_OWN = "id, bytes, finished_at, seconds, size, mtime, ctime, etag, checksum, said"
#: Outcomes in a statement: all, or one. So many take half the time that each would take in a statement of its own.
MANY = 32


def _statement(number: str, count: int, conflict: str = "") -> str:
    """Adds `count` outcomes. The parameters are their common cells, and then the own cells of each; `column1` is an id.

    Python 3.12.0 to 3.12.3 warn of parameters with numbers. Without `WHERE true`, SQLite takes ON CONFLICT for a part
    of the SELECT.
    """
    rows = ", ".join([f"({_marks(_OWN)})"] * count)
    return f"""INSERT INTO outcomes (number, {_COMMON}, {_OWN})
        SELECT {number}, {_marks(_COMMON)}, * FROM (VALUES {rows}) WHERE true {conflict}"""  # noqa: S608 - placeholders


def _marks(names: str) -> str:
    return ", ".join("?" for _ in names.split(","))


#: Replaces the row of an earlier run. If an object was done before and has not changed, its record stays: it has the
#: time and the verification.
_REPLACE = """ON CONFLICT (number) DO UPDATE SET
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
_EARLIER = "(SELECT number FROM earlier WHERE id = column1)"
#: The statements of many outcomes and of one: without, and with outcomes of earlier runs.
ADD_FIRST_OUTCOMES = tuple(_statement("NULL", count) for count in (MANY, 1))
ADD_OUTCOMES = tuple(_statement(_EARLIER, count, _REPLACE) for count in (MANY, 1))


def has_work(database: sqlite3.Connection) -> bool:
    """True if a journal has an object that is done, or parts of an unfinished one."""
    query = "SELECT 1 FROM outcomes WHERE status IN ('done', 'skipped') UNION ALL SELECT 1 FROM parts LIMIT 1"
    return database.execute(query).fetchone() is not None


def table_names(database: sqlite3.Connection) -> list[str]:
    """The names of all tables."""
    return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def is_journal(file: Path) -> bool:
    """True for a journal of any version, by the header of its file."""
    if not file.is_file():  # opening a pipe would block
        return False
    try:
        with file.open("rb") as stream:
            header = stream.read(_ID_AT + _ID.size)
    except OSError:
        return False
    return header.startswith(_SQLITE) and header[_ID_AT:] == _ID.pack(APPLICATION_ID)


def check_version(file: Path, database: sqlite3.Connection) -> None:
    """Raises JournalError if the file is not a journal, or has another version."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise JournalError(f"{file} is not a journal of bulkpresign")
    if version > VERSION:
        raise JournalError(
            f"{file} was written by a newer version (its format is {version}, this one reads {VERSION}): "
            "update bulkpresign"
        )
    if version < OLDEST:
        raise JournalError(
            f"{file} was written by an older version (its format is {version}, this one reads {VERSION}): move it "
            "away; whole files are found without it, and bulkpresign abort ends open uploads"
        )


@contextmanager
def database_errors(file: Path) -> Iterator[None]:
    """Raises OutputError for a journal that can't be written, and JournalError for a damaged one."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"the journal {file} can't be written: {error}") from error
    except sqlite3.DatabaseError as error:
        raise JournalError(f"the journal {file} is damaged ({error}): move it away to start anew") from error


def connect_to_read(file: Path) -> sqlite3.Connection:
    """Opens the SQLite file to be read. Raises sqlite3.Error."""
    return sqlite3.connect(uri_to_read(file), uri=True)


def uri_to_read(file: Path) -> str:
    """The file for SQLite to read, also in a folder that can't be written.

    To read a journal, SQLite makes files beside it, unless it is told that nobody writes. A run that writes made them.
    The last connection that may write deletes them, so this one may, if the file allows it.
    """
    real = Path(os.path.realpath(file))
    is_final = not os.access(real.parent, os.W_OK) and not os.path.lexists(f"{real}-wal")
    return f"{real.as_uri()}?mode={'ro&immutable=1' if is_final else 'rw'}"
