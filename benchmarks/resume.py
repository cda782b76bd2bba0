"""A finished run, asked for once more: every object is known to the journal and looked at on disk, none is requested.

The links lead to a port that nobody listens on, so a request would fail.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import Cost, goal, run, scratch_folder
from benchmarks.transfers import OURS, environment
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome

BATCH = 1000
QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261124%2Feu-west-1%2Fs3%2Faws4_request"
    f"&X-Amz-Date=20261124T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature={'4f' * 32}"
)


def main(*, quick: bool) -> None:
    count = 100_000 if quick else 1_000_000
    cost = again(count)
    used = f"{cost.wall:.1f} s, {cost.cpu:.1f} s of CPU, {cost.memory:.0f} MiB"
    print(f"\nA finished run of {count:,} objects again: {used}")
    goal("seconds for a million objects", cost.wall / count * 1e6, most=10)


def again(count: int) -> Cost:
    """The cost of asking for a finished run of `count` objects once more."""
    with scratch_folder() as folder:
        _finished_run(folder, count)
        return run([*OURS, "get", "links.csv", "--to", "to"], environment({}), folder)


def _finished_run(folder: Path, count: int) -> None:
    """Empty files, their links, and the journal of a run that fetched them."""
    (folder / "to").mkdir()
    with (
        (folder / "links.csv").open("w") as table,
        Journal(folder / "to.journal", "get", str(folder / "to")) as journal,
    ):
        table.write("bucket,key,method,url,headers,expires_at,size,path\n")
        for first in range(0, count, BATCH):
            (folder / "to" / f"{first:09d}").mkdir()
            paths = [f"{first:09d}/{number:09d}.bin" for number in range(first, first + BATCH)]
            for path in paths:
                (folder / "to" / path).touch()
            table.writelines(_row(path) for path in paths)
            journal.record(_outcomes(folder / "to", paths))


def _row(path: str) -> str:
    return f"bucket,{path},GET,{_url(path)},{{}},2026-12-01T00:00:00Z,0,{path}\n"


def _url(path: str) -> str:
    return f"http://127.0.0.1:1/bucket/{path}?{QUERY}"


def _outcomes(folder: Path, paths: Sequence[str]) -> list[Outcome]:
    return [_outcome(ObjectRef("bucket", path, path=path), (folder / path).stat()) for path in paths]


def _outcome(ref: ObjectRef, found: os.stat_result) -> Outcome:
    """As a run records an object: with its link, and with the state of its file."""
    link = Link("GET", _url(ref.key), {}, None, ref)
    evidence = Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return Outcome(ref, "done", 0, verified_by="size", link=link, evidence=evidence)
