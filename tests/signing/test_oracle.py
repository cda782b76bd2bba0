"""Urls are byte for byte those of botocore: keys, versions, overrides, headers, tokens, expiries."""

from collections.abc import AsyncIterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.model import Method, ObjectRef
from tests.signing import oracle
from tests.signing.conftest import Clock
from tests.signing.oracle import AWKWARD_KEYS, Both, parameters


@oracle.examples
@given(keys=oracle.key_lists, method=oracle.methods, expires_in=oracle.seconds)
def test_url_batch(either: Both, clock: Clock, keys: list[str], method: Method, expires_in: int) -> None:
    urls = either.presigner.url_batch("bucket", keys, method, expires_in=expires_in)
    assert urls == [either.expected(method, parameters("bucket", key), expires_in) for key in keys]


@pytest.mark.parametrize("method", oracle.OPERATIONS)
def test_awkward_keys(either: Both, clock: Clock, method: Method) -> None:
    expected = [either.expected(method, parameters("bucket", key)) for key in AWKWARD_KEYS]
    refs = [ObjectRef("bucket", key) for key in AWKWARD_KEYS]
    assert either.presigner.url_batch("bucket", AWKWARD_KEYS, method) == expected
    assert [link.url for link in either.presigner.sign_batch(refs, method)] == expected
    assert [link.url for link in either.sign(refs, method, batch_size=3)] == expected
    assert [
        either.presign(oracle.OPERATIONS[method], parameters("bucket", key)).url for key in AWKWARD_KEYS
    ] == expected


@oracle.examples
@given(
    rows=st.lists(st.tuples(st.sampled_from(["bucket", "other.dotted"]), oracle.keys, oracle.version_ids), max_size=8),
    method=st.sampled_from(["GET", "HEAD", "DELETE"]),
    query=oracle.overrides,
)
def test_versions_and_overrides(
    either: Both,
    clock: Clock,
    rows: list[tuple[str, str, str | None]],
    method: Method,
    query: dict[str, str],
) -> None:
    query = {} if method == "DELETE" else query
    refs = [ObjectRef(*row) for row in rows]
    links = either.presigner.sign_batch(refs, method, query=query)
    assert [link.url for link in links] == [either.expected(method, parameters(*row, query)) for row in rows]
    assert [link.object for link in links] == refs


def test_overrides_keep_their_order(europe: Both, clock: Clock) -> None:
    query = {"response-content-type": "a/b", "response-cache-control": "no-store"}
    turned = dict(reversed(query.items()))
    one, other = (europe.presigner.url_batch("bucket", ["key"], query=each)[0] for each in (query, turned))
    assert one != other
    assert one == europe.expected("GET", parameters("bucket", "key", query=query))
    assert other == europe.expected("GET", parameters("bucket", "key", query=turned))


@oracle.examples
@given(keys=oracle.key_lists, headers=oracle.headers)
def test_signed_headers_of_a_put(either: Both, clock: Clock, keys: list[str], headers: Mapping[str, str]) -> None:
    expected = [either.expected("PUT", parameters("bucket", key, headers=headers)) for key in keys]
    links = either.presigner.sign_batch([ObjectRef("bucket", key) for key in keys], "PUT", headers=headers)
    assert [link.url for link in links] == expected
    assert all(link.headers == headers and link.method == "PUT" for link in links)
    assert either.presigner.url_batch("bucket", keys, "PUT", headers=headers) == expected


@oracle.examples
@given(prefix=oracle.keys | st.just(""), token=oracle.keys)
def test_listings(either: Both, clock: Clock, prefix: str, token: str) -> None:
    params = {"Bucket": "bucket", "EncodingType": "url", "Prefix": prefix, "ContinuationToken": token}
    query = {"list-type": "2", "encoding-type": "url", "prefix": prefix, "continuation-token": token}
    assert either.presigner.sign_listing("bucket", query).url == either.presign("list_objects_v2", params, 900).url


