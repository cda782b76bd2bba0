"""The journal on real files, with real processes and real damage."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulkpresign.errors import JournalError, OutputError
from bulkpresign.ledger.identity import identity
from bulkpresign.ledger.journal import Journal, belongs_to_another_run
from bulkpresign.ledger.record import Record, contradicts
from bulkpresign.ledger.report import read_report
from bulkpresign.ledger.schema import VERSION
from bulkpresign.model import Checkpoint, Evidence, Link, ObjectRef, Outcome, ResumePoint
from tests.support.disks import mounted


def link(
    key: str, version: str | None = None, path: str | None = None, url: str = "https://h/k?X-Amz-Signature=s"
) -> Link:
    return Link(
        "GET", url, {}, None, ObjectRef("bucket", key, version, path=path) if key else ObjectRef("", "", path=path)
    )


def outcome(of: Link, status: str = "done", **more: object) -> Outcome:
    return Outcome(of.object, status, 10, link=of, **more)  # type: ignore[arg-type]


def finished(journal: Journal, links: Sequence[Link]) -> dict[str, Record]:
    return journal.finished([identity(link) for link in links])


def run(file: Path, outcomes: Sequence[Outcome]) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record(outcomes)


def next_run_finds(file: Path, links: Sequence[Link]) -> dict[str, Record]:
    with Journal(file, "get", "/data") as journal:
        return finished(journal, links)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.journal"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    with Journal(file, "get", "/data") as opened:
        yield opened


def test_outcomes_are_kept_over_runs(file: Path) -> None:
    links = [link("a"), link("b"), link("c")]
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome(links[0]), outcome(links[1], "failed", code="NoSuchKey"), outcome(links[2], "skipped")])
    with Journal(file, "get", "/data") as journal:
        assert set(finished(journal, links)) == {identity(links[0]), identity(links[2])}
        journal.record([outcome(links[1])])
    assert len(next_run_finds(file, links)) == 3


#: The recorded claims of a row without size, etag and checksum.
NO_CLAIMS = "  "


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("every", [1, 7, 50])
def test_any_number_of_outcomes_is_recorded_at_once(file: Path, count: int, every: int) -> None:
    """Those that follow each other and are alike are inserted together; in later runs they replace their records."""
    links = [link(f"k{number}", path=f"p{number}") for number in range(count)]
    found = {
        identity(one): (number, 1, 2, f"e{number}", f"md5:{number}", number // every)
        for number, one in enumerate(links)
    }
    for _ in range(2):
        run(file, [outcome(one, verified_by="md5", evidence=Evidence(*found[identity(one)])) for one in links])
        records = next_run_finds(file, links)
        assert records == {name: Record("done", "md5", *cells, NO_CLAIMS) for name, cells in found.items()}


def test_outcomes_of_one_kind_are_few_statements(journal: Journal) -> None:
    """Also where each object has an etag and a checksum of its own. One statement for each takes twice as long."""
    statements: list[str] = []
    journal._database.set_trace_callback(statements.append)
    found = [Evidence(1, number, 2, f"e{number}", f"md5:{number}") for number in range(64)]
    journal.record([outcome(link(f"k{number}"), evidence=each) for number, each in enumerate(found)])
    assert [each.split()[0] for each in statements] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]


def test_an_object_that_an_option_skipped_is_not_done(file: Path) -> None:
    """As with `--if-exists keep`: a run without it decides anew."""
    run(file, [outcome(link("a"), "skipped", message="there is a file of that name")])
    assert not next_run_finds(file, [link("a")])


@pytest.mark.parametrize(("status", "stays"), [("done", True), ("skipped", True), ("failed", False)])
def test_input_that_is_not_valid_leaves_a_new_journal_only_where_something_was_done(
    file: Path, status: str, stays: bool
) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome(link("a"), status)])
        journal.discard_if_new()
    assert file.exists() is stays


def test_rows_match_by_endpoint_bucket_key_version_and_path_and_never_by_signature(file: Path) -> None:
    run(file, [outcome(link("a", url="https://h/a?X-Amz-Signature=1"))])
    assert next_run_finds(file, [link("a", url="https://h/b/a?X-Amz-Signature=2")])
    others = [link("b"), link("a", version="2"), link("a", path="elsewhere")]
    others += [link("a", url=f"{endpoint}/a") for endpoint in ("https://other", "http://h", "https://h:1")]
    for other in others:
        assert not next_run_finds(file, [other])


def test_links_without_a_key_match_by_their_url_without_its_query(file: Path) -> None:
    run(file, [outcome(link("", url="https://h/x?sig=1", path="x"))])
    assert next_run_finds(file, [link("", url="https://h/x?sig=2", path="x")])
    assert not next_run_finds(file, [link("", url="https://h/y?sig=1", path="x")])


def test_no_signature_is_in_the_file(file: Path) -> None:
    signed = "https://h/x?X-Amz-Signature=5ec4e7"
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome(link("", url=signed, path="x")), outcome(link("y"), "failed", message=f"no {signed}")])
    assert b"https://h/x" in file.read_bytes()
    assert b"5ec4e7" not in file.read_bytes()


def test_the_measured_rate_leaves_out_pauses(journal: Journal) -> None:
    journal.record([], moved={100: 3000, 101: 5000})
    assert journal.measured_rate() is None, "two seconds say little"
    journal.record([], moved={500: 1000, 501: 0})
    assert journal.measured_rate() == 3000


@pytest.mark.parametrize("end", ["done", "skipped"])
def test_parts_are_known_until_their_object_is_done(journal: Journal, end: str) -> None:
    one = link("big")
    assert journal.checkpoint(one) is None
    journal.set_resume_point(one, ResumePoint("etag", 100))
    assert journal.checkpoint(one) == Checkpoint(ResumePoint("etag", 100))
    journal.record([outcome(one, "failed")])
    assert journal.checkpoint(one) == Checkpoint(ResumePoint("etag", 100))
    journal.record([outcome(one, end)])
    assert journal.checkpoint(one) is None


def test_finished_parts_are_kept_over_runs_until_their_object_is_done_or_another(file: Path) -> None:
    one, other = link("one"), link("other")
    with Journal(file, "get", "/data") as journal:
        for each in (one, other):
            journal.set_resume_point(each, ResumePoint("etag", 100, 30))
            journal.add_finished_part(each, 1, "crc32:a")
            journal.add_finished_part(each, 3, "crc32:c")
    with Journal(file, "get", "/data") as journal:
        assert journal.checkpoint(one) == Checkpoint(ResumePoint("etag", 100, 30), {1: "crc32:a", 3: "crc32:c"})
        journal.record([outcome(one)])
        journal.set_resume_point(other, ResumePoint("another etag", 100, 30))
        assert journal.checkpoint(one) is None
        assert journal.checkpoint(other) == Checkpoint(ResumePoint("another etag", 100, 30))
    with Journal(file, "get", "/data") as journal:
        assert journal.checkpoint(one) is None
        assert journal.checkpoint(other) == Checkpoint(ResumePoint("another etag", 100, 30))


ANOTHER = pytest.mark.parametrize(("verb", "destination"), [("put", "/data"), ("get", "/elsewhere")])


@ANOTHER
@pytest.mark.parametrize("what", ["done", "skipped", "begun"])
def test_another_verb_or_destination_is_refused(file: Path, verb: str, destination: str, what: str) -> None:
    with Journal(file, "get", "/data") as journal:
        if what == "begun":
            journal.set_resume_point(link("a"), ResumePoint("upload", 10, 5))
        else:
            journal.record([outcome(link("a"), what)])
    assert belongs_to_another_run(file, verb, destination)
    with pytest.raises(JournalError, match=f"is the journal of get to /data, not of {verb} to {destination}"):
        Journal(file, verb, destination).__enter__()
    assert not belongs_to_another_run(file, "get", "/data")


@ANOTHER
def test_a_journal_without_work_is_cleared(file: Path, verb: str, destination: str) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome(link("a"), "failed", code="NoSuchBucket"), outcome(link("b"), "expired")])
    assert not belongs_to_another_run(file, verb, destination)
    with Journal(file, verb, destination) as journal:
        journal.record([outcome(link("c"))])
    report = read_report(file)
    assert (report.verb, report.destination, report.objects, report.done) == (verb, destination, 1, 1)
    with pytest.raises(JournalError):
        Journal(file, "get", "/data").__enter__()


RECORDED = Evidence(10, 1, 2, "e1", "crc32:AAAAAA==")
ROWS: list[tuple[dict[str, object], bool]] = [
    ({}, False),
    ({"size": 10, "etag": "e1", "checksum": "crc32:AAAAAA=="}, False),
    ({"size": 11}, True),
    ({"etag": "e2"}, True),
    ({"checksum": "crc32:BBBBBB=="}, True),
    ({"checksum": "sha1:AAAA"}, False),
    ({"checksum": "crc32:BBBBBB==-2"}, False),
]


@pytest.mark.parametrize(("row", "differs"), ROWS)
def test_a_row_with_other_values_contradicts_the_record(file: Path, row: dict[str, Any], differs: bool) -> None:
    one = link("a")
    run(file, [msgspec.structs.replace(outcome(one), evidence=RECORDED)])
    (recorded,) = next_run_finds(file, [one]).values()
    assert contradicts(msgspec.structs.replace(one.object, **row), recorded) is differs


@pytest.mark.parametrize(
    "claims",
    [
        {"size": 3, "etag": "before"},
        {"size": 3, "checksum": RECORDED.checksum},
        {"etag": "before", "checksum": RECORDED.checksum},
        {"checksum": "crc32:CCCCCC=="},
    ],
)
@pytest.mark.parametrize(("row", "differs"), ROWS)
def test_a_row_with_the_same_claims_does_not_contradict(
    file: Path, claims: dict[str, Any], row: dict[str, Any], differs: bool
) -> None:
    """As with uploads: their rows can tell of the object that was there before."""
    before = msgspec.structs.replace(link("a"), object=ObjectRef("bucket", "a", **claims))
    run(file, [msgspec.structs.replace(outcome(before), evidence=RECORDED)])
    (recorded,) = next_run_finds(file, [before]).values()
    assert not contradicts(before.object, recorded)
    assert contradicts(msgspec.structs.replace(link("a").object, **row), recorded) is differs


def test_an_older_version_is_refused(file: Path) -> None:
    with Journal(file, "get", "/data"):
        pass
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 1")
    with pytest.raises(JournalError, match=r"was written by an older version .*: move it away"):
        Journal(file, "get", "/data").__enter__()


def test_a_second_process_is_refused_and_a_later_one_is_not(file: Path) -> None:
    hold = (
        "import sys; from bulkpresign.ledger.journal import Journal\n"
        "with Journal(sys.argv[1], 'get', '/data'):\n print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(JournalError, match="in use by another run: wait for its end, or end it"):
            Journal(file, "get", "/data").__enter__()
        process.send_signal(signal.SIGKILL)
    with Journal(file, "get", "/data"):
        pass


def test_a_killed_process_leaves_what_it_recorded(file: Path) -> None:
    code = (
        "import os, sys; from bulkpresign.ledger.journal import Journal\n"
        "from bulkpresign.model import Link, ObjectRef, Outcome\n"
        "journal = Journal(sys.argv[1], 'get', '/data').__enter__()\n"
        "links = [Link('GET', 'https://h/k', {}, None, ObjectRef('bucket', str(n))) for n in range(500)]\n"
        "journal.record([Outcome(link.object, 'done', link=link) for link in links])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    with Journal(file, "get", "/data") as journal:
        assert len(finished(journal, [link(str(n)) for n in range(1000)])) == 500


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not a database, but long enough to look like one" * 100, "damaged"), (b"x", "damaged")],
)
def test_other_files_are_refused(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(JournalError, match=message):
        Journal(file, "get", "/data").__enter__()
    assert file.read_bytes() == content


def test_another_programs_database_is_refused(file: Path) -> None:
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE theirs (x)")
    database.close()
    with pytest.raises(JournalError, match="not a journal of bulkpresign"):
        Journal(file, "get", "/data").__enter__()


def test_damage_in_the_middle_is_refused(file: Path) -> None:
    with Journal(file, "get", "/data") as journal:
        journal.record([outcome(link(f"key-{n}")) for n in range(2000)])
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(40_000))
    with pytest.raises(JournalError, match="damaged"), Journal(file, "get", "/data") as journal:
        finished(journal, [link(f"key-{n}") for n in range(2000)])


def test_a_newer_versions_journal_is_refused(file: Path) -> None:
    with Journal(file, "get", "/data"):
        pass
    database = sqlite3.connect(file)
    database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(JournalError, match="newer version"):
        Journal(file, "get", "/data").__enter__()


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"can't be written: No such file.*--journal"):
        Journal(tmp_path / "missing" / "x.journal", "get", "/data").__enter__()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "200k") as disk:
        yield disk


def test_a_full_disk_ends_the_run_with_a_clear_error(small_disk: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"journal .* can't be written: .*full"),
        Journal(small_disk / "x.journal", "get", "/data") as journal,
    ):
        for start in range(0, 100_000, 1000):
            journal.record([outcome(link(f"key-{n}")) for n in range(start, start + 1000)])


def test_a_hundred_thousand_outcomes_in_flat_memory(file: Path) -> None:
    began = time.perf_counter()
    with Journal(file, "get", "/data") as journal:
        for start in range(0, 100_000, 250):
            journal.record([outcome(link(f"data/{n:09d}")) for n in range(start, start + 250)])
    print(f"{100_000 / (time.perf_counter() - began):,.0f} outcomes/s")
    assert len(next_run_finds(file, [link(f"data/{n:09d}") for n in range(99_000, 101_000)])) == 1000


def test_an_unchanged_object_keeps_its_record(file: Path) -> None:
    one = link("a")
    done = msgspec.structs.replace(outcome(one, verified_by="md5"), evidence=RECORDED)
    found = Outcome(one.object, "skipped", verified_by="etag", link=one, evidence=Evidence(10, 1, 2, "e1"))
    run(file, [done])
    run(file, [found])
    (recorded,) = next_run_finds(file, [one]).values()
    assert (recorded.status, recorded.verified_by, recorded.checksum) == ("done", "md5", "crc32:AAAAAA==")
    for change in ({"etag": "e2"}, {"mtime_ns": 5}, {"size": 11}):
        run(file, [done])
        run(file, [msgspec.structs.replace(found, evidence=msgspec.structs.replace(RECORDED, **change))])
        (recorded,) = next_run_finds(file, [one]).values()
        assert (recorded.status, recorded.verified_by) == ("skipped", "etag")
    assert read_report(file).objects == 1
