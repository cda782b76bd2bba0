"""Draws durations against sizes: how many objects have which size and took how long, with the sums at two sides.

Both axes are logarithmic. Lengths along the axis of sizes are percentages, those along the axis of durations pixels.
"""

import math
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

import msgspec

from bulkpresign.ledger.figures import CLASSES_PER_DOUBLING, shortest_of
from bulkpresign.markup import element, percent
from bulkpresign.text import counted, show_duration, show_power

#: The area of the cells: its left, its width as parts of the chart; its top and its height in pixels.
_LEFT, _WIDTH = 0.17, 0.69
_TOP, _HEIGHT = 44, 250
_AXIS_HEIGHT = 22
_GAP = 4
_MIN_SIZES = 8
_MIN_DURATIONS = 16
_OCTAVES_PER_LABEL = 5
_DURATIONS = {
    0.001: "1 ms",
    0.01: "10 ms",
    0.1: "100 ms",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36000: "10 h",
}
#: Rates in log2 of bytes per second: 32 KiB/s to 32 GiB/s.
_RATES = range(15, 36, 5)
#: The least width of the line of a rate, and the room of its label (in pixels), as parts of the chart.
_MIN_LINE = 0.1
_LABEL_WIDTH, _LABEL_HEIGHT = 0.2, 14
_FAINTEST = 0.15

#: Numbers of objects by class of size and class of duration.
Cells = Mapping[tuple[int, int], int]


class _Area(msgspec.Struct, frozen=True):
    """The classes that are shown: `first` and the number of those of sizes (`x`) and of durations (`y`)."""

    first_x: int
    x: int
    first_y: int
    y: int

    @classmethod
    def around(cls, cells: Cells) -> "_Area":
        """All classes that have objects, and as many more as a readable chart has."""
        xs, ys = {x for x, _ in cells}, {y for _, y in cells}
        wide, high = max(_MIN_SIZES, max(xs) - min(xs) + 1), max(_MIN_DURATIONS, max(ys) - min(ys) + 3)
        first_x = max(0, min(xs) - (wide - (max(xs) - min(xs) + 1)) // 2)
        return cls(first_x, wide, min(ys) - (high - (max(ys) - min(ys) + 1)) // 2, high)

    def left(self, size_class: float) -> float:
        """The place at which a class of sizes begins, as a part of the chart."""
        return _LEFT + _WIDTH * (size_class - self.first_x) / self.x

    def bottom(self, duration_class: float) -> float:
        """The place at which a class of durations begins, in pixels. Long durations are at the top."""
        return _TOP + _HEIGHT * (1 - (duration_class - self.first_y) / self.y)


def density_chart(cells: Cells, title: str, description: str) -> Element:
    """The chart of numbers of objects. There is at least one."""
    area = _Area.around(cells)
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *_axes(area),
        *_cells(area, cells),
        *_sums(area, cells),
        *_rates(area),
        class_="chart density",
        role="img",
        height=_TOP + _HEIGHT + _AXIS_HEIGHT,
    )


def _cells(area: _Area, cells: Cells) -> Iterator[Element]:
    most = math.log1p(max(cells.values()))
    for (x, y), count in sorted(cells.items()):
        size = "empty" if x == 0 else f"{show_power(x - 1)} to {show_power(x)}"
        took = f"{show_duration(shortest_of(y))} to {show_duration(shortest_of(y + 1))}"
        yield element(
            "rect",
            element("title", f"{counted(count, 'object')}, {size}, {took}"),
            x=percent(area.left(x)),
            y=round(area.bottom(y + 1), 1),
            width=percent(_WIDTH / area.x),
            height=round(_HEIGHT / area.y, 2),
            fill_opacity=round(_FAINTEST + (1 - _FAINTEST) * math.log1p(count) / most, 2),
            class_="cell",
        )


def _sums(area: _Area, cells: Cells) -> Iterator[Element]:
    """Bars at the top for each class of sizes, and at the right for each class of durations."""
    by_size, by_duration = dict[int, int](), dict[int, int]()
    for (x, y), count in cells.items():
        by_size[x] = by_size.get(x, 0) + count
        by_duration[y] = by_duration.get(y, 0) + count
    most = max(by_size.values())
    for x, count in by_size.items():
        high = max(1, (_TOP - _GAP) * count / most)
        yield _bar(area.left(x), _TOP - _GAP - high, _WIDTH / area.x, high)
    most = max(by_duration.values())
    for y, count in by_duration.items():
        wide = (1 - _LEFT - _WIDTH) * count / most
        yield _bar(_LEFT + _WIDTH + 0.01, area.bottom(y + 1), wide * 0.9, _HEIGHT / area.y)


def _bar(x: float, y: float, width: float, height: float) -> Element:
    size = {"width": percent(width), "height": f"{height:.1f}"}
    return element("rect", x=percent(x), y=round(y, 1), class_="sum", **size)


def _axes(area: _Area) -> Iterator[Element]:
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT
    yield _line(_LEFT, right, bottom, bottom, "base")
    for x in range(area.first_x, area.first_x + area.x):
        if x % _OCTAVES_PER_LABEL == 1:
            yield _line(area.left(x), area.left(x), _TOP, bottom + 4, "tick")
            yield element("text", show_power(x - 1), x=percent(area.left(x)), y=bottom + 16, class_="axis middle")
    for seconds, label in _DURATIONS.items():
        y = area.bottom(CLASSES_PER_DOUBLING * math.log2(seconds))
        if _TOP < y < bottom:
            yield _line(_LEFT, right, y, y, "tick")
            yield element("text", label, x=percent(_LEFT - 0.02), y=round(y + 4, 1), class_="axis end")


def _rates(area: _Area) -> Iterator[Element]:
    """Lines on which objects move at a round rate, with labels where there is room."""
    labelled: list[tuple[float, float]] = []
    for rate in _RATES:
        (x1, y1), (x2, y2) = _ends(area, rate)
        if x2 - x1 < _MIN_LINE:
            continue
        yield _line(x1, x2, y1, y2, "rate")
        if all(abs(x2 - x) > _LABEL_WIDTH or abs(y2 - y) > _LABEL_HEIGHT for x, y in labelled):
            labelled.append((x2, y2))
            yield element("text", f"{show_power(rate)}/s", x=percent(x2), y=round(y2 + 12, 1), class_="axis end")


def _ends(area: _Area, rate: int) -> Iterator[tuple[float, float]]:
    """The ends of the line of `2 ** rate` bytes per second, in the area.

    On it, an object of `2 ** n` bytes takes `2 ** (n - rate)` seconds; the class of sizes `n + 1` begins with it.
    """
    first = max(area.first_x - 1, rate + area.first_y / CLASSES_PER_DOUBLING)
    last = min(area.first_x + area.x - 1, rate + (area.first_y + area.y) / CLASSES_PER_DOUBLING)
    for n in (first, last):
        yield area.left(n + 1), area.bottom((n - rate) * CLASSES_PER_DOUBLING)


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> Element:
    return element("line", x1=percent(x1), x2=percent(x2), y1=round(y1, 1), y2=round(y2, 1), class_=style)
