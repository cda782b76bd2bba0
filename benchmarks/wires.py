"""Ours over wires, as it comes, beside the best number that can be set by hand, and beside peers.

A wire has a latency and a rate for each connection; the server at its end answers from memory (tests/servers/wire.py).
All run on this machine, so that only ratios count: they are of one run, and of the best of several rounds in which
the tools take turns. `--only headlines` runs the wires that have goals.
"""

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measuring import GIB, KIB, MIB, goal
from benchmarks.wire_runs import OURS, Bench, Ran, Work, bench, best_fixed, count_for
from tests.servers.wire import Wire

LATENCIES = (0.0, 0.01, 0.05, 0.2)
RATES = (20e6, 80e6, None)
SIZES = (4 * KIB, MIB, 64 * MIB, GIB)
OBJECTS = (8, 32, 64, 128, 256, 512, 1024)
PARTS = (1, 4, 8, 16, 32, 64, 128)
#: A run that is at least so long has time to find the number: then more is asked of it.
LONG = 10.0
#: A shorter run has no goal against the best number: starting is most of it.
SHORT = 2.5
#: Seconds. Where the wire is later than that on average, the machine was too busy for figures that count.
LATE = 0.005
ONCE = frozenset({"s5cmd"})
GRID, HEADLINES, REFUSALS = "grid", "headlines", "refusals"


@dataclass(frozen=True)
class Result:
    """One wire: the fastest round of each tool, and the number that was the best."""

    work: Work
    number: int
    best: Ran
    runs: dict[str, Ran]

    def ratio(self, name: str) -> float:
        """How many times as fast ours is; NaN where the other did not run."""
        other = self.best if name == "best" else self.runs.get(name)
        return other.cost.wall / self.runs[OURS].cost.wall if other else math.nan


def main(*, quick: bool, arguments: Sequence[str] = ()) -> None:
    options = _options(arguments)
    if options.plot and find_spec("matplotlib") is None:
        raise SystemExit("--plot needs matplotlib: pip install 'bulkpresign[bench]'")
    _say_missing()
    results = []
    if options.only in {None, HEADLINES}:
        results += _headlines(quick, 1 if quick else options.rounds)
    if options.only in {None, HEADLINES, REFUSALS}:
        _refusals(quick)
    if options.only in {None, GRID}:
        results += _grid(quick, options.match)
    if options.plot and results:
        from benchmarks.wire_plot import plot

        plot(results, options.plot)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks wires", description=__doc__)
    parser.add_argument("--only", choices=(GRID, HEADLINES, REFUSALS), help="the whole grid takes some hours")
    parser.add_argument("--match", default="", help="of the grid: wires whose line holds this, as '200 ms'")
    parser.add_argument("--rounds", type=int, default=3, help="of the headlines")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="throughput by latency; needs matplotlib")
    return parser.parse_args(arguments)


def _say_missing() -> None:
    missing = [name for name in ("curl", "aria2c", "s5cmd") if not shutil.which(name)]
    if missing:
        print(f"missing, so left out: {', '.join(missing)}")


def measured(work: Work, rounds: int) -> Result:
    """Every tool over a wire."""
    print(f"\n{work.title}", flush=True)
    with bench(work) as ready:
        number = best_fixed(ready, PARTS if work.is_large else OBJECTS, _say)
        commands = {OURS: ready.ours(), f"{number}": ready.fixed(number), **ready.peers}
        runs = _in_turn(ready, commands, rounds)
    best = runs.pop(f"{number}")
    result = Result(work, number, best, runs)
    _show(result)
    return result


def _say(said: str) -> None:
    print(f"    {said}", flush=True)


def _in_turn(ready: Bench, commands: dict[str, Sequence[str]], rounds: int) -> dict[str, Ran]:
    """The fastest round of each. A tool that no goal names runs once."""
    best: dict[str, Ran] = {}
    for number in range(rounds):
        for name, command in commands.items():
            if number and name in ONCE:
                continue
            ran = ready.run(command)
            best[name] = min(best.get(name, ran), ran, key=lambda ran: ran.cost.wall)
    return best


def _show(result: Result) -> None:
    work = result.work
    rows = {OURS: result.runs[OURS], f"ours, {result.number} fixed": result.best}
    rows |= {name: ran for name, ran in result.runs.items() if name != OURS}
    for name, ran in rows.items():
        wall = ran.cost.wall
        speed = f"{work.count / wall:>8,.1f} objects/s {work.megabytes_a_second(wall):>8,.0f} MB/s"
        seen = f"{ran.most_in_flight:>5,} in flight {ran.connections:>7,} connections"
        late = f"  the wire was {ran.late * 1000:.0f} ms late" if ran.late > LATE else ""
        print(f"  {name:<18} {wall:>7.2f} s {speed}  CPU {ran.cost.cpu:>6.2f} s {seen}{late}")
    others = ", ".join(f"{result.ratio(name):.2f} x {name}" for name in result.runs if name != OURS)
    print(f"  ours: {result.ratio('best'):.2f} x the best fixed number, {others}")
    sys.stdout.flush()


