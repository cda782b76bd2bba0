"""Formats the progress as one line, for a terminal of any width or for a log."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.load import load_in_words
from bulkpresign.ledger.meter import Reading
from bulkpresign.text import counted, show_bytes, show_seconds

_MIN_BAR = 8
_MAX_BAR = 40
#: The least width of a line with a bar.
_MIN_WIDTH_WITH_BAR = 60
#: The cause of a stall, by verb.
_WAITS_FOR = {"verify": "the disk", "sign": "rows", "post": "rows"}

#: The word for the counted objects, by verb.
_NOUNS = {"verify": "files", "sign": "links", "post": "forms", "abort": "uploads"}
_NOUN = "objects"

#: Draws a bar for a fraction from 0 to 1, with this number of columns.
DrawBar = Callable[[float, int], str]


class _Part(msgspec.Struct, frozen=True):
    """A part of the line. If the line is too long, the part with the highest rank is left out first.

    A part with `short` has `short_rank` at first, and is then shortened instead of left out.
    """

    rank: int
    text: str
    short: str | None = None
    short_rank: int = 0

    @property
    def next_rank(self) -> int:
        """The rank with which it is shortened or left out."""
        return self.rank if self.short is None else self.short_rank


def status_line(counts: Counts, reading: Reading, width: int, bar: DrawBar) -> str:
    """One line of at most `width` columns, with a bar if there is room for it."""
    head = _head(counts, reading)
    has_bar = reading.fraction is not None and width >= _MIN_WIDTH_WITH_BAR
    words = _fitting(head, list(_parts(counts, reading)), width - (_MIN_BAR + 2 if has_bar else 0))
    if reading.fraction is None or not has_bar:
        return f"{head} {words}"[:width]
    room = width - len(head) - len(words) - 3
    return f"{head}|{bar(reading.fraction, min(room, _MAX_BAR))}| {words}"[:width]


def log_line(counts: Counts, reading: Reading) -> str:
    """The same line for a log file, with all parts and without a bar."""
    return f"{_head(counts, reading)} {', '.join(part.text for part in _parts(counts, reading))}"


def _head(counts: Counts, reading: Reading) -> str:
    if reading.fraction is None or not counts.is_started:
        return f"{counts.verb}:"
    return f"{counts.verb}: {int(reading.fraction * 100):3}%"


def _parts(counts: Counts, reading: Reading) -> Iterator[_Part]:
    """All parts of the line, in order."""
    if not counts.is_started:
        read = f"{counted(counts.rows, 'row')} read" if counts.rows else "starting"
        yield _Part(1, read)
    else:
        yield from _amounts(counts, reading)
        if reading.stalled:
            seconds = f"{int(reading.stalled)} s"
            waits_for = _WAITS_FOR.get(counts.verb, "the server")
            yield _Part(0, f"waiting for {waits_for}, {seconds}", f"waiting, {seconds}", 3)
        else:
            yield from _speed(reading, _NOUNS.get(counts.verb, _NOUN))
        yield from _problems(counts)
        if counts.load is not None:
            yield _Part(10, load_in_words(counts.load), f"{counts.load.in_flight:,} in flight", 11)
    yield _Part(2, show_seconds(reading.seconds))


def _amounts(counts: Counts, reading: Reading) -> Iterator[_Part]:
    if reading.by_bytes:
        yield _Part(5, f"{show_bytes(reading.bytes_there)}/{show_bytes(reading.bytes_total or 0)}")
    elif counts.moved:
        yield _Part(5, show_bytes(counts.moved))
    objects = f"{counts.attempted:,}"
    if reading.objects_total is not None:
        objects += f"/{reading.objects_total:,}"
    rank = 7 if reading.by_bytes else 3
    yield _Part(rank, f"{objects} {_NOUNS.get(counts.verb, _NOUN)}", objects, rank + 1)


def _speed(reading: Reading, noun: str) -> Iterator[_Part]:
    if reading.by_bytes or reading.bytes_per_second:
        yield _Part(3 if reading.by_bytes else 6, f"{show_bytes(int(reading.bytes_per_second))}/s")
    yield _Part(8 if reading.by_bytes else 4, f"{reading.objects_per_second:,.0f} {noun}/s")
    if reading.seconds_left is not None and reading.fraction != 1:
        yield _Part(4, f"{show_seconds(reading.seconds_left)} left")


def _problems(counts: Counts) -> Iterator[_Part]:
    report = counts.report
    if failed := report.failed - counts.interrupted:
        yield _Part(1, f"{failed:,} failed")
    if report.expired:
        yield _Part(1, f"{report.expired:,} expired")
    if report.skipped:
        yield _Part(9, f"{report.skipped:,} skipped")
    if report.retries:
        yield _Part(8, counted(report.retries, "retry", "retries"))


def _fitting(head: str, parts: Sequence[_Part], width: int) -> str:
    shown = list(parts)
    while shown and len(head) + 1 + len(words := ", ".join(part.text for part in shown)) > width:
        worst = max(range(len(shown)), key=lambda index: (shown[index].next_rank, index))
        if (short := shown[worst].short) is not None:
            shown[worst] = _Part(shown[worst].rank, short)
        else:
            del shown[worst]
    return words if shown else ""
