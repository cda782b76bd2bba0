"""The parser of listings: botocore's as the oracle, dialects of servers, and bytes that are no listing."""

import re
from datetime import date
from itertools import pairwise
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ListingError, TruncatedError
from bulkpresign.source.page import MAX_PAGE_BYTES, Page, PageParser

MORE = "<IsTruncated>true</IsTruncated>"
XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_MODEL = botocore.session.get_session().get_service_model("s3")
_PARSER = create_parser("rest-xml")

#: The characters of XML 1.0. Servers quote the other characters with `encoding-type=url`.
XML_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=("Cc", "Cs"))).filter(
    lambda text: not re.search("[\ufffe\uffff]", text)
)
KEY = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
NUMBER = st.integers(0, 5 * 2**40).map(str)
TIME = st.dates(date(1000, 1, 1)).map(lambda day: f"{day}T12:34:56.000Z")
ETAG = st.sampled_from(['"9dd4e461268c8034f5c8564e155c67a6"', "9dd4e461-2", '""'])


def parsed(*chunks: bytes) -> Page:
    """The page of some chunks."""
    parser = PageParser()
    for chunk in chunks:
        parser.feed(chunk)
    return parser.close()


def page(inner: str, root: str = "ListBucketResult") -> bytes:
    """A page with some elements."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} {XMLNS}>{inner}</{root}>'.encode()


def one(**fields: str) -> str:
    """An object with some elements."""
    return f"<Contents>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</Contents>"


def entry(name: str) -> st.SearchStrategy[tuple[str, dict[str, str]]]:
    """An object or version: its element, and the texts of its elements."""
    more = {"VersionId": XML_TEXT, "IsLatest": st.just("true")} if name != "Contents" else {}
    required = {"Key": KEY, "LastModified": TIME, "ETag": ETAG, "Size": NUMBER, **more}
    return st.tuples(st.just(name), st.fixed_dictionaries(required, optional={"StorageClass": XML_TEXT}))


def xml_of(name: str, fields: dict[str, str], indent: str, is_quoted: bool, plus: bool) -> str:
    def text(field: str, value: str) -> str:
        if field == "Key" and is_quoted:
            value = quote_plus(value) if plus else quote(value, safe="")
        return escape(value, {'"': "&quot;"})

    inner = "".join(f"{indent}<{field}>{text(field, value)}</{field}>" for field, value in fields.items())
    owner = "<Owner><ID>an id</ID><DisplayName>a name</DisplayName></Owner>"
    return f"{indent}<{name}>{inner}{owner}{indent}</{name}>"


def by_botocore(operation: str, body: bytes) -> Any:
    """What botocore's parser makes of a page, keys decoded as its handlers do."""
    response = {"status_code": 200, "headers": {}, "body": body}
    return _PARSER.parse(response, _MODEL.operation_model(operation).output_shape)


@given(
    entries=st.lists(entry("Contents"), max_size=8) | st.lists(entry("Version") | entry("DeleteMarker"), max_size=8),
    indent=st.sampled_from(["", "\n  "]),
    plus=st.booleans(),
    cuts=st.lists(st.integers(0, 2000), max_size=4),
)
def test_pages_are_parsed_as_by_botocore(
    entries: list[tuple[str, dict[str, str]]], indent: str, plus: bool, cuts: list[int]
) -> None:
    is_versions = bool(entries) and entries[0][0] != "Contents"
    inner = "".join(xml_of(name, fields, indent, is_quoted=True, plus=plus) for name, fields in entries)
    root = "ListVersionsResult" if is_versions else "ListBucketResult"
    body = page(f"<EncodingType>url</EncodingType><Prefix>a%2F</Prefix>{inner}", root)
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    found = parsed(*(body[start:end] for start, end in pairwise(places)))
    expected = by_botocore("ListObjectVersions" if is_versions else "ListObjectsV2", body)
    items = expected.get("Versions" if is_versions else "Contents", [])
    assert list(found.entries) == [fields["Key"] for _, fields in entries]
    assert list(found.keys) == [fields["Key"] for name, fields in entries if name != "DeleteMarker"]
    assert list(found.sizes) == [item["Size"] for item in items]
    assert [etag or "" for etag in found.etags] == [item["ETag"].strip('"') for item in items]
    assert list(found.modified) == [f"{item['LastModified']:%Y-%m-%dT%H:%M:%SZ}" for item in items]
    assert [version or "" for version in found.version_ids] == [item.get("VersionId", "") for item in items]


@given(keys=st.lists(XML_TEXT.filter(bool), max_size=5))
def test_keys_that_are_not_quoted_come_as_they_are(keys: list[str]) -> None:
    body = page("".join(one(Key=escape(key)) for key in keys))
    assert list(parsed(body).keys) == keys
    assert [item["Key"] for item in by_botocore("ListObjectsV2", body).get("Contents", [])] == keys


# -- dialects


