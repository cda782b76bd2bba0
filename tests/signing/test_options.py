"""The options of links, per run and per row, compared with botocore's urls and headers."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import ParameterError
from bulkpresign.model import BatchMethod, ObjectRef
from bulkpresign.signing.options import OPTION_COLUMNS, LinkOptions, headers_of, query_of, saved_as
from bulkpresign.signing.values import REGION, customer_key, option_problem
from bulkpresign.tables.columns import OPTIONS
from tests.signing import oracle
from tests.signing.conftest import Clock
from tests.signing.oracle import ACCESS_KEY, SECRET_KEY, TOKEN, Both

KEY = bytes(range(32))
KEY_TEXT = b64encode(KEY).decode()
CRC = "AAAAAAAAAAA="

#: In the order in which they stand in a url.
PARAMETERS = {
    "version_id": "VersionId",
    "filename": "ResponseContentDisposition",
    "response_content_type": "ResponseContentType",
    "response_content_disposition": "ResponseContentDisposition",
    "response_content_encoding": "ResponseContentEncoding",
    "response_content_language": "ResponseContentLanguage",
    "response_cache_control": "ResponseCacheControl",
    "request_payer": "RequestPayer",
    "content_type": "ContentType",
    "cache_control": "CacheControl",
    "content_disposition": "ContentDisposition",
    "content_encoding": "ContentEncoding",
    "metadata": "Metadata",
    "storage_class": "StorageClass",
    "tagging": "Tagging",
    "acl": "ACL",
    "sse": "ServerSideEncryption",
    "sse_kms_key_id": "SSEKMSKeyId",
    "if_none_match": "IfNoneMatch",
}

_lines = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=20)
_texts = oracle.keys.filter(lambda text: not set(text) & set("\r\n"))
_names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_get = {name: _texts for name in PARAMETERS if name == "filename" or name.startswith("response_")}
_put: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("content_type", "cache_control", "content_disposition", "content_encoding"), _lines),
    "metadata": st.dictionaries(_names, _lines, min_size=1, max_size=3),
    "storage_class": st.sampled_from(["STANDARD_IA", "GLACIER_IR"]),
    "tagging": st.sampled_from(["k=v", "k=v&k2=v%202", "k="]),
    "acl": st.sampled_from(["private", "bucket-owner-full-control"]),
    "sse": st.sampled_from(["AES256", "aws:kms"]),
    "sse_kms_key_id": st.just("arn:aws:kms:eu-central-1:1:key/2"),
    "if_none_match": st.just("*"),
    "request_payer": st.just("requester"),
}
_customer_key = {"sse_customer_key": st.just(KEY_TEXT)}
get_settings = st.fixed_dictionaries({}, optional=_get | _customer_key)
put_settings = st.fixed_dictionaries({}, optional=_put | _customer_key)
checksums = st.sampled_from(
    [
        None,
        f"crc64nvme:{CRC}",
        "crc32c:AAAAAA==",
        "crc32:AAAAAA==",
        f"sha256:{KEY_TEXT}",
        "md5:AAAAAAAAAAAAAAAAAAAAAA==",
        "sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ]
)


def parameters(bucket: str, key: str, *levels: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of botocore for the same link: those of the row, then those of all rows."""
    params: dict[str, Any] = {"Bucket": bucket, "Key": key}
    for settings in levels:
        for name, parameter in PARAMETERS.items():
            if name in settings and parameter not in params:
                value = settings[name]
                if name == "filename":
                    value = saved_as(value.replace("{name}", key.rstrip("/").rpartition("/")[2]))
                params[parameter] = value
        if "checksum" in settings:
            algorithm, _, value = settings["checksum"].partition(":")
            params["ContentMD5" if algorithm == "md5" else f"Checksum{algorithm.upper()}"] = value
        if "sse_customer_key" in settings:
            params |= {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
    return params


def options_of(settings: dict[str, Any]) -> LinkOptions:
    if "filename" in settings:
        settings.pop("response_content_disposition", None)
    return LinkOptions(**settings)


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@oracle.examples
@given(key=oracle.keys, version=oracle.version_ids, settings=get_settings)
def test_options_of_get_links(
    either: Both, clock: Clock, key: str, version: str | None, settings: dict[str, Any]
) -> None:
    (link,) = either.presigner.sign_batch([ObjectRef("bucket", key, version)], options=options_of(settings))
    params = parameters("bucket", key, {} if version is None else {"version_id": version}, settings)
    assert link.url == either.expected("GET", params)
    assert lowered(link.headers) == lowered(either.presign("get_object", params).headers)


@oracle.examples
@given(key=oracle.keys, settings=put_settings, checksum=checksums)
def test_options_of_put_links(
    either: Both, clock: Clock, key: str, settings: dict[str, Any], checksum: str | None
) -> None:
    ref = ObjectRef("bucket", key, checksum=checksum)
    (link,) = either.presigner.sign_batch([ref], "PUT", options=LinkOptions(**settings))
    params = parameters("bucket", key, settings | ({"checksum": checksum} if checksum else {}))
    assert link.url == either.expected("PUT", params)
    assert lowered(link.headers) == lowered(either.presign("put_object", params).headers)


@oracle.examples
@given(key=oracle.keys, shared=put_settings, own=put_settings, content_type=st.none() | st.just("a/b"))
def test_a_post_that_creates_an_upload_has_the_settings_of_a_put(
    either: Both, clock: Clock, key: str, shared: dict[str, Any], own: dict[str, Any], content_type: str | None
) -> None:
    own.pop("content_type", None)
    ref = ObjectRef("bucket", key, content_type=content_type, checksum="crc32:AAAAAA==", extra=own)
    (link,) = either.presigner.sign_batch([ref], "POST", query={"uploads": ""}, options=LinkOptions(**shared))
    own_type = {"content_type": content_type} if content_type else {}
    params = parameters("bucket", key, own | own_type, shared)
    params.pop("IfNoneMatch", None)  # of whoever completes it
    expected = either.presign("create_multipart_upload", params)
    assert lowered(link.headers) == lowered(expected.headers)
    assert parse_qs(urlsplit(link.url).query) == parse_qs(urlsplit(expected.url).query)


@oracle.examples
@given(
    rows=st.lists(st.tuples(st.sampled_from(["bucket", "other"]), oracle.keys, get_settings), min_size=1, max_size=6),
    shared=get_settings,
)
@example(rows=[("bucket", "k", {"response_content_type": "text/csv"})], shared={"filename": "{name}"})
def test_rows_of_get_links_override_options(
    either: Both, clock: Clock, rows: list[tuple[str, str, dict[str, Any]]], shared: dict[str, Any]
) -> None:
    refs = [ObjectRef(bucket, key, extra={**own, "note": "carried"}) for bucket, key, own in rows]
    options = options_of(shared)
    links = either.presigner.sign_batch(refs, options=options)
    each = {"filename": shared["filename"]} if "{name}" in shared.get("filename", "") else {}
    for (bucket, key, own), link in zip(rows, links, strict=True):
        has_name = not own.keys().isdisjoint(("filename", "response_content_disposition"))
        settings = own if has_name else each | own  # a name of each key is its row's own
        assert link.url == either.expected("GET", parameters(bucket, key, settings, shared)), own
    assert [link.object for link in links] == refs


@oracle.examples
@given(
    rows=st.lists(st.tuples(oracle.keys, put_settings, checksums), min_size=1, max_size=6),
    shared=put_settings,
)
def test_rows_of_put_links_override_options(
    either: Both, clock: Clock, rows: list[tuple[str, dict[str, Any], str | None]], shared: dict[str, Any]
) -> None:
    refs = [
        ObjectRef("bucket", key, checksum=checksum, content_type=own.get("content_type"), extra=own)
        for key, own, checksum in rows
    ]
    links = either.presigner.sign_batch(refs, "PUT", options=LinkOptions(**shared))
    for (key, own, checksum), link in zip(rows, links, strict=True):
        params = parameters("bucket", key, own | ({"checksum": checksum} if checksum else {}), shared)
        assert link.url == either.expected("PUT", params)
        assert lowered(link.headers) == lowered(either.presign("put_object", params).headers)


def test_each_link_is_saved_under_the_name_of_its_key(europe: Both, clock: Clock) -> None:
    keys = ["a/b.txt", 'c d/é "x".txt', "folder/", "plain", "line\nbreak"]
    links = europe.presigner.sign_batch(
        [ObjectRef("bucket", key, "v1" if key == "plain" else None) for key in keys],
        options=LinkOptions(filename="to {name}", response_content_type="a/b"),
    )
    for key, link in zip(keys, links, strict=True):
        own = {"filename": "to {name}"} | ({"version_id": "v1"} if key == "plain" else {})
        assert link.url == europe.expected("GET", parameters("bucket", key, own, {"response_content_type": "a/b"}))


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_request_payer_is_in_the_query_of_links_without_a_body(europe: Both, clock: Clock, method: BatchMethod) -> None:
    """botocore signs a header there; its signer, given the url with the parameter, is the oracle."""
    options = LinkOptions(request_payer="requester")
    (link,) = europe.presigner.sign_batch([ObjectRef("bucket", "a b", "v1")], method, options=options)
    assert link.headers == {}
    url = "https://bucket.s3.amazonaws.com/a%20b?versionId=v1&x-amz-request-payer=requester"
    request = AWSRequest(method, url)
    S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "eu-central-1", expires=3600).add_auth(request)
    assert parse_qs(urlsplit(link.url).query) == parse_qs(urlsplit(str(request.url)).query)
    row = ObjectRef("bucket", "a b", "v1", extra={"request_payer": "requester"})
    assert parse_qs(urlsplit(europe.presigner.sign_batch([row], method)[0].url).query) == parse_qs(
        urlsplit(link.url).query
    )


