"""`verify --metadata`: the content type, caching headers, metadata and tags of two sides are compared."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.pipeline.verification.metadata import metadata_difference
from tests.pipeline.copies import FOR_COPY, BehindProxy, ProxiedSides, Sides, only
from tests.servers.proxy import Fault, Seen
from tests.servers.server import S3Server
from tests.support.tables import rows_of

MIB = 1 << 20
BODY = b"the same"
KEPT: dict[str, Any] = {
    "ContentType": "text/html",
    "CacheControl": "max-age=60",
    "Metadata": {"origin": "farm"},
    "Tagging": "class=a%20b&of=x%3Dy",
}


def compare(sides: Sides, source: Any = None, destination: Any = None, **settings: Any) -> bp.VerifyReport:
    settings = {"metadata": True, **(sides.for_copy and FOR_COPY), **settings}
    sides.events.clear()
    one, other = source or f"s3://{sides.source}/", destination or f"s3://{sides.destination}/"
    return asyncio.run(bp.compare(one, other, listeners=[sides.events.append], **settings))


def put(sides: Sides, key: str = "x", **settings: Any) -> None:
    """An object that is the same on both sides, but for `settings` of its copy."""
    sides.get.put_object(Bucket=sides.source, Key=key, Body=BODY, **KEPT)
    given = {name: value for name, value in {**KEPT, **settings}.items() if value is not None}
    sides.put.put_object(Bucket=sides.destination, Key=key, Body=BODY, **given)


def messages(sides: Sides) -> dict[str, str]:
    return {each.object.key: each.message or "" for each in sides.outcomes if each.status == "failed"}


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_copies_have_the_metadata_of_their_objects(sides: Sides) -> None:
    for key in ("a", "b/c"):
        sides.get.put_object(Bucket=sides.source, Key=key, Body=BODY, **KEPT)
    sides.upload_in_parts("parts", [b"1" * 5 * MIB, b"2"], **KEPT)
    sides.copy()
    report = compare(sides)
    assert (report.verified, report.is_good) == (3, True), messages(sides)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ContentType": "text/plain"}, "content-type: 'text/plain' where there is 'text/html'"),
        ({"CacheControl": None}, "cache-control: none where there is 'max-age=60'"),
        ({"Metadata": {}}, "x-amz-meta-origin: none where there is 'farm'"),
        ({"Metadata": {"origin": "farm", "more": "1"}}, "x-amz-meta-more: '1' where there is none"),
        ({"Tagging": None}, "tags: none where there is 'class=a%20b&of=x%3Dy'"),
        ({"Tagging": "class=a%20b&of=z"}, "tags: 'class=a%20b&of=z' where there is 'class=a%20b&of=x%3Dy'"),
    ],
)
def test_what_differs_is_named(proxied: ProxiedSides, settings: dict[str, Any], said: str) -> None:
    put(proxied, "same")
    put(proxied, "other", **settings)
    report = compare(proxied, differences=Path("found.csv"))
    assert (report.verified, report.different, report.is_good) == (1, 1, False)
    assert messages(proxied) == {"other": said}
    (row,) = rows_of(Path("found.csv"))
    assert (row["key"], row["difference"], row["reason"]) == ("other", "different", said)
    assert compare(proxied, metadata=False).is_good


def test_the_order_of_tags_is_that_of_their_names(proxied: ProxiedSides) -> None:
    put(proxied, Tagging="of=x%3Dy&class=a%20b")
    assert compare(proxied).is_good


def test_objects_whose_bytes_differ_are_named_for_that(proxied: ProxiedSides) -> None:
    put(proxied, ContentType="text/plain")
    proxied.put.put_object(Bucket=proxied.destination, Key="x", Body=b"others")
    report = compare(proxied)
    assert (report.different, report.failed) == (1, 1)
    assert "content-type" not in messages(proxied)["x"]
    assert not [seen for seen in proxied.proxy.seen if seen.method == "HEAD"]


def test_objects_that_are_read_are_compared_too(proxied: ProxiedSides) -> None:
    """The etags of parts of other sizes tell nothing."""
    proxied.upload_in_parts("same", [b"1" * 5 * MIB, b"1" * 5 * MIB, b"2"], ContentType="text/html")
    proxied.upload_in_parts("other", [b"1" * 5 * MIB, b"1" * 5 * MIB, b"2"], ContentType="text/html")
    body = b"1" * 10 * MIB + b"2"
    for key, content_type in (("same", "text/html"), ("other", "text/plain")):
        proxied.put.put_object(Bucket=proxied.destination, Key=key, Body=body, ContentType=content_type)
    report = compare(proxied)
    assert (report.verified, report.different) == (1, 1)
    assert messages(proxied) == {"other": "content-type: 'text/plain' where there is 'text/html'"}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_what_a_server_does_not_tell_is_unproven(proxied: ProxiedSides, side: str) -> None:
    put(proxied)
    bucket = getattr(proxied, side)

    def deny(seen: Seen) -> Fault | None:
        return Fault(403) if seen.method == "HEAD" and f"/{bucket}/" in seen.target else None

    proxied.proxy.schedule = deny
    report = compare(proxied)
    assert (report.verified, report.unproven, report.is_good) == (0, 1, False)
    assert messages(proxied) == {"x": f"the {side} does not tell its metadata: 403 HTTP403"}


def test_tags_that_are_not_told_are_unproven(proxied: ProxiedSides) -> None:
    put(proxied)
    proxied.proxy.schedule = lambda seen: Fault(403) if "tagging=" in seen.target else None
    report = compare(proxied)
    assert (report.verified, report.unproven) == (0, 1)


def test_objects_of_manifests_are_asked_for_and_links_are_not(proxied: ProxiedSides) -> None:
    put(proxied)
    asyncio.run(bp.sign(f"s3://{proxied.source}/", "links.csv"))
    Path("keys.csv").write_text(f"bucket,key\n{proxied.source},x\n")
    assert compare(proxied, "keys.csv").is_good
    report = compare(proxied, "links.csv")
    assert (report.verified, report.unproven) == (0, 1)


def test_a_folder_has_no_metadata(proxied: ProxiedSides) -> None:
    with pytest.raises(bp.ParameterError, match="one side has none"):
        compare(proxied, destination=".")


def test_tags_are_asked_for_where_a_head_does_not_tell_of_them(behind_proxy: BehindProxy, ministack: S3Server) -> None:
    sides = behind_proxy(ministack)
    put(sides, "same")
    put(sides, "other", Tagging="class=other")
    report = compare(sides)
    assert (report.verified, report.different) == (1, 1)


def test_tags_that_read_alike_are_others(proxied: ProxiedSides) -> None:
    sides = (proxied.get, proxied.source, {"a=b": "c"}), (proxied.put, proxied.destination, {"a": "b=c"})
    for client, bucket, tags in sides:
        client.put_object(Bucket=bucket, Key="x", Body=BODY)
        tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
        client.put_object_tagging(Bucket=bucket, Key="x", Tagging={"TagSet": tag_set})
    assert compare(proxied).different == 1


def test_requests_are_repeated(proxied: ProxiedSides) -> None:
    put(proxied)
    failed: set[bytes] = set()

    def fail_once(seen: Seen) -> Fault | None:
        is_first = f"/{proxied.source}/x" in seen.target and seen.line not in failed
        failed.add(seen.line)
        return Fault(503) if is_first else None

    proxied.proxy.schedule = fail_once
    assert compare(proxied).is_good
    assert len(failed) > 1


def test_an_object_that_changed_since_it_was_listed_is_unproven(proxied: ProxiedSides) -> None:
    put(proxied)

    def change(seen: Seen) -> None:
        if seen.method == "HEAD":
            for client, bucket in ((proxied.get, proxied.source), (proxied.put, proxied.destination)):
                client.put_object(Bucket=bucket, Key="x", Body=bucket.encode(), **KEPT)

    proxied.proxy.schedule = change
    report = compare(proxied)
    assert (report.verified, report.unproven) == (0, 1)
    assert "it changed since it was listed" in messages(proxied)["x"]


def test_one_object_on_both_sides_proves_nothing(proxied: ProxiedSides) -> None:
    put(proxied)
    Path("keys.csv").write_text(f"bucket,key,size\n{proxied.source},x,{len(BODY)}\n")
    report = compare(proxied, "keys.csv", f"s3://{proxied.source}/")
    assert (report.verified, report.unproven) == (0, 1)


@pytest.mark.parametrize("text", ["=?utf-8?b?a?=", "=?utf-7?q?+2AA-?=", "=?unicode_escape?q?=5Cq?=", "=?utf-8?q?=FF?="])
def test_text_that_is_not_encoded_well_is_compared_as_it_is(proxied: ProxiedSides, text: str) -> None:
    put(proxied, "same", Metadata={"origin": text})
    proxied.get.put_object(Bucket=proxied.source, Key="same", Body=BODY, **{**KEPT, "Metadata": {"origin": text}})
    put(proxied, "other", Metadata={"origin": text})
    report = compare(proxied)
    assert (report.verified, report.different) == (1, 1)


def test_encoded_text_is_the_text(proxied: ProxiedSides) -> None:
    """AWS answers with RFC 2047 for what is not ASCII, which has several forms."""
    for client, bucket, text in (
        (proxied.get, proxied.source, "=?UTF-8?B?a8Okc2U=?="),
        (proxied.put, proxied.destination, "=?UTF-8?Q?k=C3=A4se?="),
    ):
        client.put_object(Bucket=bucket, Key="x", Body=BODY, Metadata={"origin": text})
    assert compare(proxied).is_good


def test_many_differences_are_counted() -> None:
    assert metadata_difference({}, {}) is None
    said = metadata_difference(dict.fromkeys("abcde", "1"), {"e": "x" * 100})
    assert said is not None
    assert said.startswith("a: none where there is '1'; ")
    assert said.endswith("; 2 more headers differ")


def test_the_place_where_long_values_differ_is_shown() -> None:
    said = metadata_difference({"a": "x" * 500 + "1"}, {"a": "x" * 500 + "2"})
    assert said == f"a: '...{'x' * 30}2' where there is '...{'x' * 30}1'"


def test_no_secret_is_shown() -> None:
    said = metadata_difference({"a": "https://h/k?X-Amz-Signature=0123456789abcdef"}, {})
    assert said is not None
    assert "0123456789abcdef" not in said
