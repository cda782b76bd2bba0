"""Rows of an S3 Inventory read as objects: of each format, beside a reader that does the least.

The inventory has all versions and the documented fields, in the form in which AWS delivers it. Ours checks the md5 of
the data files, leaves out delete markers and old versions, and makes an `ObjectRef` of each other row.

`python -m benchmarks.inventory make|ours|peer FOLDER` makes or reads the inventory of a folder, whose name says its
format and how many rows it has: `ORC-1000000`.
"""

import asyncio
import csv
import gzip
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from benchmarks.measuring import Cost, goal, run, scratch_folder, show
from bulkpresign.pipeline.sources.sources import Sources

ROUNDS = 3
#: Rows a second.
GOAL = 200_000
FILES = 10
FORMATS = ("CSV", "ORC", "Parquet")
PEER = "csv module"


class _Rows(Sequence[dict[str, Any]]):
    """The rows of an inventory, made as they are wanted."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        make = import_module("tests.support.inventories").row
        return [
            make("bench", f"{n // 1000:04}/a name as long as names {n:09}.bin", Size=n) for n in self._numbers[index]
        ]


def main(*, quick: bool) -> None:
    many = 1_000_000 // (50 if quick else 1)
    few = many // 100
    with scratch_folder() as folder:
        for count in (few, many):
            for kind in FORMATS:
                run(_command("make", folder / f"{kind}-{count}"), _environment())
        costs = {(kind, count): _best("ours", folder / f"{kind}-{count}") for kind in FORMATS for count in (few, many)}
        peer = {count: _best("peer", folder / f"CSV-{count}") for count in (few, many)}
    rates = {kind: _rate(costs[kind, few], costs[kind, many], many - few) for kind in FORMATS}
    rates[PEER] = _rate(peer[few], peer[many], many - few)
    show(f"Rows of an inventory read per second of CPU ({many:,})", "rows/s", rates, PEER, more_is_better=True)
    memory = {kind: (costs[kind, few].memory, costs[kind, many].memory) for kind in FORMATS}
    print(
        f"\n  memory: {', '.join(f'{kind} {least:.0f} and {most:.0f} MiB' for kind, (least, most) in memory.items())}\n"
    )
    for kind in FORMATS:
        goal(f"{kind}: rows/s against {GOAL:,}", rates[kind] / GOAL, least=1)


def _rate(least: Cost, most: Cost, rows: int) -> float:
    """Rows a second of CPU: the start of Python is left out."""
    return rows / (most.cpu - least.cpu)


def _best(verb: str, folder: Path) -> Cost:
    return min((run(_command(verb, folder), _environment()) for _ in range(ROUNDS)), key=lambda cost: cost.cpu)


def _command(verb: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.inventory", verb, str(folder)]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def _make(folder: Path) -> int:
    kind, _, count = folder.name.partition("-")
    import_module("tests.support.inventories").MadeInventory(kind, _Rows(int(count)), files=FILES).store(folder)
    return int(count)


async def _read(folder: Path) -> int:
    sources = Sources(folder / "manifest.json")
    await sources.begin()
    return sum([len(refs) async for refs in sources.objects(None)])


def _read_by_csv(folder: Path) -> int:
    """Decodes keys, and leaves out what is no latest version."""
    key, latest, marker = 1, 3, 4
    count = 0
    for file in (folder / "data").iterdir():
        with gzip.open(file, "rt", newline="") as stream:
            for cells in csv.reader(stream):
                if cells[latest] == "true" and cells[marker] == "false" and unquote_plus(cells[key]):
                    count += 1
    return count


if __name__ == "__main__":
    _, verb, name = sys.argv
    folder = Path(name)
    found = asyncio.run(_read(folder)) if verb == "ours" else (_make if verb == "make" else _read_by_csv)(folder)
    if found != int(folder.name.partition("-")[2]):
        raise SystemExit(f"{found:,} rows of {folder} were read")