def test_columns_of_other_methods_are_carried_through(europe: Both, clock: Clock) -> None:
    """One list serves for uploads and downloads."""
    ref = ObjectRef("bucket", "k", content_type="a/b", extra={"storage_class": "X", "metadata": "free text", "acl": 5})
    (link,) = europe.presigner.sign_batch([ref])
    assert (link.url, link.headers) == (europe.expected("GET", parameters("bucket", "k")), {})
    put = ObjectRef("bucket", "k", extra={"filename": 7, "metadata": None, "acl": "", "region": None})
    (link,) = europe.presigner.sign_batch([put], "PUT")
    assert (link.url, link.headers) == (europe.expected("PUT", parameters("bucket", "k")), {})


def test_every_column_of_an_option_is_read_in_any_spelling() -> None:
    columns = {name for names in OPTION_COLUMNS.values() for name in names}
    assert set(OPTIONS) == columns - {"storage_class"} | {REGION}


def test_a_composite_checksum_is_not_signed(europe: Both, clock: Clock) -> None:
    (link,) = europe.presigner.sign_batch([ObjectRef("bucket", "k", checksum=f"sha256:{KEY_TEXT}-2")], "PUT")
    assert link.headers == {}


def test_a_header_of_a_row_overrides_one_given_by_name(europe: Both, clock: Clock) -> None:
    ref = ObjectRef("bucket", "k", extra={"storage_class": "GLACIER_IR", "metadata": '{"a": "1"}'})
    given_headers = {"X-Amz-Storage-Class": "OTHER", "x-amz-meta-b": "2"}
    (link,) = europe.presigner.sign_batch([ref], "PUT", headers=given_headers)
    assert link.headers == {"x-amz-storage-class": "GLACIER_IR", "x-amz-meta-a": "1", "x-amz-meta-b": "2"}
    options = LinkOptions(metadata={"b": "2"})
    (link,) = europe.presigner.sign_batch([ref], "PUT", options=options)
    assert link.headers == {"x-amz-storage-class": "GLACIER_IR", "x-amz-meta-a": "1"}


