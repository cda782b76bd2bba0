"""`bulkpresign verify` in its own process: exit codes, messages, and files that remain."""

import csv
import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.checksums import checksum
from tests.support.cli import BULKPRESIGN, run
from tests.support.manifests import filled
from tests.support.tables import table


def verify(folder: Path, *arguments: str, code: int, given: str = "") -> list[str]:
    """The lines that it said, with that exit code; nothing on standard output, never a traceback or a signature."""
    done = run("verify", *arguments, folder=folder, given=given, env={})
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    return done.stderr.splitlines()


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, object]]:
    """The rows of 30 files in the folder `in` that match."""
    return filled(tmp_path / "in", 30)


def stamps(folder: Path) -> dict[Path, int]:
    """The files in a folder, with their times."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def reasons(file: Path) -> dict[str, str]:
    with file.open() as stream:
        return {row["path"]: row["reason"] for row in csv.DictReader(stream)}


def test_all_is_good(rows: list[dict[str, object]], tmp_path: Path) -> None:
    rows[0]["checksum"] = checksum("crc64nvme", b"0" * 100)
    table(tmp_path / "m.csv", rows)
    before = stamps(tmp_path / "in")
    (said,) = verify(tmp_path, "m.csv", "--in", "in", "--failures", "f.csv", code=0)
    assert said.startswith("verify: 30 verified (1 by crc64nvme, 29 by md5); 4.9 KiB in ")
    assert reasons(tmp_path / "f.csv") == {}
    assert stamps(tmp_path / "in") == before
    assert verify(tmp_path, "m.csv", "--in", "in", "-q", code=0) == []
    given = (tmp_path / "m.csv").read_text()
    assert verify(tmp_path, "-", "--in", "in", code=0, given=given)[0].startswith("verify: 30 verified")


def test_every_verdict_is_named(rows: list[dict[str, object]], tmp_path: Path) -> None:
    places = [str(row["key"]) for row in rows]
    (tmp_path / "in" / places[1]).write_bytes(b"1" * 99 + b"2")
    (tmp_path / "in" / places[2]).write_bytes(b"")
    rows[3]["checksum"] = checksum("sha256", b"other")
    (tmp_path / "in" / places[4]).unlink()
    (tmp_path / "in" / places[5]).unlink()
    (tmp_path / "in" / places[5]).symlink_to("/etc/passwd")
    (tmp_path / "in" / f"{places[6]}.0a1b.part").write_bytes(b"")
    rows[7]["etag"] = "0" * 32 + "-3"
    table(tmp_path / "m.csv", rows)
    said = verify(tmp_path, "m.csv", "--in", "in", "--failures", "f.jsonl", "--concurrency", "1", code=1)
    found, etag = hashlib.md5(b"1" * 99 + b"2").hexdigest(), rows[1]["etag"]
    hint = " (or the object is encrypted with a key of KMS or the customer, and its etag is not an md5)"
    bad, good = (checksum("sha256", data).partition(":")[2] for data in (b"3" * 100, b"other"))
    assert said[:-1] == [
        f"different: d1/1: the bytes have md5 {found}, the etag is {etag}{hint}",
        "different: d2/2: there are 0 bytes where 100 are expected",
        f"different: d3/3: the bytes have sha256 {bad}, the checksum is {good}",
        "missing: d4/4: there is no such file",
        "different: d5/5: path 'd5/5' is refused: it leaves the folder through a symbolic link",
        "unproven: d0/7: the part size of its etag is unknown, so only its size could be checked",
        "extra: d6/6.0a1b.part: no row names it",
    ]
    assert said[-1].startswith("verify: 24 verified (24 by md5), 4 different, 1 missing, 1 unproven, 1 extra; ")
    failed = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert [row["reason"].partition(":")[0] for row in failed] == [
        "EtagMismatch",
        "SizeMismatch",
        "ChecksumMismatch",
        "FileMissing",
        "NameRefused",
        "Unproven",
    ]
    assert [row["key"] for row in failed] == [*places[1:6], places[7]]
    said = verify(tmp_path, "m.csv", "--in", "in", "-q", code=1)
    assert len(said) == 7
    said = verify(tmp_path, "m.csv", "--in", "in", "--accept-size", code=1)
    assert said[-1].startswith("verify: 25 verified (24 by md5, 1 by size), 4 different, 1 missing, 1 extra; ")


def test_excluded_files_are_not_extra(tmp_path: Path) -> None:
    """As a file manager leaves them in every folder."""
    (tmp_path / "in/d").mkdir(parents=True)
    for name in ("a", ".DS_Store", "d/.DS_Store", "d/b"):
        (tmp_path / "in" / name).write_text("x")
    (tmp_path / "m.csv").write_text(f"bucket,key,etag\nbucket,a,{hashlib.md5(b'x').hexdigest()}\n")
    said = verify(tmp_path, "m.csv", "--in", "in", "--exclude", ".DS_Store", code=1)
    assert said[0] == "extra: d/b: no row names it"
    assert said[1].startswith("verify: 1 verified (1 by md5), 1 extra; ")


def test_one_thing_wrong_is_enough(rows: list[dict[str, object]], tmp_path: Path) -> None:
    table(tmp_path / "m.csv", rows[1:])
    assert verify(tmp_path, "m.csv", "--in", "in", code=1)[0] == "extra: d0/0: no row names it"
    table(tmp_path / "m.csv", [*rows, {"bucket": "bkt", "key": "new"}])
    assert verify(tmp_path, "m.csv", "--in", "in", code=1)[0] == "missing: new: there is no such file"


def test_the_failures_file_is_valid_input(rows: list[dict[str, object]], tmp_path: Path) -> None:
    """The failures file has the missing files. For get see tests/pipeline."""
    links: list[dict[str, object]] = [
        {"url": f"http://127.0.0.1:1/{row['key']}?X-Amz-Signature=secret", "path": f"{row['key']}x"} for row in rows
    ]
    table(tmp_path / "l.csv", links)
    (tmp_path / "empty").mkdir()
    verify(tmp_path, "l.csv", "--in", "empty", "--failures", "f.csv", code=1)
    assert set(reasons(tmp_path / "f.csv")) == {str(link["path"]) for link in links}
    said = verify(tmp_path, "f.csv", "--in", "empty", "--failures", "f2.csv", code=1)
    assert said[-1].startswith("verify: 0 verified, 30 missing; ")
    assert set(reasons(tmp_path / "f2.csv").values()) == {"FileMissing: there is no such file"}


def test_the_first_few_are_named_and_v_names_all(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    table(tmp_path / "m.csv", [{"bucket": "bkt", "key": str(number)} for number in range(40)])
    for name in ("new\nline", "esc\x1b[31m"):
        (tmp_path / "in" / name).write_bytes(b"")
    said = verify(tmp_path, "m.csv", "--in", "in", code=1)
    assert len(said) == 12
    assert said[10] == "... and 32 more: -v prints all"
    said = verify(tmp_path, "m.csv", "--in", "in", "-v", code=1)
    assert len(said) == 43
    assert {"extra: new\\nline: no row names it", "extra: esc\\x1b[31m: no row names it"} < set(said)


def test_no_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "m.csv").write_text("bucket,key\n")
    said = verify(tmp_path, "m.csv", "--in", "in", code=0)
    assert said[-1] == "warning: there were no rows"
    (tmp_path / "in" / "a").write_bytes(b"")
    said = verify(tmp_path, "m.csv", "--in", "in", code=1)
    assert said[0] == "extra: a: no row names it"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m.csv", "--in", "nowhere"], "error: nowhere is missing"),
        (["m.csv", "--in", "m.csv"], "error: m.csv is not a folder"),
        (["nothing.csv", "--in", "in"], "error: nothing.csv: "),
        (["bad.csv", "--in", "in"], "error: bad.csv:2: column size: 'x' is not a number of bytes"),
        (
            ["twice.csv", "--in", "in"],
            "error: twice.csv:3: column path: path 'd0/0' is the path of twice.csv:2 as well",
        ),
        (["checksum.csv", "--in", "in"], "'crc32:x': 'x' is not base64"),
        (
            ["s3://bucket/", "--in", "in"],
            "error: s3://bucket/ is no table: verify is offline with --in; make one with sign, or ask the server",
        ),
        (["m.csv", "--in", "in", "--failures", "no/where.csv"], "error: "),
        (["m.csv", "--in", "in", "--progress", "maybe"], "not one of auto, on, off, json"),
        (["m.csv", "--in", "in", "--concurrency", "0"], "Invalid value for '--concurrency'"),
        (["m.csv"], "use: verify MANIFEST... --in DIR, or: verify SOURCE DESTINATION"),
        (["m.csv", "--in", "in", "--max-read", "1"], "--max-read is only for SOURCE DESTINATION"),
        (["m.csv", "in", "--failures", "f"], "--failures is only for the files of --in DIR; see --differences"),
    ],
)
def test_what_cannot_be_used(
    arguments: Sequence[str], words: str, rows: list[dict[str, object]], tmp_path: Path
) -> None:
    table(tmp_path / "m.csv", rows)
    table(tmp_path / "bad.csv", [{**rows[0], "size": "x"}])
    table(tmp_path / "twice.csv", [rows[0], rows[0]])
    table(tmp_path / "checksum.csv", [{**rows[0], "checksum": "crc32:x"}])
    said = "\n".join(verify(tmp_path, *arguments, code=2))
    assert words in said


def test_a_bad_stream_ends_with_2(rows: list[dict[str, object]], tmp_path: Path) -> None:
    """A stream is checked while it is read."""
    given = table(tmp_path / "m.csv", [*rows, rows[0]]).read_text()
    said = verify(tmp_path, "-", "--in", "in", code=2, given=given)
    assert said[-1] == "error: -:32: column path: path 'd0/0' is the path of -:2 as well"


def test_progress_as_json(rows: list[dict[str, object]], tmp_path: Path) -> None:
    table(tmp_path / "m.csv", rows)
    said = verify(tmp_path, "m.csv", "--in", "in", "--progress", "json", code=0)
    shown = [json.loads(line) for line in said]
    size = sum(int(str(row["size"])) for row in rows)
    assert shown[-1]["event"] == "finished"
    assert (shown[-1]["verb"], shown[-1]["objects"], shown[-1]["bytes"], shown[-1]["total_bytes"]) == (
        "verify",
        30,
        size,
        size,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped(number: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "large").open("wb") as stream:
        stream.truncate(200 << 30)  # sparse: minutes to read
    table(tmp_path / "m.csv", [{"bucket": "bkt", "key": "gone"}, {"bucket": "bkt", "key": "large", "etag": "0" * 32}])
    command = [*BULKPRESIGN, "verify", "m.csv", "--in", "in", "--progress", "json"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # it has begun
        time.sleep(0.2)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code
    last = json.loads(said.splitlines()[-1])
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert last["message"].startswith(f"{word}: ")
    assert last["message"].endswith("; run the same command to verify from the start")
    assert (last["event"], last["exit_code"]) == ("finished", code)
    assert "Traceback" not in said


def test_two_sides(rows: list[dict[str, object]], tmp_path: Path) -> None:
    for row in rows:
        row["checksum"] = ""
    rows[0]["etag"] = ""
    table(tmp_path / "one.csv", rows)
    rows[0]["bucket"], rows[1]["etag"], rows[2]["size"] = "other", "0" * 32, 5
    table(tmp_path / "other.csv", [*rows[:-1], {"bucket": "bkt", "key": "new", "size": 1}])
    said = verify(tmp_path, "one.csv", "other.csv", "--max-read", "1B", "--differences", "d.csv", code=1)
    assert said[0] == (
        "to read: 0 objects that only the bytes can tell, 0 B in all (--max-read 1 B); 1 more is over the limit"
    )
    etag = hashlib.md5(b"1" * 100).hexdigest()
    assert [line.partition(" (or ")[0] for line in said[1:-1]] == [
        "unproven: d0/0: only its bytes can tell, and 1 B are all that may be read",
        f"different: d1/1: etag {'0' * 32} where there is {etag}",
        "missing: d1/29: it is only in the source",
        "different: d2/2: 5 bytes where there are 100",
        "extra: new: it is only in the destination",
    ]
    assert said[-1].startswith(
        "verify: 26 verified (26 by md5), 2 different, 1 missing, 1 unproven, 1 extra; 4.4 KiB in "
    )
    with (tmp_path / "d.csv").open() as stream:
        found = {row["path"]: row["difference"] for row in csv.DictReader(stream)}
    assert found == {
        "d0/0": "unproven", "d1/1": "different", "d1/29": "missing", "d2/2": "different", "new": "extra"
    }  # fmt: skip
    assert verify(tmp_path, "one.csv", "one.csv", "--max-read", "0", code=1)[-1].startswith("verify: 29 verified")
    assert verify(tmp_path, "in", "in", "-q", code=0) == []


def test_certificates(rows: list[dict[str, object]], tmp_path: Path) -> None:
    (said,) = verify(tmp_path, "in", "--write-certificate", "c.jsonl.gz", code=0)
    head, _, root = said.partition("; root ")
    assert (head, len(root)) == ("verify: 30 objects, 4.9 KiB in c.jsonl.gz", 64)
    (said,) = verify(tmp_path, "in", "--certificate", "c.jsonl.gz", code=0)
    assert said.startswith("verify: 30 verified (30 by sha256); 4.9 KiB in ")
    (tmp_path / "in" / "d1" / "1").write_bytes(b"2" * 100)
    (tmp_path / "in" / "d2" / "2").unlink()
    (tmp_path / "in" / "d3" / "new").write_bytes(b"")
    said_all = verify(tmp_path, "in", "--certificate", "c.jsonl.gz", "--differences", "d.csv", code=1)
    assert said_all[:2] == ["missing: d2/2: it is only in the certificate", "extra: d3/new: it is only in the source"]
    assert said_all[2].startswith("different: d1/1: the bytes have sha256 ")
    assert said_all[-1].startswith("verify: 28 verified (28 by sha256), 1 different, 1 missing, 1 extra; ")
    (tmp_path / "in" / "d4" / "link").symlink_to("/etc/passwd")
    assert verify(tmp_path, "in", "--write-certificate", "other.jsonl", code=1) == [
        "failed: d4/link: path 'd4/link' is refused: it leaves the folder through a symbolic link",
        "verify: no certificate: 1 of 31 objects can't be read",
    ]
    assert not (tmp_path / "other.jsonl").exists()


def test_filters_of_sides_and_certificates(rows: list[dict[str, object]], tmp_path: Path) -> None:
    (said,) = verify(tmp_path, "in", "--write-certificate", "c.jsonl", "--include", "d1/*", "--exclude", "1", code=0)
    assert said.startswith("verify: 4 objects, ")
    (said,) = verify(tmp_path, "in", "--certificate", "c.jsonl", "--include", "d1/*", "--exclude", "1", code=0)
    assert said.startswith("verify: 4 verified (4 by sha256)")
    table(tmp_path / "m.csv", rows)
    (tmp_path / "in" / "new").write_bytes(b"123")
    (said,) = verify(tmp_path, "m.csv", "in", "--min-size", "4", code=0)
    assert said.startswith("verify: 30 verified")


def test_a_proof_is_printed(rows: list[dict[str, object]], tmp_path: Path) -> None:
    (said,) = verify(tmp_path, "in", "--write-certificate", "c.jsonl", code=0)
    done = run("verify", "--certificate", "c.jsonl", "--prove", "d1/1", folder=tmp_path, env={})
    proof = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (proof["key"], proof["size"], proof["objects"]) == ("d1/1", 100, 30)
    assert said.endswith(proof["root"])
    assert proof["digest"] == hashlib.sha256(b"1" * 100).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--certificate", "c.jsonl", "--prove", "no"], "error: c.jsonl has no row with the key 'no'"),
        (["--prove", "no"], "use: verify --certificate FILE --prove KEY"),
        (["in", "--certificate", "c.jsonl", "--prove", "no"], "use: verify --certificate FILE --prove KEY"),
        (["--certificate", "c.jsonl", "--prove", "no", "--max-read", "1"], "--max-read is not for --prove"),
        (["--certificate", "c.jsonl"], "use: verify MANIFEST"),
        (["in", "--certificate", "cut.jsonl"], "error: cut.jsonl: the certificate is cut or altered"),
        (["--certificate", "cut.jsonl", "--prove", "d1/1"], "error: cut.jsonl: the certificate is cut or altered"),
        (["in", "--certificate", "m.csv"], "error: m.csv:1: it is no certificate"),
        (["in", "--certificate", "c.jsonl", "--write-certificate", "d.jsonl"], "--certificate is not for --write"),
        (["in", "--certificate", "c.jsonl", "--algorithm", "md5"], "--algorithm is only for --write-certificate"),
        (["in", "in", "--algorithm", "md5"], "--algorithm is only for certificates"),
        (["in", "--certificate", "c.jsonl", "--source-region", "x"], "--source-region is only for two sides"),
        (
            ["in", "--certificate", "c.jsonl", "--older-than", "7d"],
            "--older-than is not for --certificate, which has no",
        ),
        (["in", "--write-certificate", "d", "--limit", "7"], "--limit is only for the files of --in DIR: others are"),
        (["--certificate", "c.jsonl", "--prove", "no", "--include", "x"], "--include is not for --prove"),
        (["in", "--certificate", "c.jsonl", "--failures", "x"], "--failures is only for the files of --in DIR"),
        (["in", "--write-certificate", "x", "--algorithm", "sha512"], "error: algorithm 'sha512' is not one of"),
        (["in", "--write-certificate", "no/x"], "error: no/x can't be written"),
        (["in", "--write-certificate", ""], "error: --write-certificate is empty: name a file"),
        (["m.csv", "--in", "in", "--certificate", "c.jsonl"], "--certificate is not for --in DIR"),
    ],
)
def test_certificates_that_can_not_be_used(
    arguments: Sequence[str], words: str, rows: list[dict[str, object]], tmp_path: Path
) -> None:
    table(tmp_path / "m.csv", rows)
    verify(tmp_path, "in", "--write-certificate", "c.jsonl", code=0)
    lines = (tmp_path / "c.jsonl").read_text().splitlines()
    (tmp_path / "cut.jsonl").write_text("\n".join(lines[:-1]))
    assert words in "\n".join(verify(tmp_path, *arguments, code=2))
