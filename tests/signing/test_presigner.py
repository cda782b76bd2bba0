"""The arguments of a Presigner, its errors, and no secrets in messages."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from bulkpresign.aws import Credentials
from bulkpresign.errors import BulkpresignError, CredentialsError, ParameterError, SigningError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.presigner import Presigner
from tests.signing.oracle import SECRET_KEY, TOKEN, Both, both

BAD_KEYS = ["", "a\0b", "x" * 1025, "é" * 513, "\ud800"]
BAD_BUCKETS = ["", "ab", "with/slash", "with space", "192.168.0.1", "-bucket", "bucket-", "x" * 256, "bücket"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_are_not_valid(europe: Both, key: str) -> None:
    refs = [ObjectRef("bucket", "good"), ObjectRef("bucket", key)]
    for attempt in (
        lambda: europe.presigner.url_batch("bucket", ["good", key]),
        lambda: europe.presigner.sign_batch(refs),
        lambda: europe.sign(refs),
        lambda: europe.presign("get_object", {"Bucket": "bucket", "Key": key}),
    ):
        with pytest.raises(ParameterError, match="key"):
            attempt()


@pytest.mark.parametrize("bucket", BAD_BUCKETS)
def test_buckets_that_are_not_valid(europe: Both, bucket: str) -> None:
    for attempt in (
        lambda: europe.presigner.url_batch(bucket, ["key"]),
        lambda: europe.presigner.sign_batch([ObjectRef(bucket, "key")]),
        lambda: europe.presign("list_objects_v2", {"Bucket": bucket}),
    ):
        with pytest.raises(ParameterError, match="bucket"):
            attempt()


@pytest.mark.parametrize("method", ["POST", "get", "", "OPTIONS"])
def test_methods_that_are_not_valid(europe: Both, method: str) -> None:
    with pytest.raises(ParameterError, match="GET, PUT, HEAD, DELETE"):
        europe.presigner.url_batch("bucket", ["key"], method)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="GET, PUT, HEAD, DELETE"):
        europe.presigner.sign_batch([], method)  # type: ignore[arg-type]


def test_a_put_can_not_name_a_version(europe: Both) -> None:
    refs = [ObjectRef("bucket", "a"), ObjectRef("bucket", "b", "v1")]
    with pytest.raises(ParameterError, match="s3://bucket/b: a PUT"):
        europe.presigner.sign_batch(refs, "PUT")


def test_batches_accept_any_iterable(europe: Both) -> None:
    urls = europe.presigner.url_batch("bucket", ["a", "b"])
    assert [url.partition("?")[0].rpartition("/")[2] for url in urls] == ["a", "b"]
    assert len(europe.presigner.url_batch("bucket", (key for key in "ab"))) == 2
    assert len(europe.presigner.sign_batch(ObjectRef("bucket", key) for key in "ab")) == 2
    assert europe.presigner.url_batch("bucket", []) == []
    assert europe.presigner.sign_batch([]) == []
    assert europe.presigner.post_batch([]) == []
    assert europe.sign([]) == []
    with pytest.raises(ParameterError, match="list of keys"):
        europe.presigner.url_batch("bucket", "key.txt")
    with pytest.raises(ParameterError, match="batch_size"):
        europe.sign([ObjectRef("bucket", "a")], batch_size=0)


def test_headers_are_copied(europe: Both) -> None:
    headers = {"Content-Type": "a/b"}
    (link,) = europe.presigner.sign_batch([ObjectRef("bucket", "key")], "PUT", headers=headers)
    headers["Content-Type"] = "other"
    assert link.headers == {"Content-Type": "a/b"}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("no_such_method", {}),
        ("get_object", {"Bucket": "bucket"}),
        ("get_object", {"Bucket": "bucket", "Key": "k", "Colour": "red"}),
        ("get_object", {"Bucket": None, "Key": "k"}),
        ("get_object", {"Bucket": "bucket", "Key": 5}),
        ("put_object", {"Bucket": "bucket", "Key": "k", "Metadata": "text"}),
        ("put_object", {"Bucket": "bucket", "Key": "k", "Metadata": {"a": "ü"}}),
        ("upload_part", {"Bucket": "bucket", "Key": "k", "UploadId": "u", "PartNumber": "x"}),
    ],
)
def test_unknown_operations_and_parameters(europe: Both, method: str, params: dict[str, Any]) -> None:
    with pytest.raises(SigningError):
        europe.presign(method, params)


@pytest.mark.parametrize(
    ("method", "body", "params"),
    [
        ("put_object", "Body", {"Body": b"bytes"}),
        ("complete_multipart_upload", "MultipartUpload", {"UploadId": "id", "MultipartUpload": {"Parts": []}}),
    ],
)
def test_the_body_of_a_request_is_not_in_a_link(method: str, body: str, params: dict[str, Any], europe: Both) -> None:
    with pytest.raises(SigningError, match=f"{method}: {body} is the body of the request, which is not in a link"):
        europe.presign(method, {"Bucket": "bucket", "Key": "key", **params})


def test_outside_of_async_with(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    left = Presigner("eu-west-3")
    with portal.wrap_async_context_manager(left):
        assert left.url_batch("bucket", ["key"])
    for presigner in (Presigner(), left):
        with pytest.raises(CredentialsError, match="async with"):
            presigner.url_batch("bucket", ["key"])
        with pytest.raises(CredentialsError, match="async with"):
            presigner.sign_batch([ObjectRef("bucket", "key")])
        with pytest.raises(CredentialsError, match="async with"):
            portal.call(presigner.presign, "list_buckets")
    with portal.wrap_async_context_manager(left):
        assert left.url_batch("bucket", ["key"])


def test_defaults_of_the_presigner_hold_for_every_link(portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with portal.wrap_async_context_manager(Presigner("eu-west-3", expires_in=77)) as presigner:
        assert "X-Amz-Expires=77&" in presigner.url_batch("bucket", ["key"])[0]
        assert "X-Amz-Expires=78&" in presigner.url_batch("bucket", ["key"], expires_in=78)[0]


def _attempts(opened: Both) -> list[Callable[[], object]]:
    customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": {"not": SECRET_KEY}, "SSECustomerKeyMD5": "x"}
    listed = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": SECRET_KEY, "Colour": SECRET_KEY[:3]}
    return [
        lambda: opened.presign("get_object", {"Bucket": "bucket", "Key": "k", **customer}),
        lambda: opened.presign("get_object", {"Bucket": "bucket", "Key": "k", **listed}),
        lambda: opened.presign("nothing"),
        lambda: opened.presigner.url_batch("b", ["k"]),
        lambda: opened.presigner.url_batch("bucket", [""]),
        lambda: opened.presigner.url_batch("bucket", ["k"], "PUT", headers={"a": f"{SECRET_KEY}\n"}),
        lambda: opened.presigner.url_batch("bucket", ["k"], query={"X-Amz-Signature": SECRET_KEY}),
        lambda: opened.presigner.url_batch("bucket", ["k"], query={"a": f"{SECRET_KEY}\0"}),
        lambda: opened.presigner.url_batch("x--x-s3", ["k"]),
    ]


def test_no_repr_shows_a_secret(portal: BlockingPortal, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "bulkpresign")
    caplog.set_level(logging.INFO)
    shown = []
    with both(portal, token=TOKEN) as opened:
        ref = ObjectRef("bucket", "key")
        links = [opened.presigner.sign_batch([ref])[0], opened.presign("list_buckets")]
        posts = [opened.presigner.post_batch([ref])[0], opened.presign_post("bucket", "key")]
        shown += [repr(each) for each in (*links, *posts)] + [str(each) for each in (*links, *posts)]
        shown += [repr(Credentials("AKID", SECRET_KEY, TOKEN)), str(Credentials("AKID", SECRET_KEY, TOKEN))]
        shown += [repr(opened.presigner), repr(opened.presigner.aws)]
        for attempt in _attempts(opened):
            with pytest.raises(BulkpresignError) as caught:
                attempt()
            shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    signatures = [link.url.rpartition("=")[2] for link in links] + [post.fields["x-amz-signature"] for post in posts]
    policies = [post.fields["policy"] for post in posts]
    for secret in (SECRET_KEY, TOKEN, TOKEN[:20], *signatures, *policies):
        assert len(secret) >= 20
        assert not [text for text in shown if secret in text]
        assert secret not in caplog.text


def test_it_waits_in_the_event_loop_in_which_it_was_opened(europe: Both) -> None:
    """In another one it would wait for what only the first one ends. Batches don't wait."""
    presigner, refs = europe.presigner, [ObjectRef("bucket", "key")]

    async def sign() -> None:
        async for _ in presigner.sign(refs):
            pass

    for call in (
        presigner.refresh,
        lambda: presigner.prepare(refs),
        lambda: presigner.presign("list_buckets"),
        lambda: presigner.presign_post("bucket", "key"),
        sign,
    ):
        with pytest.raises(ParameterError, match="opened in another event loop: open one for each"):
            asyncio.run(call())
    assert len(presigner.url_batch("bucket", ["key"])) == 1
    assert len(presigner.sign_batch(refs)) == len(presigner.post_batch(refs)) == 1
    assert europe.presign("list_buckets")


