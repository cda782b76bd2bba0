"""Journals on a file system that can't be written: a snapshot, a disc, a share of someone else."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bulkpresign.ledger.journal import Journal, open_read_only
from bulkpresign.ledger.merge import merge_journals
from bulkpresign.ledger.report import read_report
from bulkpresign.model import ObjectRef, Outcome
from tests.support.disks import make_read_only, mounted


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "2m") as disk:
        yield disk


@pytest.fixture(params=["ended", "killed"])
def journal(request: pytest.FixtureRequest, disk: Path, tmp_path: Path) -> Path:
    """The journal of a run that ended, or with the files that a killed run leaves beside it."""
    file = tmp_path / "x.journal"
    with Journal(file, "get", "/data") as journal:
        journal.record([Outcome(ObjectRef("b", "k"), "done", 5)])
        if request.param == "killed":
            _copy(file, disk)
    if request.param == "ended":
        _copy(file, disk)
    make_read_only(disk)
    return disk / file.name


def _copy(file: Path, disk: Path) -> None:
    for part in file.parent.glob(f"{file.name}*"):
        shutil.copy(part, disk)


def test_a_report_reads_it(journal: Path) -> None:
    assert read_report(journal).done == 1


def test_records_are_found_in_it(journal: Path) -> None:
    with closing(open_read_only(journal)) as database:
        assert database.execute("SELECT count(*) FROM earlier").fetchone() == (1,)


def test_it_is_merged(journal: Path, tmp_path: Path) -> None:
    merge_journals([journal], tmp_path / "merged.journal")
    assert read_report(tmp_path / "merged.journal").done == 1


def test_one_behind_a_symbolic_link(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "link.journal").symlink_to(journal)
    assert read_report(tmp_path / "link.journal").done == 1
