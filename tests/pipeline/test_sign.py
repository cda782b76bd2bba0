"""`bp.sign` against a real server: what it signs can be used by whoever holds nothing but the manifest."""

import asyncio
import csv
import json
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests

import bulkpresign as bp
from bulkpresign.events import Event, ObjectsSigned, RunFinished, RunStarted
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server

COUNT = 1003


@pytest.fixture(scope="module")
def filled(seaweedfs: S3Server, boto: Boto) -> Iterator[str]:
    """A bucket with more objects under `data/` than one page of a listing."""
    client = boto(seaweedfs)
    client.create_bucket(Bucket="filled")
    bodies = {f"data/{i % 7}/n {i}.txt": b"x" * (i % 5) for i in range(COUNT)} | {"other.txt": b"other"}
    connection = HTTPConnection(seaweedfs.endpoint_url.removeprefix("http://"))
    for key, body in bodies.items():  # a request of boto3 takes ten times as long
        url = client.generate_presigned_url("put_object", {"Bucket": "filled", "Key": key})
        connection.request("PUT", url.removeprefix(seaweedfs.endpoint_url), body)
        assert connection.getresponse().read() == b""
    connection.close()
    yield "filled"


@pytest.fixture(autouse=True)
def _env(seaweedfs: S3Server, aws_env: AwsEnv) -> None:
    aws_env(seaweedfs)


def sign(*arguments: Any, **options: Any) -> bp.Report:
    return asyncio.run(bp.sign(*arguments, **options))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def send(row: dict[str, str], **options: Any) -> requests.Response:
    """What a holder of the row does; the url goes out as it stands."""
    request = requests.Request(row["method"], row["url"], headers=json.loads(row["headers"]), **options)
    prepared = request.prepare()
    prepared.url = row["url"]
    with requests.Session() as session:
        return session.send(prepared)


def test_a_listing_pages_and_fills_path_size_and_etag(tmp_path: Path, filled: str) -> None:
    report = sign(f"s3://{filled}/data/", tmp_path / "links.csv")
    rows = rows_of(tmp_path / "links.csv")
    assert report.done == len(rows) == COUNT
    assert {row["key"] for row in rows} == {f"data/{i % 7}/n {i}.txt" for i in range(COUNT)}
    assert all(row["path"] == row["key"].removeprefix("data/") for row in rows)
    (row,) = [row for row in rows if row["path"] == "6/n 13.txt"]
    response = send(row)
    assert response.content == b"xxx"
    assert (row["size"], f'"{row["etag"]}"') == ("3", response.headers["ETag"])


