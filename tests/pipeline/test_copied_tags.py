"""The tags of objects: copies have them too, or the report counts those that have not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.errors import ParameterError
from bulkpresign.events import TagsDropped
from bulkpresign.transfer.downloads.existing import IfExists
from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Fault, Seen
from tests.support.tables import rows_of, table

MIB = 1 << 20
TAGS = {"class": "a b", "of": "käse/+=:_"}
HELD, STREAMED = b"small", os.urandom(300_000)
PARTS = [os.urandom(5 * MIB), b"rest"]
TAGGED = {"held", "streamed", "parts"}
ALL = dict.fromkeys(TAGGED, TAGS)
NO_TAGS = Fault(200, body=b"<Tagging><TagSet></TagSet></Tagging>")
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
COPIES = {"bare": HELD, "held": HELD, "streamed": STREAMED, "parts": b"".join(PARTS)}


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


def signs_tags(seen: Seen) -> bool:
    return seen.header("x-amz-tagging") is not None


def looks_at_copy(sides: Sides, seen: Seen) -> bool:
    return seen.method == "GET" and "tagging=" in seen.target and f"/{sides.destination}/" in seen.target


def lost(sides: Sides, answer: Fault | None) -> Callable[[Seen], Fault | None]:
    """The faults of a destination that has lost the tags of all copies. It gives `answer` where they are written."""

    def schedule(seen: Seen) -> Fault | None:
        if writes_tags(seen):
            return answer
        return NO_TAGS if looks_at_copy(sides, seen) else None

    return schedule


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_copies_have_the_tags_of_their_objects(sides: Sides) -> None:
    """Ceph ignores the tags that an upload in parts is opened with."""
    tagged(sides)
    report = sides.copy()
    assert (report.done, report.failed, report.untagged) == (4, 0, 0)
    assert tags_at(sides.put, sides.destination) == ALL


@only("seaweedfs-ceph")
def test_tags_for_all_copies_are_those_of_uploads_in_parts_too(sides: Sides) -> None:
    tagged(sides)
    report = sides.copy(headers={"x-amz-tagging": "by=me"})
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(sides.put, sides.destination) == {key: {"by": "me"} for key in (*TAGGED, "bare")}


@only("seaweedfs-rclone")
def test_tags_for_all_copies_that_the_destination_ignores_are_counted(sides: Sides) -> None:
    tagged(sides)
    report = sides.copy(headers={"x-amz-tagging": "by=me"})
    assert (report.done, report.untagged) == (4, 4)


@only("seaweedfs-rclone")
def test_a_destination_that_ignores_tags_keeps_its_copies(sides: Sides) -> None:
    """It would take a PUT of tags for one of the object."""
    tagged(sides)
    sides.get.put_object(Bucket=sides.source, Key="empty", Body=b"", Tagging="a=b")
    report = sides.copy()
    assert (report.done, report.failed, report.untagged) == (5, 0, 4)
    assert sides.copied() == {**COPIES, "empty": b""}
    assert dropped(sides) == {*TAGGED, "empty"}


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
    report = proxied.copy(relay=True, concurrency=1, part_concurrency=1)
    assert (report.done, report.untagged, report.concurrency) == (30, 0, 1)
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
    assert not [seen for seen in proxied.proxy.seen if reads_tags(proxied, seen)]


def test_tags_that_the_destination_does_not_take_are_left_out_of_their_copy_alone(proxied: ProxiedSides) -> None:
    keys = [f"{number:02}" for number in range(10)]
    for key in keys:
        proxied.get.put_object(Bucket=proxied.source, Key=key, Body=key.encode())
        tag(proxied, key, {"is": key})
    invalid = Fault(400, body=b"<Error><Code>InvalidTag</Code></Error>")
    proxied.proxy.schedule = lambda seen: invalid if seen.header("x-amz-tagging") == "is=00" else None
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (10, 1)
    assert dropped(proxied) == {"00"}
    assert tags_at(proxied.put, proxied.destination) == {key: {"is": key} for key in keys[1:]}


def test_copies_by_links_without_tags_are_counted(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(part_size=5 * MIB, tags=False)
    assert not [seen for seen in proxied.proxy.seen if reads_tags(proxied, seen)]
    report = proxied.copy_links()
    assert (report.done, report.untagged) == (4, 3)
    assert dropped(proxied) == TAGGED


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_links_have_the_tags_of_their_objects(sides: Sides) -> None:
    tagged(sides)
    assert sides.sign(to="").done == 4
    report = sides.copy_links()
    assert (report.done, report.untagged) == (4, 0)
    assert tags_at(sides.put, sides.destination) == ALL


def test_uploads_by_links_have_tags_and_are_counted_as_some_servers_ignore_these(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(to="", part_size=5 * MIB)
    report = proxied.copy_links()
    assert (report.done, report.untagged) == (4, 1)
    assert dropped(proxied) == {"parts"}
    assert tags_at(proxied.put, proxied.destination) == ALL


def test_links_have_no_tags_that_may_not_be_read(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(403, body=DENIED) if reads_tags(proxied, seen) else None
    report = proxied.sign()
    assert (report.done, report.failed) == (4, 0)
    assert proxied.copy_links().untagged == 3


def test_the_signer_of_links_pays_for_reading_tags(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(options=bp.LinkOptions(request_payer="requester"))
    asked = [seen.target for seen in proxied.proxy.seen if reads_tags(proxied, seen)]
    assert len(asked) == 3
    assert all("x-amz-request-payer=requester" in target for target in asked)


def test_a_link_with_tags_that_is_denied_names_the_right_that_they_take(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign()
    proxied.proxy.schedule = lambda seen: Fault(403, body=DENIED) if signs_tags(seen) else None
    report = proxied.copy_links(failures="failed.csv")
    assert (report.done, report.failed) == (1, 3)
    assert all("s3:PutObjectTagging" in row["reason"] for row in rows_of(Path("failed.csv")))


@pytest.mark.parametrize("renews", [False, True])
def test_tags_are_read_with_credentials_alone(proxied: ProxiedSides, renews: bool) -> None:
    """The credentials that renew links lead to the objects of these links."""
    tagged(proxied)
    proxied.sign(tags=False)
    report = proxied.copy("links.csv", "again/", renew_credentials=renews)
    assert (report.done, report.untagged) == (4, 0 if renews else 3)


def test_rows_that_name_another_object_are_not_asked_for_with_own_credentials(proxied: ProxiedSides) -> None:
    tagged(proxied)
    proxied.sign(tags=False)
    other = f"{proxied.source}-other"
    proxied.get.create_bucket(Bucket=other)
    proxied.get.put_object(Bucket=other, Key="held", Body=HELD, Tagging="secret=value")
    rows = table(Path("links.csv"), [{**row, "bucket": other} for row in rows_of(Path("links.csv"))])
    report = proxied.copy(rows, "again/", renew_credentials=True)
    assert (report.done, report.untagged) == (4, 3)
    assert not [seen for seen in proxied.proxy.seen if "tagging=" in seen.target]


@pytest.mark.parametrize(
    "answer",
    [
        Fault(403, body=DENIED),
        Fault(501),
        Fault(200, body=b"the bytes of the object: the server ignores the parameter"),
        Fault(200, body=b"<Data><TagSet><Tag><Key>not</Key><Value>a tag</Value></Tag></TagSet></Data>"),
        Fault(200, body=b"<Tagging/>"),
        Fault(200, body=b""),
        Fault(
            200,
            {"ETag": '"1"'},
            b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        ),
        Fault(200, body=b"<?xml version='1.0' encoding='none'?><Tagging><TagSet></TagSet></Tagging>"),
    ],
)
def test_tags_that_are_not_told_are_counted(proxied: ProxiedSides, answer: Fault) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: answer if "tagging=" in seen.target else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed, report.untagged) == (4, 0, 3)
    assert dropped(proxied) == TAGGED
    assert tags_at(proxied.put, proxied.destination) == {}


@pytest.mark.parametrize("failure", [Fault(503), Fault(200, body=b"<Tagging><TagSet><Tag>"), Fault(cut_after=0)])
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
    proxied.proxy.schedule = lambda seen: NO_TAGS if "tagging=" in seen.target else None
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (4, 0)


def test_a_destination_that_knows_no_tags_gets_copies_without(proxied: ProxiedSides) -> None:
    tagged(proxied)
    refused = b"<Error><Code>NotImplemented</Code><Message>Tags are not implemented</Message></Error>"
    proxied.proxy.schedule = lambda seen: Fault(501, body=refused) if signs_tags(seen) else None
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.failed) == (4, 0)
    assert proxied.copied() == COPIES
    assert dropped(proxied) == TAGGED
    assert len([each for each in proxied.retries if "the server knows no tags" in (each.message or "")]) == 1


@pytest.mark.parametrize("body", [b"", b"<Tagging><TagSet></TagSet></Tagging>"])
def test_a_response_with_the_object_is_none_with_tags(proxied: ProxiedSides, body: bytes) -> None:
    """A server that ignores the parameter, and gives no etags, would take a PUT of tags for one of the object."""
    proxied.get.put_object(Bucket=proxied.source, Key="held", Body=body, Tagging="a=b")
    is_copy = Fault(200, {"Last-Modified": "Sat, 28 Nov 2026 08:00:00 GMT"}, body)
    proxied.proxy.schedule = lambda seen: is_copy if looks_at_copy(proxied, seen) else None
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (1, 1)
    assert not [seen for seen in proxied.proxy.seen if writes_tags(seen)]
    assert proxied.copied() == {"held": body}


@pytest.mark.parametrize("status", [400, 405, 501])
def test_no_tags_are_written_where_a_server_does_not_tell_them(proxied: ProxiedSides, status: int) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(status) if looks_at_copy(proxied, seen) else None
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (4, 3)
    assert not [seen for seen in proxied.proxy.seen if writes_tags(seen)]


def test_no_set_of_tags_is_a_set_without_tags(proxied: ProxiedSides) -> None:
    """Some servers answer so for an object without tags."""
    proxied.upload_in_parts("parts", PARTS, Tagging="a=b")
    none = Fault(404, body=b"<Error><Code>NoSuchTagSet</Code></Error>")
    proxied.proxy.schedule = lambda seen: none if looks_at_copy(proxied, seen) else None
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (1, 0)
    assert [seen for seen in proxied.proxy.seen if writes_tags(seen)]


def test_a_destination_where_tags_may_be_written_and_not_read(proxied: ProxiedSides) -> None:
    """It has those that came with the bytes; those of uploads in parts may be lost, and are counted."""
    tagged(proxied)
    proxied.proxy.schedule = lambda seen: Fault(403, body=DENIED) if looks_at_copy(proxied, seen) else None
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (4, 1)
    assert dropped(proxied) == {"parts"}
    assert tags_at(proxied.put, proxied.destination) == ALL


@pytest.mark.parametrize("status", [400, 405, 501])
def test_lost_tags_that_the_destination_does_not_take_are_counted(proxied: ProxiedSides, status: int) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lost(proxied, Fault(status))
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (4, 3)
    assert dropped(proxied) == TAGGED


def test_tags_are_looked_at_once_where_the_destination_keeps_them(proxied: ProxiedSides) -> None:
    keys = [f"{number:02}" for number in range(10)]
    for key in keys:
        proxied.get.put_object(Bucket=proxied.source, Key=key, Body=key.encode(), Tagging=f"is={key}")
    report = proxied.copy(relay=True, concurrency=1)
    assert (report.done, report.untagged) == (10, 0)
    looked = [seen for seen in proxied.proxy.seen if "tagging=" in seen.target and not reads_tags(proxied, seen)]
    assert len(looked) == 1


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
    proxied.proxy.schedule = lambda seen: Fault(403, body=DENIED) if signs_tags(seen) else None
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


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Fault(403, body=DENIED), "AccessDenied"),
        (Fault(500), "HTTP500"),
        (Fault(200, body=b"<Error><Code>InternalError</Code></Error>"), "InternalError"),
        (Fault(400, body=b"<Error><Code>ExpiredToken</Code></Error>"), "ExpiredToken"),
    ],
)
def test_a_copy_whose_lost_tags_can_not_be_written_fails(proxied: ProxiedSides, answer: Fault, code: str) -> None:
    proxied.upload_in_parts("parts", PARTS, Tagging="a=b")
    proxied.proxy.schedule = lost(proxied, answer)
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (0, 1)
    (failed,) = proxied.outcomes
    assert failed.code == code
    assert f"s3://{proxied.destination}/parts was copied, and its tags can't be written" in (failed.message or "")


@pytest.mark.parametrize("if_exists", ["replace", "keep"])
def test_the_run_that_goes_on_writes_the_tags_that_an_earlier_one_could_not(
    proxied: ProxiedSides, if_exists: IfExists
) -> None:
    tagged(proxied)
    proxied.proxy.schedule = lost(proxied, Fault(500))
    assert proxied.copy(f"s3://{proxied.source}/parts", relay=True, attempts=1).failed == 1
    proxied.proxy.schedule = lambda _: None
    proxied.put.delete_object_tagging(Bucket=proxied.destination, Key="parts")
    report = proxied.copy(f"s3://{proxied.source}/parts", relay=True, if_exists=if_exists)
    assert (report.skipped, report.failed, report.untagged) == (1, 0, 0)
    assert tags_at(proxied.put, proxied.destination) == {"parts": TAGS}


def test_credentials_that_expired_fail_the_reading_of_tags_once(proxied: ProxiedSides) -> None:
    """The link of the copy is not renewed for that."""
    tagged(proxied)
    gone = Fault(400, body=b"<Error><Code>ExpiredToken</Code></Error>")
    proxied.proxy.schedule = lambda seen: gone if reads_tags(proxied, seen) else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (1, 3)
    assert len([seen for seen in proxied.proxy.seen if reads_tags(proxied, seen)]) == 3


@pytest.mark.parametrize("tells", [True, False])
def test_tags_of_a_copy_whose_response_was_lost(proxied: ProxiedSides, tells: bool) -> None:
    proxied.get.put_object(Bucket=proxied.source, Key="held", Body=HELD, Tagging="a=b")
    sent: list[str] = []

    def lose(seen: Seen) -> Fault | None:
        if seen.method == "PUT" and not sent:
            sent.append(seen.target)
            return Fault(reset_after=0)
        return None if tells or "tagging=" not in seen.target else Fault(403)

    proxied.proxy.schedule = lose
    report = proxied.copy(relay=True)
    assert (report.done, report.untagged) == (1, 0 if tells else 1)


def test_the_run_that_goes_on_without_tags_neither_asks_for_them_nor_counts_them(proxied: ProxiedSides) -> None:
    proxied.upload_in_parts("parts", PARTS, Tagging="a=b")
    proxied.proxy.schedule = lost(proxied, Fault(500))
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
