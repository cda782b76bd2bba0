"""Links that are signed again preserve their settings, up to the requests to a server."""

import csv
import json
from pathlib import Path

import pytest
import requests

from tests.cli.holders import KEY, headers_of, send
from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import CREDENTIALS, run
from tests.support.folders import names_in
from tests.support.tables import table


class Signing:
    """A folder and a server: `signing("keys.csv", ...)` gives the rows that `sign` writes."""

    def __init__(self, folder: Path, env: dict[str, str] = CREDENTIALS) -> None:
        self.folder, self._env = folder, env

    def __call__(self, source: str, *options: str, output: str = "out.csv") -> list[dict[str, str]]:
        done = run("sign", source, "-o", output, "-q", *options, folder=self.folder, env=self._env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        with (self.folder / output).open(newline="") as stream:
            return list(csv.DictReader(stream))

    def error(self, *arguments: str) -> str:
        """The one line with which it refuses, having left nothing behind."""
        before = names_in(self.folder)
        done = run("sign", *arguments, "-o", "refused.csv", folder=self.folder, env=self._env)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert names_in(self.folder) == before
        assert "X-Amz" not in done.stderr
        return done.stderr.removeprefix("error: ").rstrip("\n")


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    """Where no server is asked."""
    (tmp_path / "keys.txt").write_text("a.txt\nb.txt\n")
    return Signing(tmp_path)


def test_put_links_keep_their_headers_and_stay_put_links(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket, signing = make_bucket(seaweedfs), Signing(tmp_path, seaweedfs.environment)
    (tmp_path / "keys.txt").write_text("a.txt\nb.txt\n")
    options = ["--content-type", "text/x", "--metadata", "origin=partner", "--storage-class", "STANDARD_IA"]
    old = signing("keys.txt", "--bucket", bucket, "--method", "PUT", *options, output="old.csv")
    for row in signing("old.csv"):
        assert row["method"] == "PUT"
        assert headers_of(row) == headers_of(old[0])
        assert send(row, b"x").status_code == 200
    stored = boto(seaweedfs).head_object(Bucket=bucket, Key="b.txt")
    assert (stored["ContentType"], stored["Metadata"]) == ("text/x", {"origin": "partner"})


def test_get_links_keep_the_name_under_which_they_are_saved(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket, signing = make_bucket(seaweedfs), Signing(tmp_path, seaweedfs.environment)
    (tmp_path / "keys.csv").write_text(f"bucket,key,filename\n{bucket},a,\n{bucket},b,own\n")
    for key in "ab":
        boto(seaweedfs).put_object(Bucket=bucket, Key=key, Body=b"x")
    signing("keys.csv", "--filename", "{name}.txt", "--response-content-type", "text/y", output="old.csv")
    for options, names in ([], ["a.txt", "own"]), (["--filename", "new"], ["new", "own"]):
        responses = [requests.get(row["url"], timeout=30) for row in signing("old.csv", *options)]
        for response, name in zip(responses, names, strict=True):
            assert response.content == b"x"
            assert response.headers["Content-Disposition"].endswith(f"filename*=UTF-8''{name}")
            assert response.headers["Content-Type"] == "text/y"


def test_a_key_of_the_customer_s_stays(tmp_path: Path, seaweedfs: S3Server, make_bucket: MakeBucket) -> None:
    bucket, signing = make_bucket(seaweedfs), Signing(tmp_path, seaweedfs.environment)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "keys.txt").write_text("a\n")
    signing("keys.txt", "--bucket", bucket, "--method", "PUT", "--sse-customer-key", "key", output="old.csv")
    (put,) = signing("old.csv")
    assert send(put, b"secret").status_code == 200
    (get,) = signing("old.csv", "--method", "GET")
    assert len(headers_of(get)) == 3
    assert send(get).content == b"secret"


def test_what_does_not_fit_another_method_is_dropped(signing: Signing) -> None:
    bucket = ["--bucket", "b-1"]
    signing("keys.txt", *bucket, "--filename", "x", "--request-payer", output="get.csv")
    signing("keys.txt", *bucket, "--method", "PUT", "--content-type", "a/b", output="put.csv")
    puts = signing("get.csv", "--method", "PUT", "--metadata", "a=b")
    assert [row["method"] for row in puts] == ["PUT"] * 2
    assert "response-" not in puts[0]["url"]
    assert headers_of(puts[0]) == {"x-amz-meta-a": "b", "x-amz-request-payer": "requester"}
    gets = signing("put.csv", "--method", "GET", "--filename", "y")
    assert (gets[0]["method"], gets[0]["headers"]) == ("GET", "{}")
    assert "response-content-disposition=" in gets[0]["url"]


@pytest.mark.parametrize("executor", [[], ["--executor", "processes:1"]])
def test_the_reasons_of_a_failures_file_are_left_out(signing: Signing, executor: list[str]) -> None:
    """They are about the old links."""
    old = {"bucket": "b-1", "key": "k", "url": "https://h/b-1/k", "reason": "AccessDenied: the link ended", "team": "x"}
    (signing.folder / "failed.jsonl").write_text(f"{json.dumps(old)}\n")
    table(signing.folder / "failed.csv", [old])
    for file in ("failed.csv", "failed.jsonl"):
        (row,) = signing(file, *executor)
        assert row["team"] == "x"
        assert "reason" not in row
    table(signing.folder / "keys.csv", [{"bucket": "b-1", "key": "k", "reason": "audit"}])
    assert signing("keys.csv", *executor)[0]["reason"] == "audit"


def test_every_row_keeps_its_own_method(signing: Signing) -> None:
    rows = [("GET", "a"), ("PUT", "b"), ("HEAD", "c"), ("DELETE", "d"), ("", "e"), ("get", "f")]
    text = "".join(f'b-1,{key},{method},https://h/{key},"{{""x-amz-meta-n"": ""{key}""}}"\n' for method, key in rows)
    (signing.folder / "old.csv").write_text(f"bucket,key,method,url,headers\n{text}")
    found = signing("old.csv")
    assert [row["method"] for row in found] == ["GET", "PUT", "HEAD", "DELETE", "GET", "GET"]
    assert [headers_of(row) for row in found] == [{"x-amz-meta-n": key} for _, key in rows]
    assert [row["key"] for row in found] == [key for _, key in rows]


def test_rows_of_standard_input_are_signed_again(signing: Signing) -> None:
    done = run(
        *("sign", "-", "--from-format", "jsonl", "--format", "jsonl", "-q"),
        folder=signing.folder,
        given='{"bucket":"b-1","key":"k","method":"PUT","url":"https://h/k","headers":{"Content-Type":"a/b"}}\n',
    )
    row = json.loads(done.stdout)
    assert (row["method"], row["headers"], done.stderr) == ("PUT", {"Content-Type": "a/b"}, "")


@pytest.mark.parametrize(
    ("method", "url", "words"),
    [
        ("DELETE", "https://h/k", "-:1: column url: the url must have uploadId once"),
        ("PUT", "https://h/k?uploadId=u&partNumber=2", "-:1: column url: partNumber in the url is not '1'"),
        ("GET", "https://h/k?uploadId=u", "-:1: column method: a row of an upload can't have method GET"),
    ],
)
def test_a_single_row_of_an_upload_is_checked(signing: Signing, method: str, url: str, words: str) -> None:
    row = {"bucket": "b-1", "key": "k", "method": method, "url": url, "upload_id": "u", "part_number": 1, "offset": 0}
    done = run("sign", "-", "--from-format", "jsonl", folder=signing.folder, given=json.dumps(row))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words}")


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (
            "b-1,k,GET,https://h/k\nb-1,,GET,https://h/k?X-Amz-Signature=s\n",
            [],
            "old.csv:3: column key: the key is empty",
        ),
        ("b-1,k,GET,https://h/k\n,l,GET,https://h/l\n", [], "old.csv:3: column bucket: the row has no bucket"),
        (
            "b-1,k,GET,https://h/k\nb-1,l,POST,https://h/l\n",
            [],
            "old.csv:3: column method: method 'POST' is not one of",
        ),
        (
            "b-1,k,GET,https://h/k\nb-1,l,PUT,https://h/l\n",
            ["--filename", "x"],
            "old.csv:3: column method: filename is",
        ),
        (
            "b-1,k,PUT,https://h/k\n",
            ["--response-expires", "x"],
            "old.csv:2: column method: response-expires is for GET",
        ),
        ("b-1,k,GET,https://h/k\n", ["--content-type", "x"], "old.csv:2: column method: content-type is for PUT links"),
        (
            "b-1,k,GET,https://h/k\n",
            ["--header", "a: b"],
            "old.csv:2: column method: headers are signed into PUT links",
        ),
    ],
)
def test_a_row_that_can_not_be_signed_again(signing: Signing, rows: str, options: list[str], words: str) -> None:
    (signing.folder / "old.csv").write_text(f"bucket,key,method,url\n{rows}")
    assert signing.error("old.csv", *options).startswith(words)


