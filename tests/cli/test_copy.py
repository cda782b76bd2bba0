"""`bulkpresign copy` in its own process: what it prints, its exit codes, and a run that is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.sides import configure

SIDES = ("--source-profile", "source", "--destination-profile", "destination")


def test_it_copies_and_skips(
    seaweedfs: S3Server,
    ceph: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, tmp_path, seaweedfs, ceph)
    source, destination = make_bucket(seaweedfs), make_bucket(ceph)
    for n in range(3):
        boto(seaweedfs).put_object(Bucket=source, Key=f"in/{n}", Body=b"1234")
    command = ("copy", f"s3://{source}/in/", f"s3://{destination}/out/", *SIDES)
    prices = ("--price", "get=10", "--price", "list,post=3", "--expected-rate", "2", "--limit-rate", "9")
    planned = run(*command, "--dry-run", *prices, folder=tmp_path, env={})
    assert planned.returncode == 0
    assert planned.stderr.splitlines() == [
        "copy: 3 to do, 0 done before; 12 B",
        "requests: 3 GET, 3 PUT, 2 LIST",
        "size up to 4.0 KiB: 3 objects, 12 B",
        *(f"largest: s3://{source}/in/{n}, 4 B" for n in (2, 1, 0)),
        "duration at 2 B/s: 0:06",
        "cost: 0.036 (0.030 for 3 GET, 0.0060 for 2 LIST)",
        "not in the cost, without a price: 3 PUT, 12 B out",
    ]
    done = run(*command, folder=tmp_path, env={})
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("copy: 3 done; 12 B in ")
    again = run(*command, folder=tmp_path, env={})
    assert again.stderr.startswith("copy: 0 done, 3 skipped; 0 B in ")
    journal = tmp_path / f"{destination}.copy.journal"
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("DELETE FROM moved")
        database.executemany("INSERT INTO moved VALUES (?, 2)", [(second,) for second in range(3)])
    boto(seaweedfs).put_object(Bucket=source, Key="in/3", Body=b"1234567890")
    planned = run(*command, "--dry-run", folder=tmp_path, env={})
    assert "duration at 2 B/s, as measured so far: 0:05" in planned.stderr.splitlines()


def test_a_certificate(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    source, destination = make_bucket(seaweedfs), make_bucket(seaweedfs)
    for n in range(3):
        boto(seaweedfs).put_object(Bucket=source, Key=f"in/{n}", Body=b"1234")
    command = ("copy", f"s3://{source}/in/", f"s3://{destination}/out/", "--certificate", "c.jsonl")
    relayed = run(*command, "--relay", "--algorithm", "crc32c", folder=tmp_path, env={})
    assert relayed.returncode == 0, relayed.stderr
    summary, certificate = relayed.stderr.splitlines()
    assert summary.startswith("copy: 3 done; 12 B in ")
    assert certificate.startswith("certificate: 3 objects, 12 B in c.jsonl; root ")
    read = run(*command, folder=tmp_path, env={})
    announced, summary, certificate = read.stderr.splitlines()
    assert announced == "3 objects of 12 B are read once for the certificate"
    assert summary.startswith("copy: 0 done, 3 skipped")
    again = run("verify", f"s3://{destination}/out/", "--write-certificate", "d.jsonl", folder=tmp_path, env={})
    assert again.stderr.strip().endswith(certificate.partition("; ")[2])
    (tmp_path / "keys.csv").write_text(f"bucket,key\n{source},in/0\n{source},gone\n")
    to = f"s3://{destination}/other/"
    failed = run("copy", "keys.csv", to, "--certificate", "e.jsonl", "-q", "--journal", "j", folder=tmp_path, env={})
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == "error: no certificate is written: 1 object failed"
    assert not (tmp_path / "e.jsonl").exists()


def test_copies_that_a_certificate_would_lack(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """They are copied, and counted once. Each of the first ones is named, and a later run reads them."""
    source, destination = make_bucket(seaweedfs), make_bucket(seaweedfs)
    for n in range(12):
        boto(seaweedfs).put_object(Bucket=source, Key=f"in/{n:02}", Body=b"1234")
    command = ("copy", f"s3://{source}/in/", f"s3://{destination}/out/", "--certificate", "c.jsonl")
    denied = Fault(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        aws_env(replace(seaweedfs, endpoint_url=proxy.url))
        proxy.schedule = lambda seen: denied if seen.method == "GET" and "/out/" in seen.target else None
        failed = run(*command, "--failures", "failed.csv", folder=tmp_path, env={})
        proxy.schedule = lambda _: None
        again = run(*command, folder=tmp_path, env={})
    assert failed.returncode == 1
    announced, *named, summary, last = failed.stderr.splitlines()
    assert announced == "12 objects of 48 B are read once for the certificate"
    problem = ": the copy is there, but can't be read for the certificate: 403 AccessDenied"
    assert len(named) == 10
    assert all(line.startswith(f"uncertified: s3://{destination}/out/") and problem in line for line in named)
    assert summary.startswith("copy: 12 done; 48 B in ")
    assert last == ("error: no certificate is written: it would lack 12 copies, see above; run this again to read them")
    assert (tmp_path / "failed.csv").read_text().count("\n") == 1  # nothing is left to copy
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1].startswith("certificate: 12 objects, 48 B in c.jsonl; root ")


@pytest.mark.parametrize("given", [["s3://bucket/prefix/"], ["s3://bucket/prefix/", "links.csv"]])
def test_what_is_no_copy(given: list[str], tmp_path: Path) -> None:
    done = run("copy", *given, folder=tmp_path)
    assert done.returncode == 2
    assert "Error: use: copy SOURCE... s3://bucket/prefix/, or: copy LINKS...; for a folder: get" in done.stderr


def test_options_of_the_other_form(tmp_path: Path) -> None:
    done = run("copy", "links.csv", "--relay", "--map", "a=b", folder=tmp_path)
    assert done.returncode == 2
    assert "--map and --relay are only for s3://bucket/prefix/: LINKS say what is copied, and where to" in done.stderr
    done = run("copy", "s3://from/", "s3://to/", "--algorithm", "md5", folder=tmp_path)
    assert (done.returncode, "--algorithm is only for --certificate" in done.stderr) == (2, True)


@pytest.mark.parametrize("by_links", [False, True], ids=["to a bucket", "by links"])
def test_a_copy_that_is_killed_goes_on_at_its_next_part(
    by_links: bool, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    client: Any = boto(seaweedfs)
    source, destination, body = make_bucket(seaweedfs), make_bucket(seaweedfs), os.urandom(40 << 20)
    client.put_object(Bucket=source, Key="large", Body=body)
    given = [f"s3://{source}/", f"s3://{destination}/", "--part-size", "5MiB", "--relay"]
    if by_links:
        sign = ("sign", f"s3://{source}/", "-o", "links.csv", "--to", f"s3://{destination}/", "--part-size", "5MiB")
        signed = run(*sign, folder=tmp_path, env={})
        assert signed.stderr == "sign: 10 links in links.csv, 1 upload opened\n"
        given = ["links.csv"]
    command = [*BULKPRESIGN, "copy", *given, "--part-concurrency", "2", "--journal", "j"]
    process = subprocess.Popen([*command, "--limit-rate", "8MiB"], cwd=tmp_path, env=dict(os.environ))
    uploads: list[Any] = []
    while len(uploads) < 4:  # of which the journal knows at least two
        time.sleep(0.05)
        opened = client.list_multipart_uploads(Bucket=destination).get("Uploads", ())
        uploads = [
            part
            for upload in opened
            for part in client.list_parts(Bucket=destination, Key="large", UploadId=upload["UploadId"]).get("Parts", ())
        ]
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = run(*command[len(BULKPRESIGN) :], "--progress", "json", folder=tmp_path, env={})
    assert done.returncode == 0, done.stderr
    moved = max(json.loads(line).get("bytes", 0) for line in done.stderr.splitlines())
    assert moved <= len(body) - 2 * (5 << 20)
    assert client.get_object(Bucket=destination, Key="large")["Body"].read() == body
    assert "Uploads" not in client.list_multipart_uploads(Bucket=destination)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--price", "get=1", "--expected-rate", "1MiB"], "--expected-rate and --price are only for --dry-run"),
        (["--plan", "f.csv"], "--plan is only for --dry-run"),
        (["--dry-run", "--price", "gut=1"], "'gut' is not one of get, head, put, post, copy, list, gb, gib"),
        (["--dry-run", "--price", "get=x"], "'get=x' is not of the form KIND=AMOUNT"),
        (["--dry-run", "--price", "get,put=1", "--price", "put=2"], "put has two prices"),
        (["--dry-run", "--price", "gb=1", "--price", "gib=1"], "gb and gib are two units for the same bytes"),
    ],
)
def test_what_is_no_plan(given: list[str], message: str, tmp_path: Path) -> None:
    done = run("copy", "s3://a/", "s3://b/", *given, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def full(disk: Path) -> Path:
    """The disk, with no byte left."""
    with pytest.raises(OSError, match="No space left"), (disk / "rest").open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    return disk


@pytest.mark.parametrize("option", ["--extra", "--failures", "--plan"])
def test_a_file_of_results_that_can_not_be_written_at_the_end_is_named(
    option: str,
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    tiny_disk: Path,
) -> None:
    """All objects had their turn: that is neither a usage error nor a run that ended early."""
    folder = tmp_path_factory.mktemp("folder")
    configure(monkeypatch, folder, seaweedfs, seaweedfs)
    client, source, destination = boto(seaweedfs), make_bucket(seaweedfs), make_bucket(seaweedfs)
    for n in range(12):
        client.put_object(Bucket=source, Key=f"{n:02}", Body=b"new")
        if option == "--failures":
            client.put_object(Bucket=destination, Key=f"{n:02}", Body=b"another")
    client.put_object(Bucket=destination, Key="extra", Body=b"1")
    file = str(full(tiny_disk) / "results.csv")
    more = {"--extra": [], "--failures": ["--if-exists", "fail"], "--plan": ["--dry-run"]}[option]
    command = ("copy", f"s3://{source}/", f"s3://{destination}/", *SIDES, option, file, *more)
    ended = run(*command, folder=folder, env={})
    assert ended.returncode == 1
    assert f"error: {file} can't be written: No space left on device\n" in ended.stderr
    assert f"the run has ended, but {file} was not written, see above; the same command writes it\n" in ended.stderr
    assert "ended early" not in ended.stderr
    assert "lists all of them" not in ended.stderr
    counts = {"--extra": "copy: 12 done;", "--failures": "copy: 0 done, 12 failed;", "--plan": "copy: 12 to do,"}
    assert counts[option] in ended.stderr
    (tiny_disk / "rest").unlink()
    again = run(*command, folder=folder, env={})
    assert again.returncode == (1 if option == "--failures" else 0)
    assert len(Path(file).read_text().splitlines()) == 1 + (1 if option == "--extra" else 12)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["copy", "dry run"])
def test_objects_that_only_the_destination_has_are_counted(
    count: int,
    dry: tuple[str, ...],
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(monkeypatch, tmp_path, seaweedfs, seaweedfs)
    client, source, destination = boto(seaweedfs), make_bucket(seaweedfs), make_bucket(seaweedfs)
    client.put_object(Bucket=source, Key="a", Body=b"1")
    for n in range(count):
        client.put_object(Bucket=destination, Key=f"extra{n}", Body=b"1")
    command = ("copy", f"s3://{source}/", f"s3://{destination}/", *SIDES, *dry)
    said = run(*command, "--extra", "e.csv", folder=tmp_path, env={}).stderr
    assert f"extra: {count} object{'' if count == 1 else 's'} in e.csv\n" in said
    shown = run(*command, "--extra", "e.csv", "--progress", "json", folder=tmp_path, env={}).stderr
    assert json.loads(shown.splitlines()[-1])["extra"] == count
    without = run(*command, "--progress", "json", folder=tmp_path, env={}).stderr
    assert "extra" not in json.loads(without.splitlines()[-1])
    assert "extra:" not in without
