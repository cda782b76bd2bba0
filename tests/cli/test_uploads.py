"""Multipart uploads on the command line: messages, exit codes, and aborting open uploads."""

import csv
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen, expired
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.tables import rows_of
from tests.support.uploads import PART, open_uploads, table_of

BODY = os.urandom(2 * PART + 1)
DENIED = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")


class Scene:
    """Files, `keys.csv`, a proxy before SeaweedFS, and the command line."""

    def __init__(self, proxy: FaultProxy, client: Any, bucket: str, folder: Path) -> None:
        self.proxy, self.client, self.bucket, self.folder = proxy, client, bucket, folder
        table_of(folder, bucket, {"big": BODY, "small": b"x"})

    def run(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> tuple[str, str]:
        done = run(*arguments, folder=self.folder, env=env or {})
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "X-Amz" not in done.stderr
        return done.stdout, done.stderr

    def sign(self) -> str:
        return self.run("sign", "keys.csv", "--method", "PUT", "--part-size", "5MiB", "-o", "links.csv")[1]

    @property
    def open(self) -> list[str]:
        return open_uploads(self.client, self.bucket)


@pytest.fixture
def scene(
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    aws_env: AwsEnv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    aws_env(seaweedfs)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield Scene(proxy, boto(seaweedfs), make_bucket(seaweedfs), tmp_path)


#: Whoever holds the rows needs nothing else.
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


def test_sign_put_abort(scene: Scene) -> None:
    assert scene.sign() == "sign: 6 links in links.csv, 1 upload opened\n"
    assert "put: 2 done; 10.0 MiB" in scene.run("put", "links.csv", "--from", "in", env=NO_CREDENTIALS)[1]
    assert scene.client.get_object(Bucket=scene.bucket, Key="big")["Body"].read() == BODY
    # SeaweedFS says "ended" of what was completed as well, and keeps the object.
    scene.run("abort", "links.csv", env=NO_CREDENTIALS)
    assert scene.client.get_object(Bucket=scene.bucket, Key="big")["Body"].read() == BODY


def test_what_stays_open_is_said_and_ended(scene: Scene) -> None:
    scene.sign()
    scene.proxy.schedule = lambda seen: DENIED if "partNumber=2" in seen.target else None
    _, said = scene.run("put", "links.csv", "--from", "in", "--failures", "f.csv", code=1)
    assert f"failed: s3://{scene.bucket}/big: 403 AccessDenied\n" in said
    assert "1 upload stays open: run this again to continue, or abort with bulkpresign abort\n" in said
    assert [row["method"] for row in rows_of(scene.folder / "f.csv")] == ["PUT", "PUT", "PUT", "POST", "DELETE"]
    listed, said = scene.run("abort", "f.csv", "--dry-run", env=NO_CREDENTIALS)
    (row,) = csv.DictReader(StringIO(listed))
    assert (row["bucket"], row["key"]) == (scene.bucket, "big")
    assert row["upload_id"] == rows_of(scene.folder / "f.csv")[0]["upload_id"]
    assert 0 <= int(row["age"]) < 600
    assert said == "abort: 1 to be ended\n"
    assert scene.open == ["big"]
    assert scene.run("abort", "f.csv", "--older-than", "1h", env=NO_CREDENTIALS)[1].startswith("abort: 0 ended\n")
    assert scene.open == ["big"]
    assert scene.run("abort", "f.csv", env=NO_CREDENTIALS) == ("", "abort: 1 ended\n")
    assert scene.open == []
    scene.proxy.schedule = lambda _: None
    _, said = scene.run("put", "f.csv", "--from", "in", code=1)
    assert "NoSuchUpload" in said
    assert "sign it anew" in said
    assert "stay" not in said


def test_under_a_prefix(scene: Scene) -> None:
    for key in ("a/1", "a/2", "b/1"):
        scene.client.create_multipart_upload(Bucket=scene.bucket, Key=key)
    place = f"s3://{scene.bucket}/a/"
    listed, _ = scene.run("abort", place, "--dry-run")
    assert sorted(row["key"] for row in csv.DictReader(StringIO(listed))) == ["a/1", "a/2"]
    assert scene.run("abort", place, "--older-than", "7d")[1].startswith("abort: 0 ended\n")
    assert scene.run("abort", f"s3://{scene.bucket}/a/1") == ("", "abort: 1 ended\n")
    assert scene.open == ["a/2", "b/1"]
    scene.proxy.schedule = lambda seen: DENIED if seen.method == "DELETE" else None
    _, said = scene.run("abort", place, code=1)
    assert said == f"failed: s3://{scene.bucket}/a/2: 403 AccessDenied\nabort: 0 ended, 1 failed\n"
    scene.proxy.schedule = lambda _: None
    assert scene.run("abort", place)[1] == "abort: 1 ended\n"
    listed, said = scene.run("abort", place, "--dry-run")
    assert listed == "bucket,key,upload_id,age\n"
    assert said.startswith("abort: 0 to be ended\n")


UPLOAD = "<Upload><Key>{}</Key><UploadId>u</UploadId><Initiated>{}</Initiated></Upload>"
BEGUN = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (UPLOAD.format("mine/a", BEGUN) + UPLOAD.format("theirs/b", BEGUN), "the server lists 'theirs/b' as well"),
        ("<Upload><Key>mine/a</Key><UploadId>u</UploadId></Upload>", "one has no key, no id or no valid time"),
        (UPLOAD.format("mine/a", "9999-12-31T23:59:59-12:00"), "one has no key, no id or no valid time"),
    ],
)
def test_abort_ends_nothing_by_a_listing_that_can_not_be_right(listed: str, said: str, tmp_path: Path) -> None:
    """Above all no upload of others, where the server does not know the parameter `prefix`."""
    with FaultProxy() as server:
        server.always = Fault(200, body=f"<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>".encode())
        done = run("abort", "s3://bucket/mine/", "--endpoint-url", server.url, folder=tmp_path)
        assert {seen.method for seen in server.seen} == {"GET"}
    assert done.returncode == 2
    assert f"error: the uploads under s3://bucket/mine/ can't be listed: {said}\n" in done.stderr


