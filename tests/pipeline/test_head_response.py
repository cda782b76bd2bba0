"""The headers of a response to HEAD, joined with a row."""

import pytest

from bulkpresign.checksums import checksum_in
from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.rows.head_response import first_part_size, parts_count, with_head_response

CRC = "AAAAAA=="
SHA = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
WHOLE = {"etag": '"e"', "last-modified": "Wed, 21 Oct 2015 07:28:00 GMT", "content-type": "text/x"}


def test_an_object_has_what_the_server_tells() -> None:
    found = with_head_response(ObjectRef("b", "k", path="p"), 7, WHOLE | {"x-amz-checksum-crc32": CRC}, 5)
    assert found == ObjectRef(
        *("b", "k", None, 7, "e", f"crc32:{CRC}", "text/x", "p"),
        extra={"last_modified": "2015-10-21T07:28:00Z", "part_size": 5},
    )


@pytest.mark.parametrize(
    ("row", "checksum"),
    [
        (ObjectRef("b", "k", size=7, etag="e", checksum=f"sha256:{SHA}"), f"sha256:{SHA}"),
        (ObjectRef("b", "k", size=8, checksum=f"sha256:{SHA}"), f"crc32:{CRC}"),
        (ObjectRef("b", "k", etag="other", checksum=f"sha256:{SHA}"), f"crc32:{CRC}"),
        (ObjectRef("b", "k", checksum="crc32:BBBBBB=="), f"crc32:{CRC}"),
    ],
    ids=["same bytes", "other size", "other etag", "same algorithm"],
)
def test_a_row_keeps_its_checksum_unless_the_bytes_are_others(row: ObjectRef, checksum: str) -> None:
    assert with_head_response(row, 7, WHOLE | {"x-amz-checksum-crc32": CRC}, None).checksum == checksum


def test_a_weak_etag_and_a_date_that_is_none() -> None:
    found = with_head_response(ObjectRef("b", "k"), 7, {"etag": 'W/"e"', "last-modified": "yesterday"}, None)
    assert (found.etag, found.extra) == ("e", {"last_modified": None})


@pytest.mark.parametrize(
    ("headers", "archived"),
    [
        ({"x-amz-storage-class": "GLACIER"}, True),
        ({"x-amz-storage-class": "GLACIER_IR"}, False),
        ({"x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-archive-status": "DEEP_ARCHIVE_ACCESS"}, True),
        ({"x-amz-storage-class": "DEEP_ARCHIVE", "x-amz-restore": 'ongoing-request="true"'}, True),
        ({"x-amz-storage-class": "GLACIER", "x-amz-restore": 'ongoing-request="false", expiry-date="Fri"'}, False),
    ],
)
def test_an_object_that_is_restored_is_not_archived(headers: dict[str, str], archived: bool) -> None:
    assert with_head_response(ObjectRef("b", "k", archived=True), 7, WHOLE | headers, None).archived == archived


@pytest.mark.parametrize(
    ("headers", "checksum", "parts"),
    [
        ({}, None, 0),
        ({"x-amz-checksum-crc32": CRC}, f"crc32:{CRC}", 0),
        ({"x-amz-checksum-crc32": "no base64"}, None, 0),
        ({"x-amz-checksum-crc32": f"{CRC}-3", "x-amz-checksum-type": "COMPOSITE"}, f"crc32:{CRC}-3", 3),
        ({"x-amz-checksum-crc32": CRC, "x-amz-checksum-type": "COMPOSITE"}, None, 0),
        ({"x-amz-checksum-crc32": CRC, "x-amz-checksum-type": "FULL_OBJECT", "etag": '"e-12"'}, f"crc32:{CRC}", 12),
        ({"etag": '"e-0"'}, None, 0),
        ({"x-goog-hash": f"crc32c={CRC}"}, f"crc32c:{CRC}", 0),
        ({"x-goog-hash": f"md5=no, crc32c={CRC}"}, f"crc32c:{CRC}", 0),
        ({"x-goog-hash": "md5=1B2M2Y8AsgTpgAmY7PhCfg=="}, "md5:1B2M2Y8AsgTpgAmY7PhCfg==", 0),
        ({"x-goog-hash": "sha9=AAAA"}, None, 0),
    ],
)
def test_checksums_and_part_counts(headers: dict[str, str], checksum: str | None, parts: int) -> None:
    assert checksum_in(headers) == checksum
    assert parts_count(headers) == parts


@pytest.mark.parametrize(
    ("length", "told", "size", "count", "found"),
    [
        (5, None, 14, 3, 5),
        (5, "3", 15, 3, 5),
        (5, "4", 15, 3, None),
        (None, "3", 15, 3, None),
        (5, None, 16, 3, None),
        (5, None, 10, 3, None),
    ],
)
def test_a_first_part_fits_the_object(
    length: int | None, told: str | None, size: int, count: int, found: int | None
) -> None:
    headers = {} if told is None else {"x-amz-mp-parts-count": told}
    assert first_part_size(length, headers, size, count) == found
