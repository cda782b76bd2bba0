"""Links on a real server."""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests
from anyio.from_thread import BlockingPortal

from bulkpresign.model import Link, ObjectRef
from bulkpresign.signing.post import Condition
from bulkpresign.signing.presigner import Presigner
from tests.conftest import AwsEnv, MakeBucket
from tests.servers.server import S3Server

KEYS = ["plain.txt", "with space+plus&amp=1?#", "데이터/사진 1.jpg", "🎉 'quoted' \"twice\" ~*", "100%25"]


@pytest.fixture
def presigner(seaweedfs: S3Server, aws_env: AwsEnv, portal: BlockingPortal) -> Iterator[Presigner]:
    aws_env(seaweedfs)
    with portal.wrap_async_context_manager(Presigner()) as presigner:
        yield presigner


@pytest.fixture
def bucket(seaweedfs: S3Server, make_bucket: MakeBucket) -> str:
    return make_bucket(seaweedfs)


def send(link: Link, body: bytes | None = None, headers: dict[str, str] | None = None) -> requests.Response:
    return requests.request(link.method, link.url, data=body, headers=headers or dict(link.headers), timeout=30)


def test_batches_put_get_head_and_delete(presigner: Presigner, bucket: str) -> None:
    refs = [ObjectRef(bucket, key, content_type="text/x-test") for key in KEYS]
    for link in presigner.sign_batch(refs, "PUT"):
        assert send(link, link.object.key.encode()).status_code == 200
    for link in presigner.sign_batch(refs, query={"response-content-disposition": "attachment"}):
        response = send(link)
        assert response.content == link.object.key.encode()
        assert response.headers["Content-Type"] == "text/x-test"
        assert response.headers["Content-Disposition"] == "attachment"
    for link in presigner.sign_batch(refs, "HEAD"):
        assert send(link).headers["Content-Length"] == str(len(link.object.key.encode()))
    for link in presigner.sign_batch(refs, "DELETE"):
        assert send(link).status_code == 204
    for url in presigner.url_batch(bucket, KEYS):
        assert requests.get(url, timeout=30).status_code == 404


def test_a_large_batch_with_one_other_letter(presigner: Presigner, bucket: str) -> None:
    """A signature is for its own key: swapped between two links, neither opens."""
    one, other = presigner.url_batch(bucket, ["a", "b"])
    swapped = one.rpartition("=")[0] + "=" + other.rpartition("=")[2]
    assert requests.get(swapped, timeout=30).status_code == 403
    assert requests.get(one, timeout=30).status_code == 404


def test_presign_returns_the_headers_to_send(presigner: Presigner, bucket: str, portal: BlockingPortal) -> None:
    params = {
        "Bucket": bucket,
        "Key": "a b/ü",
        "ContentType": "text/plain; charset=utf-8",
        "CacheControl": "no-store",
        "Metadata": {"origin": "test bench", "x": "1"},
        "ContentMD5": b64encode(hashlib.md5(b"body").digest()).decode(),
    }
    put = portal.call(lambda: presigner.presign("put_object", params))
    assert set(put.headers) == {"Content-Type", "Cache-Control", "x-amz-meta-origin", "x-amz-meta-x", "Content-MD5"}
    assert send(put, b"body", {"Content-Type": "text/plain"}).status_code == 403
    assert send(put, b"body").status_code == 200
    got = send(portal.call(lambda: presigner.presign("get_object", {"Bucket": bucket, "Key": "a b/ü"})))
    assert got.content == b"body"
    assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert got.headers["x-amz-meta-origin"] == "test bench"


def test_a_signed_checksum_is_checked(presigner: Presigner, bucket: str, portal: BlockingPortal) -> None:
    checksum = b64encode(hashlib.sha256(b"body").digest()).decode()
    params = {"Bucket": bucket, "Key": "key", "ChecksumSHA256": checksum}
    put = portal.call(lambda: presigner.presign("put_object", params))
    assert put.headers == {"x-amz-checksum-sha256": checksum}
    assert send(put, b"dirt").status_code == 400
    assert send(put, b"body").status_code == 200


def test_customer_keys(presigner: Presigner, bucket: str, portal: BlockingPortal) -> None:
    customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    target = {"Bucket": bucket, "Key": "secret"}
    put = portal.call(lambda: presigner.presign("put_object", {**target, **customer}))
    assert {name.lower() for name in put.headers} == {
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
    }
    assert send(put, b"hidden").status_code == 200
    get = portal.call(lambda: presigner.presign("get_object", {**target, **customer}))
    assert send(get).content == b"hidden"
    assert send(portal.call(lambda: presigner.presign("get_object", target))).status_code == 400


def test_forms(presigner: Presigner, bucket: str, portal: BlockingPortal) -> None:
    rules: list[Condition] = [["content-length-range", 1, 10], {"success_action_status": "201"}]
    fields = {"success_action_status": "201"}
    (in_batch,) = presigner.post_batch([ObjectRef(bucket, "batch/ü ${filename}")], fields, rules)
    single = portal.call(lambda: presigner.presign_post(bucket, "single", fields, rules))
    for post, name in ((in_batch, "batch/ü f.txt"), (single, "single")):
        response = requests.post(post.url, data=post.fields, files={"file": ("f.txt", b"12345")}, timeout=30)
        assert response.status_code == 201
        assert requests.get(presigner.url_batch(bucket, [name])[0], timeout=30).content == b"12345"
        refused = requests.post(post.url, data=post.fields, files={"file": ("f.txt", b"x" * 11)}, timeout=30)
        assert refused.status_code == 400


def test_operations_on_buckets(presigner: Presigner, bucket: str, portal: BlockingPortal) -> None:
    for key in KEYS[:2]:
        assert requests.put(presigner.url_batch(bucket, [key], "PUT")[0], data=b"x", timeout=30).ok
    buckets = send(portal.call(lambda: presigner.presign("list_buckets")))
    assert f"<Name>{bucket}</Name>" in buckets.text
    listing = {"Bucket": bucket, "Prefix": "with ", "EncodingType": "url"}
    listed = send(portal.call(lambda: presigner.presign("list_objects_v2", listing)))
    assert quote(KEYS[1], safe="") in listed.text.replace("+", "%20")
    assert KEYS[0] not in listed.text


def test_multipart_by_links(presigner: Presigner, bucket: str, portal: BlockingPortal) -> None:
    target = {"Bucket": bucket, "Key": "large"}
    created = send(portal.call(lambda: presigner.presign("create_multipart_upload", target)))
    upload = {**target, "UploadId": created.text.partition("<UploadId>")[2].partition("<")[0]}
    part = send(portal.call(lambda: presigner.presign("upload_part", {**upload, "PartNumber": 1})), b"part")
    body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part.headers['ETag']}</ETag></Part>"
    complete = portal.call(lambda: presigner.presign("complete_multipart_upload", upload))
    assert send(complete, f"{body}</CompleteMultipartUpload>".encode()).status_code == 200
    assert requests.get(presigner.url_batch(bucket, ["large"])[0], timeout=30).content == b"part"
