"""The table of a transfer, and the goals: what each tool costs an object, and its ratio to curl.

A ratio is the median of the ratios of all rounds. In a round the tools run one after the other, so what else the
machine does falls on all of them.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measuring import MIB, Cost, goal
from benchmarks.transfers import CURL, PROOFS, Work

CPU, WALL = "cpu", "wall"
LABELS = {CPU: "client CPU", WALL: "wall time"}


@dataclass(frozen=True)
class Result:
    """The costs of each tool's rounds for a work at a server."""

    work: Work
    server: str
    costs: Mapping[str, Sequence[Cost]]

    @property
    def title(self) -> str:
        return f"{self.work.title}, {self.server}"

    def seconds(self, name: str, figure: str) -> list[float]:
        """CPU or wall seconds of a tool's rounds."""
        return [getattr(cost, figure) for cost in self.costs[name]]

    def ratio(self, name: str, figure: str) -> float | None:
        """The median over the rounds of a tool's seconds, as a multiple of curl's. None where curl is missing."""
        if CURL not in self.costs:
            return None
        pairs = zip(self.seconds(name, figure), self.seconds(CURL, figure), strict=True)
        return median(seconds / base for seconds, base in pairs)


@dataclass(frozen=True)
class Goal:
    """The most that our CPU or wall time may be of curl's, for objects of a size at each of these servers."""

    servers: Sequence[str]
    size: int
    most: float
    proofs: Sequence[str] = tuple(PROOFS)
    figure: str = CPU


def show_result(result: Result) -> None:
    """Best, median and spread of CPU and wall time. The spread is the highest less the lowest, by the median."""
    scale, unit = (1e6, "us") if result.work.size <= MIB else (1e3, "ms")
    print(f"\n{result.title}: {unit} an object, and the ratio to {CURL}")
    columns = " ".join(f"{name:>10}" for name in ("best", "median", "spread", "ratio"))
    print(f"  {'':<22} {LABELS[CPU]:<{len(columns)}}   {LABELS[WALL]}\n  {'':<22} {columns}   {columns}")
    for name in sorted(result.costs, key=lambda name: min(result.seconds(name, CPU))):
        cells = (_cells(result, name, figure, scale / result.work.count) for figure in (CPU, WALL))
        print(f"  {name:<22} {'   '.join(cells)}")
    sys.stdout.flush()


def _cells(result: Result, name: str, figure: str, scale: float) -> str:
    seconds = result.seconds(name, figure)
    middle = median(seconds)
    spread = (max(seconds) - min(seconds)) / middle
    ratio = result.ratio(name, figure)
    shown = "-" if ratio is None else f"{ratio:.2f}"
    return f"{min(seconds) * scale:>10,.1f} {middle * scale:>10,.1f} {spread:>10.0%} {shown:>10}"


def show_goals(goals: Sequence[Goal], results: Sequence[Result]) -> None:
    """One line for each goal of a work that ran, and each of its proofs."""
    print()
    for each in goals:
        for result in results:
            if result.work.size == each.size and result.server in each.servers:
                _show_goal(each, result)


def _show_goal(each: Goal, result: Result) -> None:
    for name in each.proofs:
        what = f"{result.title}, {name}: {LABELS[each.figure]} against {CURL}"
        ratio = result.ratio(name, each.figure)
        if ratio is None:
            print(f"  unknown  {what}, which is missing")
        else:
            goal(what, ratio, most=each.most)