def test_abort_of_keys_that_xml_can_not_have(tmp_path: Path) -> None:
    """They are asked for url-encoded, and so is the marker of the next page."""
    uploads = [UPLOAD.format(f"mine/%01+{name}%2B", BEGUN) for name in "ab"]
    marker = "<NextKeyMarker>mine/%01+a%2B</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>"
    pages = (f"<IsTruncated>true</IsTruncated>{marker}{uploads[0]}", uploads[1])
    with FaultProxy() as server:

        def answer(seen: Seen) -> Fault:
            if seen.method == "DELETE":
                return Fault(204)
            page = pages["key-marker=" in seen.target]
            is_encoded = "encoding-type=url" in seen.target
            listed = f"<EncodingType>url</EncodingType>{page}" if is_encoded else unquote_plus(page)
            return Fault(200, body=f"<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>".encode())

        server.schedule = answer
        done = run("abort", "s3://bucket/mine/", "--endpoint-url", server.url, folder=tmp_path)
        assert done.stderr == "abort: 2 ended\n"
        asked = [seen.target for seen in server.seen if "encoding-type=url" in seen.target]
        assert ["key-marker=mine%2F%01%20a%2B&" in target for target in asked] == [False, True]
        ended = {seen.target.partition("?")[0] for seen in server.seen if seen.method == "DELETE"}
    assert ended == {"/bucket/mine/%01%20a%2B", "/bucket/mine/%01%20b%2B"}


def test_abort_of_keys_with_special_characters(scene: Scene) -> None:
    for key in ("a b/c+d%20e", "ü/&<>", "x%2Fy"):
        scene.client.create_multipart_upload(Bucket=scene.bucket, Key=key)
    assert scene.run("abort", f"s3://{scene.bucket}/") == ("", "abort: 3 ended\n")
    assert scene.open == []


def test_abort_of_a_listing_without_end(tmp_path: Path) -> None:
    with FaultProxy() as server:
        page = "<IsTruncated>true</IsTruncated><NextKeyMarker>mine/a</NextKeyMarker>"
        server.always = Fault(200, body=f"<ListMultipartUploadsResult>{page}</ListMultipartUploadsResult>".encode())
        done = run("abort", "s3://bucket/mine/", "--endpoint-url", server.url, folder=tmp_path)
    assert done.returncode == 2
    assert "can't be listed: the server gives the same page again\n" in done.stderr


