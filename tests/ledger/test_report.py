"""The report of a journal."""

import time
from pathlib import Path

import pytest

from bulkpresign.errors import JournalError
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.report import journals_of, read_report
from bulkpresign.model import ObjectRef, Outcome


def outcome(key: str, status: str, **more: object) -> Outcome:
    return Outcome(ObjectRef("bucket", key), status, **more)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.journal"
    with Journal(path, "get", "/data") as journal:
        journal.record(
            [
                outcome("a", "done", bytes=100, attempts=3, verified_by="md5", seconds=2.5),
                outcome("b", "done", bytes=50, verified_by="size", seconds=0.5),
                outcome("c", "skipped", attempts=0, verified_by="md5"),
                outcome("d", "failed", code="NoSuchKey", message="404"),
                outcome("e", "failed", code="NoSuchKey", message="404"),
                outcome("f", "expired", code="LinkExpired", attempts=0),
            ],
            moved={int(time.time()): 150},
        )
    return path


def test_counts_bytes_retries_errors_and_verification(file: Path) -> None:
    report = read_report(file)
    assert (report.verb, report.destination) == ("get", "/data")
    assert (report.objects, report.done, report.skipped, report.failed, report.expired) == (6, 2, 1, 2, 1)
    assert (report.bytes, report.retries) == (150, 2)
    assert report.errors == {"NoSuchKey": 2, "LinkExpired": 1}
    assert report.verified_by == {"md5": 2, "size": 1}


def test_what_was_interrupted_has_not_failed(file: Path) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome("g", "failed", code="Interrupted", message="the run was interrupted")])
    report = read_report(file)
    assert (report.objects, report.done, report.failed, report.expired, report.interrupted) == (7, 2, 2, 1, 1)
    assert (report.not_done, report.errors) == (4, {"NoSuchKey": 2, "LinkExpired": 1})


def test_the_slowest_come_first_by_name(file: Path) -> None:
    assert [(slow.object, slow.seconds) for slow in read_report(file).slowest[:2]] == [
        ("s3://bucket/a", 2.5),
        ("s3://bucket/b", 0.5),
    ]


def test_the_rates_add_up_to_what_was_done(file: Path) -> None:
    rates = read_report(file).rates
    assert (sum(rate.objects for rate in rates), sum(rate.bytes for rate in rates)) == (2, 150)


def test_a_second_run_counts_an_object_once(file: Path) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome("d", "done", bytes=7)])
    report = read_report(file)
    assert (report.objects, report.done, report.failed, report.bytes) == (6, 3, 1, 157)


def test_a_journal_in_use_can_be_read(file: Path) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome("g", "done")])
        assert read_report(file).objects == 7


def test_an_empty_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "x.journal", "put", "s3://bucket/"):
        pass
    report = read_report(tmp_path / "x.journal")
    assert (report.objects, report.rates, report.slowest, report.began_at) == (0, [], [], None)


def test_bytes_count_when_they_were_moved(tmp_path: Path) -> None:
    """One object of 100 bytes, done after 100 seconds; a failed attempt took 30 bytes back."""
    with Journal(tmp_path / "x.journal", "get", "/data") as journal:
        journal.record([], [], {1000: 30, 1050: -30, 1055: 60})
        journal.record([outcome("a", "done", bytes=100, seconds=100)], [1100.0], {1055: 10, 1099: 30})
    report = read_report(tmp_path / "x.journal")
    assert [(rate.at, rate.seconds, rate.objects, rate.bytes) for rate in report.rates] == [
        (1055.0, 5.0, 0, 70),
        (1095.0, 5.0, 0, 30),
        (1100.0, 5.0, 1, 0),
    ]


def test_journals_are_found_beside_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "da[t]a"
    folder.mkdir()
    with pytest.raises(JournalError, match=r"has no journal beside it: looked for .*journal and .*put.journal"):
        journals_of(folder)
    for name in ("da[t]a.journal", "da[t]a.put.journal", "da[t]a.old.journal", "data.journal"):
        (tmp_path / name).touch()
    (tmp_path / "alias").symlink_to(folder)
    for given in (folder, f"{folder}/", tmp_path / "alias"):
        assert [path.name for path in journals_of(given)] == ["da[t]a.journal", "da[t]a.put.journal"]
    assert journals_of(tmp_path / "data.journal") == [tmp_path / "data.journal"]


@pytest.mark.parametrize("name", ["links.csv", "links.JSONL.gz", "keys.txt"])
def test_a_manifest_is_not_a_journal(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("bucket,key\n")
    with pytest.raises(JournalError, match="is a manifest, not a journal: give the folder of the run, or the journal"):
        read_report(tmp_path / name)


@pytest.mark.parametrize("content", [None, b"", b"something else that is no database at all, and long enough" * 9])
def test_other_files_are_not_journals(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(JournalError):
        read_report(tmp_path / "x")