def test_rows_of_copies_are_signed_again_by_their_objects(signing: Signing) -> None:
    """The second link of a copy would stay expired. A row without one is signed, as is every GET link that is named."""
    rows = "b-1,j,https://h/j,\nb-1,k,https://h/k,https://h/to/k?X-Amz-Signature=s\n"
    (signing.folder / "old.csv").write_text(f"bucket,key,url,dst_url\n{rows}")
    words = "column dst_url: the rows of copies can't be signed again: sign their objects with --to instead"
    for more in ([], ["--executor", "processes:1"]):
        assert signing.error("old.csv", *more).startswith(f"old.csv:3: {words}")
    assert len(signing("old.csv", "--method", "GET")) == 2
    assert len(signing("old.csv", "--include", "j")) == 1
    (signing.folder / "objects.csv").write_text("bucket,key,dst_url\nb-1,k,https://h/to/k\n")
    assert signing("objects.csv")[0]["dst_url"] == "https://h/to/k"


def test_links_alone_can_not_be_signed_again(signing: Signing) -> None:
    (signing.folder / "links.txt").write_text("https://h/k?X-Amz-Signature=secret\n")
    assert signing.error("links.txt").startswith("links.txt:1: column key: the column is missing; a url alone")


def test_larger_objects_of_old_links_become_uploads_with_their_headers(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket, signing = make_bucket(seaweedfs), Signing(tmp_path, seaweedfs.environment)
    size = (5 << 20) + 1
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "big").write_bytes(bytes(size))
    (tmp_path / "keys.csv").write_text(f"bucket,key,size\n{bucket},big,{size}\n")
    options = ["--method", "PUT", "--content-type", "text/x", "--metadata", "a=b", "--if-none-match"]
    signing("keys.csv", *options, output="old.csv")
    signing("old.csv", "--method", "PUT", "--part-size", "5MiB", output="parts.csv")
    again = signing("parts.csv", output="again.csv")
    assert [row["method"] for row in again] == ["PUT", "PUT", "POST", "DELETE"]
    assert headers_of(again[2]) == {"If-None-Match": "*"}
    done = run("put", "again.csv", "--from", "in", "-q", folder=tmp_path, env={})
    assert done.returncode == 0, done.stderr
    stored = boto(seaweedfs).head_object(Bucket=bucket, Key="big")
    assert (stored["ContentType"], stored["Metadata"], stored["ETag"][-3:]) == ("text/x", {"a": "b"}, '-2"')


