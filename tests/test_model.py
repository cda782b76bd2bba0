"""The structs of the model, and the rules for buckets and keys."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import bulkpresign
from bulkpresign.aws.credentials import Credentials
from bulkpresign.model import (
    Link,
    ObjectRef,
    Outcome,
    Post,
    Report,
    UploadPart,
    bucket_problem,
    key_problem,
    keys_are_plain,
    utc_now,
    without_query,
)
from bulkpresign.signing.grant import SigningGrant
from bulkpresign.signing.options import LinkOptions

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://bucket.s3.amazonaws.com/key?X-Amz-Expires=3600&X-Amz-Signature=0123456789abcdef"


@given(
    st.lists(
        st.text(max_size=5) | st.sampled_from(["x" * 1024, "x" * 1025, "é" * 512, "é" * 513, "\ud800", "🎉" * 256])
    )
)
@example([])
@example([""])
@example(["🎉" * 257])
@example(["\ud83c", "\udf89"])
def test_a_batch_of_keys_is_plain_when_each_of_them_has_no_problem(keys: list[str]) -> None:
    assert keys_are_plain(keys) == (not any(key_problem(key) for key in keys))


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("a", None),
        ("../a//", None),
        ("x" * 1024, None),
        ("é" * 512, None),
        ("", "empty"),
        ("a\0", "NUL"),
        ("x" * 1025, "1,025 bytes"),
        ("é" * 513, "1,026 bytes"),
        ("\udc80", "Unicode"),
    ],
)
def test_keys(key: str, problem: str | None) -> None:
    found = key_problem(key)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize(
    "bucket", ["abc", "a.b-c", "Old_Bucket", "1.2.3.4.5", "x" * 255, "arn:aws:s3:eu-west-1:1:accesspoint/a"]
)
def test_buckets(bucket: str) -> None:
    assert bucket_problem(bucket) is None


@pytest.mark.parametrize(
    "bucket", ["", "ab", "x" * 256, "a/b", "a b", "-abc", "abc.", "1.2.3.4", "bücket", "abc\n", "s3://abc"]
)
def test_buckets_that_are_not_valid(bucket: str) -> None:
    assert "bucket" in str(bucket_problem(bucket))


def test_the_file_path_of_an_object() -> None:
    assert ObjectRef("bucket", "a/b").file_path == "a/b"
    assert ObjectRef("bucket", "a/b", path="b").file_path == "b"
    assert ObjectRef("bucket", "a/b", path="").file_path == ""
    assert ObjectRef("bucket", "a/b", path="b").uri == "s3://bucket/a/b"
    assert ObjectRef("", "a/b", path="b").uri == "a/b"
    assert ObjectRef("", "", path="b").uri == "b"


@pytest.mark.parametrize(
    ("lifetime", "left", "expires_by"),
    [
        (3600, 31, False),
        (3600, 30, True),
        (60, 7, False),  # a tenth of a minute is less than half a minute
        (60, 6, True),
        (60, -1, True),
        (None, 31, False),
        (None, 30, True),
    ],
)
def test_a_link_expires_early_by_a_margin(lifetime: int | None, left: int, expires_by: bool) -> None:
    url = "https://host/key" if lifetime is None else f"https://host/key?X-Amz-Expires={lifetime}&X-Amz-Signature=0"
    link = Link("GET", url, {}, NOW + timedelta(seconds=left))
    assert link.expires_by(NOW) is expires_by


def test_a_link_without_expiry_does_not_expire() -> None:
    assert not Link("GET", URL, {}).expires_by(NOW)


def test_no_repr_holds_a_signature() -> None:
    fields = {"key": "k", "policy": "POLICY", "x-amz-signature": "0123456789abcdef", "x-amz-security-token": "TOKEN"}
    shown = [repr(Link("GET", URL, {"x": "SECRET"}, NOW)), repr(Post("https://host/", fields, NOW))]
    shown += [str([Link("GET", URL, {})])]
    for secret in ("0123456789abcdef", "POLICY", "TOKEN", "SECRET"):
        assert not [text for text in shown if secret in text]
    assert "https://bucket.s3.amazonaws.com/key?" in shown[0]
    assert "key='k'" in shown[1]


def test_the_repr_of_an_object_has_only_the_names_of_its_columns() -> None:
    """Those of a manifest for copies have links, and one can be a customer's key."""
    ref = ObjectRef("bucket", "key", size=5, extra={"dst_url": URL, "sse_customer_key": "SECRET"})
    shown = "ObjectRef('bucket', 'key', size=5, extra={'dst_url': ..., 'sse_customer_key': ...})"
    assert repr(ref) == shown
    assert shown in repr(Outcome(ref, "done", link=Link("GET", URL, {}, NOW, ref)))
    assert repr(ObjectRef("bucket", "key")) == "ObjectRef('bucket', 'key')"


