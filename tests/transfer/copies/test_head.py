"""What a response tells of an object, and how it is copied then: pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.checksums import expected_digest
from bulkpresign.limits import MAX_REQUEST_SIZE
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.copies.head import ObjectHead, is_copied_in_parts, kept_headers
from bulkpresign.transfer.engine.part_sizes import LARGE_UPLOAD

MIB, GIB = 1 << 20, 1 << 30
MD5 = "0cc175b9c0f1b6a831c399e269772661"
CRC = "crc64nvme:AAAAAAAAAAA="


def head(size: int, etag: str, checksum: str | None = None) -> ObjectHead:
    expected = expected_digest(ObjectRef("", "", size=size, checksum=checksum), etag)
    return ObjectHead(size, etag, expected, expected_digest(ObjectRef("", "", size=size), etag), {})


@pytest.mark.parametrize(
    ("given_head", "wanted", "part_size"),
    [
        (head(0, MD5), None, None),
        (head(LARGE_UPLOAD, MD5, CRC), None, None),
        (head(LARGE_UPLOAD + 1, MD5, CRC), None, 8 * MIB),
        (head(LARGE_UPLOAD + 1, MD5), None, None),  # only one request proves it
        (head(MAX_REQUEST_SIZE + 1, MD5), None, 64 * MIB),
        (head(LARGE_UPLOAD + 1, "opaque"), None, 8 * MIB),
        (head(20 * MIB, f"{MD5}-3"), None, 8 * MIB),
        (head(20 * MIB, f"{MD5}-3").split(7 * MIB), None, 7 * MIB),
        (head(20 * MIB, f"{MD5}-3").split(20 * MIB), None, 8 * MIB),  # that is no size of three parts
        (head(1000, f"{MD5}-1"), None, 1000),
        (head(10 * MIB, f"{MD5}-500"), None, None),  # S3 takes no such parts
        (head(20 * MIB, f"{MD5}-3"), 10 * MIB, 10 * MIB),
        (head(10 * MIB, MD5), 10 * MIB, None),
    ],
)
def test_the_size_of_parts(given_head: ObjectHead, wanted: int | None, part_size: int | None) -> None:
    assert given_head.part_size(wanted) == part_size


@pytest.mark.parametrize("etag", [MD5, "opaque", f"{MD5}-3", f"{MD5}-10000", f"{MD5}-20000"])
@pytest.mark.parametrize("wanted", [None, 5 * MIB, 8 * MIB, 5 * GIB])
@pytest.mark.parametrize("size", [1, 5 * MIB, 5 * GIB, 50_000 * GIB])
def test_there_are_no_more_parts_than_s3_takes(size: int, wanted: int | None, etag: str) -> None:
    """Nor is one of them larger than S3 takes, or the object sent in one request that is too large."""
    part_size = head(size, etag).part_size(wanted) or size
    assert part_size <= 5 * GIB
    assert size / part_size <= 10_000


@pytest.mark.parametrize("size", [10_000 * 5_500_000, 9_000 * 5_500_000 + 1])
def test_part_sizes_that_fit_are_kept(size: int) -> None:
    """Also those that are not of whole MiB."""
    assert head(size, MD5).part_size(5_500_000) == 5_500_000
    assert head(size, f"{MD5}-{-(-size // 5_500_000)}").split(5_500_000).part_size(None) == 5_500_000


def test_a_copy_in_the_same_parts_is_proven_by_its_etag() -> None:
    assert head(20 * MIB, f"{MD5}-3").split(7 * MIB).is_split_known
    assert not head(20 * MIB, f"{MD5}-3").is_split_known
    assert not head(20 * MIB, MD5).split(7 * MIB).is_split_known


@pytest.mark.parametrize(
    ("ref", "in_parts"),
    [
        (ObjectRef("b", "k"), False),
        (ObjectRef("b", "k", size=MAX_REQUEST_SIZE, etag=MD5), False),
        (ObjectRef("b", "k", size=MAX_REQUEST_SIZE + 1, etag=MD5), True),
        (ObjectRef("b", "k", size=1, etag=f"{MD5}-1"), True),
    ],
)
def test_what_a_server_copies_in_parts(ref: ObjectRef, in_parts: bool) -> None:
    assert is_copied_in_parts(ref, None) is in_parts


@pytest.mark.parametrize(
    ("encoding", "kept"), [("gzip", "gzip"), ("aws-chunked", None), ("gzip, aws-chunked", "gzip"), ("", None)]
)
def test_the_encoding_of_an_upload_is_none_of_the_object(encoding: str, kept: str | None) -> None:
    assert kept_headers({"content-encoding": encoding}).get("content-encoding") == kept


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_metadata_goes_on_as_it_came(text: str) -> None:
    came = text.encode().decode("latin-1")  # as a response's headers are read
    assert kept_headers({"x-amz-meta-a": came, "x-amz-request-id": "1", "etag": "2"}) == {"x-amz-meta-a": text}
