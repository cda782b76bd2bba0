"""The tags of objects: copies have them too, or the report counts those that have not."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import bulkpresign as bp
from bulkpresign.errors import ParameterError
from bulkpresign.events import TagsDropped
from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Fault, Seen

MIB = 1 << 20
TAGS = {"class": "a b", "of": "käse/+=:_"}
HELD, STREAMED = b"small", os.urandom(300_000)
PARTS = [os.urandom(5 * MIB), b"rest"]
TAGGED = {"held", "streamed", "parts"}
ALL = dict.fromkeys(TAGGED, TAGS)


def tag(sides: Sides, key: str, tags: dict[str, str]) -> None:
    tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
    sides.get.put_object_tagging(Bucket=sides.source, Key=key, Tagging={"TagSet": tag_set})


def tagged(sides: Sides) -> None:
    """Objects of the source with tags, and one without."""
    for key, body in {"held": HELD, "streamed": STREAMED, "bare": HELD}.items():
        sides.get.put_object(Bucket=sides.source, Key=key, Body=body)
    sides.upload_in_parts("parts", PARTS)
    for key in TAGGED:
        tag(sides, key, TAGS)


def tags_at(client: Any, bucket: str) -> dict[str, dict[str, str]]:
    """The tags of objects, without those that have none."""
    found = {}
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        tags = client.get_object_tagging(Bucket=bucket, Key=item["Key"]).get("TagSet", ())
        found[item["Key"]] = {tag["Key"]: tag["Value"] for tag in tags}
    return {key: tags for key, tags in found.items() if tags}


def dropped(sides: Sides) -> set[str]:
    return {event.object.key for event in sides.events if isinstance(event, TagsDropped)}


def reads_tags(sides: Sides, seen: Seen) -> bool:
    return seen.method == "GET" and "tagging=" in seen.target and f"/{sides.source}/" in seen.target


def writes_tags(seen: Seen) -> bool:
    return seen.method == "PUT" and "tagging=" in seen.target


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_copies_have_the_tags_of_their_objects(sides: Sides) -> None:
    """Ceph ignores the tags that an upload in parts is opened with."""
    tagged(sides)
    report = sides.copy()
    assert (report.done, report.failed, report.untagged) == (4, 0, 0)
    assert tags_at(sides.put, sides.destination) == ALL


@pytest.mark.parametrize("executor", [None, "processes:1"])
@pytest.mark.parametrize("relay", [False, True])
def test_tags_are_copied_by_one_server_and_through_here(
    proxied: ProxiedSides, relay: bool, executor: str | None
) -> None:
    tagged(proxied)
    report = proxied.copy(relay=relay, executor=executor)
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == ALL
    asked = [seen.target for seen in proxied.proxy.seen if reads_tags(proxied, seen)]
    assert len(asked) == (3 if relay else 1)  # the server copies those of an object in one request


def test_many_objects_with_tags_pass_one_slot(proxied: ProxiedSides) -> None:
    keys = [f"{number:02}" for number in range(30)]
    for key in keys:
        proxied.get.put_object(Bucket=proxied.source, Key=key, Body=key.encode())
        tag(proxied, key, {"is": key})
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (30, 0)
    assert tags_at(proxied.put, proxied.destination) == {key: {"is": key} for key in keys}


@pytest.mark.parametrize("relay", [False, True])
def test_tags_are_left_out_if_asked(proxied: ProxiedSides, relay: bool) -> None:
    tagged(proxied)
    report = proxied.copy(relay=relay, tags=False)
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == {}
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]


def test_tags_for_all_copies_replace_those_of_objects(proxied: ProxiedSides) -> None:
    tagged(proxied)
    report = proxied.copy(headers={"X-Amz-Tagging": "by=me"})
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == {key: {"by": "me"} for key in (*TAGGED, "bare")}
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]


def test_tags_that_fit_no_header_are_written_after_the_copy(proxied: ProxiedSides) -> None:
    tagged(proxied)
    many = {f"{number}-ключ": "знач" * 30 for number in range(8)}
    assert len(quote("".join(many.values()))) > 2048
    tag(proxied, "held", many)
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == {**ALL, "held": many}


def test_copies_by_links_without_tags_are_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(part_size=5 * MIB)
    report = proxied.copy_links()
    assert (report.done, report.untagged) == (4, 3)
    assert dropped(proxied) == TAGGED


@pytest.mark.parametrize("renews", [False, True])
def test_tags_are_read_with_credentials_alone(proxied: ProxiedSides, renews: bool) -> None:
    """The credentials that renew links lead to the objects of these links."""
    tagged(proxied)
    proxied.sign()
    report = proxied.copy("links.csv", "again/", renew_credentials=renews)
    assert (report.done, report.untagged) == (4, 0 if renews else 3)


def test_links_of_another_server_are_not_asked_for_tags_with_own_credentials(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign()
    elsewhere = proxied.proxy.url.replace("127.0.0.1", "localhost")
    report = proxied.copy("links.csv", "again/", renew_credentials=True, source_endpoint_url=elsewhere)
    assert (report.done, report.untagged) == (4, 3)
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]


@pytest.mark.parametrize(
    "answer",
    [
        Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>"),
        Fault(501),
        Fault(200, body=b"the bytes of the object: the server ignores the parameter"),
        Fault(200, body=b"<Data><TagSet><Tag><Key>not</Key><Value>a tag</Value></Tag></TagSet></Data>"),
        Fault(200, body=b"<Tagging/>"),
    ],
)
def test_tags_that_are_not_told_are_counted(proxied: ProxiedSides, answer: Fault) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: answer if "tagging=" in seen.target else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed, report.untagged) == (4, 0, 3)
    assert dropped(proxied) == TAGGED
    assert tags_at(proxied.put, proxied.destination) == {}


@pytest.mark.parametrize("failure", [Fault(503), Fault(200, body=b"<Tagging><TagSet><Tag>"), Fault(200, body=b"")])
def test_tags_are_asked_for_again_after_a_failure(proxied: ProxiedSides, failure: Fault) -> None:
    tagged(proxied)
    failed: set[str] = set()

    def fail_once(seen: Seen) -> Fault | None:
        is_first = "tagging=" in seen.target and (name := seen.method + seen.target.partition("?")[0]) not in failed
        if is_first:
            failed.add(name)
        return failure if is_first else None

    proxied.proxy.schedule = fail_once
    report = proxied.copy(relay=True)
    assert (report.done, report.failed, report.untagged) == (4, 0, 0)
    assert tags_at(proxied.put, proxied.destination) == ALL


def test_tags_that_were_removed_meanwhile_are_none(proxied: ProxiedSides) -> None:
    tagged(proxied)
    removed = Fault(200, body=b"<Tagging><TagSet></TagSet></Tagging>")
    proxied.proxy.schedule = lambda seen: removed if "tagging=" in seen.target else None
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (4, 0)


def signs_tags(seen: Seen) -> bool:
    return "x-amz-tagging" in dict(seen.headers)


def test_a_destination_that_knows_no_tags_gets_copies_without(proxied: ProxiedSides) -> None:
    tagged(proxied)
    refused = b"<Error><Code>NotImplemented</Code><Message>Tags are not implemented</Message></Error>"
    proxied.proxy.schedule = lambda seen: Fault(501, body=refused) if signs_tags(seen) else None
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.failed) == (4, 0)
    assert proxied.copied() == {"bare": HELD, "held": HELD, "streamed": STREAMED, "parts": b"".join(PARTS)}
    assert dropped(proxied) == TAGGED
    assert len([each for each in proxied.retries if "the server knows no tags" in (each.message or "")]) == 1


def test_a_destination_that_takes_tags_with_the_bytes_alone_loses_no_others(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(501) if writes_tags(seen) else None
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (4, 1)
    assert dropped(proxied) == {"parts"}
    assert tags_at(proxied.put, proxied.destination).keys() >= {"held", "streamed"}


def test_a_destination_that_knows_no_tags_is_learnt_once(proxied: ProxiedSides) -> None:
    keys = [f"{number:02}" for number in range(10)]
    for key in keys:
        proxied.get.put_object(Bucket=proxied.source, Key=key, Body=key.encode())
        tag(proxied, key, TAGS)
    proxied.proxy.schedule = lambda seen: Fault(501) if signs_tags(seen) else None
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (10, 10)
    assert len({seen.target.partition("?")[0] for seen in proxied.proxy.seen if signs_tags(seen)}) == 1


def test_a_denied_copy_names_the_right_that_tags_take(proxied: ProxiedSides) -> None:
    tagged(proxied)
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    proxied.proxy.schedule = lambda seen: Fault(403, body=denied) if signs_tags(seen) else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (1, 3)
    failed = [each.message or "" for each in proxied.outcomes if each.status == "failed"]
    assert all("s3:PutObjectTagging; --no-tags copies none" in message for message in failed)
    assert proxied.copy(relay=True, tags=False).done == 3


@pytest.mark.parametrize(("key", "code"), [("bare", "AccessDenied"), ("held", "InvalidObjectState")])
def test_another_refusal_does_not_name_that_right(proxied: ProxiedSides, key: str, code: str) -> None:
    tagged(proxied)
    refused = Fault(403, body=f"<Error><Code>{code}</Code><Message>No</Message></Error>".encode())
    proxied.proxy.schedule = lambda seen: refused if seen.method == "PUT" else None
    assert proxied.copy([bp.ObjectRef(proxied.source, key)], relay=True).failed == 1
    (failed,) = proxied.outcomes
    assert failed.code == code
    assert "tags" not in (failed.message or "")


@pytest.mark.parametrize(("key", "status", "requests"), [("bare", 501, 2), ("held", 403, 1)])
def test_a_copy_that_is_not_refused_for_its_tags_is_not_made_again(
    proxied: ProxiedSides, key: str, status: int, requests: int
) -> None:
    """A header with a checksum may be refused with 501 as well."""
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(status) if seen.method == "PUT" else None
    for tags in (False, True):
        proxied.proxy.seen.clear()
        settings: dict[str, Any] = {"relay": True, "tags": tags, "journal": f"{tags}.journal"}
        assert proxied.copy([bp.ObjectRef(proxied.source, key)], **settings).failed == 1
        assert sum(seen.method == "PUT" for seen in proxied.proxy.seen) == requests


def test_a_copy_whose_tags_can_not_be_written_fails(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(403) if writes_tags(seen) else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (3, 1)
    (failed,) = (each for each in proxied.outcomes if each.status == "failed")
    assert failed.object.key == "parts"
    assert f"s3://{proxied.destination}/parts was copied, and its tags can't be written" in (failed.message or "")


def test_the_run_that_goes_on_writes_the_tags_that_an_earlier_one_could_not(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(500) if writes_tags(seen) else None
    assert proxied.copy(relay=True, attempts=1).failed == 1
    proxied.proxy.schedule = lambda _: None
    proxied.put.delete_object_tagging(Bucket=proxied.destination, Key="parts")
    assert proxied.copy(relay=True).failed == 0
    assert tags_at(proxied.put, proxied.destination) == ALL


def test_the_run_that_goes_on_without_tags_neither_asks_for_them_nor_counts_them(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(500) if writes_tags(seen) else None
    assert proxied.copy(relay=True, attempts=1).failed == 1
    proxied.proxy.schedule = lambda _: None
    proxied.proxy.seen.clear()
    report = proxied.copy(relay=True, tags=False)
    assert (report.failed, report.untagged) == (0, 0)
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]


def test_the_tags_of_copies_that_are_there_already_are_left_as_they_are(proxied: ProxiedSides, tmp_path: Path) -> None:
    tagged(proxied)
    assert proxied.copy(relay=True).done == 4
    (tmp_path / f"{proxied.destination}.copy.journal").unlink()
    proxied.put.delete_object_tagging(Bucket=proxied.destination, Key="held")
    proxied.proxy.seen.clear()
    report = proxied.copy(relay=True)
    assert (report.done, report.skipped, report.untagged) == (0, 4, 0)
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]
    assert tags_at(proxied.put, proxied.destination).keys() == TAGGED - {"held"}


def test_links_can_not_be_given_tags(proxied: ProxiedSides) -> None:
    with pytest.raises(ParameterError, match="tags are for copies to s3"):
        proxied.copy_links([], tags=False)
