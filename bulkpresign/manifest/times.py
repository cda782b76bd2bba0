"""Parses times in cells: RFC 3339, and the local dates that spreadsheets convert it into."""

import re
from datetime import UTC, date, datetime
from functools import lru_cache

#: Times between these are valid. Python can't subtract from its first year or add to its last.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)

_TIME = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?:\s?[ap]\.?m\.?)?"
_LOCAL = re.compile(rf"(\d{{1,4}})([./-])(\d{{1,2}})\2(\d{{1,4}})(?:(?:,?\s|T){_TIME})?\Z", re.IGNORECASE)


@lru_cache(maxsize=64)
def moment_of(cell: str) -> datetime | None:
    """A time with a time zone, converted to UTC, or None."""
    try:
        moment = datetime.fromisoformat(cell)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def is_local(cell: str) -> bool:
    """True for a date, with or without a time, without a time zone: `31.01.2026 12:00`, `1/31/2026 12:00 PM`.

    Its meaning depends on the time zone, and on the order of day and month, of the computer that wrote it.
    """
    found = _LOCAL.match(cell.strip())
    if found is None:
        return False
    first, second, third = int(found[1]), int(found[3]), int(found[4])
    if len(found[1]) == 4:
        return _is_date(first, second, third)
    year = third + 2000 if len(found[4]) == 2 else third
    return _is_date(year, second, first) or _is_date(year, first, second)


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
