"""Formats counts, sizes and durations for people, and decodes url-encoded texts. All output uses these functions."""

from collections.abc import Sequence
from math import floor, log10
from urllib.parse import unquote_plus

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show_bytes(count: int) -> str:
    """A size: `512 B`, `1.5 KiB`, `2.00 TiB`."""
    value, unit = float(count), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = (0, 1, 1, 1, 2)[unit]
    return f"{value:.{digits}f} {_UNITS[unit]}"


def show_rate(count: float) -> str:
    """A number per second: `0.4`, `9.5`, `12,000`."""
    return f"{count:,.0f}" if count >= 9.95 else f"{count:.1f}"


def show_power(exponent: int) -> str:
    """The size of `2 ** exponent` bytes, without digits after the point: `1 B`, `64 KiB`, `2048 TiB`."""
    unit = min(exponent // 10, len(_UNITS) - 1)
    return f"{1 << exponent - 10 * unit} {_UNITS[unit]}"


def show_duration(seconds: float) -> str:
    """A duration with three digits, if it is less than a minute: `0.25 ms`, `210 ms`, `1.25 s`, `12:30`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 59.95 else show_seconds(seconds)


def show_seconds(seconds: float) -> str:
    """A duration: `0:07`, `12:30`, `3:05:00`, `2d 04:00:00`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_amount(amount: float) -> str:
    """An amount of money, with two digits at least: `0.0000096`, `0.50`, `1,234.56`."""
    digits = 2 if amount >= 0.1 or amount <= 0 else 1 - floor(log10(amount))
    return f"{amount:,.{digits}f}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count and its noun: `1 link`, `2,000 links`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def unquoted(texts: Sequence[str]) -> Sequence[str] | None:
    """Texts without url-encoding, all at once: there are often a thousand with some quoted characters each.

    None if one of them is not UTF-8, or has a NUL character.
    """
    joined = "\0".join(texts)
    if "%" not in joined and "+" not in joined:
        return texts
    try:
        decoded = unquote_plus(joined, errors="strict").split("\0")
    except UnicodeDecodeError:
        return None
    return decoded if len(decoded) == len(texts) else None