def test_one_key_and_tables_follow_each_other(tmp_path: Path, filled: str) -> None:
    (tmp_path / "keys.csv").write_text("key,note\ndata/0/n 7.txt,n\n")
    report = sign([f"s3://{filled}/other.txt", tmp_path / "keys.csv"], tmp_path / "links.csv", bucket=filled)
    rows = rows_of(tmp_path / "links.csv")
    assert report.done == 2
    assert [(row["key"], row["path"], row["note"]) for row in rows] == [
        ("other.txt", "other.txt", ""),
        ("data/0/n 7.txt", "data/0/n 7.txt", "n"),
    ]
    assert [send(row).content for row in rows] == [b"other", b"xx"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_every_method_works(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, method: str
) -> None:
    bucket, client = make_bucket(seaweedfs), boto(seaweedfs)
    client.put_object(Bucket=bucket, Key="k é+&.txt", Body=b"old")
    (tmp_path / "keys.txt").write_text("k é+&.txt\n")
    sign(tmp_path / "keys.txt", tmp_path / "links.csv", bucket=bucket, method=method)
    (row,) = rows_of(tmp_path / "links.csv")
    response = send(row, data=b"new" if method == "PUT" else None)
    assert response.ok, response.text
    left = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    assert [item["Size"] for item in left] == ([] if method == "DELETE" else [3])
    if method in {"GET", "PUT"}:
        expected = b"old" if method == "GET" else b"new"
        assert client.get_object(Bucket=bucket, Key="k é+&.txt")["Body"].read() == expected


@pytest.mark.parametrize(
    ("filename", "plain", "full"),
    [
        ("report.txt", "report.txt", "report.txt"),
        ("{name}", "n 7.txt", "n 7.txt"),
        ('my "{name}" é;\\', "my _n 7.txt_ ?;_", 'my "n 7.txt" é;\\'),
    ],
)
def test_a_filename_is_what_a_browser_saves(tmp_path: Path, filled: str, filename: str, plain: str, full: str) -> None:
    (tmp_path / "keys.txt").write_text("data/0/n 7.txt\n")
    sign(tmp_path / "keys.txt", tmp_path / "links.csv", bucket=filled, filename=filename)
    response = send(rows_of(tmp_path / "links.csv")[0])
    header = response.headers["Content-Disposition"]
    assert response.content == b"xx"
    assert header.startswith(f'attachment; filename="{plain}"; ')
    message = Message()
    message["Content-Disposition"] = f"attachment; {header.rpartition('; ')[2]}"
    assert message.get_filename() == full


def test_a_filename_of_each_row_and_the_other_overrides(tmp_path: Path, filled: str) -> None:
    query = {"response-content-type": "text/x-y; charset=utf-8", "response-cache-control": "no-store"}
    sign(f"s3://{filled}/data/3/", tmp_path / "links.csv", filename="{name}", query=query)
    for row in rows_of(tmp_path / "links.csv")[:3]:
        response = send(row)
        assert f'filename="{row["path"]}"' in response.headers["Content-Disposition"]
        assert response.headers["Content-Type"] == "text/x-y; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"


def test_headers_of_put_links_are_signed_and_stand_in_the_row(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket = make_bucket(seaweedfs)
    (tmp_path / "keys.csv").write_text("key,content_type\na,image/png\nb,\nc,image/png\n")
    headers = {"Content-Type": "text/plain", "x-amz-meta-from": "us"}
    sign(tmp_path / "keys.csv", tmp_path / "links.csv", bucket=bucket, method="PUT", headers=headers)
    rows = rows_of(tmp_path / "links.csv")
    assert [row["key"] for row in rows] == ["a", "b", "c"]
    for row, content_type in zip(rows, ["image/png", "text/plain", "image/png"], strict=True):
        assert json.loads(row["headers"]) == {"Content-Type": content_type, "x-amz-meta-from": "us"}
        assert send({**row, "headers": "{}"}, data=b"x").status_code == 403
        assert send(row, data=b"x").status_code == 200
        stored = boto(seaweedfs).head_object(Bucket=bucket, Key=row["key"])
        assert (stored["ContentType"], stored["Metadata"]) == (content_type, {"from": "us"})


def test_links_are_signed_anew(tmp_path: Path, filled: str) -> None:
    (tmp_path / "keys.csv").write_text("key,path,note,version_id,size\nother.txt,p/q,n,,5\n")
    sign(tmp_path / "keys.csv", tmp_path / "old.csv", bucket=filled, expires_in=60)
    sign(tmp_path / "old.csv", tmp_path / "new.jsonl", expires_in=7200)
    (old,) = rows_of(tmp_path / "old.csv")
    new = json.loads((tmp_path / "new.jsonl").read_text())
    assert "X-Amz-Expires=60&" in old["url"] and "X-Amz-Expires=7200&" in new["url"]
    kept = ("bucket", "key", "path", "note")
    assert [new[name] for name in kept] == [old[name] for name in kept] == [filled, "other.txt", "p/q", "n"]
    assert new["size"] == 5
    assert list(new).count("note") == 1


def test_a_version_is_kept(tmp_path: Path, filled: str) -> None:
    (tmp_path / "keys.csv").write_text(f"{filled},other.txt,v 1\n")
    sign(tmp_path / "keys.csv", tmp_path / "old.csv")
    sign(tmp_path / "old.csv", tmp_path / "new.csv")
    (new,) = rows_of(tmp_path / "new.csv")
    assert new["version_id"] == "v 1"
    assert "versionId=v%201" in new["url"]


def test_the_failures_of_get_are_a_source(tmp_path: Path, filled: str) -> None:
    (tmp_path / "keys.csv").write_text("key,note\nmissing.txt,n\nother.txt,m\n")
    options: dict[str, Any] = {"bucket": filled, "failures": tmp_path / "failures.csv"}
    report = asyncio.run(bp.get(tmp_path / "keys.csv", tmp_path / "data", **options))
    assert (report.done, report.failed) == (1, 1)
    sign(tmp_path / "failures.csv", tmp_path / "links.csv")
    (row,) = rows_of(tmp_path / "links.csv")
    assert (row["bucket"], row["key"], row["note"]) == (filled, "missing.txt", "n")
    assert "NoSuchKey" in row["reason"]


@pytest.mark.parametrize(
    ("environment", "source", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://filled/", "SignatureDoesNotMatch"),
        ({}, "s3://no-such-bucket/", "NoSuchBucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://filled/", "no connection to 127.0.0.1:1"),
    ],
)
def test_a_listing_that_is_refused_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: str, environment: dict[str, str], source: str, words: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(bp.ListingError, match=f"{source} can't be listed: .*({words})") as caught:
        sign(source, tmp_path / "links.csv")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_listeners_hear_of_the_run(tmp_path: Path) -> None:
    heard: list[Event] = []
    (tmp_path / "keys.txt").write_text("a\nb\n")
    report = sign(tmp_path / "keys.txt", tmp_path / "links.csv", bucket="b-1", listeners=[heard.append])
    assert heard == [RunStarted("sign"), ObjectsSigned(2), RunFinished(report)]
    assert report.done == 2


@pytest.mark.parametrize(
    "options",
    [
        {"method": "get"},
        {"method": "POST"},
        {"headers": {"a": "b"}},
        {"method": "PUT", "filename": "x"},
        {"method": "DELETE", "query": {"response-expires": "x"}},
        {"expires_in": 0},
        {"expires_in": 604_801},
        {"format": "xml"},
        {"addressing_style": "x"},
        {"endpoint_url": "h"},
    ],
)
def test_what_can_not_be_is_told_first(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "keys.txt").write_text("a\n")
    with pytest.raises(bp.InputError):
        sign(tmp_path / "keys.txt", tmp_path / "links", bucket="b-1", **options)
    assert [file.name for file in tmp_path.iterdir()] == ["keys.txt"]
