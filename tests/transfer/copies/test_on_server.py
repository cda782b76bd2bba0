"""The headers of copies that the server makes."""

import pytest

from bulkpresign.model import ObjectRef
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
