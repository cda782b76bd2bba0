"""Copies in parts without credentials: signed from both sides, carried out, interrupted, and continued."""

import asyncio
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.errors import ManifestError, RefusedError, SigningError
from bulkpresign.events import Event, RunStarted
from bulkpresign.manifest.links import links_of
from bulkpresign.pipeline.rows.copy_targets import CopyTargets
from bulkpresign.pipeline.rows.uploads import SigningUploads
from bulkpresign.tables import Table
from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Fault
from tests.support.cli import SIGN_ROWS
from tests.support.tables import rows_of, table
from tests.support.uploads import PART, open_uploads

BODIES = {"d/large ü": os.urandom(2 * PART + 7), "exact": os.urandom(PART), "small": b"1"}
DENIED = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")


def sign(sides: Sides, links: str = "links.csv", **settings: Any) -> bp.SignReport:
    return sides.sign(links, **{"part_size": PART, **settings})


@pytest.mark.parametrize("links", ["links.csv", "links.jsonl"])
@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_no_credentials_are_needed(sides: Sides, links: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.upload(BODIES, ContentType="text/csv", Metadata={"by": "me"})
    report = sign(sides, links)
    assert (report.done, report.uploads_opened) == (7, 1)  # three parts, two other requests, and two single objects
    monkeypatch.delenv("AWS_CONFIG_FILE")
    plan = sides.copy_links(links, dry_run=True)
    assert (plan.planned, open_uploads(sides.put, sides.destination)) == (3, ["to/d/large ü"])
    done = sides.copy_links(links)
    assert (done.done, done.bytes) == (3, sum(map(len, BODIES.values()))), sides.outcomes
    assert sides.copied() == {f"to/{key}": body for key, body in BODIES.items()}
    assert open_uploads(sides.put, sides.destination) == []
    found = sides.put.head_object(Bucket=sides.destination, Key="to/d/large ü")
    assert (found["ContentType"], found["Metadata"], found["ETag"][-3:]) == ("text/csv", {"by": "me"}, '-3"')
    assert sides.copy_links(links).skipped == 3


@only("seaweedfs-ceph")
def test_the_rows(sides: Sides) -> None:
    sides.upload(BODIES)
    sign(sides)
    rows = [row for row in rows_of(Path("links.csv")) if row["key"] == "d/large ü"]
    assert [(row["method"], row["dst_method"], row["part_number"], row["offset"], row["size"]) for row in rows] == [
        ("GET", "PUT", "1", "0", str(PART)),
        ("GET", "PUT", "2", str(PART), str(PART)),
        ("GET", "PUT", "3", str(2 * PART), "7"),
        ("GET", "POST", "", "", str(2 * PART + 7)),
        ("GET", "DELETE", "", "", str(2 * PART + 7)),
    ]
    assert len({(row["url"], row["headers"], row["upload_id"], row["dst_key"]) for row in rows}) == 1
    assert [bool(row["etag"]) for row in rows] == [False, False, False, True, True]


@only("seaweedfs-ceph")
@pytest.mark.parametrize(("own", "verified_by"), [(PART, "md5-parts"), (2 * PART, "size")])
def test_the_parts_of_the_object_prove_its_copy(sides: Sides, own: int, verified_by: str) -> None:
    """A copy in the same parts has the same etag, which proves it."""
    body = os.urandom(2 * own + 7)
    etag = sides.upload_in_parts("parts", [body[at : at + own] for at in range(0, len(body), own)])
    sign(sides)
    assert sides.copy_links().done == 1
    assert sides.verified_by == [verified_by]
    found = sides.put.head_object(Bucket=sides.destination, Key="to/parts")["ETag"].strip('"')
    assert (found == etag) == (own == PART)


@only("seaweedfs-ceph")
def test_larger_parts_are_hashed(sides: Sides) -> None:
    """The etag of the copy is another one then, but the parts of the object lie in those of the copy."""
    body = os.urandom(4 * PART + 7)
    sides.upload_in_parts("parts", [body[at : at + PART] for at in range(0, len(body), PART)])
    sign(sides, part_size=2 * PART)
    assert sides.copy_links().done == 1
    assert sides.verified_by == ["md5-parts"]


@pytest.fixture
def scene(proxied: ProxiedSides) -> ProxiedSides:
    """Links of both sides through a proxy, with the object "large" in four parts, and a small one after it."""
    proxied.upload({"large": os.urandom(3 * PART + 1), "small": b"1"})
    return proxied


def test_what_failed_goes_on_from_its_rows_at_its_next_part(scene: ProxiedSides) -> None:
    sign(scene)
    scene.proxy.schedule = lambda seen: DENIED if "partNumber=3" in seen.target else None
    report = scene.copy_links(failures="failed.csv", journal="j", part_concurrency=1)
    assert (report.done, report.failed, report.uploads_left_open) == (1, 1, 1)
    rows, failed = rows_of(Path("links.csv")), rows_of(Path("failed.csv"))
    assert all(row.pop("reason").startswith("AccessDenied: ") for row in failed)
    assert failed == [row for row in rows if row["key"] == "large"]
    scene.proxy.schedule = lambda _: None
    scene.proxy.seen.clear()
    events: list[Event] = []
    assert scene.copy_links("failed.csv", journal="j", listeners=[events.append]).done == 1
    assert events[1] == RunStarted("copy", 1, 3 * PART + 1), events
    numbers = [re.findall(r"partNumber=(\d)", seen.target) for seen in scene.proxy.seen if seen.method == "PUT"]
    assert sorted(numbers) == [["3"], ["4"]]
    assert scene.copied() == {
        f"to/{key}": scene.get.get_object(Bucket=scene.source, Key=key)["Body"].read() for key in ("large", "small")
    }


def test_what_was_not_started_is_written_with_all_of_its_rows(scene: ProxiedSides) -> None:
    sign(scene)
    *large, small = rows_of(Path("links.csv"))
    table(Path("links.csv"), [small, *large])
    scene.proxy.schedule = lambda _: Fault(stall=True)

    async def interrupted() -> None:
        async with asyncio.timeout(1):
            await bp.copy("links.csv", failures="failed.csv", concurrency=1)

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    failed = [row for row in rows_of(Path("failed.csv")) if row["key"] == "large"]
    assert all(row.pop("reason").startswith("Interrupted: ") for row in failed)
    assert failed == large


def test_links_that_a_program_passes(scene: ProxiedSides) -> None:
    sign(scene)
    links = [link for rows in Table("links.csv") for link in links_of(rows)]
    assert scene.copy_links(iter(links)).done == 2
    with pytest.raises(ManifestError, match="given rows:1: column upload_id: the upload has no row that completes it"):
        scene.copy_links(links[:3])
    objects = [bp.ObjectRef("bucket", "key"), links[-1]]
    with pytest.raises(ManifestError, match="given rows:1: an ObjectRef where links are needed: make them with sign"):
        scene.copy_links(objects)


def test_rows_that_come_through_a_pipe(scene: ProxiedSides) -> None:
    sign(scene)
    os.mkfifo("pipe")
    for command, is_valid in (("cat links.csv > pipe", True), ("sed 3d links.csv > pipe", False)):
        with subprocess.Popen(command, shell=True):
            if is_valid:
                assert scene.copy_links("pipe", journal="j").done == 2
                continue
            with pytest.raises(ManifestError, match="pipe:3: column part_number: part 2 is missing before part 3"):
                scene.copy_links("pipe", journal="other")


def test_sign_as_the_command_renews_both_sides(scene: ProxiedSides) -> None:
    sign(scene, expires_in=1)
    time.sleep(2)
    assert scene.copy_links().expired == 2
    report = scene.copy_links(renew_command=SIGN_ROWS, journal="other")
    assert report.done == 2, scene.outcomes
    assert len(scene.copied()["to/large"]) == 3 * PART + 1


def test_filters_take_whole_objects(scene: ProxiedSides) -> None:
    sign(scene)
    assert scene.copy_links(filters=bp.Filters(min_size=2 * PART), journal="a").done == 1
    assert list(scene.copied()) == ["to/large"]
    assert scene.copy_links(filters=bp.Filters(exclude=["large"]), journal="b").done == 1


def test_a_row_that_is_not_valid_is_named_before_anything_is_sent(scene: ProxiedSides) -> None:
    sign(scene)
    rows = rows_of(Path("links.csv"))
    scene.proxy.seen.clear()
    table(Path("bad.csv"), [rows[0], *rows[2:]])
    with pytest.raises(ManifestError, match=r"bad\.csv:3: column part_number: part 2 is missing before part 3"):
        scene.copy_links("bad.csv")
    table(Path("bad.csv"), [rows[-1], *rows[:3]])
    with pytest.raises(ManifestError, match=r"bad\.csv:3: column upload_id: the upload has no row that completes it"):
        scene.copy_links("bad.csv")
    others = [{**row, **{name: row[name].replace("large", "x") for name in ("dst_url", "dst_key")}} for row in rows]
    table(Path("bad.csv"), [*rows, *others])
    with pytest.raises(ManifestError, match=r"bad\.csv:9: column upload_id: the rows of upload .* stand together"):
        scene.copy_links("bad.csv")
    assert scene.proxy.seen == []


def test_the_uploads_of_rows_are_aborted(scene: ProxiedSides) -> None:
    sign(scene)
    assert open_uploads(scene.put, scene.destination) == ["to/large"]
    assert asyncio.run(bp.abort("links.csv")).done == 1
    assert open_uploads(scene.put, scene.destination) == []


def test_an_error_in_a_success_aborts_no_upload(scene: ProxiedSides) -> None:
    """Servers and gateways send some errors with the status 200."""
    sign(scene)
    failed = [Fault(200, body=b"<Error><Code>InternalError</Code></Error>")]
    scene.proxy.schedule = lambda seen: failed.pop() if seen.method == "DELETE" and failed else None
    assert asyncio.run(bp.abort("links.csv")).done == 1
    assert not failed
    assert open_uploads(scene.put, scene.destination) == []


def test_get_takes_each_object_once(scene: ProxiedSides) -> None:
    sign(scene)
    assert asyncio.run(bp.get("links.csv", "in")).done == 2
    assert (Path("in") / "large").stat().st_size == 3 * PART + 1


def test_a_run_of_sign_that_fails_leaves_no_upload_open(scene: ProxiedSides) -> None:
    scene.upload({"later": os.urandom(PART + 1)})
    scene.proxy.schedule = lambda seen: DENIED if "/later?" in seen.target and seen.method == "POST" else None
    with pytest.raises(SigningError, match="to/later: no upload can be opened: 403 AccessDenied"):
        sign(scene)
    assert open_uploads(scene.put, scene.destination) == []
    assert not Path("links.csv").exists()


def test_rows_of_copies_are_not_signed_again(scene: ProxiedSides) -> None:
    sign(scene)
    with pytest.raises(ManifestError, match=r"links\.csv: the rows of copies in parts can't be signed again"):
        asyncio.run(bp.sign("links.csv", "again.csv"))
    report = sign(scene, "other.csv", to="other/", part_size=None)
    assert (report.done, report.uploads_opened) == (2, 0)
    again = asyncio.run(bp.sign("links.csv", "third.csv", to=f"s3://{scene.destination}/third/"))
    assert again.done == 2
    assert scene.copy_links("third.csv").done == 2


@pytest.mark.parametrize(
    ("part_size", "size", "message"),
    [
        (None, (5 << 30) + 1, r"over 5 GiB need an upload in parts: use --part-size"),
        (PART, 10_001 * PART, r"make 10,001 parts, and S3 allows 10,000: use --part-size 6MiB or more"),
        (PART, None, r"needs its size"),
    ],
)
def test_objects_that_no_upload_can_take(part_size: int | None, size: int | None, message: str) -> None:
    nothing: Any = None
    uploads = None if part_size is None else SigningUploads(nothing, nothing, part_size, as_they_come=True)
    targets = CopyTargets(nothing, nothing, nothing, uploads, None)
    with pytest.raises(RefusedError, match=message):
        asyncio.run(targets(bp.ObjectRef("bucket", "key", size=size), {}))


@only("seaweedfs-ceph")
def test_the_journal_alone_knows_a_copy_in_other_parts(sides: Sides) -> None:
    """Its etag is of another kind than its object's."""
    sides.upload({"key": os.urandom(PART + 1)})
    assert sides.copy(part_size=PART).done == 1
    assert sides.copy(part_size=PART).skipped == 1
    Path(f"{sides.destination}.copy.journal").unlink()
    assert sides.copy(part_size=PART).done == 1


@only("seaweedfs-ceph")
def test_credentials_renew_the_copies_on_their_own_server_alone(sides: Sides) -> None:
    """The table copies one object to two addresses: buckets of one name on two servers."""
    sides.upload({"one": b"1"})
    sides.get.create_bucket(Bucket=sides.destination)
    for name in ("destination", "source"):
        sign(sides, f"{name}.csv", expires_in=1, destination_profile_name=name)
    both = rows_of(Path("destination.csv")) + rows_of(Path("source.csv"))
    table(Path("links.csv"), both)
    time.sleep(1)
    report = sides.copy_links(renew_credentials=True, **sides.for_copy)
    assert (report.done, report.expired) == (1, 1), sides.outcomes
    assert "no fresh one of this object on the same server" in str(sides.outcomes)
    assert sides.copied() == {"to/one": b"1"}
    assert "Contents" not in sides.get.list_objects_v2(Bucket=sides.destination)