def test_abort_of_what_is_gone_expired_or_none(scene: Scene) -> None:
    scene.sign()
    gone = Fault(404, body=b"<Error><Code>NoSuchUpload</Code></Error>")
    scene.proxy.schedule = lambda seen: gone if seen.method == "DELETE" else None
    assert scene.run("abort", "links.csv")[1] == "abort: 0 ended, 1 gone before\n"
    text = (scene.folder / "links.csv").read_text()
    year = rows_of(scene.folder / "links.csv")[0]["expires_at"][:4]
    (scene.folder / "over.csv").write_text(text.replace(f",{year}-", ",2020-"))
    scene.proxy.schedule = lambda seen: expired() if seen.method == "DELETE" else None
    assert "abort: 0 ended, 1 expired\n" in scene.run("abort", "over.csv", code=3)[1]
    (scene.folder / "objects.csv").write_text("bucket,key\nb,k\n")
    assert "objects.csv: this is no table of links" in scene.run("abort", "objects.csv", code=2)[1]
    (scene.folder / "bad.csv").write_text("url,method\nhttp://h/k,DELETE\nnowhere,DELETE\n")
    assert "bad.csv:3: column url" in scene.run("abort", "bad.csv", code=2)[1]
    assert "can't be listed" in scene.run("abort", "s3://no-such-bucket-here/", code=2)[1]


@pytest.mark.parametrize("stream", [False, True])
def test_abort_sends_no_link_that_ends_no_upload(scene: Scene, stream: bool) -> None:
    """A DELETE link without the upload's id deletes the object."""
    scene.run("sign", "keys.csv", "--method", "DELETE", "-o", "deleting.csv")
    scene.client.put_object(Bucket=scene.bucket, Key="small", Body=b"x")
    rows = rows_of(scene.folder / "deleting.csv")
    rows[-1]["upload_id"] = "made-up"
    with (scene.folder / "bad.csv").open("w", newline="") as stream_out:
        writer = csv.DictWriter(
            stream_out, [*rows[0], *(["upload_id"] if "upload_id" not in rows[0] else [])], restval=""
        )
        writer.writeheader()
        writer.writerows(rows)
    before = scene.proxy.count
    given = (scene.folder / "bad.csv").read_bytes() if stream else b""
    done = run("abort", "-" if stream else "bad.csv", folder=scene.folder, given=given, env=NO_CREDENTIALS)
    assert done.returncode == 2, done.stderr
    name = "-" if stream else "bad.csv"
    assert f"error: {name}:3: column url: the url must have uploadId once" in done.stderr
    assert scene.proxy.count == before
    assert scene.client.get_object(Bucket=scene.bucket, Key="small")["Body"].read() == b"x"


def test_a_folder_in_parts_and_the_refusal_of_one(scene: Scene) -> None:
    place = f"s3://{scene.bucket}/pre/"
    assert "put: 2 done" in scene.run("put", "in", place, "--part-size", "5MiB", "--part-concurrency", "2")[1]
    assert scene.client.get_object(Bucket=scene.bucket, Key="pre/big")["Body"].read() == BODY
    assert "put: 0 done, 2 skipped" in scene.run("put", "in", place, "--part-size", "5MiB")[1]
    (scene.folder / "in" / "big").write_bytes(os.urandom(PART + 7))
    scene.proxy.schedule = lambda seen: DENIED if "partNumber=2" in seen.target else None
    _, said = scene.run("put", "in", place, "--part-size", "5MiB", code=1)
    assert "1 failed" in said
    assert "open" not in said
    assert scene.open == []


