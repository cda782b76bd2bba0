"""The sections of the page about one journal: charts over time and by size, and tables."""

from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element

from bulkpresign.ledger.figures import MAX_ATTEMPTS, Cause, Figures, Slot, Verification
from bulkpresign.ledger.page.density import density_chart
from bulkpresign.ledger.page.tables import Column, Line, note, table, with_bar
from bulkpresign.ledger.page.timeline import Row, timeline_chart
from bulkpresign.markup import element
from bulkpresign.model import NO_PROOF
from bulkpresign.redact import printable
from bulkpresign.text import counted, show_bytes, show_duration, show_power, show_rate, show_seconds

#: In fewer seconds there is no course of time to see.
MIN_SECONDS = 3
#: A line of the table of sizes is from `4 ** n` to `4 ** (n + 1)` bytes.
_DOUBLINGS_PER_LINE = 2
_MAX_TEXT = 240

_OBJECTS = Column("Objects", "bars")
_BYTES = Column("Bytes", "number")


def sections(figures: Figures) -> Iterator[Element]:
    """The sections that have something to show."""
    if figures.timeline.active >= MIN_SECONDS:
        yield _over_time(figures)
    if figures.causes:
        yield _causes(figures)
    if figures.verifications:
        yield _pair(_verifications(figures), *([_attempts(figures)] if figures.report.retries else []))
    if figures.report.done:
        yield _pair(_durations(figures), _sizes(figures))
    if figures.report.slowest:
        yield _slowest(figures)


def local_time(at: float) -> datetime:
    """A Unix time as an aware local time."""
    return datetime.fromtimestamp(at).astimezone()


def _pair(*found: Element) -> Element:
    return element("div", *found, class_="pair")


def _figure(title: str, chart: Element, caption: str) -> Element:
    return element("section", element("h3", title), element("figure", chart, element("figcaption", caption)))


def _over_time(figures: Figures) -> Element:
    timeline, rows = figures.timeline, list(_rows(figures))
    caption = f"Each step is {counted(timeline.slots[0].seconds, 'second')}."
    if pauses := timeline.pauses:
        caption += f" {counted(len(pauses), 'pause')} of {show_seconds(sum(pauses))} in total left out."
    description = f"{'; '.join(row.label for row in rows)}. {caption}"
    return _figure("Over time", timeline_chart(timeline, rows, "What happened over time", description), caption)


