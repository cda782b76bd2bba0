"""`python -m benchmarks get|put`: ours beside other tools, at nginx and at SeaweedFS, and how costs grow.

nginx is fast enough that the client is what is measured; it has the first core, the client the last. SeaweedFS is a
whole S3 server, which needs more time than any client.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks import growth, nginx
from benchmarks.measuring import GIB, KIB, MIB, Cost, on_core, scratch_folder, size_text
from benchmarks.transfer_table import Goal, Result, show_goals, show_result
from benchmarks.transfers import BUCKET, Commands, Files, Server, Transfer, Work
from bulkpresign.demo.server import EmbeddedServer
from bulkpresign.demo.tour import make_bucket

SEAWEEDFS = "SeaweedFS"
TABLES = ("nginx", "seaweedfs", "growth")
#: How many objects of each size are moved at nginx.
COUNTS = {4 * KIB: 20_000, 64 * KIB: 5_000, MIB: 1_000, GIB: 1}
SIZE_AT_SEAWEEDFS, COUNT_AT_SEAWEEDFS = 4 * KIB, 20_000
#: --quick moves so many times fewer objects, and one large object that is so many times smaller.
QUICK, QUICK_SIZE = 100, 16


@dataclass(frozen=True)
class Comparison:
    """A verb, its goals, and what only SeaweedFS can be asked: commands of more tools, and what to say at the end."""

    verb: str
    goals: Sequence[Goal]
    at_seaweedfs: Commands = field(default_factory=dict)
    conclude: Callable[[Result], None] = lambda _: None

    def main(self, *, quick: bool, arguments: Sequence[str] = ()) -> None:
        options = _options(self.verb, arguments)
        if options.plot and find_spec("matplotlib") is None:
            raise SystemExit("--plot needs matplotlib: pip install 'bulkpresign[bench]'")
        if lacking := nginx.missing():
            print(lacking)
        rounds = 1 if quick else options.rounds
        results: list[Result] = []
        points: list[growth.Point] = []
        if "nginx" in options.only and not nginx.missing():
            results += self._at_nginx(rounds, options, quick=quick)
        if "seaweedfs" in options.only:
            results.append(self._at_seaweedfs(rounds, quick=quick))
        if results:
            show_goals(self.goals, results)
        if "growth" in options.only:
            points = growth.measure(self.verb, quick=quick)
            growth.show(points)
        if options.plot and (results or points):
            from benchmarks.transfer_plot import plot

            plot(results, points, options.plot)

    def _at_nginx(self, rounds: int, options: argparse.Namespace, *, quick: bool) -> list[Result]:
        chosen = [each for each in COUNTS.items() if options.size in {None, size_text(each[0])}]
        works = [Work(self.verb, *_scaled(*each, quick)) for each in chosen]
        return [result for work in works for result in _work_at_nginx(work, rounds, options.protocol)]

    def _at_seaweedfs(self, rounds: int, *, quick: bool) -> Result:
        work = Work(self.verb, *_scaled(SIZE_AT_SEAWEEDFS, COUNT_AT_SEAWEEDFS, quick))
        with scratch_folder() as folder, ExitStack() as stack:
            with on_core(0):
                server = stack.enter_context(EmbeddedServer())
            make_bucket(server, BUCKET)
            variables = {**server.environment, "S3_ENDPOINT_URL": server.endpoint_url}  # s5cmd reads that one
            files, at = Files(work, folder), Server(SEAWEEDFS, variables)
            if work.verb == "GET":
                files.upload(at)
            result = _measured(Transfer(files, at, self.at_seaweedfs), rounds)
        self.conclude(result)
        return result


def _options(verb: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {verb.lower()}", description=__doc__)
    parser.add_argument("--only", choices=TABLES, nargs="+", default=TABLES)
    parser.add_argument("--size", choices=[size_text(size) for size in COUNTS], help="at nginx: only this one")
    parser.add_argument("--protocol", choices=nginx.PROTOCOLS, help="at nginx: only this one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="needs matplotlib")
    return parser.parse_args(arguments)


def _scaled(size: int, count: int, quick: bool) -> tuple[int, int]:
    """Size and number of objects; for --quick fewer of them, or one that is smaller."""
    if not quick:
        return size, count
    return (size, count // QUICK) if count >= QUICK else (size // QUICK_SIZE, count)


def _work_at_nginx(work: Work, rounds: int, protocol: str | None) -> Iterator[Result]:
    """The results by http and by https, or by one of them."""
    with scratch_folder() as folder:
        files = Files(work, folder)
        with nginx.started(folder / "nginx", files.etags()) as servers:
            if work.verb == "GET":
                files.upload(servers[0])
            for server, name in zip(servers, nginx.PROTOCOLS, strict=True):
                if protocol in {None, name}:
                    yield _measured(Transfer(files, server), rounds)


def _measured(transfer: Transfer, rounds: int) -> Result:
    """Rounds in which all tools run, one after the other."""
    costs: dict[str, list[Cost]] = {name: [] for name in transfer.commands}
    for _ in range(rounds):
        for name, found in costs.items():
            found.append(transfer.run(name))
    result = Result(transfer.work, transfer.server.name, costs)
    show_result(result)
    return result
