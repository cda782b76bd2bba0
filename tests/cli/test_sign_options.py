"""The link options of `sign`, up to the requests to a server."""

import csv
import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cli.holders import KEY, headers_of, send
from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, CREDENTIALS, run
from tests.support.folders import names_in


def sign(folder: Path, server: S3Server, *arguments: str, given: str = "", **env: str) -> list[dict[str, str]]:
    """The rows that `sign` writes to standard output, of a CSV on its standard input unless a source is named."""
    source = [] if arguments[0].startswith("s3://") else ["-"]
    done = run("sign", *source, *arguments, "-q", folder=folder, given=given, env=server.environment | env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


PUT_OPTIONS = [
    *("--content-type", "text/x", "--cache-control", "no-store", "--content-disposition", "inline"),
    *("--content-encoding", "identity", "--metadata", "origin=partner 7", "--metadata", "x=a=b"),
    *("--storage-class", "STANDARD_IA", "--tagging", "k=v&k2=v%202", "--acl", "private"),
]
PUT_HEADERS = {
    "Content-Type": "text/x",
    "Cache-Control": "no-store",
    "Content-Disposition": "inline",
    "Content-Encoding": "identity",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-tagging": "k=v&k2=v%202",
    "x-amz-acl": "private",
    "x-amz-meta-origin": "partner 7",
    "x-amz-meta-x": "a=b",
}


@pytest.mark.parametrize("which", ["seaweedfs", "ministack"])
def test_headers_of_put_links_reach_the_object(
    request: pytest.FixtureRequest, tmp_path: Path, boto: Boto, make_bucket: MakeBucket, which: str
) -> None:
    server: S3Server = request.getfixturevalue(which)
    bucket, client = make_bucket(server), boto(server)
    (row,) = sign(tmp_path, server, "--method", "PUT", *PUT_OPTIONS, given=f"{bucket},a b\n")
    assert headers_of(row) == PUT_HEADERS
    for name in PUT_HEADERS:
        assert send(row, b"x", without=name).status_code == 403, name
    assert send(row, b"x").status_code == 200
    stored = client.head_object(Bucket=bucket, Key="a b")
    assert (stored["ContentType"], stored["CacheControl"]) == ("text/x", "no-store")
    assert stored["Metadata"] == {"origin": "partner 7", "x": "a=b"}
    tags = client.get_object_tagging(Bucket=bucket, Key="a b")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"k": "v", "k2": "v 2"}