@pytest.mark.parametrize(
    ("method", "options", "named", "why"),
    [
        ("GET", {"storage_class": "X"}, {}, "storage-class is for PUT links"),
        ("GET", {"metadata": {"a": "b"}}, {}, "metadata is for PUT links"),
        ("PUT", {"filename": "x"}, {}, "filename is for GET links"),
        ("HEAD", {"filename": "x"}, {}, "filename is for GET links"),
        ("PUT", {"response_expires": "x"}, {}, "response-expires is for GET and HEAD links"),
        ("DELETE", {"sse_customer_key": KEY_TEXT}, {}, "sse-customer-key is for GET and HEAD and PUT links"),
        ("PUT", {"cache_control": "a\nb"}, {}, "cache-control: one line"),
        ("PUT", {"storage_class": ""}, {}, "storage-class: one line"),
        ("PUT", {"acl": "\ud800"}, {}, "acl: one line"),
        ("PUT", {"if_none_match": "*"}, {"headers": {"if-none-match": "*"}}, "If-None-Match is given twice"),
        ("GET", {"response_expires": "x"}, {"query": {"response-expires": "y"}}, "response-expires is given twice"),
        ("GET", {"filename": "x", "response_content_disposition": "y"}, {}, "both given"),
        ("PUT", {"metadata": {"a b": "x"}}, {}, "metadata: 'a b' is not a valid name"),
    ],
)
def test_options_that_are_not_valid(
    europe: Both, method: BatchMethod, options: dict[str, Any], named: dict[str, Any], why: str
) -> None:
    with pytest.raises(ParameterError, match=why):
        europe.presigner.sign_batch([ObjectRef("bucket", "k")], method, options=LinkOptions(**options), **named)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("storage_class", 5, "text is expected, not int"),
        ("storage_class", "a\r\nb", "one line"),
        ("content_encoding", "a\0b", "one line"),
        ("metadata", "a=b", "a JSON object"),
        ("metadata", "{}x", "a JSON object"),
        ("metadata", '{"a": 1}', "a JSON object"),
        ("metadata", ["a"], "a JSON object"),
        ("metadata", '{"a:": "x"}', "'a:' is not a valid name"),
        ("metadata", '{"": "x"}', "'' is not a valid name"),
        ("metadata", '{"a": "x\\ny"}', "a: the value must be one line of ASCII"),
        ("metadata", '{"a": "\ud800"}', "a JSON object"),
        ("metadata", '{"a": "é"}', "a: the value must be one line of ASCII"),
        ("metadata", '{"a": "1", "A": "2"}', "a name is given twice"),
        ("tagging", "k", "'k' is not of the form"),
        ("tagging", "k=v&", "'k=v&' is not of the form"),
        ("tagging", "k=v w", "'k=v w' is not of the form"),
        ("request_payer", "me", "'me' is not requester"),
        ("if_none_match", "etag", "'etag' is not [*]"),
        ("sse_customer_key", "x", "32 bytes in base64 are expected"),
        ("sse_customer_key", "é", "32 bytes in base64 are expected"),
        ("sse_customer_key", "AAAA", "it has 3 bytes, not 32"),
    ],
)
def test_cells_that_are_not_valid(europe: Both, name: str, value: Any, why: str) -> None:
    with pytest.raises(ParameterError, match=f"s3://bucket/k: {name}: .*{why}"):
        europe.presigner.sign_batch([ObjectRef("bucket", "k", extra={name: value})], "PUT")


