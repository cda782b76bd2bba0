import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.source.location import Location

POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint"
OUTPOST = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/mine"


@pytest.mark.parametrize(
    ("uri", "bucket", "key", "is_prefix"),
    [
        ("s3://bucket", "bucket", "", True),
        ("s3://bucket/", "bucket", "", True),
        ("s3://bucket/a/b/", "bucket", "a/b/", True),
        ("s3://bucket/a//b?x#y", "bucket", "a//b?x#y", False),
        (f"s3://{POINT}/mine", f"{POINT}/mine", "", True),
        (f"s3://{POINT}/mine/a/b/", f"{POINT}/mine", "a/b/", True),
        (f"s3://{POINT}:mine/a/b", f"{POINT}:mine", "a/b", False),
        (f"s3://{OUTPOST}/a/accesspoint/b", OUTPOST, "a/accesspoint/b", False),
        ("s3://bucket/arn:x/accesspoint/b/c", "bucket", "arn:x/accesspoint/b/c", False),
    ],
)
def test_locations(uri: str, bucket: str, key: str, is_prefix: bool) -> None:
    place = Location.parse(uri)
    assert (place.bucket, place.key, place.is_prefix) == (bucket, key, is_prefix)


@pytest.mark.parametrize(
    "uri", ["s3://", "s3:///k", "s3://x y/k", "s3://ab/k", "s3://1.2.3.4/", "https://h/k", "bucket/k"]
)
def test_other_texts_are_refused(uri: str) -> None:
    with pytest.raises(ParameterError):
        Location.parse(uri)


@pytest.mark.parametrize("key", ["a\0b", "x" * 1025, "\ud800"])
def test_invalid_keys_are_refused(key: str) -> None:
    with pytest.raises(ParameterError, match="the key"):
        Location.parse(f"s3://bucket/{key}")
