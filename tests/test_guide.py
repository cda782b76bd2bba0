"""The three functions of the guide on a real server, and their errors."""

import logging
from typing import Any

import anyio
import pytest
import requests

from bulkpresign.guide import create_presigned_post, create_presigned_url, create_presigned_url_expanded
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server


@pytest.fixture
def bucket(seaweedfs: S3Server, aws_env: AwsEnv, make_bucket: MakeBucket, boto: Boto) -> str:
    """A bucket with the object `a b/ü.txt`, on the server that the AWS chain finds."""
    aws_env(seaweedfs)
    name = make_bucket(seaweedfs)
    boto(seaweedfs).put_object(Bucket=name, Key="a b/ü.txt", Body=b"content")
    return name


def url(*arguments: Any) -> str | None:
    return anyio.run(create_presigned_url, *arguments)


def expanded(*arguments: Any) -> str | None:
    return anyio.run(create_presigned_url_expanded, *arguments)


def form(*arguments: Any) -> dict[str, Any] | None:
    return anyio.run(create_presigned_post, *arguments)


def response(method: str, url: str | None, **options: Any) -> requests.Response:
    assert url is not None
    return requests.request(method, url, timeout=30, **options)


def test_a_get_link(bucket: str) -> None:
    assert response("GET", url(bucket, "a b/ü.txt")).content == b"content"
    short = url(bucket, "a b/ü.txt", 60)
    assert short is not None
    assert "X-Amz-Expires=60&" in short
    assert response("PUT", short, data=b"x").status_code == 403


def test_operations_by_their_own_http_method(bucket: str) -> None:
    target = {"Bucket": bucket, "Key": "a b/ü.txt"}
    assert f"<Name>{bucket}</Name>" in response("GET", expanded("list_buckets")).text
    assert "LocationConstraint" in response("GET", expanded("get_bucket_location", {"Bucket": bucket})).text
    assert "<KeyCount>1</KeyCount>" in response("GET", expanded("list_objects_v2", {"Bucket": bucket})).text
    assert response("HEAD", expanded("head_object", target)).headers["Content-Length"] == "7"
    created = response("POST", expanded("create_multipart_upload", target)).text
    upload = {**target, "UploadId": created.partition("<UploadId>")[2].partition("<")[0], "PartNumber": 1}
    assert response("PUT", expanded("upload_part", upload), data=b"part").headers["ETag"]
    assert response("DELETE", expanded("delete_object", target)).status_code == 204
    assert response("GET", url(bucket, "a b/ü.txt")).status_code == 404


def test_another_http_method(bucket: str) -> None:
    target = {"Bucket": bucket, "Key": "a b/ü.txt"}
    link = expanded("get_object", target, 60, "HEAD")
    assert response("HEAD", link).status_code == 200
    assert response("GET", link).status_code == 403


def test_a_form(bucket: str) -> None:
    fields, conditions = {"acl": "private"}, [{"acl": "private"}, ["content-length-range", 1, 10]]
    made = form(bucket, "up/${filename}", fields, conditions, 60)
    assert made is not None
    assert set(made) == {"url", "fields"}
    files = {"file": ("ü.txt", b"12345")}
    assert requests.post(made["url"], data=made["fields"], files=files, timeout=30).status_code == 204
    assert response("GET", url(bucket, "up/ü.txt")).content == b"12345"
    too_big = {"file": ("ü.txt", b"x" * 11)}
    assert requests.post(made["url"], data=made["fields"], files=too_big, timeout=30).status_code == 400
    plain = form(bucket, "plain")
    assert plain is not None
    assert requests.post(plain["url"], data=plain["fields"], files=files, timeout=30).status_code == 204


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("fly_to_the_moon", {}), "fly_to_the_moon"),
        (("get_object", {"Bucket": "bucket"}), "Key"),
        (("get_object", {"Bucket": "bucket", "Key": "key", "Colour": "red"}), "Colour"),
        (("get_object", {"Bucket": "no/bucket", "Key": "key"}), "no/bucket"),
        (("get_object", {"Bucket": "bucket", "Key": "key"}, 604801), "604,801"),
        (("get_object", {"Bucket": "bucket", "Key": "key"}, 0), "expires_in"),
    ],
)
def test_none_and_a_logged_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, arguments: Any, why: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    assert expanded(*arguments) is None
    assert_logged(caplog, arguments[0], why)


def test_no_credentials(caplog: pytest.LogCaptureFixture) -> None:
    assert url("bucket", "key") is None
    assert_logged(caplog, "get_object", "no credentials")
    caplog.clear()
    assert form("bucket", "key") is None
    assert_logged(caplog, "s3://bucket/key", "no credentials")


def test_incomplete_credentials(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    assert url("bucket", "key") is None
    assert_logged(caplog, "get_object", "AWS_SECRET_ACCESS_KEY")


def test_an_unknown_profile(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert expanded("list_buckets") is None
    assert_logged(caplog, "list_buckets", "nobody")


@pytest.mark.parametrize(("bucket", "key"), [("no/bucket", "key"), ("bucket", ""), ("bucket", "x" * 1025)])
def test_forms_that_are_not_valid(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bucket: str, key: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    assert form(bucket, key) is None
    assert_logged(caplog, "upload form", bucket)


def assert_logged(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """One error, which names what went wrong and holds no secret."""
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "bulkpresign.guide"
    assert record.levelno == logging.ERROR
    message = record.getMessage()
    assert all(word in message for word in words)
    assert "the-secret" not in message
