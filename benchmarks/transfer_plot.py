"""The figures of `get` and `put` as an SVG: CPU time by size beside curl's, and how costs grow."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot

from benchmarks.growth import Point
from benchmarks.measuring import size_text
from benchmarks.transfer_table import CPU, LABELS, Result
from benchmarks.transfers import CURL

_WIDTH, _HEIGHT, _COLUMNS = 5, 3.5, 2


def plot(results: Sequence[Result], points: Sequence[Point], file: Path) -> None:
    """Writes an SVG: one panel for each server, and two for growth. Panels without figures are left out."""
    servers = list(dict.fromkeys(result.server for result in results))
    panels = len(servers) + (2 if points else 0)
    rows = -(-panels // _COLUMNS)
    size = (_WIDTH * _COLUMNS, _HEIGHT * rows)
    figure, grid = pyplot.subplots(rows, _COLUMNS, squeeze=False, figsize=size, layout="constrained")
    axes = grid.flatten()
    for axis in axes[panels:]:
        axis.set_visible(False)
    for axis, server in zip(axes, servers, strict=False):
        found = [result for result in results if result.server == server]
        draw = _draw_server if len(found) > 1 else _draw_work
        draw(axis, server, found)
    if points:
        time, memory = axes[panels - 2 : panels]
        _draw_growth(time, "wall time, s", [(point.step, point.count, point.cost.wall) for point in points])
        _draw_growth(memory, "peak memory, MiB", [(point.step, point.count, point.cost.memory) for point in points])
        time.set_yscale("log")
        memory.set_ylim(bottom=0)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def _draw_work(axis: Any, server: str, results: Sequence[Result]) -> None:
    """A bar for each tool, for objects of one size."""
    (result,) = results
    ratios = {name: ratio for name in result.costs if (ratio := result.ratio(name, CPU)) is not None}
    names = sorted(ratios, key=ratios.__getitem__, reverse=True)
    axis.bar_label(axis.barh(names, [ratios[name] for name in names]), fmt="%.1f", fontsize=7, padding=2)
    axis.set(title=f"{result.work.verb}, {size_text(result.work.size)}, {server}", xlabel=f"{LABELS[CPU]}, x {CURL}")
    axis.tick_params(axis="y", labelsize=7)
    axis.margins(x=0.1)


def _draw_server(axis: Any, server: str, results: Sequence[Result]) -> None:
    """A line for each tool: CPU time by the size of objects, as a multiple of curl's. Nothing where curl is missing."""
    for name in dict.fromkeys(name for result in results for name in result.costs):
        found = [(each.work.size, each.ratio(name, CPU)) for each in results if name in each.costs]
        axis.plot(*zip(*found, strict=True), marker="o", label=name)
    sizes = [result.work.size for result in results]
    axis.set(xscale="log", title=f"{results[0].work.verb}, {server}", ylabel=f"{LABELS[CPU]}, x {CURL}")
    axis.set_xticks(sizes, [size_text(size) for size in sizes])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    _finish(axis)


def _draw_growth(axis: Any, label: str, figures: Sequence[tuple[str, int, float]]) -> None:
    """A line for each step, by the number of objects."""
    for step in dict.fromkeys(step for step, _, _ in figures):
        points = sorted((count, figure) for name, count, figure in figures if name == step)
        axis.plot(*zip(*points, strict=True), marker="o", label=step)
    axis.set(xscale="log", xlabel="objects", ylabel=label, title="growth")
    _finish(axis)


def _finish(axis: Any) -> None:
    axis.grid(visible=True, alpha=0.3)
    axis.legend(fontsize=7)
