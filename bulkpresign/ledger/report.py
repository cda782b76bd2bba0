"""Reads a journal into a report: counts, bytes, rates over time, slowest objects, errors by cause, verification."""

import glob
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from bulkpresign.errors import JournalError
from bulkpresign.events import LoadMeasured
from bulkpresign.ledger.schema import ENDED, RUN, check_version, connect_to_read, database_errors
from bulkpresign.model import INTERRUPTED

_SLOWEST = 10
_INTERVALS = 20

#: The first bytes of a SQLite file.
_MAGIC = b"SQLite format 3\0"
_TABLES = (".csv", ".jsonl", ".ndjson", ".json", ".txt", ".parquet")
_WHERE = "the folder of the run, or the journal beside it: DIR.journal of get, DIR.put.journal of put"


class Interval(msgspec.Struct, frozen=True):
    """An interval of a run: the objects that were done and the bytes that were moved in it.

    `at` is its start in Unix seconds, `seconds` its length.
    """

    at: float
    seconds: float
    objects: int
    bytes: int


class SlowObject(msgspec.Struct, frozen=True):
    """One of the slowest objects."""

    object: str
    seconds: float
    bytes: int
    attempts: int


class JournalReport(msgspec.Struct, frozen=True):
    """The report of all runs with one verb and destination. `bytes` counts those of the objects that are done.

    Objects whose transfer was `interrupted` are not among those that `failed`: the next run moves them. `is_complete`
    is False for a last run that goes on, or was stopped: objects of its input have no outcome yet. It is None in
    journals of older versions.
    """

    verb: str
    destination: str
    objects: int
    done: int
    skipped: int
    failed: int
    expired: int
    interrupted: int
    bytes: int
    retries: int
    began_at: float | None
    ended_at: float | None
    errors: dict[str, int]
    verified_by: dict[str, int]
    rates: list[Interval]
    slowest: list[SlowObject]
    load: LoadMeasured | None = None
    is_complete: bool | None = None

    @property
    def not_done(self) -> int:
        """The objects that have an outcome and are not done."""
        return self.failed + self.expired + self.interrupted


def read_report(file: str | os.PathLike[str]) -> JournalReport:
    """Reads a journal, even if it is in use. Raises JournalError if it is not valid or damaged."""
    with opened(file) as database:
        return report_of(database)


@contextmanager
def opened(file: str | os.PathLike[str]) -> Iterator[sqlite3.Connection]:
    """A journal that is open for reading, and what goes wrong as JournalError."""
    path = Path(file)
    if not path.is_file():
        raise JournalError(f"{path}: no such journal")
    if _is_table(path):
        raise JournalError(f"{path} is a manifest, not a journal: give {_WHERE}")
    with database_errors(path), closing(connect_to_read(path)) as database:
        check_version(path, database)
        yield database


def journals_of(run: str | os.PathLike[str]) -> list[Path]:
    """The journals of `run`: the file itself, or the journals beside the folder of this name.

    Raises JournalError for a folder without a journal.
    """
    given = Path(run)
    if not given.is_dir():
        return [given]
    found: list[Path] = []
    for folder in dict.fromkeys([Path(os.path.abspath(given)), given.resolve()]):  # noqa: PTH100 - links are not resolved
        name = glob.escape(folder.name)
        found += [*folder.parent.glob(f"{name}.journal"), *folder.parent.glob(f"{name}.put*.journal")]
    if not found:
        raise JournalError(f"{given} has no journal beside it: looked for {given}.journal and {given}.put.journal")
    return sorted(set(found))


def _is_table(path: Path) -> bool:
    """True for a file with the extension of a table that is not a database."""
    suffixes = path.suffixes[-2:]
    if not any(suffix.lower() in _TABLES for suffix in suffixes):
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) != _MAGIC
    except OSError:
        return False


def _load(text: str | None) -> LoadMeasured | None:
    """The load of the last run, None in journals of older versions."""
    try:
        return None if text is None else msgspec.json.decode(text, type=LoadMeasured)
    except msgspec.MsgspecError:
        return None