def _rows(figures: Figures) -> Iterator[Row]:
    slots, active, report = figures.timeline.slots, figures.timeline.active, figures.report
    if moved := sum(slot.bytes for slot in slots):
        mean, peak = show_bytes(moved // active), show_bytes(int(max(map(_byte_rate, slots))))
        yield Row(f"Bytes per second: mean {mean}, peak {peak}", _byte_rate, 120, "first")
    if report.done:
        mean, peak = show_rate(report.done / active), show_rate(max(map(_object_rate, slots)))
        yield Row(f"Objects per second: mean {mean}, peak {peak}", _object_rate, 60, "second")
    if report.retries:
        yield Row(f"Retries: {report.retries:,}", lambda slot: slot.retries, 30, "second")
    if missing := report.not_done:
        yield Row(f"Not done: {counted(missing, 'object')}", lambda slot: slot.failed, 30, "bad")


def _byte_rate(slot: Slot) -> float:
    return slot.bytes / slot.seconds


def _object_rate(slot: Slot) -> float:
    return slot.objects / slot.seconds


def _durations(figures: Figures) -> Element:
    half, most, nearly_all, longest = map(show_duration, figures.quantiles)
    caption = (
        f"Half of the objects took at most {half}, 90 % at most {most}, 99 % at most {nearly_all}, the slowest "
        f"{longest}, with retries and the waits before them. Darker is more objects; bars are sums. On a dotted line, "
        "objects move at the same rate."
    )
    chart = density_chart(figures.durations, "Durations of objects by their sizes", caption)
    return _figure("Durations by size", chart, caption)


def _sizes(figures: Figures) -> Element:
    lines = dict[int, tuple[int, int]]()
    for number, found in sorted(figures.sizes.items()):
        line = -(-number // _DOUBLINGS_PER_LINE)
        objects, size = lines.get(line, (0, 0))
        lines[line] = objects + found.objects, size + found.bytes
    most, largest = (max(column) or 1 for column in zip(*lines.values(), strict=True))
    columns = [Column("Size", "range"), _OBJECTS, Column("Bytes", "bars")]
    rows = [
        Line([_size_range(line), with_bar(f"{objects:,}", objects / most), with_bar(show_bytes(size), size / largest)])
        for line, (objects, size) in lines.items()
    ]
    return table("Sizes", "Objects that are done", columns, rows)


def _size_range(line: int) -> str:
    if not line:
        return "empty"
    first = (line - 1) * _DOUBLINGS_PER_LINE
    low, high = show_power(first), show_power(first + _DOUBLINGS_PER_LINE)
    return f"{low.split()[0] if low.split()[1] == high.split()[1] else low} to {high}"


def _causes(figures: Figures) -> Element:
    most = figures.causes[0].objects
    lines = [
        Line(
            [
                [_shown(cause.code), note(_shown(cause.example)), note(_latest(cause))],
                with_bar(f"{cause.objects:,}", cause.objects / most),
            ],
            "bad",
        )
        for cause in figures.causes
    ]
    more = f" {counted(figures.more_causes, 'less frequent cause')} left out." if figures.more_causes else ""
    caption = f"Each cause with its latest object.{more} The failures file of a run lists all objects."
    return table("Why objects are not done", caption, [Column("Cause"), _OBJECTS], lines)


def _latest(cause: Cause) -> str:
    return f"{local_time(cause.last_at):%Y-%m-%d %H:%M:%S}: {_shown(cause.message)}"


def _shown(text: str) -> str:
    """A text from outside, of which the middle is left out if it is long."""
    shown = printable(text)
    return shown if len(shown) <= _MAX_TEXT else f"{shown[: _MAX_TEXT // 2]} ... {shown[-_MAX_TEXT // 2 :]}"


def _verifications(figures: Figures) -> Element:
    most = max(found.objects for found in figures.verifications)
    lines = [
        Line(
            [_verified_by(found), with_bar(f"{found.objects:,}", found.objects / most), show_bytes(found.bytes)],
            "bad" if found.verified_by in NO_PROOF and found.bytes else "",
        )
        for found in figures.verifications
    ]
    columns = [Column("Verified by"), _OBJECTS, _BYTES]
    return table("What was proven, and how", "Objects that are done or skipped", columns, lines)


def _verified_by(found: Verification) -> list[Element | str]:
    name = found.verified_by
    if name is None:
        return ["nothing", note("the bytes are not proven")]
    if name == "size":
        return [name, note("the size fits, the bytes are not proven")]
    return [name, note("from the checksums of all parts" if "-" in name else "a checksum of all bytes")]


def _attempts(figures: Figures) -> Element:
    most = max(figures.attempts.values())
    lines = [
        Line(
            [
                f"{number} or more" if number == MAX_ATTEMPTS else f"{number}",
                with_bar(f"{objects:,}", objects / most),
            ]
        )
        for number, objects in figures.attempts.items()
    ]
    caption = f"{counted(figures.report.retries, 'retry', 'retries')} in total"
    return table("Attempts", caption, [Column("Attempts"), _OBJECTS], lines)


def _slowest(figures: Figures) -> Element:
    lines = [
        Line(
            [
                _shown(slow.object),
                show_duration(slow.seconds),
                show_bytes(slow.bytes),
                f"{show_bytes(int(slow.bytes / slow.seconds))}/s" if slow.seconds else "",
                f"{slow.attempts:,}",
            ]
        )
        for slow in figures.report.slowest
    ]
    wide = [Column("Rate", "number wide"), Column("Attempts", "number wide")]
    columns = [Column("Object"), Column("Time", "number"), _BYTES, *wide]
    return table("Slowest objects", "Times include retries and the waits before them", columns, lines)
