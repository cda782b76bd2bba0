"""The index of earlier runs: one row for each object, however runs follow each other, and files of version 2."""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import JournalError
from bulkpresign.ledger.identity import identity
from bulkpresign.ledger.journal import Journal, open_read_only
from bulkpresign.ledger.merge import merge_journals
from bulkpresign.ledger.record import records_of
from bulkpresign.ledger.report import read_report
from bulkpresign.ledger.schema import OUTCOME_NAMES
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome
from tests.support.disks import mounted

ENDPOINT = "https://h"
#: The status and the message of an outcome, and the mtime of its file.
State = tuple[str, str | None, int]
STATES = st.tuples(
    st.sampled_from(["done", "skipped", "failed"]), st.sampled_from([None, "a message"]), st.integers(1, 2)
)
#: Runs, each with one outcome for some objects, in any order.
RUNS = st.lists(st.lists(st.tuples(st.integers(0, 9), STATES), unique_by=lambda row: row[0]), max_size=5)

VERSION_2 = f"""
    DROP TABLE IF EXISTS earlier;
    DELETE FROM about WHERE name = 'indexed';
    ALTER TABLE outcomes RENAME TO later;
    CREATE TABLE outcomes (
        id TEXT PRIMARY KEY, status TEXT, bytes INTEGER, attempts INTEGER, verified_by TEXT, code TEXT, message TEXT,
        finished_at REAL, seconds REAL,
        size INTEGER, mtime INTEGER, ctime INTEGER, etag TEXT, checksum TEXT, part_size INTEGER, said TEXT
    ) WITHOUT ROWID;
    INSERT INTO outcomes SELECT {OUTCOME_NAMES} FROM later;
    DROP TABLE later;
    PRAGMA user_version = 2;
"""


def ref(key: int) -> ObjectRef:
    return ObjectRef("b", f"{key}")


def link(key: int) -> Link:
    return Link("GET", f"{ENDPOINT}/b/{key}", {}, None, ref(key))


def outcome(key: int, state: State = ("done", None, 1)) -> Outcome:
    status, message, mtime = state
    return Outcome(ref(key), status, message=message, link=link(key), evidence=Evidence(5, mtime, 1))  # type: ignore[arg-type]


def run(file: Path, outcomes: Sequence[Outcome]) -> None:
    with Journal(file, "get", "/data") as journal:
        for at in range(0, len(outcomes), 3):
            journal.record(outcomes[at : at + 3])


def done(file: Path, keys: Sequence[int]) -> set[int]:
    """Those objects that the next run finds done."""
    with Journal(file, "get", "/data") as journal:
        found = journal.finished([identity(link(key)) for key in keys])
    return {key for key in keys if identity(link(key)) in found}


def states(file: Path) -> list[tuple[str, State]]:
    """The rows, in the order of keys."""
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("SELECT id, status, message, mtime FROM outcomes ORDER BY id").fetchall()
    return [(name.split("\0")[2], (status, message, mtime)) for name, status, message, mtime in rows]