def test_columns_of_the_same_names_set_them_for_their_rows(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket = make_bucket(seaweedfs)
    rows = (
        "bucket,key,content_type,storage_class,metadata,tagging,note\n"
        f'{bucket},a,image/png,GLACIER_IR,"{{""by"": ""a""}}",,one\n'
        f"{bucket},b,,,,who=b,two\n"
        f"{bucket},c,,,,,\n"
    )
    options = ["--method", "PUT", "--storage-class", "STANDARD_IA", "--metadata", "by=run", "--content-type", "t/x"]
    links = sign(tmp_path, seaweedfs, *options, given=rows)
    shared = {"Content-Type": "t/x", "x-amz-storage-class": "STANDARD_IA", "x-amz-meta-by": "run"}
    assert [headers_of(row) for row in links] == [
        {"Content-Type": "image/png", "x-amz-storage-class": "GLACIER_IR", "x-amz-meta-by": "a"},
        shared | {"x-amz-tagging": "who=b"},
        shared,
    ]
    assert [row["note"] for row in links] == ["one", "two", ""]
    assert [send(row, b"x").status_code for row in links] == [200] * 3
    assert boto(seaweedfs).head_object(Bucket=bucket, Key="a")["Metadata"] == {"by": "a"}


def test_nothing_is_overwritten(tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket) -> None:
    bucket = make_bucket(seaweedfs)
    (row,) = sign(tmp_path, seaweedfs, "--method", "PUT", "--if-none-match", given=f"{bucket},k\n")
    assert headers_of(row) == {"If-None-Match": "*"}
    assert send(row, b"first").status_code == 200
    assert send(row, b"second").status_code == 412
    assert send(row, b"second", without="If-None-Match").status_code == 403
    assert boto(seaweedfs).get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"


def test_names_and_overrides_of_single_rows(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket = make_bucket(seaweedfs)
    for key in "abc":
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"in/{key}.txt", Body=b"body")
    rows = (
        '[{"key": "in/a.txt", "filename": "Ä {name}", "response_content_type": "text/a"},'
        '{"key": "in/b.txt", "response_content_disposition": "inline"}, {"key": "in/c.txt"}]'
    )
    options = ["--bucket", bucket, "--from-format", "json", "--filename", "{name}"]
    links = sign(tmp_path, seaweedfs, *options, "--response-content-type", "text/run", given=rows)
    responses = [requests.get(row["url"], timeout=30) for row in links]
    assert [response.content for response in responses] == [b"body"] * 3
    assert [response.headers["Content-Type"] for response in responses] == ["text/a", "text/run", "text/run"]
    dispositions = [response.headers["Content-Disposition"] for response in responses]
    assert dispositions[0].endswith("filename*=UTF-8''%C3%84%20a.txt")
    assert dispositions[1:] == ["inline", "attachment; filename=\"c.txt\"; filename*=UTF-8''c.txt"]
    assert {row["headers"] for row in links} == {"{}"}


@pytest.mark.parametrize("which", ["seaweedfs", "ceph", "ministack"])
def test_who_pays_stands_where_a_browser_sends_it(
    request: pytest.FixtureRequest, tmp_path: Path, boto: Boto, make_bucket: MakeBucket, which: str
) -> None:
    server: S3Server = request.getfixturevalue(which)
    bucket = make_bucket(server)
    (put,) = sign(tmp_path, server, "--method", "PUT", "--request-payer", given=f"{bucket},k\n")
    assert headers_of(put) == {"x-amz-request-payer": "requester"}
    assert send(put, b"body").status_code == 200
    rows = f"bucket,key,request_payer\n{bucket},k,requester\n{bucket},k,\n"
    links = sign(tmp_path, server, "--method", "GET", given=rows)
    assert ["x-amz-request-payer=requester&" in row["url"] for row in links] == [True, False]
    assert [requests.get(row["url"], timeout=30).content for row in links] == [b"body"] * 2


@pytest.mark.parametrize("content", [bytes(range(32)), f"{KEY}\n".encode()], ids=["raw", "base64"])
def test_a_key_of_the_customer_s_goes_with_our_own_put_and_get(
    tmp_path: Path, seaweedfs: S3Server, make_bucket: MakeBucket, content: bytes
) -> None:
    bucket, env = make_bucket(seaweedfs), seaweedfs.environment
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_bytes(b"secret")
    (tmp_path / "rows.csv").write_text(f"bucket,key,sse_customer_key\n{bucket},a,{KEY}\n")
    commands = [
        "sign rows.csv --method PUT -o put.csv --sse-customer-key key --checksum crc32c --from from",
        "put put.csv --from from",
        f"sign s3://{bucket}/a -o get.csv --sse-customer-key key",
        "get get.csv --to to",
        "get rows.csv --to with-own-credentials",
    ]
    for command in commands:
        done = run(*command.split(), folder=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        assert KEY not in done.stderr
    assert (tmp_path / "to" / "a").read_bytes() == b"secret"
    assert (tmp_path / "with-own-credentials" / "a").read_bytes() == b"secret"
    (row,) = csv.DictReader((tmp_path / "get.csv").read_text().splitlines())
    assert requests.get(row["url"], timeout=30).status_code in {400, 403}
    holders = [file.name for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
    assert sorted(set(holders) - {"key"}) == ["get.csv", "put.csv", "rows.csv"]


@pytest.mark.parametrize(
    ("which", "algorithm"),
    [
        *(("seaweedfs", algorithm) for algorithm in ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")),
        ("ministack", "crc64nvme"),
        ("ministack", "sha256"),
    ],
)
def test_altered_files_are_refused_by_the_server(
    request: pytest.FixtureRequest, tmp_path: Path, boto: Boto, make_bucket: MakeBucket, which: str, algorithm: str
) -> None:
    server: S3Server = request.getfixturevalue(which)
    bucket, files = make_bucket(server), tmp_path / "files"
    bodies = {"a": b"", "sub/b": b"body of b", "c": os.urandom((2 << 20) + 1)}
    for path, body in bodies.items():
        (files / path).parent.mkdir(exist_ok=True, parents=True)
        (files / path).write_bytes(body)
    rows = f"bucket,key,path,size\n{bucket},k/a,a,\n{bucket},k/b,sub/b,9\n{bucket},k/c,c,\n"
    options = ["--method", "PUT", "--checksum", algorithm, "--from", "files"]
    links = sign(tmp_path, server, *options, given=rows)
    assert [row["size"] for row in links] == ["0", "9", str((2 << 20) + 1)]
    for row in links:
        value = row["checksum"].removeprefix(f"{algorithm}:")
        assert headers_of(row) == {f"x-amz-checksum-{algorithm}": value}
        body = bodies[row["path"]]
        refused = send(row, body[:-1] + bytes([body[-1] ^ 1]) if body else b"x")
        assert refused.status_code == 400 and "BadDigest" in refused.text
        assert send(row, body).status_code == 200
        assert boto(server).get_object(Bucket=bucket, Key=row["key"])["Body"].read() == body


def test_a_run_that_is_stopped_while_it_reads_leaves_nothing(tmp_path: Path) -> None:
    """The file has a terabyte of nothing, which no machine reads in the time that we wait."""
    (tmp_path / "from").mkdir()
    with (tmp_path / "from" / "huge").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "keys.txt").write_text("huge\n")
    command = "sign keys.txt --bucket b-1 --method PUT --checksum crc64nvme --from from -o l.csv"
    with subprocess.Popen([*BULKPRESIGN, *command.split()], cwd=tmp_path, env={**os.environ, **CREDENTIALS}) as process:
        while len(names_in(tmp_path)) < 3:  # what it writes to is there, so it has begun
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert names_in(tmp_path) == ["from", "keys.txt"]


def test_a_file_that_changes_after_signing_fails_and_the_others_go_up(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket, env = make_bucket(seaweedfs), seaweedfs.environment
    (tmp_path / "from").mkdir()
    for name in "abc":
        (tmp_path / "from" / name).write_text(name)
    (tmp_path / "keys.txt").write_text("a\nb\nc\n")
    command = f"sign keys.txt --bucket {bucket} --method PUT --checksum sha256 --from from -o l.csv"
    assert run(*command.split(), folder=tmp_path, env=env).returncode == 0
    (tmp_path / "from" / "b").write_text("x")
    done = run("put", "l.csv", "--from", "from", folder=tmp_path, env=env)
    assert done.returncode == 1
    assert f"failed: s3://{bucket}/b: the link is signed for bytes with sha256 " in done.stderr
    assert "retr" not in done.stderr
    assert [item["Key"] for item in boto(seaweedfs).list_objects_v2(Bucket=bucket)["Contents"]] == ["a", "c"]


def test_regions_are_asked_for(tmp_path: Path, ministack: S3Server, boto: Boto) -> None:
    buckets = {"carrying-paris": "eu-west-3", "carrying-tokyo": "ap-northeast-1", "carrying-ohio": "us-east-2"}
    for bucket, region in buckets.items():
        boto(ministack).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    rows = "".join(f"{bucket},k\n" for bucket in buckets)
    links = sign(tmp_path, ministack, "--method", "PUT", "--region", "auto", given=rows)
    assert [send(row, b"x").status_code for row in links] == [200] * 3
    named = "bucket,key,region\n" + "".join(f"{bucket},k,{region}\n" for bucket, region in buckets.items())
    links = sign(tmp_path, ministack, "--method", "GET", given=named)
    assert [requests.get(row["url"], timeout=30).content for row in links] == [b"x"] * 3
    assert [row["region"] for row in links] == list(buckets.values())
    (tmp_path / "named.csv").write_text(named)
    env = ministack.environment
    commands: list[tuple[str, str]] = [
        ("get named.csv --to by-row", ""),
        ("get s3://carrying-tokyo/ --to by-auto --region auto", "by-auto"),
        ("put by-auto s3://carrying-paris/in/ --region auto", ""),
        ("get s3://carrying-paris/in/ --to back --region auto", "back"),
        ("post named.csv -o forms.json", ""),
        ("post named.csv -o forms.json --region auto", ""),
    ]
    (tmp_path / "named.csv").write_text("\n".join(named.splitlines()[:2]) + "\n")
    for command, folder in commands:
        done = run(*command.split(), folder=tmp_path, env=env)
        assert done.returncode == 0, (command, done.stderr)
        if folder:
            assert (tmp_path / folder / "k").read_bytes() == b"x"
    forms: list[dict[str, Any]] = json.loads((tmp_path / "forms.json").read_text())
    assert "/eu-west-3/s3/" in forms[0]["fields"]["x-amz-credential"]
    done = run("sign", "s3://no-such-bucket/k", "--region", "auto", "-o", "l.csv", folder=tmp_path, env=env)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the region of no-such-bucket can't be found: ")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "l.csv").exists()