@pytest.mark.parametrize("is_async", [False, True])
def test_objects_before_an_error_of_the_iterable_are_signed(europe: Both, *, is_async: bool) -> None:
    """The iterable has given them, and can't give them again."""

    def plain() -> Iterator[ObjectRef]:
        yield from (ObjectRef("bucket", f"{number}") for number in range(5))
        raise LookupError("the database is gone")

    async def waiting() -> AsyncIterator[ObjectRef]:
        for ref in plain():
            yield ref

    found: list[str] = []

    async def sign() -> None:
        async for links in europe.presigner.sign(waiting() if is_async else plain(), batch_size=2):
            found.extend(link.object.key for link in links)

    with pytest.raises(LookupError, match="the database is gone"):
        europe.portal.call(sign)
    assert found == list("01234")


def test_it_is_open_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second block would close the Presigner for the first one. After its end it can be opened again."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    presigner = Presigner(region_name="eu-west-1")

    async def use() -> None:
        async with presigner:
            with pytest.raises(ParameterError, match="open already"):
                await presigner.__aenter__()
            assert len(presigner.url_batch("bucket", ["key"])) == 1
            assert (await presigner.presign("list_buckets")).method == "GET"

    with pytest.raises(CredentialsError):
        asyncio.run(use())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    for _ in range(2):
        asyncio.run(use())


def test_it_is_opened_again_with_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    presigner = Presigner(region_name="eu-west-1")

    async def url() -> str:
        async with presigner:
            presigner.sign_put(ObjectRef("bucket", "key"), {})
            return presigner.url_batch("bucket", ["key"])[0]

    for key, host in (("ONE", "http://one:9000"), ("TWO", "http://two:9000")):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_ENDPOINT_URL", host)
        found = asyncio.run(url())
        assert found.startswith(f"{host}/bucket/key?")
        assert f"X-Amz-Credential={key}%2F" in found
