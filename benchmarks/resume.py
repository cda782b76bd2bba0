"""A finished run, asked for once more: every object is known to the journal and looked at on disk, none is requested.

The links lead to a port that nobody listens on, so a request would fail. Then the journal alone, with objects in the
order of their keys and in random order, as an inventory or a database has them.
"""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import Cost, cpu_seconds, goal, run, scratch_folder
from benchmarks.transfers import OURS, environment
from bulkpresign.ledger.identity import identity_of
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.merge import merge_journals
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome

BATCH = 1000
#: Outcomes of a transaction, as a run records them.
TRANSACTION = 1024
SHARDS = 4
ROUNDS = 3
QUERY = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261124%2Feu-west-1%2Fs3%2Faws4_request"
    f"&X-Amz-Date=20261124T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature={'4f' * 32}"
)
#: The state of a file that is not there.
_EMPTY = Evidence(0, 1_795_700_000_000_000_000, 1_795_700_000_000_000_000)


def main(*, quick: bool) -> None:
    count = 100_000 if quick else 1_000_000
    cost = again(count)
    used = f"{cost.wall:.1f} s, {cost.cpu:.1f} s of CPU, {cost.memory:.0f} MiB"
    print(f"\nA finished run of {count:,} objects again: {used}")
    goal("seconds for a million objects", cost.wall / count * 1e6, most=10)
    in_order, shuffled = journal_costs(count)
    print(f"\nThe journal of {count:,} objects, us of CPU an object, the least of {ROUNDS} rounds")
    print(f"  {'':<26} {'in order':>10} {'random':>10} {'ratio':>8}")
    for step, least in in_order.items():
        print(f"  {step:<26} {least:>10.1f} {shuffled[step]:>10.1f} {shuffled[step] / least:>8.2f}")
    written, in_any_order = (cost["recorded"] + cost["indexed by the next run"] for cost in (in_order, shuffled))
    goal("recorded and indexed, random order against key order", in_any_order / written, most=1.25)


def again(count: int) -> Cost:
    """The cost of asking for a finished run of `count` objects once more."""
    with scratch_folder() as folder:
        _finished_run(folder, count)
        return run([*OURS, "get", "links.csv", "--to", "to"], environment({}), folder)


def journal_costs(count: int) -> tuple[dict[str, float], dict[str, float]]:
    """CPU microseconds an object of the steps of a journal, in the order of keys and in random order."""
    in_order = range(count)
    shuffled = random.Random(1).sample(in_order, count)
    rounds = [(_journal(in_order), _journal(shuffled)) for _ in range(ROUNDS)]
    first, second = (
        {step: min(one[step] for one in found) for step in found[0]} for found in zip(*rounds, strict=True)
    )
    return first, second


def _journal(numbers: Sequence[int]) -> dict[str, float]:
    with scratch_folder() as folder:
        recorded = _record(folder / "journal", numbers)
        journal = Journal(folder / "journal", "get", "to")
        indexed = cpu_seconds(journal.__enter__)
        found = _find(journal, numbers)
        journal.__exit__()
        shards = [folder / f"{shard}" for shard in range(SHARDS)]
        for shard, file in enumerate(shards):
            _record(file, numbers[shard * len(numbers) // SHARDS : (shard + 1) * len(numbers) // SHARDS])
        merged = cpu_seconds(lambda: merge_journals(shards, folder / "merged"))
    seconds = {
        "recorded": recorded,
        "indexed by the next run": indexed,
        "found by a run": found,
        f"merged of {SHARDS} journals": merged,
    }
    return {step: cost / len(numbers) * 1e6 for step, cost in seconds.items()}


def _record(file: Path, numbers: Sequence[int]) -> float:
    """CPU seconds of a journal that records objects. They are made before."""
    began = time.process_time()
    with Journal(file, "get", "to") as journal:
        used = time.process_time() - began
        for first in range(0, len(numbers), TRANSACTION):
            outcomes = [_outcome(_ref(number), _EMPTY) for number in numbers[first : first + TRANSACTION]]
            began = time.process_time()
            journal.record(outcomes)
            used += time.process_time() - began
        began = time.process_time()
    return used + time.process_time() - began


def _find(journal: Journal, numbers: Sequence[int]) -> float:
    """CPU seconds of a journal that looks up all objects."""
    used = 0.0
    for first in range(0, len(numbers), BATCH):
        refs = [_ref(number) for number in numbers[first : first + BATCH]]
        names = [identity_of(ref, _url(ref.key)) for ref in refs]
        began = time.process_time()
        found = journal.finished(names)
        used += time.process_time() - began
        assert len(found) == len(names)
    return used


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
            refs = [_ref(number) for number in range(first, first + BATCH)]
            for ref in refs:
                (folder / "to" / ref.key).touch()
            table.writelines(_row(ref.key) for ref in refs)
            journal.record([_outcome(ref, _evidence(folder / "to" / ref.key)) for ref in refs])


def _ref(number: int) -> ObjectRef:
    path = f"{number // BATCH * BATCH:09d}/{number:09d}.bin"
    return ObjectRef("bucket", path, path=path)


def _row(path: str) -> str:
    return f"bucket,{path},GET,{_url(path)},{{}},2026-12-01T00:00:00Z,0,{path}\n"


def _url(path: str) -> str:
    return f"http://127.0.0.1:1/bucket/{path}?{QUERY}"


def _evidence(file: Path) -> Evidence:
    found = file.stat()
    return Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _outcome(ref: ObjectRef, evidence: Evidence) -> Outcome:
    """As a run records an object: with its link, and with the state of its file."""
    link = Link("GET", _url(ref.key), {}, None, ref)
    return Outcome(ref, "done", 0, verified_by="size", link=link, evidence=evidence)
