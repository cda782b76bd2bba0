"""`sign --head`: rows have the values of the server, and missing objects have no link."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from boto3.s3.transfer import TransferConfig

from tests.cli.holders import KEY, send
from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.folders import names_in

MIB = 1 << 20


class Scene:
    """A folder, a bucket on a server, and the proxy through which the server is asked."""

    def __init__(self, folder: Path, server: S3Server, client: Any, bucket: str, proxy: FaultProxy) -> None:
        self.folder, self.client, self.bucket, self.proxy = folder, client, bucket, proxy
        self.env = server.environment | {"AWS_ENDPOINT_URL": proxy.url}

    def put(self, key: str, body: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def sign(self, *arguments: str, code: int = 0, given: str = "", **env: str) -> tuple[list[dict[str, str]], str]:
        """The rows of `l.csv`, and what is said."""
        (self.folder / "l.csv").unlink(missing_ok=True)
        done = run("sign", *arguments, "-o", "l.csv", folder=self.folder, given=given, env=self.env | env)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        return rows_of(self.folder / "l.csv"), done.stderr


def rows_of(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(params=["seaweedfs"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, boto: Boto, make_bucket: MakeBucket) -> Iterator[Scene]:
    server: S3Server = request.getfixturevalue(request.param)
    with FaultProxy(server.endpoint_url) as proxy:
        yield Scene(tmp_path, server, boto(server), make_bucket(server), proxy)


@pytest.mark.parametrize("scene", ["seaweedfs", "ceph", "ministack"], indirect=True)
def test_rows_tell_what_the_server_tells(scene: Scene, request: pytest.FixtureRequest) -> None:
    scene.put("a b", b"body", ContentType="text/x", ChecksumAlgorithm="CRC64NVME")
    config = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB)
    (scene.folder / "big").write_bytes(bytes(13 * MIB))
    scene.client.upload_file(str(scene.folder / "big"), scene.bucket, "big", Config=config)
    told = {
        key: scene.client.head_object(Bucket=scene.bucket, Key=key, ChecksumMode="ENABLED") for key in ("a b", "big")
    }
    given = f"bucket,key,note\n{scene.bucket},big,n\n{scene.bucket},a b,\n"
    rows, said = scene.sign("-", "--head", given=given)
    assert said == "sign: 2 links in l.csv\n"
    assert [(row["key"], row["size"], row["note"]) for row in rows] == [("big", f"{13 * MIB}", "n"), ("a b", "4", "")]
    for row in rows:
        assert f'"{row["etag"]}"' == told[row["key"]]["ETag"]
        assert row["last_modified"] == f"{told[row['key']]['LastModified']:%Y-%m-%dT%H:%M:%SZ}"
        assert requests.get(row["url"], timeout=30).ok
    assert rows[1]["content_type"] == "text/x"
    if "ceph" not in request.node.name:  # it keeps no checksums
        assert rows[1]["checksum"] == f"crc64nvme:{told['a b']['ChecksumCRC64NVME']}"
    knows_parts = "seaweedfs" in request.node.name  # the others answer with the whole object
    assert [row["part_size"] for row in rows] == [f"{6 * MIB}" if knows_parts else "", ""]
    header = (scene.folder / "l.csv").read_text().splitlines()[0]
    assert header.endswith(",path,note,last_modified,part_size")
    heads = [seen for seen in scene.proxy.seen if seen.method == "HEAD"]
    assert len(heads) == (4 if knows_parts else 3)
    assert {seen.header("x-amz-checksum-mode") for seen in heads} == {"ENABLED"}


def test_what_is_not_there_has_no_link(scene: Scene) -> None:
    keys = [f"k{n:03}" for n in range(40)]
    for key in keys:
        if key not in {"k003", "k020"}:
            scene.put(key, key.encode())
    (scene.folder / "keys.csv").write_text("key,note\n" + "".join(f"{key},n {key}\n" for key in keys))
    options = ["--bucket", scene.bucket, "--head", "--failures", "f.csv", "--concurrency", "7"]
    rows, said = scene.sign("keys.csv", *options, code=1)
    assert [row["key"] for row in rows] == [key for key in keys if key not in {"k003", "k020"}]
    assert said.splitlines() == [
        f"failed: s3://{scene.bucket}/k003: 404 NoSuchKey: there is no object of this key",
        f"failed: s3://{scene.bucket}/k020: 404 NoSuchKey: there is no object of this key",
        "sign: 38 links in l.csv, 2 missing",
    ]
    failed = rows_of(scene.folder / "f.csv")
    assert [(row["bucket"], row["key"], row["note"]) for row in failed] == [
        (scene.bucket, "k003", "n k003"),
        (scene.bucket, "k020", "n k020"),
    ]
    assert failed[0]["reason"] == "NoSuchKey: 404 NoSuchKey: there is no object of this key"
    scene.put("k020", b"x")
    rows, said = scene.sign("f.csv", "--head", code=1)
    assert [row["key"] for row in rows] == ["k020"]
    assert said.endswith("sign: 1 link in l.csv, 1 missing\n")


def test_ten_are_named_and_the_rest_counted(scene: Scene) -> None:
    given = "".join(f"{scene.bucket},k{n}\n" for n in range(12))
    rows, said = scene.sign("-", "--head", "-q", code=1, given=given)
    assert rows == []
    assert len(said.splitlines()) == 11
    assert said.endswith("... and 2 more: --failures FILE lists all of them\n")


def test_a_single_key_that_is_missing_is_a_failure(scene: Scene) -> None:
    _, said = scene.sign(f"s3://{scene.bucket}/none", "--head", code=1)
    assert said.endswith("sign: 0 links in l.csv, 1 missing\n")


def test_versions_are_asked_for(scene: Scene) -> None:
    scene.client.put_bucket_versioning(Bucket=scene.bucket, VersioningConfiguration={"Status": "Enabled"})
    first = scene.client.put_object(Bucket=scene.bucket, Key="k", Body=b"1")["VersionId"]
    scene.put("k", b"22")
    rows, _ = scene.sign("-", "--head", given=f"{scene.bucket},k,{first}\n{scene.bucket},k\n".replace(",k\n", ",k,\n"))
    assert [(row["version_id"], row["size"]) for row in rows] == [(first, "1"), ("", "2")]


def test_old_links_are_asked_for_with_what_they_carry(scene: Scene) -> None:
    (scene.folder / "key").write_text(KEY)
    (put,), _ = scene.sign("-", "--method", "PUT", "--sse-customer-key", "key", given=f"{scene.bucket},k\n")
    assert send(put, b"secret").ok
    overrides = ["--filename", "x", "--response-content-type", "text/override"]
    scene.sign(f"s3://{scene.bucket}/k", "--sse-customer-key", "key", *overrides)
    (scene.folder / "l.csv").rename(scene.folder / "old.csv")
    (row,), _ = scene.sign("old.csv", "--head")
    assert row["size"] == "6" and "override" not in row["content_type"]
    response = send(row)
    assert (response.content, response.headers["Content-Type"]) == (b"secret", "text/override")
    assert "X-Amz" not in json.dumps(row["checksum"])


def test_the_server_is_right_about_sizes_and_the_row_about_its_type(scene: Scene) -> None:
    scene.put("k", b"body", ContentType="text/x", ChecksumAlgorithm="CRC32")
    own = "crc64nvme:AAAAAAAAAAA="
    given = (
        "bucket,key,size,etag,checksum,content_type,last_modified,part_size\n"
        f"{scene.bucket},k,9,old,{own},a/b,2001-01-01T00:00:00Z,7\n"
        f"{scene.bucket},k,,,{own},,,\n"
    )
    (first, second), _ = scene.sign("-", "--head", given=given)
    assert (first["size"], first["content_type"], first["part_size"]) == ("4", "a/b", "")
    assert first["checksum"].startswith("crc32:") and first["etag"] == second["etag"] != "old"
    assert first["last_modified"] == second["last_modified"] > "2026"
    assert (second["checksum"], second["content_type"]) == (own, "text/x")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Fault(200, {"ETag": "e", "Content-Length": f"{5 * MIB}"}), f"{5 * MIB}"),
        (Fault(206, {"ETag": "e", "Content-Length": f"{11 * MIB}"}), ""),
        (Fault(206, {"ETag": "e", "Content-Length": f"{3 * MIB}"}), ""),
        (Fault(206, {"Content-Length": f"{5 * MIB}", "x-amz-mp-parts-count": "9"}), ""),
        (Fault(416), ""),
    ],
)
def test_a_part_size_that_can_not_be_is_left_out(scene: Scene, response: Fault, expected: str) -> None:
    etag = {"ETag": f'"{"0" * 32}-3"', "Content-Length": f"{11 * MIB}"}
    scene.proxy.schedule = lambda seen: response if "partNumber=" in seen.target else Fault(200, etag)
    (row,), _ = scene.sign("-", "--head", given=f"{scene.bucket},k\n")
    assert (row["size"], row["part_size"]) == (f"{11 * MIB}", expected)


def test_the_page_of_a_proxy_is_no_object(scene: Scene) -> None:
    scene.put("k", b"body")
    page = Fault(200, {"Content-Length": "5120", "Content-Type": "text/html"})
    scene.proxy.faults.append(page)
    (row,), _ = scene.sign("-", "--head", given=f"{scene.bucket},k\n")
    assert row["size"] == "4"
    scene.proxy.schedule = lambda _: page
    rows, said = scene.sign("-", "--head", code=1, given=f"{scene.bucket},k\n")
    assert rows == []
    assert "the response is not that of an S3 server" in said


def test_what_passes_is_asked_for_again(scene: Scene) -> None:
    scene.put("k", b"body")
    scene.proxy.faults.extend([Fault(503), Fault(500), Fault(reset_after=0)])
    (row,), said = scene.sign("-", "--head", given=f"{scene.bucket},k\n")
    assert (row["size"], said) == ("4", "sign: 1 link in l.csv\n")


@pytest.mark.parametrize("more", [[], ["--all-versions"], ["--head"]])
def test_every_request_to_a_requester_pays_bucket_says_who_pays(more: list[str], scene: Scene) -> None:
    scene.put("k", b"1")
    rows, _ = scene.sign(f"s3://{scene.bucket}/", "--request-payer", *more)
    assert len(rows) == 1
    assert scene.proxy.seen
    assert all("x-amz-request-payer=requester&" in f"{seen.target}&" for seen in scene.proxy.seen)


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("source", ["keys", "links"])
def test_a_server_that_knows_no_checksums_is_asked_without(source: str, status: int, scene: Scene) -> None:
    """As Backblaze B2. Links of earlier may have the header, too."""
    for number in range(20):
        scene.put(f"k/{number}", b"%d" % number)
    given = f"s3://{scene.bucket}/k/"
    if source == "links":
        scene.sign(given, "--checksum-mode")
        (scene.folder / "l.csv").rename(scene.folder / "old.csv")
        given = "old.csv"
    refusal = Fault(status, body=b"<Error><Code>InvalidArgument</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if seen.header("x-amz-checksum-mode") else None
    since = scene.proxy.count
    rows, _ = scene.sign(given, "--head", "--concurrency", "1")
    assert [(row["size"], row["checksum"]) for row in rows] == [(f"{len(row['key']) - 2}", "") for row in rows]
    assert len(rows) == 20
    asked = [seen for seen in scene.proxy.seen[since:] if seen.method == "HEAD"]
    assert len(asked) == 21
    rows, _ = scene.sign(given, "--to", f"s3://{scene.bucket}/to/")
    assert len(rows) == 20


def test_a_refusal_is_told_with_its_reason(scene: Scene) -> None:
    scene.put("k", b"body")
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>")
    scene.proxy.schedule = lambda seen: denied if "/denied" in seen.target else None
    given = f"{scene.bucket},denied\n{scene.bucket},k\n"
    (row,), said = scene.sign("-", "--head", "--failures", "f.jsonl", code=1, given=given)
    assert row["key"] == "k"
    assert said == (f"failed: s3://{scene.bucket}/denied: 403 AccessDenied: No\nsign: 1 link in l.csv, 1 failed\n")
    assert json.loads((scene.folder / "f.jsonl").read_text())["reason"] == "AccessDenied: 403 AccessDenied: No"


@pytest.mark.parametrize(
    ("env", "bucket", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, None, "SignatureDoesNotMatch"),
        ({"AWS_ACCESS_KEY_ID": "NOBODY"}, None, "InvalidAccessKeyId"),
        ({}, "no-such-bucket", "NoSuchBucket"),
    ],
)
def test_a_run_in_which_all_fail_alike_ends(scene: Scene, env: dict[str, str], bucket: str | None, words: str) -> None:
    given = "".join(f"{bucket or scene.bucket},k{n}\n" for n in range(3000))
    rows, said = scene.sign("-", "--head", "--failures", "f.csv", code=1, given=given, **env)
    assert rows == [] and names_in(scene.folder) == ["f.csv"]
    ended, first, more = said.splitlines()
    assert ended.startswith("error: stopped: the last 50 objects all failed with ") and words in ended
    assert first.startswith("failed: s3://") and words in first
    assert more.endswith(" more: --failures FILE lists all of them")
    assert 50 <= len(rows_of(scene.folder / "f.csv")) < 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "PUT", "--head"], "--head asks for objects that are there: it does not go with PUT links"),
        (["--concurrency", "3"], "concurrency is for a run that asks for every object: add --head"),
        (["--failures", "f.csv"], "failures is for a run that asks for every object: add --head"),
    ],
)
def test_options_that_do_not_go_together(scene: Scene, options: list[str], words: str) -> None:
    _, said = scene.sign("-", *options, code=2, given=f"{scene.bucket},k\n")
    assert said.startswith(f"error: {words}") and not names_in(scene.folder)


def test_a_row_of_a_put_link_is_reported(scene: Scene) -> None:
    (scene.folder / "old.csv").write_text(f"bucket,key,method,url\n{scene.bucket},k,PUT,https://h/k\n")
    _, said = scene.sign("old.csv", "--head", code=2)
    assert said.startswith("error: old.csv:2: column method: --head asks for objects that are there")


def test_failures_of_links_are_links(scene: Scene) -> None:
    scene.put("k", b"x")
    given = "bucket,key,method,url,headers\n" + "".join(
        f"{scene.bucket},{key},DELETE,https://h/{key}?x-amz-request-payer=requester,\n" for key in ("k", "none")
    )
    (row,), _ = scene.sign("-", "--head", "--failures", "f.csv", code=1, given=given)
    assert (row["method"], row["size"]) == ("DELETE", "1")
    (failed,) = rows_of(scene.folder / "f.csv")
    assert (failed["key"], failed["method"]) == ("none", "DELETE")
    scene.put("none", b"22")
    (row,), _ = scene.sign("f.csv", "--head")
    assert (row["method"], row["size"]) == ("DELETE", "2")
    assert "x-amz-request-payer=requester" in row["url"]


def test_thousands_come_in_their_order_on_few_connections(scene: Scene) -> None:
    response = Fault(200, {"ETag": '"e"', "Content-Length": "7"})
    scene.proxy.always = response
    given = "".join(f"{scene.bucket},k{n:05}\n" for n in range(5000))
    rows, _ = scene.sign("-", "--head", "--concurrency", "16", given=given)
    assert [row["key"] for row in rows] == [f"k{n:05}" for n in range(5000)]
    assert {row["size"] for row in rows} == {"7"}
    assert scene.proxy.count == 5000
    assert scene.proxy.opened <= 16


def test_links_with_the_checksum_mode_are_verified_by_the_checksum(scene: Scene) -> None:
    scene.put("k", b"body", ChecksumAlgorithm="CRC64NVME")
    (row,), _ = scene.sign(f"s3://{scene.bucket}/k", "--checksum-mode")
    assert json.loads(row["headers"]) == {"x-amz-checksum-mode": "ENABLED"}
    assert requests.get(row["url"], timeout=30).status_code == 403
    (by_row,), _ = scene.sign("-", given=f"bucket,key,checksum_mode\n{scene.bucket},k,ENABLED\n")
    assert by_row["headers"] == row["headers"]
    scene.sign(f"s3://{scene.bucket}/k", "--checksum-mode")
    done = run("get", "l.csv", "--to", "to", "--progress", "json", folder=scene.folder, env={})
    assert done.returncode == 0, done.stderr
    done = run("report", "to.journal", folder=scene.folder, env={})
    assert "verified  1 by crc64nvme" in done.stdout
