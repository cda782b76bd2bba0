"""Copies that the server makes: their headers, and checksums of their parts."""

import pytest

from bulkpresign.errors import MismatchError
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.copies.composite import Composite
from bulkpresign.transfer.copies.on_server import copy_headers

POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/mine"


@pytest.mark.parametrize(
    ("ref", "source"),
    [
        (ObjectRef("bucket", "a/b ü:+"), "bucket/a/b%20%C3%BC:%2B"),
        (ObjectRef("bucket", "k", version_id="v/1+&"), "bucket/k?versionId=v/1%2B%26"),
        (ObjectRef(POINT, "a/b"), f"{POINT}/object/a/b"),
    ],
)
def test_the_source_of_a_copy(ref: ObjectRef, source: str) -> None:
    assert copy_headers(ref, None) == {"x-amz-copy-source": source}


def test_the_checksum_of_parts_is_compared_with_one_of_parts() -> None:
    """A server may compute one of all bytes, and one part may have none that is known."""
    composite = Composite("crc32c")
    composite.add(1, bytes(4))
    for checksums, parts in (({}, 1), ({"crc32c": "AAAAAA=="}, 1), ({"crc32c": "AAAAAA==-2"}, 2)):
        composite.check(checksums, parts)
    with pytest.raises(MismatchError, match="the copy has crc32c AAAAAA==-1, its parts make "):
        composite.check({"crc32c": "AAAAAA==-1"}, 1)
