import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.source.location import Location


@pytest.mark.parametrize(
    ("uri", "bucket", "key", "is_prefix"),
    [
        ("s3://bucket", "bucket", "", True),
        ("s3://bucket/", "bucket", "", True),
        ("s3://bucket/a/b/", "bucket", "a/b/", True),
        ("s3://bucket/a//b?x#y", "bucket", "a//b?x#y", False),
    ],
)
def test_a_place_in_a_bucket(uri: str, bucket: str, key: str, is_prefix: bool) -> None:
    place = Location.parse(uri)
    assert (place.bucket, place.key, place.is_prefix) == (bucket, key, is_prefix)


@pytest.mark.parametrize(
    "uri", ["s3://", "s3:///k", "s3://x y/k", "s3://ab/k", "s3://1.2.3.4/", "https://h/k", "bucket/k"]
)
def test_what_is_none_is_told(uri: str) -> None:
    with pytest.raises(ParameterError):
        Location.parse(uri)


@pytest.mark.parametrize("key", ["a\0b", "x" * 1025, "\ud800"])
def test_a_key_that_can_not_be_is_told(key: str) -> None:
    with pytest.raises(ParameterError, match="the key"):
        Location.parse(f"s3://bucket/{key}")
