"""`bulkpresign sign` in its own process."""

import csv
import gzip
import io
import json
import os
import re
import signal
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, CREDENTIALS, run
from tests.support.folders import names_in

HEADER = "bucket,key,version_id,method,url,headers,expires_at,size,etag,checksum,content_type,path"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_manifest_has_the_columns_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text('Note,key,bucket,size,etag,content_type,path\n"a,b",k,b-1,3,e,t/x,p/q\n')
    done = run("sign", "keys.csv", "-o", "links.csv", "--expires-in", "15m", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "sign: 1 link in links.csv\n")
    text = (tmp_path / "links.csv").read_text()
    assert text.splitlines()[0] == f"{HEADER},Note"
    (row,) = rows_of(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["expires_at"])
    left = datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    assert (row["method"], row["headers"]) == ("GET", "{}")
    assert [row[name] for name in ("size", "etag", "content_type", "path", "Note")] == ["3", "e", "t/x", "p/q", "a,b"]
    assert stat.S_IMODE((tmp_path / "links.csv").stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["keys.csv", "links.csv"]


@pytest.mark.parametrize("mask", ["000", "077"])
def test_the_mode_is_not_the_umask_s(tmp_path: Path, mask: str) -> None:
    script = f"umask {mask}; echo b-1,k | {' '.join(BULKPRESIGN)} sign - -q -o links.csv"
    subprocess.run(script, shell=True, cwd=tmp_path, env={**os.environ, **CREDENTIALS}, check=True)
    assert stat.S_IMODE((tmp_path / "links.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("format_of_it", "given"),
    [
        ("csv", "key,n\r\na b,1\r\n"),
        ("csv", "\ufeffkey,n\na b,1"),
        ("jsonl", '{"key": "a b", "n": "1"}\n'),
        ("json", '[{"n": "1", "key": "a b"}]'),
    ],
)
def test_standard_input_to_standard_output(tmp_path: Path, format_of_it: str, given: str) -> None:
    options = ["--from-format", format_of_it, "--bucket", "b-1", "-q"]
    done = run("sign", "-", *options, folder=tmp_path, given=given)
    (row,) = rows_of(done.stdout)
    assert (done.returncode, done.stderr, row["key"], row["n"]) == (0, "", "a b", "1")
    done = run("sign", "-", *options, "--format", "jsonl", folder=tmp_path, given=given)
    found = json.loads(done.stdout)
    assert (found["key"], found["headers"], found["n"], found["size"]) == ("a b", {}, "1", None)


def test_text_has_keys_uris_and_strings_of_json_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("k 1\ns3://b-2/k/2\n")
    (tmp_path / "b.json").write_text('["k 3", "s3://b-4/k4"]')
    (tmp_path / "c.csv").write_text("b-5,k5\nb-6,k6,v6\n")
    done = run("sign", "a.txt", "b.json", "c.csv", "--bucket", "b-1", folder=tmp_path)
    found = [(row["bucket"], row["key"], row["version_id"]) for row in rows_of(done.stdout)]
    assert found == [
        *(("b-1", "k 1", ""), ("b-2", "k/2", ""), ("b-1", "k 3", ""), ("b-4", "k4", "")),
        *(("b-5", "k5", ""), ("b-6", "k6", "v6")),
    ]


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [
        ("links.json", [], b'[\n{"bucket":'),
        ("links.jsonl.gz", [], b'{"bucket":'),
        ("links.dat", ["--format", "json"], b'[\n{"bucket":'),
        ("links.json", ["--format", "csv"], b'[\n{"bucket":'),
        ("links", [], b"bucket,key,"),
    ],
)
def test_the_format_follows_the_name_then_the_option(
    tmp_path: Path, name: str, options: list[str], start: bytes
) -> None:
    done = run("sign", "-", "-o", name, *options, folder=tmp_path, given="b-1,k\n")
    assert done.returncode == 0, done.stderr
    content = (tmp_path / name).read_bytes()
    assert (gzip.decompress(content) if name.endswith(".gz") else content).startswith(start)


def test_a_reader_sees_all_or_nothing_and_a_kill_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*BULKPRESIGN, "sign", "-", "-o", "links.csv"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        env={**os.environ, **CREDENTIALS},
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(b"b-1,key-%d\n" % i for i in range(100_000)))
        process.stdin.flush()
        written = 0
        while written < 1 << 20:  # it has begun, and waits for more keys
            time.sleep(0.05)
            assert process.poll() is None
            written = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert not (tmp_path / "links.csv").exists()
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "links.csv").exists()


def test_names_overrides_and_headers_reach_whoever_uses_the_link(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket = make_bucket(seaweedfs)
    options = ["--bucket", bucket, "--from-format", "txt", "-q"]
    put = run(
        *("sign", "-", "--method", "put", "--content-type", "text/x", "--header", "x-amz-meta-a: b", *options),
        folder=tmp_path,
        given="in/a b.txt\n",
        env=seaweedfs.environment,
    )
    (row,) = rows_of(put.stdout)
    assert json.loads(row["headers"]) == {"Content-Type": "text/x", "x-amz-meta-a": "b"}
    assert requests.put(row["url"], data=b"body", headers=json.loads(row["headers"])).status_code == 200
    stored = boto(seaweedfs).head_object(Bucket=bucket, Key="in/a b.txt")
    assert (stored["ContentType"], stored["Metadata"]) == ("text/x", {"a": "b"})
    overrides = ["--filename", "{name}", "--response-content-type", "text/y", "--response-content-language", "de"]
    got = run("sign", f"s3://{bucket}/in/", *overrides, folder=tmp_path, env=seaweedfs.environment)
    (row,) = rows_of(got.stdout)
    response = requests.get(row["url"])
    assert (row["path"], response.content) == ("a b.txt", b"body")
    assert response.headers["Content-Type"] == "text/y"
    assert response.headers["Content-Language"] == "de"
    assert 'filename="a b.txt"' in response.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("environment", "source", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://filled-or-not/", "SignatureDoesNotMatch"),
        ({}, "s3://no-such-bucket/", "NoSuchBucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://b-1/", "no connection to 127.0.0.1:1"),
    ],
)
def test_a_listing_that_is_refused(
    tmp_path: Path, seaweedfs: S3Server, environment: dict[str, str], source: str, words: str
) -> None:
    done = run("sign", source, "-o", "links.csv", folder=tmp_path, env=seaweedfs.environment | environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {source} can't be listed: ") and words in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_empty_listing_is_no_error(tmp_path: Path, seaweedfs: S3Server, make_bucket: MakeBucket) -> None:
    source = f"s3://{make_bucket(seaweedfs)}/"
    done = run("sign", source, "-o", "links.csv", folder=tmp_path, env=seaweedfs.environment)
    assert (done.returncode, done.stderr) == (0, "warning: there were no rows: nothing to sign\n")
    assert (tmp_path / "links.csv").read_text() == f"{HEADER},last_modified\n"
