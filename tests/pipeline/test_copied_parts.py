"""Copies in parts without credentials: signed from both sides, carried out, interrupted, and continued."""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
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
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.pipeline.copies import Sides
from tests.pipeline.listening import heard
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.tables import rows_of, table
from tests.support.uploads import PART, open_uploads

BODIES = {"d/large ü": os.urandom(2 * PART + 7), "exact": os.urandom(PART), "small": b"1"}
DENIED = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
ONLY = pytest.mark.parametrize("sides", ["seaweedfs-ceph"], indirect=True)


def sign(sides: Sides, links: str = "links.csv", **settings: Any) -> bp.SignReport:
    where = {"to": f"s3://{sides.destination}/to/", "part_size": PART}
    profiles = {"profile_name": "source", "destination_profile_name": "destination"}
    return asyncio.run(bp.sign(f"s3://{sides.source}/", links, **{**where, **profiles, **settings}))


def copy(sides: Sides, links: Any = "links.csv", **settings: Any) -> bp.Report:
    sides.outcomes.clear()
    return asyncio.run(bp.copy(links, **{"listeners": [heard(sides.outcomes)], **settings}))


@pytest.mark.parametrize("links", ["links.csv", "links.jsonl"])
@pytest.mark.parametrize("sides", ["seaweedfs-ceph", "ceph-seaweedfs"], indirect=True)
def test_no_credentials_are_needed(sides: Sides, links: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.upload(BODIES, ContentType="text/csv", Metadata={"by": "me"})
    report = sign(sides, links)
    assert (report.done, report.uploads_opened) == (7, 1)  # three parts, two other requests, and two single objects
    monkeypatch.delenv("AWS_CONFIG_FILE")
    plan = copy(sides, links, dry_run=True)
    assert (plan.planned, open_uploads(sides.put, sides.destination)) == (3, ["to/d/large ü"])
    done = copy(sides, links)
    assert (done.done, done.bytes) == (3, sum(map(len, BODIES.values()))), sides.outcomes
    assert sides.copied() == {f"to/{key}": body for key, body in BODIES.items()}
    assert open_uploads(sides.put, sides.destination) == []
    found = sides.put.head_object(Bucket=sides.destination, Key="to/d/large ü")
    assert (found["ContentType"], found["Metadata"], found["ETag"][-3:]) == ("text/csv", {"by": "me"}, '-3"')
    assert copy(sides, links).skipped == 3


@ONLY
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


@ONLY
@pytest.mark.parametrize(("own", "verified_by"), [(PART, "md5-parts"), (2 * PART, "size")])
def test_the_parts_of_the_object_prove_its_copy(sides: Sides, own: int, verified_by: str) -> None:
    """A copy in the same parts has the same etag, which proves it."""
    body = os.urandom(2 * own + 7)
    etag = sides.upload_in_parts("parts", [body[at : at + own] for at in range(0, len(body), own)])
    sign(sides)
    assert copy(sides).done == 1
    assert [outcome.verified_by for outcome in sides.outcomes] == [verified_by]
    found = sides.put.head_object(Bucket=sides.destination, Key="to/parts")["ETag"].strip('"')
    assert (found == etag) == (own == PART)


@ONLY
def test_larger_parts_are_hashed(sides: Sides) -> None:
    """The etag of the copy is another one then, but the parts of the object lie in those of the copy."""
    body = os.urandom(4 * PART + 7)
    sides.upload_in_parts("parts", [body[at : at + PART] for at in range(0, len(body), PART)])
    sign(sides, part_size=2 * PART)
    assert copy(sides).done == 1
    assert [outcome.verified_by for outcome in sides.outcomes] == ["md5-parts"]


@pytest.fixture
def scene(
    seaweedfs: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    aws_env: AwsEnv,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[tuple[Sides, FaultProxy]]:
    """Links of both sides through a proxy, with the object "large" in four parts, and a small one after it."""
    monkeypatch.chdir(tmp_path)
    sides = Sides(boto, make_bucket, seaweedfs, seaweedfs)
    sides.upload({"large": os.urandom(3 * PART + 1), "small": b"1"})
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        aws_env(replace(seaweedfs, endpoint_url=proxy.url))
        yield sides, proxy


ALONE: dict[str, Any] = {"profile_name": None, "destination_profile_name": None}


def test_what_failed_goes_on_from_its_rows_at_its_next_part(scene: tuple[Sides, FaultProxy]) -> None:
    sides, proxy = scene
    sign(sides, **ALONE)
    proxy.schedule = lambda seen: DENIED if "partNumber=3" in seen.target else None
    report = copy(sides, failures="failed.csv", journal="j", part_concurrency=1)
    assert (report.done, report.failed, report.uploads_left_open) == (1, 1, 1)
    rows, failed = rows_of(Path("links.csv")), rows_of(Path("failed.csv"))
    assert all(row.pop("reason").startswith("AccessDenied: ") for row in failed)
    assert failed == [row for row in rows if row["key"] == "large"]
    proxy.schedule = lambda _: None
    proxy.seen.clear()
    events: list[Event] = []
    assert copy(sides, "failed.csv", journal="j", listeners=[events.append]).done == 1
    assert events[1] == RunStarted("copy", 1, 3 * PART + 1), events
    numbers = [re.findall(r"partNumber=(\d)", seen.target) for seen in proxy.seen if seen.method == "PUT"]
    assert sorted(numbers) == [["3"], ["4"]]
    assert sides.copied() == {
        f"to/{key}": sides.get.get_object(Bucket=sides.source, Key=key)["Body"].read() for key in ("large", "small")
    }


def test_what_was_not_started_is_written_with_all_of_its_rows(scene: tuple[Sides, FaultProxy]) -> None:
    sides, proxy = scene
    sign(sides, **ALONE)
    *large, small = rows_of(Path("links.csv"))
    table(Path("links.csv"), [small, *large])
    proxy.schedule = lambda _: Fault(stall=True)

    async def interrupted() -> None:
        async with asyncio.timeout(1):
            await bp.copy("links.csv", failures="failed.csv", concurrency=1)

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    failed = [row for row in rows_of(Path("failed.csv")) if row["key"] == "large"]
    assert all(row.pop("reason").startswith("Interrupted: ") for row in failed)
    assert failed == large


def test_links_that_a_program_passes(scene: tuple[Sides, FaultProxy]) -> None:
    sides, _ = scene
    sign(sides, **ALONE)
    links = [link for rows in Table("links.csv") for link in links_of(rows)]
    assert copy(sides, iter(links)).done == 2
    with pytest.raises(ManifestError, match="given rows:1: column upload_id: the upload has no row that completes it"):
        copy(sides, links[:3])
    objects = [bp.ObjectRef("bucket", "key"), links[-1]]
    with pytest.raises(ManifestError, match="given rows:1: an ObjectRef where links are needed: make them with sign"):
        copy(sides, objects)


def test_rows_that_come_through_a_pipe(scene: tuple[Sides, FaultProxy]) -> None:
    sides, _ = scene
    sign(sides, **ALONE)
    os.mkfifo("pipe")
    for command, is_valid in (("cat links.csv > pipe", True), ("sed 3d links.csv > pipe", False)):
        with subprocess.Popen(command, shell=True):
            if is_valid:
                assert copy(sides, "pipe", journal="j").done == 2
                continue
            with pytest.raises(ManifestError, match="pipe:3: column part_number: part 2 is missing before part 3"):
                copy(sides, "pipe", journal="other")


def test_filters_take_whole_objects(scene: tuple[Sides, FaultProxy]) -> None:
    sides, _ = scene
    sign(sides, **ALONE)
    assert copy(sides, filters=bp.Filters(min_size=2 * PART), journal="a").done == 1
    assert list(sides.copied()) == ["to/large"]
    assert copy(sides, filters=bp.Filters(exclude=["large"]), journal="b").done == 1


def test_a_row_that_is_not_valid_is_named_before_anything_is_sent(scene: tuple[Sides, FaultProxy]) -> None:
    sides, proxy = scene
    sign(sides, **ALONE)
    rows = rows_of(Path("links.csv"))
    proxy.seen.clear()
    table(Path("bad.csv"), [rows[0], *rows[2:]])
    with pytest.raises(ManifestError, match=r"bad\.csv:3: column part_number: part 2 is missing before part 3"):
        copy(sides, "bad.csv")
    table(Path("bad.csv"), [rows[-1], *rows[:3]])
    with pytest.raises(ManifestError, match=r"bad\.csv:3: column upload_id: the upload has no row that completes it"):
        copy(sides, "bad.csv")
    table(Path("bad.csv"), [*rows, *({**row, "dst_url": row["dst_url"].replace("large", "x")} for row in rows)])
    with pytest.raises(ManifestError, match=r"bad\.csv:9: column upload_id: the rows of upload .* stand together"):
        copy(sides, "bad.csv")
    assert proxy.seen == []


def test_the_uploads_of_rows_are_aborted(scene: tuple[Sides, FaultProxy]) -> None:
    sides, _ = scene
    sign(sides, **ALONE)
    assert open_uploads(sides.put, sides.destination) == ["to/large"]
    assert asyncio.run(bp.abort("links.csv")).done == 1
    assert open_uploads(sides.put, sides.destination) == []


def test_get_takes_each_object_once(scene: tuple[Sides, FaultProxy]) -> None:
    sides, _ = scene
    sign(sides, **ALONE)
    assert asyncio.run(bp.get("links.csv", "in")).done == 2
    assert (Path("in") / "large").stat().st_size == 3 * PART + 1


def test_a_run_of_sign_that_fails_leaves_no_upload_open(scene: tuple[Sides, FaultProxy]) -> None:
    sides, proxy = scene
    sides.upload({"later": os.urandom(PART + 1)})
    proxy.schedule = lambda seen: DENIED if "/later?" in seen.target and seen.method == "POST" else None
    with pytest.raises(SigningError, match="to/later: no upload can be opened: 403 AccessDenied"):
        sign(sides, **ALONE)
    assert open_uploads(sides.put, sides.destination) == []
    assert not Path("links.csv").exists()


def test_rows_of_copies_are_not_signed_again(scene: tuple[Sides, FaultProxy]) -> None:
    sides, _ = scene
    sign(sides, **ALONE)
    with pytest.raises(ManifestError, match=r"links\.csv: the rows of copies in parts can't be signed again"):
        asyncio.run(bp.sign("links.csv", "again.csv"))
    report = sign(sides, "other.csv", **ALONE, to=f"s3://{sides.destination}/other/", part_size=None)
    assert (report.done, report.uploads_opened) == (2, 0)
    again = asyncio.run(bp.sign("links.csv", "third.csv", to=f"s3://{sides.destination}/third/"))
    assert again.done == 2
    assert copy(sides, "third.csv").done == 2


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
    targets = CopyTargets(nothing, nothing, nothing, uploads)
    with pytest.raises(RefusedError, match=message):
        asyncio.run(targets(bp.ObjectRef("bucket", "key", size=size), {}))


@pytest.mark.parametrize("sides", ["seaweedfs-ceph"], indirect=True)
def test_the_journal_alone_knows_a_copy_in_other_parts(sides: Sides) -> None:
    """Its etag is of another kind than its object's."""
    sides.upload({"key": os.urandom(PART + 1)})
    assert sides.copy(part_size=PART).done == 1
    assert sides.copy(part_size=PART).skipped == 1
    Path(f"{sides.destination}.copy.journal").unlink()
    assert sides.copy(part_size=PART).done == 1


@ONLY
def test_credentials_renew_the_copies_on_their_own_server_alone(sides: Sides) -> None:
    """The table copies one object to two addresses: buckets of one name on two servers."""
    sides.upload({"one": b"1"})
    sides.get.create_bucket(Bucket=sides.destination)
    for name in ("destination", "source"):
        sign(sides, f"{name}.csv", expires_in=1, destination_profile_name=name)
    both = rows_of(Path("destination.csv")) + rows_of(Path("source.csv"))
    table(Path("links.csv"), both)
    time.sleep(1)
    report = copy(sides, renew_credentials=True, source_profile_name="source", destination_profile_name="destination")
    assert (report.done, report.expired) == (1, 1), sides.outcomes
    assert "no fresh one of this object on the same server" in str(sides.outcomes)
    assert sides.copied() == {"to/one": b"1"}
    assert "Contents" not in sides.get.list_objects_v2(Bucket=sides.destination)