def test_options_that_cannot_be(scene: Scene) -> None:
    for arguments in (
        ["sign", "keys.csv", "--method", "PUT", "--part-size", "4MiB"],
        ["put", "in", f"s3://{scene.bucket}/", "--part-size", "4MiB"],
    ):
        assert "not between 5 MiB and 5 GiB" in scene.run(*arguments, code=2)[1]
    assert "a part size is for PUT links" in scene.run("sign", "keys.csv", "--part-size", "5MiB", code=2)[1]
    (scene.folder / "huge.csv").write_text(f"bucket,key,size\n{scene.bucket},k,1{'0' * 12}\n")
    _, said = scene.run("sign", "huge.csv", "--method", "PUT", "--part-size", "5MiB", code=2)
    assert "huge.csv:2: column size: 1,000,000,000,000 bytes make 190,735 parts" in said
    assert "--part-size 96MiB or more" in said


def test_a_dry_run_sends_nothing(scene: Scene) -> None:
    scene.sign()
    scene.proxy.seen.clear()
    assert "put: 2 to do, 0 done before; 10.0 MiB" in scene.run("put", "links.csv", "--from", "in", "--dry-run")[1]
    assert (
        "put: 2 to do"
        in scene.run("put", "in", f"s3://{scene.bucket}/", "--part-size", "5MiB", "--dry-run", "--journal", "j")[1]
    )
    assert scene.proxy.count == 0


def test_rows_go_through_a_pipe(scene: Scene) -> None:
    rows, said = scene.run("sign", "keys.csv", "--method", "PUT", "--part-size", "5MiB")
    assert said == "sign: 6 links, 1 upload opened\n"
    done = run("put", "-", "--from", "in", folder=scene.folder, given=rows, env={})
    assert done.returncode == 0, done.stderr
    assert "put: 2 done" in done.stderr
    assert scene.open == []
    broken = run(
        "put",
        "-",
        "--from",
        "in",
        "--journal",
        "j",
        folder=scene.folder,
        given=rows[: rows.rfind("\n", 0, 2000)],
        env={},
    )
    assert broken.returncode == 2
    assert "-:2: column upload_id: the upload has no row that completes it" in broken.stderr


def test_help_has_examples(scene: Scene) -> None:
    assert "bulkpresign abort s3://bucket/prefix/ --older-than 7d --dry-run" in scene.run("abort", "--help")[0]
    assert "--part-size 64MiB" in scene.run("sign", "--help")[0]
    assert "--part-concurrency 16" in scene.run("put", "--help")[0]


@pytest.mark.parametrize("where", ["-o /dev/full", "| true"])
def test_an_upload_whose_rows_nobody_has_is_ended(where: str, scene: Scene) -> None:
    command = f"{' '.join(BULKPRESIGN)} sign keys.csv --method PUT --part-size 5MiB {where}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=scene.folder, capture_output=True, text=True, timeout=60)
    assert done.stdout == "2\n", done.stderr
    assert done.stderr.startswith("error: ")
    assert any("uploads=" in seen.target for seen in scene.proxy.seen)
    assert scene.open == []


def test_an_upload_whose_rows_nobody_has_and_that_cannot_be_ended_is_named(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: DENIED if seen.method == "DELETE" else None
    _, said = scene.run("sign", "keys.csv", "--method", "PUT", "--part-size", "5MiB", "-o", "/dev/full", code=2)
    assert f"still open: s3://{scene.bucket}/big: upload " in said
    assert scene.open == ["big"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_signing_that_is_stopped_leaves_nothing(number: signal.Signals, code: int, scene: Scene) -> None:
    """A closed terminal ends a run in order, as a request to terminate does."""
    rows = "".join(f"{scene.bucket},{n},{6 << 20}\n" for n in range(200))
    (scene.folder / "many.csv").write_text(f"bucket,key,size\n{rows}")
    scene.proxy.schedule = lambda seen: Fault(delay=0.5) if seen.method == "POST" else None
    command = [*BULKPRESIGN, "sign", "many.csv", "--method", "PUT", "--part-size", "5MiB", "-o", "links.csv"]
    with subprocess.Popen(command, cwd=scene.folder, stderr=subprocess.PIPE, text=True) as process:
        while scene.proxy.count < 40:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert said == ("hung up\n" if number == signal.SIGHUP else "terminated\n")
    assert scene.open == []
    assert {path.name for path in scene.folder.iterdir()} == {"keys.csv", "many.csv", "in"}
