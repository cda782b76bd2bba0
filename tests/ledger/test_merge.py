"""Merged journals: as if one run had written them, in any order; and what can't be merged."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import JournalError, OutputError
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.merge import merge_journals
from bulkpresign.ledger.report import read_report
from bulkpresign.ledger.schema import VERSION
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome, ResumePoint

TABLES = ("about", "outcomes", "moved", "parts", "finished_parts")
OUTCOMES = st.lists(
    st.tuples(
        st.integers(0, 9),  # the key
        st.integers(0, 2),  # the journal
        st.sampled_from(["done", "skipped", "failed", "expired"]),
        st.sampled_from([None, "kept"]),
        st.floats(0, 1e9),
    ),
    max_size=30,
    unique_by=lambda row: (row[0], row[4]),
)


def link(key: str) -> Link:
    return Link("GET", f"https://h/b/{key}", {}, object=ObjectRef("b", key))


def outcome(key: str, status: str = "done", etag: str | None = None, **more: Any) -> Outcome:
    evidence = Evidence(more.pop("size", 5), 1, 1, etag, more.pop("checksum", None)) if status == "done" else None
    return Outcome(ObjectRef("b", key), status, 5, link=link(key), evidence=evidence, **more)  # type: ignore[arg-type]


def journal(
    file: Path, outcomes: Sequence[tuple[float, Outcome]] = (), moved: dict[int, int] | None = None, verb: str = "get"
) -> Path:
    with Journal(file, verb, "/data") as opened:
        opened.record([each for _, each in outcomes], [at for at, _ in outcomes], moved)
    return file


def rows_of(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """The rows of all tables, without the order of outcomes."""
    with closing(sqlite3.connect(file)) as database:
        rows = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}
    rows["outcomes"] = [row for _, *row in rows["outcomes"]]
    return {name: sorted(found, key=repr) for name, found in rows.items()}


def merged(files: Sequence[Path], output: Path) -> dict[str, list[tuple[object, ...]]]:
    output.unlink(missing_ok=True)
    merge_journals(files, output)
    return rows_of(output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("merge")


def of(rows: Sequence[tuple[int, int, str, str | None, float]], file: Path) -> Path:
    file.unlink(missing_ok=True)
    outcomes = [
        (at, outcome(f"{key}", status, message=None if status == "done" else message))
        for key, _, status, message, at in rows
    ]
    return journal(file, outcomes, {int(at): key for key, _, _, _, at in rows})


def rank(row: tuple[int, int, str, str | None, float]) -> tuple[int, float]:
    _, _, status, message, at = row
    return 2 if status == "done" else int(status == "skipped" and message is None), at


@given(rows=OUTCOMES, seed=st.randoms(use_true_random=False))
def test_shards_are_as_one_journal(
    folder: Path, rows: list[tuple[int, int, str, str | None, float]], seed: random.Random
) -> None:
    """Each object once in a journal, as its key and its journal tell; and each object in the best of its states."""
    last = {(key, number): (key, number, status, message, at) for key, number, status, message, at in rows}
    shards = [[row for row in last.values() if row[1] == number] for number in range(3)]
    best: dict[int, tuple[int, int, str, str | None, float]] = {}
    for row in sorted(last.values(), key=rank):
        best[row[0]] = row
    expected = rows_of(of(list(best.values()), folder / "expected"))
    moved: dict[int, int] = {}
    for shard in shards:
        for second, size in {int(row[4]): row[0] for row in shard}.items():
            moved[second] = moved.get(second, 0) + size
    expected["moved"] = sorted(moved.items(), key=repr)
    files = [of(shard, folder / f"{number}") for number, shard in enumerate(shards)]
    seed.shuffle(files)
    assert merged(files, folder / "output") == expected


def test_the_merged_journal_is_a_journal(tmp_path: Path) -> None:
    files = [journal(tmp_path / f"{n}", [(n, outcome(f"{n}"))]) for n in range(3)]
    output = tmp_path / "all.journal"
    merge_journals(files, output)
    assert output.stat().st_mode & 0o777 == 0o600
    with Journal(output, "get", "/data") as opened:
        assert len(opened.finished([f"https://h\0b\0{n}\0\0{n}" for n in range(3)])) == 3
        opened.record([outcome("4")])
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2", "all.journal"} | shared_memory(files)


@pytest.mark.parametrize(("second", "is_complete"), [("ended", True), ("begun", False), ("older", True)])
def test_the_runs_are_complete_if_each_is(tmp_path: Path, second: str, is_complete: bool) -> None:
    files = [journal(tmp_path / f"{n}", [(n, outcome(f"{n}"))]) for n in range(3)]
    for file, state in zip(files, ("ended", second, "ended"), strict=True):
        with Journal(file, "get", "/data") as opened:
            if state != "older":
                opened.begin_run()
            if state == "ended":
                opened.end_run()
    for order, given_files in enumerate((files, files[::-1])):
        output = tmp_path / f"all-{order}.journal"
        merge_journals(given_files, output)
        assert read_report(output).is_complete is is_complete


def test_a_merged_journal_can_be_read_while_a_run_goes_on_with_it(tmp_path: Path) -> None:
    files = [journal(tmp_path / f"{n}", [(n, outcome(f"{n}"))]) for n in range(3)]
    output = tmp_path / "all.journal"
    merge_journals(files, output)
    with closing(sqlite3.connect(output)) as reader:
        with Journal(output, "get", "/data") as opened:
            rows = reader.execute("SELECT id FROM outcomes")
            rows.fetchone()
            opened.record([outcome("4")])
        assert len(rows.fetchall()) == 2
        assert reader.execute("SELECT count(*) FROM outcomes").fetchone() == (4,)


def shared_memory(files: Sequence[Path]) -> set[str]:
    """What SQLite leaves beside journals that were read."""
    return {f"{file.name}-{kind}" for file in files for kind in ("wal", "shm") if Path(f"{file}-{kind}").exists()}


@pytest.mark.parametrize(
    "other", [ResumePoint("other", 100, 10), ResumePoint("etag", 101, 10), ResumePoint("etag", 100, 20)]
)
def test_unfinished_objects_that_were_begun_in_two_ways(other: ResumePoint, tmp_path: Path) -> None:
    for name, point in (("a", ResumePoint("etag", 100, 10)), ("b", other)):
        with Journal(tmp_path / name, "get", "/data") as opened:
            opened.set_resume_point(link("begun"), point)
    with pytest.raises(JournalError, match="disagree about s3://b/begun"):
        merge_journals([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


@pytest.mark.parametrize("status", ["done", "skipped"])
def test_unfinished_objects_continue(status: str, tmp_path: Path) -> None:
    point = ResumePoint("etag", 100, 10)
    for name, numbers in (("a", (1, 2)), ("b", (2, 3))):
        with Journal(tmp_path / name, "get", "/data") as opened:
            for key in ("begun", f"{name} alone", "whole"):
                opened.set_resume_point(link(key), point)
                for number in numbers:
                    opened.add_finished_part(link(key), number, f"proof {number}")
    journal(tmp_path / "c", [(1, outcome("whole", status))])
    merge_journals([tmp_path / name for name in "abc"], tmp_path / "all")
    with Journal(tmp_path / "all", "get", "/data") as opened:
        found = {key: opened.checkpoint(link(key)) for key in ("begun", "a alone", "b alone", "whole")}
    assert found.pop("whole") is None
    rows = rows_of(tmp_path / "all")
    assert "whole" not in str(rows["parts"] + rows["finished_parts"])
    assert {key: sorted(each.parts) for key, each in found.items() if each and each.point == point} == {
        "begun": [1, 2, 3],
        "a alone": [1, 2],
        "b alone": [2, 3],
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"etag": "a"}, {"etag": "b"}),
        ({"size": 5}, {"size": 6}),
        ({"checksum": "md5:a"}, {"checksum": "md5:b"}),
    ],
)
def test_states_that_disagree(tmp_path: Path, one: dict[str, Any], other: dict[str, Any]) -> None:
    files = [
        journal(tmp_path / f"{n}", [(n, outcome("key", **state)), (1, outcome(f"other {n}"))])
        for n, state in enumerate((one, other))
    ]
    with pytest.raises(JournalError, match="1 and a journal before it disagree about s3://b/key: the object changed"):
        merge_journals(files, tmp_path / "all")
    assert not [path for path in tmp_path.iterdir() if path.name == "all" or "tmp" in path.suffix]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"etag": "a"}, {"etag": None}),
        ({"checksum": "md5:a"}, {"checksum": "sha256:b"}),
        ({"etag": "a"}, {"etag": "a"}),
    ],
)
def test_states_that_do_not_disagree(tmp_path: Path, one: dict[str, Any], other: dict[str, Any]) -> None:
    files = [journal(tmp_path / f"{n}", [(n, outcome("key", **state))]) for n, state in enumerate((one, other))]
    assert len(merged(files, tmp_path / "all")["outcomes"]) == 1


@pytest.mark.parametrize(
    ("point", "proof"), [(ResumePoint("upload 2", 100, 10), "proof"), (ResumePoint("upload", 100, 10), "other")]
)
def test_unfinished_objects_that_disagree(tmp_path: Path, point: ResumePoint, proof: str) -> None:
    for name, given_point, given_proof in (("a", ResumePoint("upload", 100, 10), "proof"), ("b", point, proof)):
        with Journal(tmp_path / name, "get", "/data") as opened:
            opened.set_resume_point(link("key"), given_point)
            opened.add_finished_part(link("key"), 1, given_proof)
    with pytest.raises(JournalError, match="disagree about s3://b/key"):
        merge_journals([tmp_path / "a", tmp_path / "b"], tmp_path / "all")


def test_what_is_no_journal(tmp_path: Path) -> None:
    good = journal(tmp_path / "good", [(1, outcome("a"))])
    (tmp_path / "links.csv").write_text("bucket,key\n")
    (tmp_path / "text").write_bytes(b"something else that is no database at all, and long enough" * 9)
    with closing(sqlite3.connect(tmp_path / "other")) as database:
        database.execute("CREATE TABLE x (y)")
    with closing(sqlite3.connect(journal(tmp_path / "newer"))) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    (tmp_path / "alias").symlink_to("good")
    journal(tmp_path / "put", verb="put")
    for name, words in (
        ("links.csv", "is a manifest, not a journal"),
        ("text", "damaged"),
        ("other", "other is not a journal of bulkpresign"),
        ("newer", "newer was written by a newer version"),
        ("none", "none: no such journal"),
        (".", "no such journal"),
        ("good", "good is given twice$"),
        ("alias", "alias is given twice, also as .*good$"),
        ("put", "put is the journal of put to /data, and .*good of get to /data: only journals of one verb and"),
    ):
        with pytest.raises(JournalError, match=words):
            merge_journals([good, tmp_path / name], tmp_path / "all")
        assert not (tmp_path / "all").exists()
    with pytest.raises(JournalError, match=r"good is given twice$"):
        merge_journals([good, good], tmp_path / "all")


def test_a_journal_in_use(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "used", "get", "/data"),
        pytest.raises(JournalError, match="used is in use by another run"),
    ):
        merge_journals([tmp_path / "used"], tmp_path / "all")


def test_a_damaged_journal(tmp_path: Path) -> None:
    file = journal(tmp_path / "a", [(n, outcome(f"{n:050}")) for n in range(2000)])
    data = bytearray(file.read_bytes())
    data[8192:-8192] = b"\xff" * (len(data) - 16384)
    file.write_bytes(data)
    with pytest.raises(JournalError, match="a is damaged"):
        merge_journals([journal(tmp_path / "b"), file], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_an_output_that_can_not_be_written(tmp_path: Path) -> None:
    good = journal(tmp_path / "good", [(1, outcome("a"))])
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name, words in (
        ("good", "good exists: name a new file"),
        ("folder", "folder exists"),
        ("link", "link exists"),
        ("none/all", "none/all can't be written: No such file or directory"),
    ):
        with pytest.raises(OutputError, match=words):
            merge_journals([good], tmp_path / name)
    assert len(rows_of(good)["outcomes"]) == 1


def test_a_full_disk(folder: Path, tiny_disk: Path) -> None:
    file = journal(folder / "large", [(n, outcome(f"{n:050}")) for n in range(2000)])
    with pytest.raises(OutputError, match=r"all can't be written: database or disk is full"):
        merge_journals([file], tiny_disk / "all")
    assert not list(tiny_disk.iterdir())
