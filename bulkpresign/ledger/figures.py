"""Reads from a journal what its page shows: the report, and figures by time, size, duration, cause and verification.

SQLite aggregates and sorts, and rows that remain are streamed. So memory does not grow with the journal.
"""

import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from bulkpresign.ledger.report import JournalReport, object_name, opened, remove_negative, report_of

#: The number of slots into which the time of a journal is divided, at most; one is at least a second long.
_SLOTS = 150
#: A pause is left out of the chart if it has so many seconds, and this part of the rest; so are at most `_MAX_PAUSES`.
_MIN_PAUSE = 60
_PAUSE = 0.1
_MAX_PAUSES = 12
_MAX_CAUSES = 12
#: Attempts from this number on are counted together.
MAX_ATTEMPTS = 5
#: The classes of durations for each doubling.
CLASSES_PER_DOUBLING = 2
_SHORTEST = 1e-4
_QUANTILES = (0.5, 0.9, 0.99, 1.0)

#: Bytes, objects, retries and failures in each second (Unix time). Skipped objects were not moved.
_SECONDS = """
    SELECT second, sum(bytes), sum(objects), sum(retries), sum(failed) FROM (
        SELECT second, bytes, 0 AS objects, 0 AS retries, 0 AS failed FROM moved
        UNION ALL
        SELECT CAST(finished_at AS INTEGER), 0, status = 'done', max(attempts - 1, 0), status != 'done'
        FROM outcomes WHERE status != 'skipped'
    ) GROUP BY second ORDER BY second"""


class Slot(msgspec.Struct):
    """An interval of some `seconds` from `at` (Unix time): bytes moved, objects done, retries, objects failed."""

    at: int
    seconds: int
    bytes: int = 0
    objects: int = 0
    retries: int = 0
    failed: int = 0


class Timeline(msgspec.Struct, frozen=True):
    """The time in which something happened: spans of consecutive slots. Between two spans is a pause."""

    spans: list[list[Slot]]

    @property
    def slots(self) -> list[Slot]:
        """The slots of all spans."""
        return [slot for span in self.spans for slot in span]

    @property
    def active(self) -> int:
        """The seconds without the pauses."""
        return sum(slot.seconds for slot in self.slots)

    @property
    def pauses(self) -> list[int]:
        """The seconds of each pause."""
        return [after[0].at - before[-1].at - before[-1].seconds for before, after in pairwise(self.spans)]


class SizeClass(msgspec.Struct):
    """The objects of one class of sizes, and their bytes."""

    objects: int = 0
    bytes: int = 0


class Cause(msgspec.Struct, frozen=True):
    """An error by its code: how many objects have it, and the latest of them with its message."""

    code: str
    objects: int
    last_at: float
    example: str
    message: str


class Verification(msgspec.Struct, frozen=True):
    """How many objects, and bytes, were verified in a way (None: in no way)."""

    verified_by: str | None
    objects: int
    bytes: int


class Figures(msgspec.Struct, frozen=True):
    """All that the page shows of a journal, at one moment.

    `sizes` are the classes of objects that are done, by `size_class`. `durations` counts them by class of size and of
    duration (`duration_class`); `quantiles` are the exact durations at 50 %, 90 %, 99 % and 100 %. `attempts` counts
    objects by their number of attempts, up to `MAX_ATTEMPTS` and more. `more_causes` counts the causes that are left
    out. `unproven` counts objects that are done although at most their size could be verified.
    """

    report: JournalReport
    timeline: Timeline
    sizes: dict[int, SizeClass]
    durations: dict[tuple[int, int], int]
    quantiles: list[float]
    attempts: dict[int, int]
    causes: list[Cause]
    more_causes: int
    verifications: list[Verification]
    unproven: int


def read_figures(file: str | os.PathLike[str]) -> Figures:
    """Reads a journal, even if it is in use. Raises JournalError if it is not valid or damaged."""
    with opened(file) as database:
        database.execute("BEGIN")  # all queries see the same outcomes, if a run is writing
        sizes, durations, quantiles = _measured(database)
        causes = _causes(database)
        return Figures(
            report=report_of(database),
            timeline=_timeline(database),
            sizes=sizes,
            durations=durations,
            quantiles=quantiles,
            attempts=_attempts(database),
            causes=causes,
            more_causes=_count_of_causes(database) - len(causes),
            verifications=_verifications(database),
            unproven=_unproven(database),
        )


def size_class(size: int) -> int:
    """0 for no bytes, n for fewer than 2**n bytes and at least 2**(n - 1)."""
    return size.bit_length()


def duration_class(seconds: float) -> int:
    """The class of a duration: each is `2 ** (1 / CLASSES_PER_DOUBLING)` times as long as the one before."""
    return math.floor(CLASSES_PER_DOUBLING * math.log2(max(seconds, _SHORTEST)))


def shortest_of(number: int) -> float:
    """The seconds at which a class of durations begins."""
    return 2 ** (number / CLASSES_PER_DOUBLING)