def report_of(database: sqlite3.Connection) -> JournalReport:
    """The report of an open journal."""
    about = dict(database.execute("SELECT name, value FROM about"))
    statuses = _counts(database, f"CASE code WHEN '{INTERRUPTED}' THEN 'interrupted' ELSE status END", "true")
    total, size, retries, first, last = database.execute(
        "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(max(attempts - 1, 0)), 0), "
        "min(finished_at - seconds), max(finished_at) FROM outcomes"
    ).fetchone()
    return JournalReport(
        verb=about.get("verb", ""),
        destination=about.get("destination", ""),
        objects=total,
        done=statuses.get("done", 0),
        skipped=statuses.get("skipped", 0),
        failed=statuses.get("failed", 0),
        expired=statuses.get("expired", 0),
        interrupted=statuses.get("interrupted", 0),
        bytes=size,
        retries=retries,
        began_at=first,
        ended_at=last,
        errors=_counts(database, "code", f"status IN ('failed', 'expired') AND code IS NOT '{INTERRUPTED}'"),
        verified_by=_counts(database, "coalesce(verified_by, 'nothing')", "status IN ('done', 'skipped')"),
        rates=_rates(database, first, last),
        slowest=_slowest(database),
        load=_load(about.get("load")),
        is_complete=about[RUN] == ENDED if RUN in about else None,
    )


def _counts(database: sqlite3.Connection, column: str, where: str) -> dict[str, int]:
    query = f"SELECT {column}, count(*) FROM outcomes WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608 - ours
    return dict(database.execute(query))


def _rates(database: sqlite3.Connection, first: float | None, last: float | None) -> list[Interval]:
    """Objects by the time they were done, bytes by the time they were moved."""
    first_moved, last_moved = database.execute("SELECT min(second), max(second) FROM moved").fetchone()
    starts = [at for at in (first, first_moved) if at is not None]
    ends = [at for at in (last, last_moved) if at is not None]
    if not starts:
        return []
    begin = min(starts)
    seconds = max(1.0, (max(ends) - begin) / _INTERVALS)
    objects, sizes = _done_by_interval(database, begin, seconds), _moved_by_interval(database, begin, seconds)
    remove_negative(sizes)
    numbers = sorted(number for number in objects.keys() | sizes.keys() if objects.get(number) or sizes.get(number))
    return [Interval(begin + n * seconds, seconds, objects.get(n, 0), sizes.get(n, 0)) for n in numbers]


def _done_by_interval(database: sqlite3.Connection, begin: float, seconds: float) -> dict[int, int]:
    """The number of objects done in each interval."""
    query = "SELECT CAST((finished_at - ?) / ? AS INTEGER), count(*) FROM outcomes WHERE status = 'done' GROUP BY 1"
    return dict(database.execute(query, (begin, seconds)).fetchall())


def _moved_by_interval(database: sqlite3.Connection, begin: float, seconds: float) -> dict[int, int]:
    """The bytes moved in each interval."""
    query = "SELECT CAST((second - ?) / ? AS INTEGER), sum(bytes) FROM moved GROUP BY 1"
    return dict(database.execute(query, (begin, seconds)).fetchall())


def remove_negative(sizes: dict[int, int]) -> None:
    """Subtracts the bytes of failed attempts from earlier intervals, so that no interval has a negative number."""
    owed = 0
    for number in sorted(sizes, reverse=True):
        left = sizes[number] + owed
        sizes[number], owed = max(0, left), min(0, left)


def _slowest(database: sqlite3.Connection) -> list[SlowObject]:
    rows = database.execute(
        "SELECT id, seconds, bytes, attempts FROM outcomes ORDER BY seconds DESC, id LIMIT ?", (_SLOWEST,)
    )
    return [
        SlowObject(object_name(identity), round(seconds, 3), size, attempts)
        for identity, seconds, size, attempts in rows
    ]


def object_name(identity: str) -> str:
    """The name of an object for people, from its identity: `s3://bucket/key`, or its url."""
    endpoint_or_url, bucket, key, *_ = identity.split("\0")
    return f"s3://{bucket}/{key}" if bucket else endpoint_or_url
