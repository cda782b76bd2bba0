"""Parses sizes, durations and times: `64MiB`, `1h`, `2026-01-31`. The functions are types of click options."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

_DECIMAL = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZES = _DECIMAL | {"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_DURATIONS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\Z")


def size(text: str) -> int:
    """The bytes of `512`, `64MiB` or `5GB`."""
    found = _NUMBER.match(text)
    if not found or found[2].upper() not in _SIZES:
        raise click.BadParameter(f"{text!r} is not a size; examples: 64MiB, 5GB, 1000 (units: KiB MiB GiB KB MB GB)")
    return int(float(found[1]) * _SIZES[found[2].upper()])


def duration(text: str) -> int:
    """The seconds of `90`, `30s`, `15m`, `12h` or `7d`."""
    found = _NUMBER.match(text)
    if not found or found[2] not in _DURATIONS:
        raise click.BadParameter(f"{text!r} is not a duration; examples: 30s, 15m, 12h, 7d, 3600")
    return int(float(found[1]) * _DURATIONS[found[2]])


def moment(text: str) -> datetime:
    """The time of `2026-01-31T12:00:00Z` or `2026-01-31` (UTC unless it has a zone), or that of an age such as `7d`."""
    try:
        if _NUMBER.match(text):
            return datetime.now(UTC) - timedelta(seconds=duration(text))
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        problem = f"{text!r} is not a time or an age; examples: 2026-01-31, 2026-01-31T12:00:00Z, 12h, 7d"
        raise click.BadParameter(problem) from None


def count(text: str) -> int:
    """A number of 1 or more."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is not a number of 1 or more")
    return int(text)


def auto_or(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    """Takes `auto` (None) besides what `parse` takes."""

    def value(text: str) -> int | None:
        return None if text == "auto" else parse(text)

    return value
