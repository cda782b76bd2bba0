"""Throughput by latency over wires: one panel for each direction, rate and size, on logarithmic axes."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot

from benchmarks.measuring import size_text

if TYPE_CHECKING:
    from benchmarks.wires import Result

#: A wire without latency is drawn at this value of the logarithmic axis, in ms.
_NO_LATENCY = 1.0
_BEST = "ours, best fixed"
_STYLES: dict[str, dict[str, Any]] = {
    "ours": {"color": "C0", "marker": "o", "linewidth": 2},
    _BEST: {"color": "C0", "marker": "o", "linestyle": ":"},
    "curl -Z": {"color": "C1", "marker": "s"},
    "aria2 -x16": {"color": "C2", "marker": "^"},
    "s5cmd": {"color": "C3", "marker": "v"},
}

#: Verb, rate and size; and the points of each tool.
Panel = tuple[str, float, int]
Points = dict[str, list[tuple[float, float]]]


def plot(results: "Sequence[Result]", file: Path) -> None:
    """Writes an SVG."""
    panels = _panels(results)
    rows = sorted({panel[:2] for panel in panels})
    columns = sorted({panel[2] for panel in panels})
    size = 4 * len(columns), 3 * len(rows)
    figure, axes = pyplot.subplots(
        len(rows), len(columns), squeeze=False, sharey="col", figsize=size, layout="constrained"
    )
    for panel, points in panels.items():
        _draw(axes[rows.index(panel[:2])][columns.index(panel[2])], panel, points)
    for axis in figure.axes:
        axis.set_visible(axis.has_data())
    found = [axis.get_legend_handles_labels() for axis in figure.axes]
    handles = {label: handle for each in found for handle, label in zip(*each, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    figure.savefig(file)
    pyplot.close(figure)


def _panels(results: "Sequence[Result]") -> dict[Panel, Points]:
    panels: dict[Panel, Points] = defaultdict(lambda: defaultdict(list))
    for result in results:
        work = result.work
        points = panels[work.verb, work.wire.connection_rate or float("inf"), work.size]
        latency = max(_NO_LATENCY, work.wire.latency * 1000)
        for name, ran in {**result.runs, _BEST: result.best}.items():
            points[name].append((latency, work.megabytes_a_second(ran.cost.wall)))
    return panels


def _draw(axis: Any, panel: Panel, points: Points) -> None:
    verb, rate, size = panel
    for name, style in _STYLES.items():
        if name in points:
            axis.plot(*zip(*sorted(points[name]), strict=True), label=name, **style)
    axis.set(xscale="log", yscale="log", xlabel="latency, ms (1: none)", ylabel="MB/s")
    each = "unlimited" if rate == float("inf") else f"{rate / 1e6:.0f} MB/s a connection"
    axis.set_title(f"{verb} of {size_text(size)}, {each}", fontsize=9)
    axis.grid(visible=True, which="both", alpha=0.3)