FORM = {"bucket": "bkt", "key": "in/a", "url": "https://h/bkt", "fields": {"key": "in/a", "policy": "e30="}}
LINK = {"bucket": "bkt", "key": "b", "url": "https://h/bkt/b", "method": "GET"}


@pytest.mark.parametrize("method", [(), ("--method", "GET"), ("--method", "PUT")])
@pytest.mark.parametrize("before", [0, 1, 5000])
def test_upload_forms_do_not_become_links(before: int, method: tuple[str, ...], signing: Signing) -> None:
    """An uploader would get the right to download, and a form among links is no link, either."""
    rows = [LINK] * before + [FORM]
    (signing.folder / "mixed.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    said = signing.error("mixed.jsonl", *method)
    assert said.startswith(f"mixed.jsonl:{before + 1}: column fields: an upload form is not signed again: ")
    assert "--max-size" in said


def test_upload_forms_are_not_made_again_without_their_limits(signing: Signing) -> None:
    made = run("post", "keys.txt", "--bucket", "bkt", "--max-size", "1KiB", "-o", "f.csv", folder=signing.folder)
    assert made.returncode == 0, made.stderr
    for verb in ("sign", "post"):
        done = run(verb, "f.csv", "-o", "again.csv", folder=signing.folder)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: f.csv:2: column fields: an upload form is not signed again: ")
    assert names_in(signing.folder) == ["f.csv", "keys.txt"]
