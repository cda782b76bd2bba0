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
