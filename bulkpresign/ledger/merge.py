"""Merges journals of one verb and destination into a new one, such as the journals of several workers.

SQLite sorts and copies the rows through temporary files, so memory does not grow with the journals. An object that
several journals have keeps its best record: done, else skipped, else the latest. So the order of the journals does not
matter.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bulkpresign.errors import JournalError, OutputError
from bulkpresign.ledger.lock import lock_for_reading
from bulkpresign.ledger.record import checksums_differ
from bulkpresign.ledger.report import object_name, opened
from bulkpresign.ledger.schema import BEGUN, OUTCOME, OUTCOME_NAMES, RUN, SCHEMA, uri_to_read

_RANK = "CASE WHEN {0}.message IS NOT NULL THEN 0 WHEN {0}.status = 'done' THEN 2 ELSE {0}.status = 'skipped' END"
_ONE, _OTHER = _RANK.format("one"), _RANK.format("other")
#: Rows of one journal, sorted, meet those of the journals before it in the same order: no page is read twice.
_IN_BOTH = "FROM sorted AS one CROSS JOIN merged AS other USING (id)"
_STATES = f"SELECT id, one.size, other.size, one.etag, other.etag, one.checksum, other.checksum {_IN_BOTH} WHERE "
_DONE_IN_BOTH = f"{_STATES} {_ONE} > 0 AND {_OTHER} > 0"
#: Objects that both journals have begun, as different objects or uploads, or with different bytes in a part.
_UNEQUAL_PARTS = """
    SELECT id FROM shard.parts AS one JOIN main.parts AS other USING (id)
    WHERE (one.etag, one.size, one.part_size) != (other.etag, other.size, other.part_size)
    UNION ALL
    SELECT id FROM shard.finished_parts AS one JOIN main.finished_parts AS other USING (id, part_number)
    WHERE one.proof != other.proof
    LIMIT 1"""
#: The rows of all journals so far, in a temporary file.
_MERGED = f"CREATE TEMP TABLE merged ({OUTCOME}, PRIMARY KEY (id)) WITHOUT ROWID"
_SORT = f"CREATE TEMP TABLE sorted AS SELECT {OUTCOME_NAMES} FROM shard.outcomes ORDER BY id"  # noqa: S608 - all of it is ours
_ADD = (
    f"""DELETE FROM merged WHERE id IN (
        SELECT id {_IN_BOTH} WHERE ({_ONE}, one.finished_at) > ({_OTHER}, other.finished_at))""",  # noqa: S608 - all of it is ours
    "INSERT OR IGNORE INTO merged SELECT * FROM sorted",
    """INSERT INTO main.moved SELECT * FROM shard.moved WHERE true
        ON CONFLICT (second) DO UPDATE SET bytes = bytes + excluded.bytes""",
    "INSERT OR IGNORE INTO main.parts SELECT * FROM shard.parts",
    "INSERT OR IGNORE INTO main.finished_parts SELECT * FROM shard.finished_parts",
    f"""INSERT INTO main.about SELECT * FROM shard.about WHERE name = '{RUN}'
        ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value = '{BEGUN}'""",  # noqa: S608 - ours
)
_IS_DONE = "(SELECT status FROM merged WHERE merged.id = {0}.id) IN ('done', 'skipped')"
_FINISH = (
    *(f"DELETE FROM {table} WHERE {_IS_DONE.format(table)}" for table in ("parts", "finished_parts")),  # noqa: S608 - the names are ours
    "INSERT INTO outcomes SELECT NULL, * FROM merged",
    "PRAGMA journal_mode = WAL",  # a run that goes on with it is not stopped by those who read it
)


def merge_journals(files: Sequence[Path], output: Path) -> None:
    """Merges `files` into the new journal `output`, which appears when it is whole.

    Raises JournalError for a file that is not a journal, is damaged, in use or given twice, for one of another verb or
    destination, and for journals that disagree about an object. Raises OutputError if `output` exists or can't be
    written.
    """
    if os.path.lexists(output):
        raise OutputError(f"{output} exists: name a new file")
    with ExitStack() as stack:
        about = _about_of(files, stack)
        temporary = stack.enter_context(_temporary(output))
        with _output_errors(output), closing(sqlite3.connect(temporary, isolation_level=None, uri=True)) as database:
            _create(database, about)
            for file in files:
                _add(database, file)
            for statement in _FINISH:
                database.execute(statement)
        _publish(temporary, output)


def _about_of(files: Sequence[Path], stack: ExitStack) -> dict[str, str]:
    """The verb and the destination of all journals. They can't be written until `stack` is closed."""
    first: dict[str, str] = {}
    found: dict[tuple[int, int], Path] = {}
    for file in files:
        with opened(file) as database:
            about = dict(database.execute("SELECT name, value FROM about WHERE name IN ('verb', 'destination')"))
        descriptor = lock_for_reading(file)
        stack.callback(os.close, descriptor)
        state = os.fstat(descriptor)
        if other := found.get((state.st_dev, state.st_ino)):
            raise JournalError(f"{file} is given twice" + (f", also as {other}" if file != other else ""))
        found[state.st_dev, state.st_ino] = file
        first = first or about
        if about != first:
            raise JournalError(
                f"{file} is the journal of {_named(about)}, and {files[0]} of {_named(first)}: "
                "only journals of one verb and destination can be merged"
            )
    return first


def _named(about: dict[str, str]) -> str:
    return f"{about.get('verb')} to {about.get('destination')}"


@contextmanager
def _temporary(output: Path) -> Iterator[Path]:
    """A new file beside `output`, which is deleted if it still has its name at the end."""
    file = output.with_name(f".{output.name[:50]}.{os.urandom(4).hex()}.tmp")
    with _output_errors(output):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _create(database: sqlite3.Connection, about: dict[str, str]) -> None:
    # Nothing is lost if the machine fails now, because the file is written again from the start.
    for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", *SCHEMA, _MERGED):
        database.execute(statement)
    database.executemany("INSERT INTO about VALUES (?, ?)", about.items())


def _add(database: sqlite3.Connection, file: Path) -> None:
    """Adds a journal, in one transaction."""
    database.execute("ATTACH ? AS shard", (uri_to_read(file),))
    try:
        database.execute(_SORT)
        _check_agreement(database, file)
        database.execute("BEGIN")
        for statement in _ADD:
            database.execute(statement)
        database.execute("COMMIT")
        database.execute("DETACH shard")
        database.execute("DROP TABLE sorted")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise JournalError(f"the journal {file} is damaged ({error})") from error


def _check_agreement(database: sqlite3.Connection, file: Path) -> None:
    """Raises JournalError if the journal and an earlier one have different states of an object."""
    for identity, *states in database.execute(_DONE_IN_BOTH):
        sizes, etags, checksums = states[:2], states[2:4], states[4:]
        if _differ(*sizes) or _differ(*etags) or checksums_differ(*checksums):
            raise _disagreement(file, identity)
    for (identity,) in database.execute(_UNEQUAL_PARTS):
        raise _disagreement(file, identity)


def _differ(one: object, other: object) -> bool:
    return None not in {one, other} and one != other


def _disagreement(file: Path, identity: str) -> JournalError:
    return JournalError(
        f"{file} and a journal before it disagree about {object_name(identity)}: the object changed between the runs, "
        "or two runs moved it; get it again with one of the journals, and leave the other one out"
    )


@contextmanager
def _output_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise OutputError(f"{output} can't be written: {getattr(error, 'strerror', None) or error}") from error


def _publish(temporary: Path, output: Path) -> None:
    with _output_errors(output):
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.rename(output)