@oracle.examples
@given(key=oracle.keys, headers=oracle.headers)
def test_presign_returns_the_signed_headers(either: Both, clock: Clock, key: str, headers: Mapping[str, str]) -> None:
    params = parameters("bucket", key, headers=headers)
    link = either.presign("put_object", params)
    assert link.url == either.expected("PUT", params)
    assert {name.lower(): value for name, value in link.headers.items()} == {
        name.lower(): value for name, value in headers.items()
    }


@oracle.examples
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["bucket", "other"]), st.sampled_from([None, "image/png", "text/plain"])), max_size=8
    )
)
def test_content_type_of_the_object_is_signed_for_a_put(
    europe: Both, clock: Clock, rows: list[tuple[str, str | None]]
) -> None:
    refs = [
        ObjectRef(bucket, f"key {number}", content_type=content_type)
        for number, (bucket, content_type) in enumerate(rows)
    ]
    links = europe.presigner.sign_batch(refs, "PUT", headers={"content-type": "binary/other"})
    types = [ref.content_type or "binary/other" for ref in refs]
    assert [link.url for link in links] == [
        europe.expected("PUT", parameters(ref.bucket, ref.key, headers={"Content-Type": content_type}))
        for ref, content_type in zip(refs, types, strict=True)
    ]
    assert [{name.lower(): value for name, value in link.headers.items()} for link in links] == [
        {"content-type": content_type} for content_type in types
    ]
    assert [link.object for link in links] == refs


@pytest.mark.parametrize(
    ("operation", "params", "method"),
    [
        ("list_buckets", {}, "GET"),
        ("get_bucket_location", {"Bucket": "bucket"}, "GET"),
        ("list_objects_v2", {"Bucket": "bucket", "Prefix": "a b/", "MaxKeys": 7}, "GET"),
        ("upload_part", {"Bucket": "bucket", "Key": "a//b", "UploadId": "u+/=", "PartNumber": 3}, "PUT"),
        ("create_multipart_upload", {"Bucket": "bucket", "Key": "k"}, "POST"),
        ("complete_multipart_upload", {"Bucket": "bucket", "Key": "k", "UploadId": "u"}, "POST"),
        ("abort_multipart_upload", {"Bucket": "bucket", "Key": "k", "UploadId": "u"}, "DELETE"),
        ("get_object", {"Bucket": "bucket", "Key": "k", "Range": "bytes=0-9", "PartNumber": 1}, "GET"),
        ("get_object_tagging", {"Bucket": "bucket", "Key": "k"}, "GET"),
        ("copy_object", {"Bucket": "bucket", "Key": "k", "CopySource": {"Bucket": "from", "Key": "ä b"}}, "PUT"),
        ("head_bucket", {"Bucket": "bucket"}, "HEAD"),
    ],
)
def test_any_operation(either: Both, clock: Clock, operation: str, params: dict[str, object], method: str) -> None:
    link = either.presign(operation, params, expires_in=77)
    assert link.url == either.client.generate_presigned_url(operation, params, 77)
    assert link.method == method
    assert link.object == ObjectRef(str(params.get("Bucket", "")), str(params.get("Key", "")))


def test_http_method_override(either: Both, clock: Clock) -> None:
    params = {"Bucket": "bucket", "Key": "key"}
    link = either.presign("get_object", params, http_method="head")
    assert link.method == "HEAD"
    assert link.url == either.client.generate_presigned_url("get_object", params, 3600, "HEAD")


def test_a_long_run_has_one_link_per_object_in_order(europe: Both, clock: Clock) -> None:
    async def objects() -> AsyncIterator[ObjectRef]:
        for number in range(2500):
            yield ObjectRef("bucket", f"key-{number}")

    links = europe.sign(objects())
    assert [link.object.key for link in links] == [f"key-{number}" for number in range(2500)]
    assert links[2499].url == europe.expected("GET", parameters("bucket", "key-2499"))