def _headlines(quick: bool, rounds: int) -> list[Result]:
    """The wires with goals, and whether these are reached."""
    part = 10 if quick else 1
    small = Wire(latency=0.05)
    seconds = LONG * 1.2 / part
    works = [
        Work("GET", 4 * KIB, count_for(4 * KIB, small, seconds), small),
        Work("GET", 4 * KIB, count_for(4 * KIB, small, 3 / part), small),
        Work("GET", GIB // part, 1, Wire(latency=0.05, connection_rate=80e6)),
        Work("GET", max(64 * MIB, 512 * MIB // part), 1, Wire(latency=0.03, connection_rate=20e6)),
    ]
    results = [measured(work, rounds) for work in works]
    print("\nGoals")
    long, _, one_gib, half_gib = results
    for result in results:
        _goal_of_best(result)
    _goal("4 KiB at 50 ms, against curl -Z with 300", long.ratio("curl -Z"), 1.0)
    for result in (one_gib, half_gib):
        _goal(f"{result.work.title}, against aria2 -x16", result.ratio("aria2 -x16"), 0.85)
    _loopback(quick, rounds)
    return results


def _goal_of_best(result: Result) -> None:
    what, ratio = f"{result.work.title}, against {result.number} fixed", result.ratio("best")
    if result.best.cost.wall < SHORT:
        print(f"  no goal  {what}: {ratio:.2f}; the run is over before the number is found")
    else:
        _goal(what, ratio, 0.9 if result.best.cost.wall >= LONG else 0.8)


def _goal(what: str, ratio: float, least: float) -> None:
    if math.isnan(ratio):
        print(f"  unknown  {what}: the peer is missing")
    else:
        goal(what, ratio, least=least)


def _loopback(quick: bool, rounds: int) -> None:
    """Without a wire, ours as it comes against ours as it came before there was a controller: 64 objects at a time."""
    for size in (4 * KIB, GIB):
        count = count_for(size, Wire(), 1 if quick else 5)
        with bench(Work("GET", size, count, Wire())) as ready:
            before = ready.ours("--concurrency", "64", "--part-concurrency", "8")
            runs = _in_turn(ready, {OURS: ready.ours(), "before": before}, rounds)
            ours, before_ran = runs[OURS].cost, runs["before"].cost
            goal(f"{ready.work.title}: speed against 64 fixed", before_ran.wall / ours.wall, least=0.95)
            goal(f"{ready.work.title}: CPU against 64 fixed", ours.cpu / before_ran.cpu, most=1.05)


def _refusals(quick: bool) -> None:
    """A server that answers 503 above 100 requests a second. Attempts are many, so that the run ends well today."""
    wire = Wire(latency=0.02, max_requests=100)
    with bench(Work("GET", 4 * KIB, 400 if quick else 1_500, wire)) as ready:
        ran = ready.run(ready.ours("--attempts", "20"))
    print(f"\n{ready.work.title}, 503 above 100 requests a second: {ran.cost.wall:.1f} s, {ran.requests:,} requests")
    goal("the share of requests that are refused after two seconds", ran.refused_share, most=0.05)


def _grid(quick: bool, match: str) -> list[Result]:
    seconds = 0.5 if quick else 5
    latencies, rates, sizes = ((0.05,), (80e6,), (4 * KIB, 64 * MIB)) if quick else (LATENCIES, RATES, SIZES)
    results = []
    for verb in ("GET", "PUT"):
        for size in sizes:
            for rate in rates:
                for latency in latencies:
                    wire = Wire(latency=latency, connection_rate=rate)
                    work = Work(verb, size, count_for(size, wire, seconds), wire)
                    if match in work.title:
                        results.append(measured(work, rounds=1))
    _table(results)
    return results


def _table(results: Sequence[Result]) -> None:
    print(f"\n{'ours, as it comes, against':<52} {'best fixed':>16} {'curl -Z':>8} {'aria2':>8} {'s5cmd':>8}")
    for result in results:
        peers = "".join(
            f" {'-' if math.isnan(ratio) else f'{ratio:.2f}':>8}"
            for ratio in map(result.ratio, ("curl -Z", "aria2 -x16", "s5cmd"))
        )
        print(f"{result.work.title:<52} {result.ratio('best'):>8.2f} ({result.number:>5}){peers}")
    print()
    for result in results:
        _goal_of_best(result)
