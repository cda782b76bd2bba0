"""The tags of objects: the server copies them in one request; copies without are counted."""

import os
from typing import Any

import pytest

from bulkpresign.events import TagsDropped
from tests.pipeline.copies import ProxiedSides, Sides, only

MIB = 1 << 20
TAGS = {"class": "a b", "of": "käse/+=:_"}
HELD, STREAMED = b"small", os.urandom(300_000)
PARTS = [os.urandom(5 * MIB), b"rest"]
TAGGED = {"held", "streamed", "parts"}


def tagged(sides: Sides) -> None:
    """Objects of the source with tags, and one without."""
    for key, body in {"held": HELD, "streamed": STREAMED, "bare": HELD}.items():
        sides.get.put_object(Bucket=sides.source, Key=key, Body=body)
    sides.upload_in_parts("parts", PARTS)
    for key in TAGGED:
        tags = [{"Key": name, "Value": value} for name, value in TAGS.items()]
        sides.get.put_object_tagging(Bucket=sides.source, Key=key, Tagging={"TagSet": tags})


def tags_at(client: Any, bucket: str) -> dict[str, dict[str, str]]:
    """The tags of objects, without those that have none."""
    found = {}
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        tags = client.get_object_tagging(Bucket=bucket, Key=item["Key"]).get("TagSet", ())
        found[item["Key"]] = {tag["Key"]: tag["Value"] for tag in tags}
    return {key: tags for key, tags in found.items() if tags}


def dropped(sides: Sides) -> list[str]:
    return sorted(event.object.key for event in sides.events if isinstance(event, TagsDropped))


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_copies_without_the_tags_of_their_objects_are_counted(sides: Sides) -> None:
    tagged(sides)
    report = sides.copy()
    assert (report.done, report.failed, report.untagged) == (4, 0, 3)
    assert dropped(sides) == sorted(TAGGED)
    assert sides.copy().untagged == 0  # nothing is copied


@pytest.mark.parametrize("executor", [None, "processes:1"])
@pytest.mark.parametrize(("relay", "lacking"), [(False, {"parts"}), (True, TAGGED)])
def test_the_server_copies_tags_in_one_request(
    proxied: ProxiedSides, relay: bool, lacking: set[str], executor: str | None
) -> None:
    tagged(proxied)
    report = proxied.copy(relay=relay, executor=executor)
    assert (report.done, report.untagged) == (4, len(lacking))
    assert tags_at(proxied.put, proxied.destination) == dict.fromkeys(TAGGED - lacking, TAGS)
    assert dropped(proxied) == sorted(lacking)


def test_copies_that_are_given_tags_lack_none(proxied: ProxiedSides) -> None:
    tagged(proxied)
    report = proxied.copy(headers={"X-Amz-Tagging": "by=me"})
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(proxied.put, proxied.destination) == {key: {"by": "me"} for key in (*TAGGED, "bare")}


def test_copies_by_links_without_tags_are_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(part_size=5 * MIB)
    report = proxied.copy_links()
    assert (report.done, report.untagged) == (4, 3)
    assert dropped(proxied) == sorted(TAGGED)


def test_sources_that_are_links_are_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign()
    report = proxied.copy("links.csv", "again/")
    assert (report.done, report.untagged) == (4, 3)
