"""The links of multipart uploads, compared with botocore's, and the sizes of parts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ParameterError
from bulkpresign.limits import MAX_PART_SIZE, MAX_PARTS, MIN_PART_SIZE, least_part_size
from bulkpresign.model import ObjectRef
from bulkpresign.signing.parts import check_part_size, part_size_problem, parts_of
from tests.signing import oracle
from tests.signing.conftest import Clock
from tests.signing.oracle import AWKWARD_KEYS, Both, parameters

UPLOAD_ID = "2~a+b/c=é%"
CUSTOMER = "x-amz-server-side-encryption-customer-algorithm"


def expected(either: Both, operation: str, key: str, **more: object) -> str:
    params = {"Bucket": "bucket", "Key": key, **more, "UploadId": UPLOAD_ID}
    url: str = either.client.generate_presigned_url(operation, params, 3600)
    return url


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_every_link_is_botocores(either: Both, clock: Clock, key: str) -> None:
    ref = ObjectRef("bucket", key, size=11, etag="e", content_type="a/b", path="p", extra={"note": "n"})
    upload = either.presigner.sign_upload(ref, UPLOAD_ID, 5, headers={"x-amz-meta-a": "b"})
    assert [part.link.url for part in upload.parts] == [
        expected(either, "upload_part", key, PartNumber=number) for number in (1, 2, 3)
    ]
    assert upload.complete.url == expected(either, "complete_multipart_upload", key)
    assert upload.abort is not None
    assert upload.abort.url == expected(either, "abort_multipart_upload", key)
    assert {link.expires_at for link in upload.links} == {upload.complete.expires_at} != {None}
    assert [dict(link.headers) for link in upload.links] == [{}] * 5


@oracle.examples
@given(key=oracle.keys, headers=oracle.headers)
def test_creating_an_upload_signs_the_headers(either: Both, clock: Clock, key: str, headers: dict[str, str]) -> None:
    headers = {name: value for name, value in headers.items() if not name.startswith(("x-amz-checksum", "Content-MD5"))}
    (link,) = either.presigner.sign_batch([ObjectRef("bucket", key)], "POST", headers=headers, query={"uploads": ""})
    params = parameters("bucket", key, headers=headers)
    assert link.url == either.client.generate_presigned_url("create_multipart_upload", params, 3600)
    assert link.headers == headers


def test_the_content_type_is_signed_when_an_upload_is_created(europe: Both, clock: Clock) -> None:
    refs = [ObjectRef("bucket", "a", content_type="a/b"), ObjectRef("bucket", "b")]
    links = europe.presigner.sign_batch(refs, "POST", query={"uploads": ""})
    assert [dict(link.headers) for link in links] == [{"Content-Type": "a/b"}, {}]


def test_a_customer_key_is_sent_with_every_part(europe: Both, clock: Clock) -> None:
    headers = {CUSTOMER: "AES256", "x-amz-meta-a": "b", "X-Amz-Request-Payer": "requester"}
    upload = europe.presigner.sign_upload(ObjectRef("bucket", "k", size=2), "u", 1, headers=headers)
    assert [dict(part.link.headers) for part in upload.parts] == [
        {CUSTOMER: "AES256", "X-Amz-Request-Payer": "requester"}
    ] * 2
    assert upload.complete.headers == {CUSTOMER: "AES256", "X-Amz-Request-Payer": "requester"}
    assert upload.abort is not None
    assert upload.abort.headers == {"X-Amz-Request-Payer": "requester"}


@pytest.mark.parametrize(
    ("headers", "parameter"),
    [({"If-None-Match": "*"}, {"IfNoneMatch": "*"}), ({"If-Match": '"e"'}, {"IfMatch": '"e"'})],
)
def test_a_condition_is_signed_when_an_upload_is_completed(
    headers: dict[str, str], parameter: dict[str, str], europe: Both, clock: Clock
) -> None:
    """It is decided when the object is whole, and by no part."""
    upload = europe.presigner.sign_upload(ObjectRef("bucket", "k", size=2), "u", 1, headers=headers)
    params = {"Bucket": "bucket", "Key": "k", "UploadId": "u", **parameter}
    assert upload.complete.headers == headers
    assert upload.complete.url == europe.client.generate_presigned_url("complete_multipart_upload", params, 3600)
    assert not any(part.link.headers for part in upload.parts)


def test_the_columns_of_the_rows(europe: Both, clock: Clock) -> None:
    ref = ObjectRef("bucket", "k", size=7, etag="e", checksum="crc32:AAAAAA==", content_type="a/b", extra={"note": 1})
    upload = europe.presigner.sign_upload(ref, "u", 4)
    found = [(link.method, link.object.size, link.object.etag, link.object.extra) for link in upload.links]
    assert found == [
        ("PUT", 4, None, {"note": 1, "upload_id": "u", "part_number": 1, "offset": 0}),
        ("PUT", 3, None, {"note": 1, "upload_id": "u", "part_number": 2, "offset": 4}),
        ("POST", 7, "e", {"note": 1, "upload_id": "u"}),
        ("DELETE", 7, "e", {"note": 1, "upload_id": "u"}),
    ]


def test_the_maximum_number_of_parts(europe: Both) -> None:
    ref = ObjectRef("bucket", "k", size=MAX_PARTS * MIN_PART_SIZE)
    upload = europe.presigner.sign_upload(ref, "u", MIN_PART_SIZE)
    assert len({part.link.url for part in upload.parts}) == MAX_PARTS


def test_a_post_is_only_for_uploads(europe: Both, clock: Clock) -> None:
    with pytest.raises(ParameterError, match="'POST' is not one of GET"):
        europe.presigner.sign_batch([ObjectRef("bucket", "k")], "POST")
    with pytest.raises(ParameterError, match="a POST can't name a version"):
        europe.presigner.sign_batch([ObjectRef("bucket", "k", "v")], "POST", query={"uploads": ""})


@given(st.integers(1, 1 << 45), st.integers(MIN_PART_SIZE, MAX_PART_SIZE))
def test_parts_cover_all_bytes(size: int, part_size: int) -> None:
    part_size = max(part_size, least_part_size(size))
    assert part_size_problem(size, part_size) is None
    parts = parts_of(size, part_size)
    assert [number for number, _, _ in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= MAX_PARTS
    assert [offset for _, offset, _ in parts] == [0, *(offset + length for _, offset, length in parts[:-1])]
    assert sum(length for _, _, length in parts) == size
    assert all(length == part_size for _, _, length in parts[:-1])


@given(st.integers(1, 1 << 45))
def test_the_suggested_part_size_is_the_smallest_possible(size: int) -> None:
    least = least_part_size(size)
    assert part_size_problem(size, least) is None
    if least > MIN_PART_SIZE:
        problem = part_size_problem(size, least - (1 << 20))
        assert problem is not None
        assert f"--part-size {least >> 20}MiB or more" in problem


def test_part_sizes_that_s3_does_not_allow() -> None:
    for size in (0, MIN_PART_SIZE - 1, MAX_PART_SIZE + 1):
        with pytest.raises(ParameterError, match=re.escape("is not between 5 MiB and 5 GiB")):
            check_part_size(size)
    assert "more than S3 allows for an object" in (
        part_size_problem(MAX_PARTS * MAX_PART_SIZE + 1, MIN_PART_SIZE) or ""
    )