REF = ObjectRef("bucket", "key", extra={"dst_url": "SECRET", "sse_customer_key": "SECRET"})
LINK = Link("PUT", "https://host/key?X-Amz-Signature=SECRET", {"x": "SECRET"}, NOW, REF)
SECRETS: list[Any] = [
    REF,
    LINK,
    Outcome(REF, "done", link=LINK),
    UploadPart(1, 0, 5, LINK),
    Post("https://host/", {"key": "k", "policy": "SECRET"}, NOW, REF),
    LinkOptions(sse_customer_key="SECRET", acl="private"),
    Credentials("AKID", "SECRET", "SECRET"),
    SigningGrant(
        access_key="AKID",
        token="SECRET",
        now=NOW,
        expires_in=60,
        end=NOW,
        endpoints=[],
        keys={"20260101/eu-west-1/s3": b"SECRET"},
    ),
]


@pytest.mark.parametrize("value", SECRETS, ids=lambda value: type(value).__name__)
def test_rich_shows_no_secret(value: Any) -> None:
    """It asks for `__rich_repr__` before the repr, to print an object, and in tracebacks with the locals of frames."""
    shown = list(value.__rich_repr__())
    assert "SECRET" not in repr(shown)
    if "__repr__" in type(value).__dict__:
        assert f"{type(value).__name__}({', '.join(map(repr, shown))})" == repr(value)


def structs(kind: type[msgspec.Struct] = msgspec.Struct) -> Iterator[type[msgspec.Struct]]:
    for each in kind.__subclasses__():
        yield each
        yield from structs(each)


def test_rich_shows_the_repr_of_every_struct_that_has_its_own() -> None:
    for module in walk_packages(bulkpresign.__path__, "bulkpresign."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    own = {each for each in structs() if "__repr__" in each.__dict__ and each.__module__.startswith("bulkpresign.")}
    assert own >= {type(value) for value in SECRETS} - {Outcome, UploadPart}
    assert [each for each in own if "__rich_repr__" not in each.__dict__] == []


def test_objects_and_links_in_sets() -> None:
    """A program subtracts the objects that are done from those that it wants."""
    refs = [ObjectRef("bucket", key, extra={"last_modified": "2026-01-01"}) for key in ("a", "b")]
    links = [Link("GET", f"{URL}&x={ref.key}", {"host": "x"}, NOW, ref) for ref in refs]
    again = [Link(link.method, link.url, dict(link.headers), link.expires_at, link.object) for link in links]
    assert set(refs) - {link.object for link in links[:1]} == {refs[1]}
    assert set(links) == set(again)
    assert {link: number for number, link in enumerate(links)}[again[1]] == 1


def test_without_query() -> None:
    assert without_query(URL) == "https://bucket.s3.amazonaws.com/key"
    assert without_query("https://host/a%3Fb") == "https://host/a%3Fb"


def test_a_report_counts_outcomes() -> None:
    assert Report(verb="get", done=1, skipped=2, failed=4, expired=8).objects == 15


def test_the_current_time_is_in_utc() -> None:
    assert utc_now().tzinfo is UTC
