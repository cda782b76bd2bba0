"""Signatures, compared with AWS's published example and the standard library."""

from datetime import UTC, datetime
from urllib.parse import quote

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


def test_settings_per_key_are_signed_like_shared_ones() -> None:
    keys, shared = ["a", "b c", "a"], {"x-amz-meta-z": " 1  2 "}
    query = {"versionId": ["v/1", "v 2", "é"], "a": ["1", "2", "3"]}
    headers = {"Content-Type": ["a/b", " c  d ", "e"], "x-amz-meta-zz": ["", "2", "3"]}
    urls = signer(headers=shared, query={"b": "x y"}).urls(keys, query, headers)
    for number, (key, url) in enumerate(zip(keys, urls, strict=True)):
        own_query = {name: values[number] for name, values in query.items()}
        own_headers = {name: values[number] for name, values in headers.items()}
        assert signer(headers={**shared, **own_headers}, query={**own_query, "b": "x y"}).urls([key]) == [url]


def test_values_that_look_like_a_slot() -> None:
    """Values that look like a slot are not replaced."""
    headers, query = {"x-amz-meta-a": "versionId=%000%00"}, {"response-content-type": "versionId=%000%00 0 1"}
    alone = signer(headers=headers, query={"versionId": "%001%00", **query})
    assert signer(headers=headers, query=query).urls(["a"], {"versionId": ["%001%00"]}) == alone.urls(["a"])


def test_settings_that_are_given_twice() -> None:
    with pytest.raises(ParameterError, match="versionId is given twice"):
        signer(query={"versionId": "1"}).urls(["a"], {"versionId": ["2"]})
    with pytest.raises(ParameterError, match="given twice"):
        signer(headers={"content-type": "1"}).urls(["a"], {}, {"Content-Type": ["2"]})


@pytest.mark.parametrize(
    ("name", "value"), [("versionId", "a\0b"), ("versionId", "\ud800"), ("X-Amz-Date", "x"), ("", "x"), ("a\0", "b")]
)
def test_columns_of_parameters_that_are_not_valid(name: str, value: str) -> None:
    with pytest.raises(ParameterError, match="query parameter"):
        signer().urls(["a", "b"], {name: ["1", value]})


@pytest.mark.parametrize(("name", "value"), [("a", "x\ny"), ("a", "\0"), ("a b", "x"), ("a", "\ud800")])
def test_columns_of_headers_that_are_not_valid(name: str, value: str) -> None:
    with pytest.raises(ParameterError, match="header"):
        signer().urls(["a", "b"], {}, {name: ["1", value]})


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
def test_headers_that_are_not_valid(headers: dict[str, str], why: str) -> None:
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
def test_query_parameters_that_are_not_valid(query: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match="query parameter"):
        signer(query=query)