def execute(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript(script)


def version_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.journal"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("earlier")


@given(runs=RUNS)
def test_runs_are_as_a_dictionary(folder: Path, runs: list[list[tuple[int, State]]]) -> None:
    file = folder / "a.journal"
    file.unlink(missing_ok=True)
    expected: dict[int, State] = {}
    for rows in runs:
        run(file, [outcome(key, state) for key, state in rows])
        for key, state in rows:
            before = expected.get(key)
            is_unchanged = before is not None and (before[0], before[2]) == ("done", state[2])
            if not (is_unchanged and state[:2] == ("skipped", None)):
                expected[key] = state
        assert states(file) == [(f"{key}", state) for key, state in sorted(expected.items())]
    finished = {key for key, (status, message, _) in expected.items() if status != "failed" and message is None}
    assert done(file, range(11)) == finished


def test_a_run_in_another_order_continues_the_one_before(file: Path) -> None:
    keys = list(range(3000))
    random.Random(1).shuffle(keys)
    run(file, [outcome(key) for key in keys[:2000]])
    random.Random(2).shuffle(keys)
    run(file, [outcome(key, ("failed", None, 1)) for key in keys])
    assert not done(file, keys)
    run(file, [outcome(key) for key in sorted(keys)])
    assert done(file, keys) == set(keys)
    assert [key for key, _ in states(file)] == sorted(f"{key}" for key in keys)


def test_runs_that_are_killed_have_one_row_for_each_object(file: Path) -> None:
    """Each dies after its last outcome, so that the next one indexes them."""
    code = (
        "import os, sys; from bulkpresign.ledger.journal import Journal\n"
        "from tests.ledger.test_earlier import outcome\n"
        "journal = Journal(sys.argv[1], 'get', '/data').__enter__()\n"
        "journal.record([outcome(key) for key in range(int(sys.argv[2]), 0, -1)])\n"
        "os.kill(os.getpid(), 9)"
    )
    for count in (400, 500):
        subprocess.run([sys.executable, "-c", code, str(file), f"{count}"], check=False)
    assert done(file, range(1, 1000)) == set(range(1, 501))
    assert len(states(file)) == 500


def test_of_two_outcomes_in_a_run_the_older_one_is_deleted(file: Path) -> None:
    run(file, [outcome(1)])
    run(file, [outcome(2), outcome(3), outcome(2, ("failed", None, 2)), outcome(1)])
    assert done(file, [1, 2, 3]) == {1, 3}
    assert states(file) == [("1", ("done", None, 1)), ("2", ("failed", None, 2)), ("3", ("done", None, 1))]


@pytest.mark.parametrize("deleted", [1, 3, 5, 6])
def test_rows_that_were_deleted_by_hand_are_not_taken_for_others(file: Path, deleted: int) -> None:
    run(file, [outcome(key) for key in range(6)])
    assert done(file, [0]) == {0}
    execute(file, f"DELETE FROM outcomes WHERE number > {6 - deleted}")
    run(file, [outcome(key) for key in range(6, 12)])
    left = {*range(6 - deleted), *range(6, 12)}
    assert done(file, range(12)) == left
    run(file, [outcome(key) for key in range(12)])
    assert done(file, range(12)) == set(range(12))
    assert len(states(file)) == 12


def test_a_disk_that_has_no_room_for_the_index(tmp_path: Path) -> None:
    """The run is refused, and nothing is lost: the next one has room."""
    with mounted(tmp_path / "disk", "8m") as disk:
        file, filler = disk / "data.journal", disk / "filler"
        run(file, [outcome(key) for key in range(3000)])
        with suppress(OSError), filler.open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass
        os.truncate(filler, filler.stat().st_size - 64 * 1024)
        with pytest.raises(JournalError, match="disk is full; see --journal"):
            done(file, [1])
        assert read_report(file).done == 3000
        filler.unlink()
        assert done(file, range(4000)) == set(range(3000))


def test_records_are_found_in_a_journal_that_is_not_written(file: Path) -> None:
    """Its last run is not in its index."""
    run(file, [outcome(1), outcome(2)])
    run(file, [outcome(3), outcome(2, ("failed", None, 1))])
    before = file.read_bytes()
    with closing(open_read_only(file)) as database:
        assert set(records_of(database, ENDPOINT, [ref(key) for key in range(5)])) == {1, 3}
    assert file.read_bytes() == before


def older(file: Path) -> Path:
    """A file of version 2 with two objects that are done and one that failed."""
    run(file, [outcome(3), outcome(1), outcome(2, ("failed", None, 1))])
    execute(file, VERSION_2)
    return file


def test_an_older_file_is_read(file: Path) -> None:
    older(file)
    assert (read_report(file).objects, read_report(file).done) == (3, 2)
    with closing(open_read_only(file)) as database:
        assert set(records_of(database, ENDPOINT, [ref(key) for key in range(5)])) == {1, 3}
    assert version_of(file) == 2


def test_an_older_file_is_merged(tmp_path: Path, file: Path) -> None:
    run(tmp_path / "other", [outcome(4), outcome(2)])
    merge_journals([older(file), tmp_path / "other"], tmp_path / "all")
    assert (version_of(file), version_of(tmp_path / "all")) == (2, 3)
    assert [key for key, _ in states(tmp_path / "all")] == ["1", "2", "3", "4"]
    assert done(tmp_path / "all", range(6)) == {1, 2, 3, 4}


def test_an_older_file_is_upgraded_by_the_next_run(file: Path) -> None:
    before = states(older(file))
    assert done(file, range(6)) == {1, 3}
    assert (version_of(file), states(file)) == (3, before)
    run(file, [outcome(2), outcome(4)])
    assert done(file, range(6)) == {1, 2, 3, 4}


def test_an_upgrade_that_fails_leaves_the_older_file(file: Path) -> None:
    before = states(older(file))
    execute(file, "CREATE TABLE earlier (x)")
    with pytest.raises(JournalError, match="table earlier has 1 columns"):
        done(file, [1])
    assert (version_of(file), states(file)) == (2, before)


def test_memory_is_flat(file: Path) -> None:
    """The index of many outcomes is sorted in a temporary file."""
    code = (
        "import resource, sys; from bulkpresign.ledger.journal import Journal\n"
        "with Journal(sys.argv[1], 'get', '/data'): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    memory = []
    for count in (200_000, 1_000_000):
        file.unlink(missing_ok=True)
        run(file, [])
        execute(
            file,
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < "
            f"{count}) INSERT INTO outcomes (id, status) SELECT hex(randomblob(40)), 'done' FROM n",
        )
        command = [sys.executable, "-c", code, str(file)]
        memory.append(int(subprocess.check_output(command, env={**os.environ, "TMPDIR": str(file.parent)})))
    assert memory[1] - memory[0] < 16 * 1024
