"""The arithmetic, against AWS's published example and the standard library."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given

from bulkpresign.aws import Credentials
from bulkpresign.errors import ParameterError
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.sigv4 import Signer, canonical_headers, quote_keys
from tests.signing import oracle
from tests.signing.oracle import ACCESS_KEY, AWKWARD_KEYS, SECRET_KEY

ENDPOINT = Endpoint("https://examplebucket.s3.amazonaws.com", "/", "examplebucket.s3.amazonaws.com", "us-east-1")


def signer(**options: object) -> Signer:
    settings: dict[str, object] = {"now": datetime(2013, 5, 24, tzinfo=UTC), "expires_in": 86400, **options}
    return Signer(ENDPOINT, Credentials(ACCESS_KEY, SECRET_KEY), "GET", **settings)  # type: ignore[arg-type]


def test_the_published_example() -> None:
    """Docs: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"."""
    (url,) = signer().urls(["test.txt"])
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@oracle.examples
@given(keys=oracle.key_lists)
def test_keys_are_quoted_once(keys: list[str]) -> None:
    assert list(quote_keys(keys)) == [quote(key, safe="/~") for key in keys]


def test_every_awkward_key_is_quoted_once() -> None:
    assert list(quote_keys(AWKWARD_KEYS)) == [quote(key, safe="/~") for key in AWKWARD_KEYS]
    every_character = "".join(map(chr, range(1, 0x180)))
    assert list(quote_keys([every_character])) == [quote(every_character, safe="/~")]
    assert list(quote_keys([])) == []


def test_no_version_among_versions() -> None:
    with_none, with_one = signer().urls(["a", "a"], [None, "v/1"])
    assert with_none == signer().urls(["a"])[0]
    assert parse_qs(urlsplit(with_one).query)["versionId"] == ["v/1"]
    assert with_one.rpartition("=")[2] != with_none.rpartition("=")[2]


def test_a_version_beside_values_that_look_like_its_place() -> None:
    """The version goes where it belongs, whatever stands in headers and overrides."""
    headers, query = {"x-amz-meta-a": "versionId=%00"}, {"response-content-type": "versionId=%00"}
    as_override = signer(headers=headers, query={"versionId": "v 1", **query})
    assert signer(headers=headers, query=query).urls(["a"], ["v 1"]) == as_override.urls(["a"])
    with pytest.raises(ParameterError, match="versionId"):
        as_override.urls(["a"], ["v 1"])


@pytest.mark.parametrize("version_id", ["a\0b", "\ud800"])
def test_versions_that_can_not_be(version_id: str) -> None:
    with pytest.raises(ParameterError, match="version id"):
        signer().urls(["a"], [version_id])


def test_headers_are_made_canonical() -> None:
    names, lines = canonical_headers({"X-Amz-Meta-B": "  two   words ", "host": "h", "Content-Type": "a/b"})
    assert names == "content-type;host;x-amz-meta-b"
    assert lines == "content-type:a/b\nhost:h\nx-amz-meta-b:two words"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"": "x"}, "name"),
        ({"a b": "x"}, "name"),
        ({"a:": "x"}, "name"),
        ({"a\n": "x"}, "name"),
        ({"ä": "x"}, "name"),
        ({"a": "x\r\nb: y"}, "one line"),
        ({"a": "x\0"}, "one line"),
        ({"a": "\ud800"}, "one line"),
        ({"a": "x", "A": "y"}, "twice"),
        ({"Host": "evil"}, "twice"),
    ],
)
def test_headers_that_can_not_be(headers: dict[str, str], why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        signer(headers=headers)


@pytest.mark.parametrize(
    "query",
    [
        {"X-Amz-Expires": "1"},
        {"x-amz-signature": "0"},
        {"X-Amz-Security-Token": "t"},
        {"": "x"},
        {"response-content-type": "\0"},
        {"response-content-type": "\ud800"},
    ],
)
def test_query_parameters_that_can_not_be(query: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match="query parameter"):
        signer(query=query)