def _timeline(database: sqlite3.Connection) -> Timeline:
    # A temporary table, because it is read twice. SQLite keeps a large one in a file.
    database.execute(f"CREATE TEMP TABLE seconds AS {_SECONDS}")
    pauses = _pauses(database)
    spans = list(_spans(database, pauses))
    length = sum(last - first + 1 for first, last in spans)
    seconds = max(1, math.ceil(length / _SLOTS))
    slots = [[Slot(at, min(seconds, last + 1 - at)) for at in range(first, last + 1, seconds)] for first, last in spans]
    rows = database.execute("SELECT * FROM seconds ORDER BY 1")
    number = 0
    for second, *counts in rows:
        while second > spans[number][1]:
            number += 1
        _add(slots[number][(second - spans[number][0]) // seconds], counts)
    timeline = Timeline(slots)
    _remove_negative(timeline.slots)
    return timeline


def _pauses(database: sqlite3.Connection) -> set[int]:
    """The last seconds before the pauses that are left out, longest first while they are long for what is left."""
    first, last = database.execute("SELECT min(second), max(second) FROM seconds").fetchone()
    if first is None:
        return set()
    query = """SELECT second - before, before FROM (
        SELECT second, lag(second) OVER (ORDER BY second) AS before FROM seconds
    ) WHERE second - before > ? ORDER BY 1 DESC LIMIT ?"""
    left, found = last - first + 1, set()
    for length, before in database.execute(query, (_MIN_PAUSE, _MAX_PAUSES)):
        if length <= left * _PAUSE:
            break
        left -= length - 1
        found.add(before)
    return found


def _spans(database: sqlite3.Connection, pauses: set[int]) -> Iterator[tuple[int, int]]:
    """The first and the last second of each span."""
    first, last = database.execute("SELECT min(second), max(second) FROM seconds").fetchone()
    for before in sorted(pauses):
        yield first, before
        (first,) = database.execute("SELECT min(second) FROM seconds WHERE second > ?", (before,)).fetchone()
    if first is not None:
        yield first, last


def _add(slot: Slot, counts: Sequence[int]) -> None:
    moved, objects, retries, failed = counts
    slot.bytes += moved
    slot.objects += objects
    slot.retries += retries
    slot.failed += failed


def _remove_negative(slots: list[Slot]) -> None:
    sizes = {number: slot.bytes for number, slot in enumerate(slots)}
    remove_negative(sizes)
    for number, slot in enumerate(slots):
        slot.bytes = sizes[number]


def _measured(
    database: sqlite3.Connection,
) -> tuple[dict[int, SizeClass], dict[tuple[int, int], int], list[float]]:
    """The sizes and durations of the objects that are done, and quantiles. Rows come in the order of durations."""
    sizes, durations, quantiles = dict[int, SizeClass](), dict[tuple[int, int], int](), list[float]()
    (total,) = database.execute("SELECT count(*) FROM outcomes WHERE status = 'done'").fetchone()
    ranks = [math.ceil(total * share) for share in _QUANTILES] if total else []
    query = "SELECT coalesce(size, bytes), seconds FROM outcomes WHERE status = 'done' ORDER BY seconds"
    for rank, (size, seconds) in enumerate(database.execute(query), 1):
        number = size_class(size)
        found = sizes.setdefault(number, SizeClass())
        found.objects += 1
        found.bytes += size
        cell = number, duration_class(seconds)
        durations[cell] = durations.get(cell, 0) + 1
        while len(quantiles) < len(ranks) and rank == ranks[len(quantiles)]:
            quantiles.append(seconds)
    return sizes, durations, quantiles


def _attempts(database: sqlite3.Connection) -> dict[int, int]:
    query = "SELECT min(attempts, ?), count(*) FROM outcomes WHERE attempts > 0 GROUP BY 1 ORDER BY 1"
    return dict(database.execute(query, (MAX_ATTEMPTS,)))


def _causes(database: sqlite3.Connection) -> list[Cause]:
    """The most frequent causes. With `max(...)`, SQLite takes the other columns from the row of the maximum."""
    query = """SELECT coalesce(code, status), count(*), max(finished_at), id, coalesce(message, '') FROM outcomes
        WHERE status IN ('failed', 'expired') GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"""
    return [
        Cause(code, objects, at, object_name(identity), message)
        for code, objects, at, identity, message in database.execute(query, (_MAX_CAUSES,))
    ]


def _count_of_causes(database: sqlite3.Connection) -> int:
    query = "SELECT count(DISTINCT coalesce(code, status)) FROM outcomes WHERE status IN ('failed', 'expired')"
    (count,) = database.execute(query).fetchone()
    return int(count)


def _verifications(database: sqlite3.Connection) -> list[Verification]:
    query = """SELECT verified_by, count(*), sum(coalesce(size, bytes)) FROM outcomes
        WHERE status IN ('done', 'skipped') GROUP BY 1 ORDER BY 2 DESC, 1"""
    return [Verification(*row) for row in database.execute(query)]


def _unproven(database: sqlite3.Connection) -> int:
    query = """SELECT count(*) FROM outcomes
        WHERE status = 'done' AND coalesce(verified_by, 'size') = 'size' AND bytes > 0"""
    (count,) = database.execute(query).fetchone()
    return int(count)
