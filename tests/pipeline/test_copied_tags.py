"""The tags of objects: copies have them too, or the report counts those that have not."""

import os
from typing import Any

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.events import TagsDropped
from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Fault, Seen

MIB = 1 << 20
TAGS = {"class": "a b", "of": "käse/+=:_"}
HELD, STREAMED = b"small", os.urandom(300_000)
PARTS = [os.urandom(5 * MIB), b"rest"]


def tagged(sides: Sides) -> None:
    """Objects of the source with tags, and one without."""
    for key, body in {"held": HELD, "streamed": STREAMED, "bare": HELD}.items():
        sides.get.put_object(Bucket=sides.source, Key=key, Body=body)
    sides.upload_in_parts("parts", PARTS)
    for key in ("held", "streamed", "parts"):
        tags = [{"Key": name, "Value": value} for name, value in TAGS.items()]
        sides.get.put_object_tagging(Bucket=sides.source, Key=key, Tagging={"TagSet": tags})


def tags_at(client: Any, bucket: str, prefix: str = "") -> dict[str, dict[str, str]]:
    """The tags of objects, without those that have none."""
    found = {}
    for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        tags = client.get_object_tagging(Bucket=bucket, Key=item["Key"]).get("TagSet", ())
        found[item["Key"].removeprefix(prefix)] = {tag["Key"]: tag["Value"] for tag in tags}
    return {key: tags for key, tags in found.items() if tags}


ALL = dict.fromkeys(("held", "streamed", "parts"), TAGS)


def dropped(sides: Sides) -> set[str]:
    return {event.object.key for event in sides.events if isinstance(event, TagsDropped)}


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_copies_have_the_tags_of_their_objects(sides: Sides) -> None:
    tagged(sides)
    report = sides.copy()
    assert (report.done, report.failed, report.untagged) == (4, 0, 0)
    assert tags_at(sides.put, sides.destination) == ALL


@only("seaweedfs-ceph")
def test_tags_that_the_server_lost_are_written_again(sides: Sides) -> None:
    """Ceph ignores the tags of an upload in parts."""
    tagged(sides)
    report = sides.copy(headers={"x-amz-tagging": "by=me"})
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(sides.put, sides.destination) == {key: {"by": "me"} for key in (*ALL, "bare")}


def test_lost_tags_that_can_not_be_written_are_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)

    def lose(seen: Seen) -> Fault | None:
        is_write = "tagging=" in seen.target and seen.method == "PUT"
        is_copy = "tagging=" in seen.target and f"/{proxied.destination}/" in seen.target
        empty = b"<Tagging><TagSet></TagSet></Tagging>"
        return Fault(403) if is_write else Fault(200, body=empty) if is_copy else None

    proxied.proxy.schedule = lose
    report = proxied.copy(relay=True)
    assert (report.done, report.failed, report.untagged) == (4, 0, 1)
    assert dropped(proxied) == {"parts"}


@pytest.mark.parametrize("relay", [False, True])
def test_tags_are_copied_by_one_server_and_through_here(proxied: ProxiedSides, relay: bool) -> None:
    tagged(proxied)
    report = proxied.copy(relay=relay)
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == ALL
    asked = [seen.target for seen in proxied.proxy.seen if "tagging=" in seen.target]
    in_parts = 3  # read for the upload, and compared with those of the copy
    assert len(asked) == in_parts + (2 if relay else 0)  # the server copies those of an object in one request


def test_workers_copy_tags(proxied: ProxiedSides) -> None:
    tagged(proxied)
    report = proxied.copy(relay=True, executor="processes:1")
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == ALL


@pytest.mark.parametrize("relay", [False, True])
def test_tags_are_left_out_if_asked(proxied: ProxiedSides, relay: bool) -> None:
    tagged(proxied)
    report = proxied.copy(relay=relay, tags=False)
    assert report.done == 4
    assert tags_at(proxied.put, proxied.destination) == {}
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]
    assert dropped(proxied) == ({"held", "streamed", "parts"} if relay else {"parts"})
    assert report.untagged == (3 if relay else 1)


def test_tags_for_all_copies_replace_those_of_objects(proxied: ProxiedSides) -> None:
    tagged(proxied)
    report = proxied.copy(headers={"X-Amz-Tagging": "by=me"})
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == {key: {"by": "me"} for key in (*ALL, "bare")}
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target and proxied.source in seen.target]


def test_copies_by_links_without_tags_are_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(part_size=5 * MIB)
    report = proxied.copy_links()
    assert (report.done, report.untagged) == (4, 3)
    assert dropped(proxied) == set(ALL)
    assert tags_at(proxied.put, proxied.destination, "to/") == {}


def test_sources_that_are_links_are_copied_without_tags_and_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign()
    report = proxied.copy("links.csv", "again/")
    assert (report.done, report.untagged) == (4, 3)


def test_tags_that_may_not_be_read_are_named_with_the_way_out(proxied: ProxiedSides) -> None:
    tagged(proxied)
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    proxied.proxy.schedule = lambda seen: Fault(403, body=denied) if "tagging=" in seen.target else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (1, 3)
    for outcome in proxied.outcomes:
        if outcome.status == "failed":
            assert outcome.code == "AccessDenied"
            assert f"the tags of {outcome.object.uri} can't be read" in (outcome.message or "")
            assert "--no-tags" in (outcome.message or "")


def test_a_destination_that_refuses_tags_is_named_with_the_way_out(proxied: ProxiedSides) -> None:
    tagged(proxied)
    refused = b"<Error><Code>NotImplemented</Code><Message>Header x-amz-tagging is not implemented</Message></Error>"

    def refuse(seen: Seen) -> Fault | None:
        return Fault(501, body=refused) if "x-amz-tagging" in dict(seen.headers) else None

    proxied.proxy.schedule = refuse
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (1, 3)
    assert all("--no-tags" in (each.message or "") for each in proxied.outcomes if each.status == "failed")
    assert proxied.copy(relay=True, tags=False).done == 3


def test_tags_are_asked_for_again_after_a_failure(proxied: ProxiedSides) -> None:
    tagged(proxied)
    failed: set[str] = set()

    def fail_once(seen: Seen) -> Fault | None:
        is_first = "tagging=" in seen.target and seen.target not in failed
        failed.add(seen.target)
        return Fault(503) if is_first else None

    proxied.proxy.schedule = fail_once
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == ALL


def test_links_can_not_be_given_tags(proxied: ProxiedSides) -> None:
    with pytest.raises(ParameterError, match="tags are for copies to s3"):
        proxied.copy_links([], tags=False)