def test_what_a_server_leaves_out_is_unknown() -> None:
    found = parsed(page(one(Key="a+b%20c")))
    assert (list(found.keys), list(found.sizes), list(found.etags), list(found.modified)) == (
        ["a+b%20c"],
        [None],
        [None],
        [None],
    )
    assert found.next_page is None
    assert list(parsed(page("")).keys) == []


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-26T22:28:57.78Z", "2026-11-26T22:28:57Z"),
        ("2026-11-26T23:28:57+01:00", "2026-11-26T22:28:57Z"),
        ("2026-11-26 22:28:57", "2026-11-26T22:28:57Z"),
        ("9999-12-31T23:59:59-01:00", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times(time: str, expected: str | None) -> None:
    assert parsed(page(one(Key="k", LastModified=time))).modified == [expected]


def test_prefixes() -> None:
    inner = "<Prefix>top</Prefix><CommonPrefixes><Prefix>a+b%2F</Prefix></CommonPrefixes>"
    assert list(parsed(page(inner)).prefixes) == ["a+b%2F"]
    found = parsed(page(f"<EncodingType>url</EncodingType>{inner}"))
    assert (list(found.prefixes), list(found.keys)) == (["a b/"], [])


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>", None),
        (f"{MORE}<NextContinuationToken>t+%2F</NextContinuationToken>", {"continuation-token": "t+%2F"}),
        (f"<IsTruncated>True</IsTruncated>{one(Key='a%2Fb')}", {"start-after": "a/b"}),
        (f"{MORE}<NextContinuationToken>a\ufffd</NextContinuationToken>{one(Key='a%01')}", {"start-after": "a\x01"}),
        (f"{MORE}{one(Key='a')}<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>", {"start-after": "b/\U0010ffff"}),
    ],
)
def test_the_next_page(inner: str, expected: dict[str, str] | None) -> None:
    assert parsed(page(f"<EncodingType>url</EncodingType>{inner}")).next_page == expected


def test_the_next_page_of_versions() -> None:
    version = "<Version><Key>a</Key><VersionId>1</VersionId></Version>"
    marker = "<DeleteMarker><Key>b+c</Key><VersionId>2</VersionId></DeleteMarker>"
    inner = f"<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>{version}{marker}"
    found = parsed(page(inner, "ListVersionsResult"))
    assert (list(found.keys), list(found.version_ids)) == (["a"], ["1"])
    assert found.next_page == {"key-marker": "b c", "version-id-marker": "2"}
    assert list(found.entries) == ["a", "b c"]
    beside = f"{inner}<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>"
    assert parsed(page(beside, "ListVersionsResult")).next_page == {"key-marker": "c/\U0010ffff"}
    told = "<NextKeyMarker>x%2B</NextKeyMarker><NextVersionIdMarker>3</NextVersionIdMarker>"
    found = parsed(page(f"{inner}{told}", "ListVersionsResult"))
    assert found.next_page == {"key-marker": "x+", "version-id-marker": "3"}


# -- bytes that are no listing


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "has a document type"),
        (
            b'<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><ListBucketResult><Name>&b;</Name></ListBucketResult>',
            "has a document type",
        ),
        (b"<html><body>sign in</body></html>", "not a listing: it begins with <html>"),
        (b"<Error><Code>AccessDenied</Code></Error>", "not a listing: it begins with <Error>"),
        (b"welcome", "not valid XML: syntax error"),
        (b"<ListBucketResult>&unknown;</ListBucketResult>", "not valid XML: undefined entity"),
        (b"<ListBucketResult><a></b></ListBucketResult>", "not valid XML: mismatched tag"),
        (page(one(Key="\x01")), "not valid XML"),
        (page(one(Size="1")), "<Contents> without a key"),
        (page(one(Key="k", Size="many")), "a size that is not a number: .*many"),
        (page(one(Key="k", Size="-1")), "a size that no object has: -1"),
        (page(one(Key="k") + one(Key="l", Size="9" * 19)), "a size that no object has: 9999"),
        (page(f"<EncodingType>url</EncodingType>{one(Key='%ff')}"), "not text in UTF-8"),
        (page(f"<EncodingType>url</EncodingType>{one(Key='a%00b')}"), "a NUL character"),
        (page("<IsTruncated>true</IsTruncated>"), "says that more follows, but not from where"),
    ],
)
def test_bytes_that_are_no_listing(body: bytes, words: str) -> None:
    with pytest.raises(ListingError, match=words):
        parsed(body)


@given(end=st.integers(0, 200))
def test_a_page_that_is_cut(end: int) -> None:
    body = page(one(Key="key", Size="7") * 3)
    with pytest.raises(TruncatedError, match="not complete"):
        parsed(body[: min(end, len(body) - 1)])


def test_an_endless_text() -> None:
    parser, chunk, fed = PageParser(), b"x" * 2**20, 0
    parser.feed(b"<ListBucketResult><Name>")
    with pytest.raises(ListingError, match="over 16 MiB"):
        for _ in range(100):
            parser.feed(chunk)
            fed += len(chunk)
    assert fed <= MAX_PAGE_BYTES
