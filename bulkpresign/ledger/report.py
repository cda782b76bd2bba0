"""What a run did, read from its journal: counts, bytes, rates over time, the slowest, errors by cause, verification."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from bulkpresign.errors import JournalError
from bulkpresign.ledger.journal import check_version, database_errors

_SLOWEST = 10
_INTERVALS = 20


class Interval(msgspec.Struct, frozen=True):
    """What was finished in one stretch of a run; `at` in Unix seconds, `seconds` its length."""

    at: float
    seconds: float
    objects: int
    bytes: int


class Slow(msgspec.Struct, frozen=True):
    """An object that took long."""

    object: str
    seconds: float
    bytes: int
    attempts: int


class JournalReport(msgspec.Struct, frozen=True):
    """All runs of one verb to one destination, as their journal has them. Bytes are those of the objects done."""

    verb: str
    destination: str
    objects: int
    done: int
    skipped: int
    failed: int
    expired: int
    bytes: int
    retries: int
    began_at: float | None
    ended_at: float | None
    errors: dict[str, int]
    verified_by: dict[str, int]
    rates: list[Interval]
    slowest: list[Slow]


def read_report(file: str | os.PathLike[str]) -> JournalReport:
    """Reads a journal, which may be in use. Raises JournalError where it is none or damaged."""
    path = Path(file)
    if not path.is_file():
        raise JournalError(f"{path}: no such journal")
    with database_errors(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        check_version(path, database)
        return _report(database)


def _report(database: sqlite3.Connection) -> JournalReport:
    about = dict(database.execute("SELECT name, value FROM about"))
    statuses = dict(database.execute("SELECT status, count(*) FROM outcomes GROUP BY status"))
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
        bytes=size,
        retries=retries,
        began_at=first,
        ended_at=last,
        errors=_counts(database, "code", "status IN ('failed', 'expired')"),
        verified_by=_counts(database, "coalesce(verified_by, 'nothing')", "status IN ('done', 'skipped')"),
        rates=_rates(database, first, last),
        slowest=_slowest(database),
    )


def _counts(database: sqlite3.Connection, what: str, where: str) -> dict[str, int]:
    query = f"SELECT {what}, count(*) FROM outcomes WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608 - ours
    return dict(database.execute(query))


def _rates(database: sqlite3.Connection, first: float | None, last: float | None) -> list[Interval]:
    if first is None or last is None:
        return []
    seconds = max(1.0, (last - first) / _INTERVALS)
    rows = database.execute(
        "SELECT CAST((finished_at - ?1) / ?2 AS INTEGER), count(*), sum(bytes) FROM outcomes "
        "WHERE status = 'done' GROUP BY 1 ORDER BY 1",
        (first, seconds),
    )
    return [Interval(first + number * seconds, seconds, objects, size) for number, objects, size in rows]


def _slowest(database: sqlite3.Connection) -> list[Slow]:
    rows = database.execute(
        "SELECT id, seconds, bytes, attempts FROM outcomes ORDER BY seconds DESC, id LIMIT ?", (_SLOWEST,)
    )
    return [Slow(_name(identity), round(seconds, 3), size, attempts) for identity, seconds, size, attempts in rows]


def _name(identity: str) -> str:
    place, bucket, key, *_ = identity.split("\0")
    return f"s3://{bucket}/{key}" if bucket else place