def test_a_checksum_or_region_that_is_not_valid(europe: Both) -> None:
    for ref in (ObjectRef("bucket", "k", checksum="x"), ObjectRef("bucket", "k", extra={"region": "eu west"})):
        with pytest.raises(ParameterError, match="s3://bucket/k: "):
            europe.presigner.sign_batch([ref], "PUT")


@pytest.mark.parametrize("content", [KEY, KEY_TEXT.encode(), f"{KEY_TEXT}\n".encode(), b"\n" * 32])
def test_a_customer_key_is_raw_or_base64(content: bytes) -> None:
    expected = b64encode(b"\n" * 32).decode() if content == b"\n" * 32 else KEY_TEXT
    assert customer_key(content) == expected
    assert option_problem("sse_customer_key", customer_key(content)) is None


@pytest.mark.parametrize("content", [b"", KEY[:31], KEY + b"\0", b64encode(KEY[:31]), b"\xff" * 44])
def test_a_customer_key_of_another_length(content: bytes) -> None:
    with pytest.raises(ParameterError, match="32") as caught:
        customer_key(content)
    assert not content or content.decode("latin-1") not in str(caught.value)


def test_no_message_shows_a_customer_key() -> None:
    assert KEY_TEXT not in repr(LinkOptions(sse_customer_key=KEY_TEXT, acl="private"))
    assert "acl='private'" in repr(LinkOptions(sse_customer_key=KEY_TEXT, acl="private"))
    digest = b64encode(hashlib.md5(KEY).digest()).decode()
    assert list(headers_of({"sse_customer_key": KEY_TEXT}, "GET").values()) == ["AES256", KEY_TEXT, digest]
    assert query_of({"sse_customer_key": KEY_TEXT}, "GET") == {}


def test_a_session_token_comes_after_the_settings_of_rows(session_token: Both, clock: Clock) -> None:
    ref = ObjectRef("bucket", "k", "v1", extra={"filename": "{name}.txt"})
    (link,) = session_token.presigner.sign_batch([ref])
    assert TOKEN.split("+", maxsplit=1)[0] in link.url
    assert link.url == session_token.expected(
        "GET", parameters("bucket", "k", {"version_id": "v1", "filename": "{name}.txt"})
    )
