"""Draws what happened over time: rows of one chart with a common time axis.

Lengths along the time axis are percentages, and others pixels. So a chart fits any width, and its text keeps its size.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element

import msgspec

from bulkpresign.ledger.figures import Slot, Timeline
from bulkpresign.markup import element, percent

_LABEL_HEIGHT = 20
_AXIS_HEIGHT = 34
#: The width of a pause, as a part of the chart.
_PAUSE_WIDTH = 0.015
#: The least distance of two labels, as a part of the chart: 60 px on a phone.
_LABEL_DISTANCE = 0.19
_LAST_LABEL = 0.86
_MAX_TICKS = 5
_DAY = 86400
#: Distances of ticks in seconds.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, _DAY)


class Row(msgspec.Struct, frozen=True):
    """A row of the chart: what it shows, a number for each slot, its height in pixels, and its class for the style."""

    label: str
    value: Callable[[Slot], float]
    height: int
    style: str


class _Scale:
    """Places slots along the axis, in slots. Pauses have a fixed width."""

    def __init__(self, spans: Sequence[Sequence[Slot]]) -> None:
        slots = sum(map(len, spans))
        self._gap = max(1, round(slots * _PAUSE_WIDTH))
        self.length = slots + self._gap * (len(spans) - 1)
        self.starts = [sum(map(len, spans[:number])) + self._gap * number for number in range(len(spans))]

    def share(self, position: float) -> float:
        """A position as a part of the axis."""
        return position / self.length


def timeline_chart(timeline: Timeline, rows: Sequence[Row], title: str, description: str) -> Element:
    """The chart of all rows. `timeline` has at least one slot."""
    scale = _Scale(timeline.spans)
    height = sum(_LABEL_HEIGHT + row.height for row in rows)
    chart = element(
        "svg",
        element("title", title),
        element("desc", description),
        *_axis(timeline, scale, height),
        class_="chart",
        role="img",
        height=height + _AXIS_HEIGHT,
    )
    top = 0
    for row in rows:
        top += _LABEL_HEIGHT
        chart.append(element("text", row.label, x=0, y=top - 6, class_="label"))
        chart.extend(_row(row, timeline, scale, top))
        top += row.height
    return chart


def _row(row: Row, timeline: Timeline, scale: _Scale, top: int) -> Iterator[Element]:
    most = max(map(row.value, timeline.slots)) or 1
    spans = zip(timeline.spans, scale.starts, strict=True)
    path = "".join(_steps([row.value(slot) / most for slot in span], start, row.height) for span, start in spans)
    yield element(
        "svg",
        element("path", d=path),
        y=top,
        width="100%",
        height=row.height,
        viewBox=f"0 0 {scale.length} {row.height}",
        preserveAspectRatio="none",
        class_=row.style,
    )
    for span, start in zip(timeline.spans, scale.starts, strict=True):
        yield _line(scale.share(start), scale.share(start + len(span)), top + row.height, top + row.height, "base")


def _steps(shares: Sequence[float], start: int, height: int) -> str:
    """A path around the steps of shares from 0 to 1. Steps of equal height are one."""
    path, before = [f"M{start} {height}"], -1.0
    for x, share in enumerate(shares, start):
        y = height if share == 0 else min(height - 1, round(height * (1 - share), 1))  # the smallest is seen, too
        if y != before:
            path.append(f"H{x}V{y:g}")
            before = y
    return "".join([*path, f"H{start + len(shares)}V{height}Z"])


def _axis(timeline: Timeline, scale: _Scale, height: int) -> Iterator[Element]:
    """Lines at round times, and their labels: the time, and below it the date if it is another day."""
    step, day = _step(timeline.active), None
    for share, moment in _ticks(timeline, scale, step):
        time = f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"
        yield _line(share, share, 0, height + 6, "tick")
        yield element("text", time, x=percent(share), y=height + 18, class_="axis")
        if moment.date() != day:
            day = moment.date()
            yield element("text", f"{moment.day} {moment:%b}", x=percent(share), y=height + 31, class_="axis")


def _ticks(timeline: Timeline, scale: _Scale, step: int) -> list[tuple[float, datetime]]:
    """The start of each span, and round local times, with their places. Those without room for a label are left out."""
    found: list[tuple[float, datetime]] = []
    for place, moment in [*_starts(timeline, scale), *_round_times(timeline, scale, step)]:
        if place <= _LAST_LABEL and all(abs(place - other) >= _LABEL_DISTANCE for other, _ in found):
            found.append((place, moment))
    return sorted(found)


def _starts(timeline: Timeline, scale: _Scale) -> Iterator[tuple[float, datetime]]:
    for span, start in zip(timeline.spans, scale.starts, strict=True):
        yield scale.share(start), _local(span[0].at)


def _round_times(timeline: Timeline, scale: _Scale, step: int) -> Iterator[tuple[float, datetime]]:
    for span, start in zip(timeline.spans, scale.starts, strict=True):
        first, last = _local(span[0].at), span[-1].at - span[0].at
        past = int((first - first.replace(hour=0, minute=0, second=0)).total_seconds())
        for seconds in range(step - past % step, last, step):
            yield scale.share(start + seconds / span[0].seconds), first + timedelta(seconds=seconds)


def _local(at: int) -> datetime:
    return datetime.fromtimestamp(at).astimezone()


def _step(seconds: int) -> int:
    """The least distance of ticks with which there are few enough."""
    days = -(-seconds // (_DAY * _MAX_TICKS)) * _DAY
    return next((step for step in _STEPS if seconds <= step * _MAX_TICKS), days)


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> Element:
    return element("line", x1=percent(x1), x2=percent(x2), y1=y1, y2=y2, class_=style)
