"""Copies between real servers: bytes, headers, parts, what is there already, and what can't be copied."""

import asyncio
import random
import re
import time
from pathlib import Path
from typing import Any, NoReturn, cast

import anyio
import pytest

import bulkpresign as bp
from bulkpresign.errors import (
    CredentialsError,
    InputError,
    JournalError,
    LinkExpiredError,
    ListingError,
    ManifestError,
    OutputError,
    ParameterError,
)
from bulkpresign.manifest.links import links_of
from bulkpresign.pipeline.run.put_signer import PutSigner
from bulkpresign.tables import Table
from tests.conftest import AwsEnv, MakeBucket
from tests.pipeline.copies import BehindProxy, ProxiedSides, Sides, only
from tests.servers.proxy import Fault, FaultProxy, Seen, expired
from tests.servers.server import S3Server

MIB = 1 << 20
RANDOM = random.Random(14)
AWKWARD = ["a b", "a+b&c=d", "d/e/%41", "käse/🧀", "x?y#z", "tab\tx"]
BODIES = {
    "empty": b"",
    "one": b"1",
    "small": RANDOM.randbytes(4096),
    "held": RANDOM.randbytes(256 * 1024),
    "streamed": RANDOM.randbytes(256 * 1024 + 1),
    "large": RANDOM.randbytes(9 * MIB + 7),
    **{key: key.encode() for key in AWKWARD},
}
#: Headers that both S3 servers keep.
HEADERS = {
    "ContentType": "text/csv; charset=utf-8",
    "CacheControl": "max-age=60",
    "ContentDisposition": 'attachment; filename="a b.csv"',
    "ContentEncoding": "gzip",
    "ContentLanguage": "de",
    "Metadata": {"author": "me", "two-words": "a  b"},
}


def test_a_plan_counts_what_would_fail_apart(sides: Sides) -> None:
    sides.upload({"same": b"1", "other": b"22", "new": b"333"})
    sides.store({"same": b"1", "other": b"??"})
    report = sides.copy(dry_run=True, if_exists="fail")
    assert (report.planned, report.skipped) == (1, 1)
    assert report.plan is not None
    assert report.plan.skipped == {"the same is there": 1, "another object has the key, so the copy fails": 1}


def test_copies_to_two_prefixes_run_at_the_same_time(sides: Sides) -> None:
    """Each has its journal. Two to the same prefix would copy everything twice."""
    sides.upload({"a": b"1", "b": b"22"})
    source, prefixes = f"s3://{sides.source}/", [f"s3://{sides.destination}/{name}/" for name in "xyz"]

    async def all_at_once(*prefixes: str) -> list[bp.Report | BaseException]:
        runs = (bp.copy(source, prefix, **sides.for_copy) for prefix in prefixes)
        return await asyncio.gather(*runs, return_exceptions=True)

    for counts in ((2, 0), (0, 2)):
        reports = asyncio.run(all_at_once(*prefixes))
        assert [(each.done, each.skipped) for each in reports if isinstance(each, bp.Report)] == [counts] * 3, reports
    assert len(list(Path().glob("*.copy*.journal"))) == 3
    one, other = asyncio.run(all_at_once(prefixes[0], prefixes[0]))
    assert sorted(map(type, (one, other)), key=str) == [JournalError, bp.Report]


def test_everything_is_copied_and_proven(sides: Sides) -> None:
    sides.upload(BODIES)
    report = sides.copy(to="to/")
    assert (report.done, report.failed, report.bytes) == (len(BODIES), 0, sum(map(len, BODIES.values())))
    assert sides.copied() == {f"to/{key}": body for key, body in BODIES.items()}
    assert set(sides.verified_by) == {"md5"}
    again = sides.copy(to="to/")
    assert (again.done, again.skipped) == (0, len(BODIES))


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_headers_and_metadata_are_kept(sides: Sides) -> None:
    sides.upload({"small": b"x", "streamed": bytes(300_000)}, **HEADERS)
    sides.upload_in_parts("parts", [bytes(5 * MIB), b"end"], **HEADERS)
    assert sides.copy().done == 3
    for key in ("small", "streamed", "parts"):
        found = sides.put.head_object(Bucket=sides.destination, Key=key)
        kept = {name: found.get(name) for name in HEADERS}
        kept["Metadata"] = {name: value.split() for name, value in found["Metadata"].items()}
        assert kept == {**HEADERS, "Metadata": {"author": ["me"], "two-words": ["a", "b"]}}, key


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_an_object_in_parts_keeps_its_etag(sides: Sides) -> None:
    size = (
        6 * MIB if sides.source_server.name == "seaweedfs" else 8 * MIB
    )  # Ceph does not tell it: the usual size is tried
    parts = [RANDOM.randbytes(count) for count in (size, size, 1000)]
    etag = sides.upload_in_parts("parts", parts)
    assert sides.copy().done == 1
    assert sides.verified_by == ["md5-parts"]
    found = sides.put.get_object(Bucket=sides.destination, Key="parts")
    assert found["ETag"].strip('"') == etag
    assert found["Body"].read() == b"".join(parts)
    Path(f"{sides.destination}.copy.journal").unlink()
    assert sides.copy().skipped == 1  # by the etag


@only("seaweedfs-ceph")
def test_only_what_is_missing_or_differs_is_copied(sides: Sides) -> None:
    sides.upload({"same": b"1", "other": b"2", "missing": b"3"})
    sides.store({"same": b"1", "other": b"x", "extra": b"4"})
    plan = sides.copy(dry_run=True).plan
    assert plan is not None
    assert (plan.requests, plan.skipped) == (
        {"GET": 2, "PUT": 2, "LIST": 2},
        {"the same is there": 1},
    )
    report = sides.copy(extra="extra.csv")
    assert (report.done, report.skipped) == (2, 1)
    rows = Path("extra.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [[sides.destination, "extra"]]
    assert sorted(outcome.object.key for outcome in sides.outcomes if outcome.status == "done") == ["missing", "other"]
    assert sides.copied() == {"same": b"1", "other": b"2", "missing": b"3", "extra": b"4"}
    sides.upload({"other": b"new"})
    sides.store({"missing": b"y"})
    assert sides.copy().done == 2
    assert sides.copied() == {"same": b"1", "other": b"new", "missing": b"3", "extra": b"4"}


@only("seaweedfs-ceph")
@pytest.mark.parametrize(
    ("file", "error", "said"),
    [
        ("extra.xlsx", ParameterError, "is not read or written: use CSV"),
        ("extra.txt", ParameterError, "format 'txt' can't be written"),
        ("none/extra.csv", OutputError, "none/extra.csv can't be written: there is no such folder"),
    ],
)
def test_the_file_that_is_written_last_is_checked_first(
    sides: Sides, file: str, error: type[Exception], said: str
) -> None:
    sides.upload({"a": b"1"})
    with pytest.raises(error, match=said):
        sides.copy(extra=file)
    assert sides.copied() == {}


@only("ceph-seaweedfs")
def test_headers_of_the_callers_own_are_signed_in(sides: Sides) -> None:
    """Beside those of the object, in one request and in parts. Tags can't be asked of a server's own copy."""
    sides.upload({"small": b"1"}, ContentType="text/csv", Metadata={"by": "me"})
    sides.upload_in_parts("large", [RANDOM.randbytes(5 * MIB), b"2"], ContentType="text/csv")
    headers = {"X-Amz-Tagging": "kind=copy", "Content-Type": "text/plain"}
    assert sides.copy(headers=headers).done == 2
    for key in ("small", "large"):
        found = sides.put.head_object(Bucket=sides.destination, Key=key)
        assert found["ContentType"] == "text/plain"
        tags = sides.put.get_object_tagging(Bucket=sides.destination, Key=key)["TagSet"]
        assert tags == [{"Key": "kind", "Value": "copy"}]
    assert sides.put.head_object(Bucket=sides.destination, Key="small")["Metadata"] == {"by": "me"}
    with pytest.raises(InputError, match="header"):
        sides.copy(to="x/", headers={"a b": "1"})


@only("seaweedfs-rclone")
def test_filters_select_what_is_copied(sides: Sides) -> None:
    sides.upload({"a.csv": b"12345", "b.csv": b"1", "c.txt": b"12345"})
    assert sides.copy(to="x/", filters=bp.Filters(include=["*.csv"], min_size=2)).done == 1
    assert sides.copied("x/") == {"x/a.csv": b"12345"}


@only("seaweedfs-ceph")
def test_keys_are_rewritten(sides: Sides) -> None:
    sides.upload({"raw/2026/a.csv": b"1", "raw/b.csv": b"2", "c.txt": b"3"})
    maps = ["raw/=cooked/", r"s/(\d{4})\/(.*)\.csv/\2-\1.csv/"]
    assert sides.copy(to="x/", maps=maps, dry_run=True, plan="plan.csv").planned == 3
    assert sides.copy("plan.csv", to="planned/", journal="planned").done == 3
    assert set(sides.copied("planned/")) == {"planned/cooked/a-2026.csv", "planned/cooked/b.csv", "planned/c.txt"}
    assert sides.copy(to="x/", maps=maps).done == 3
    assert sides.copied("x/") == {"x/cooked/a-2026.csv": b"1", "x/cooked/b.csv": b"2", "x/c.txt": b"3"}
    assert sides.copy(to="x/", maps=maps).skipped == 3
    assert sides.copy(to="x/").done == 2  # other keys


@only("seaweedfs-ceph")
def test_two_objects_for_one_key_are_found_before_anything_moves(sides: Sides) -> None:
    sides.upload({"a/x": b"1", "b/x": b"2"})
    with pytest.raises(ManifestError, match=r"path 'b/x' is the path of s3://\S+/a/x as well"):
        sides.copy(maps=["a/=b/"])
    with pytest.raises(ManifestError, match="is the path of"):
        sides.copy([f"s3://{sides.source}/a/", f"s3://{sides.source}/b/"])
    assert sides.copied() == {}
    Path("keys.csv").write_text(f"bucket,key,path\n{sides.source},a/x,same\n{sides.source},b/x,same\n")
    with pytest.raises(
        ManifestError, match=r"keys\.csv:3: column path: path 'same' is the path of keys\.csv:2 as well"
    ):
        sides.copy("keys.csv")
    assert sides.copied() == {}


@only("seaweedfs-ceph")
def test_what_is_missing_is_a_failure_of_its_own(sides: Sides) -> None:
    sides.upload({"there": b"1"})
    Path("keys.csv").write_text(f"bucket,key\n{sides.source},there\n{sides.source},gone\n")
    report = sides.copy("keys.csv", failures="failed.csv")
    assert (report.done, report.failed) == (1, 1)
    assert [outcome.code for outcome in sides.outcomes if outcome.status == "failed"] == ["NoSuchKey"]
    sides.upload({"gone": b"2"})
    assert sides.copy("failed.csv").done == 1
    assert sides.copied() == {"there": b"1", "gone": b"2"}


@only("seaweedfs-ceph")
def test_a_destination_that_is_missing(sides: Sides) -> None:
    sides.upload({"a": b"1"})
    sides.destination = "no-such-bucket"
    with pytest.raises(ListingError, match="s3://no-such-bucket/x/ can't be listed: 404 NoSuchBucket"):
        sides.copy(to="x/")
    Path("keys.csv").write_text(f"bucket,key\n{sides.source},a\n")  # needs no listing
    assert sides.copy("keys.csv", to="x/").failed == 1
    assert str(sides.outcomes[0].message).startswith("s3://no-such-bucket/x/a: 404 NoSuchBucket")


def test_a_destination_inside_of_the_source(
    seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    monkeypatch.chdir(tmp_path)
    bucket = make_bucket(seaweedfs)
    for source in (f"s3://{bucket}/", f"s3://{bucket}/a/", f"s3://{bucket}/a/*/*.csv"):
        with pytest.raises(ParameterError, match="lies inside of the source"):
            asyncio.run(bp.copy(source, f"s3://{bucket}/a/b/"))


def test_no_object_of_a_list_is_copied_to_itself(proxied: ProxiedSides, tmp_path: Path) -> None:
    """Its tags would be lost. With a header, it is a change of that header."""
    proxied.upload({"a": b"1", "b": b"2"}, Tagging="kept=1")
    keys, own = tmp_path / "keys.txt", f"s3://{proxied.source}/"
    keys.write_text("a\nb\n")
    for relay in (True, False):
        with pytest.raises(ManifestError, match=f"keys.txt:1: {own}a would be copied to itself"):
            asyncio.run(bp.copy(str(keys), own, bucket=proxied.source, relay=relay))
    assert proxied.get.get_object_tagging(Bucket=proxied.source, Key="a")["TagSet"]
    report = asyncio.run(bp.copy(str(keys), own, bucket=proxied.source, maps=["s/$/.copy/"]))
    assert (report.done, report.failed) == (2, 0)
    headers = {"x-amz-meta-by": "me"}
    report = asyncio.run(bp.copy(str(keys), own, bucket=proxied.source, headers=headers, journal=tmp_path / "j"))
    assert (report.done, report.failed) == (2, 0)
    assert proxied.get.head_object(Bucket=proxied.source, Key="a")["Metadata"] == {"by": "me"}


@pytest.mark.parametrize(
    ("destination", "maps", "message"),
    [
        ("s3://bucket/key", (), "is a key; objects are copied to a prefix"),
        ("s3://bucket/p/", ("x",), "is not of the form OLD=NEW"),
        ("s3://bucket/p/", ("s/(/x/",), "is not valid"),
        ("s3://bucket/p/", (r"s/a/\2/",), "is not valid"),
    ],
)
def test_what_is_no_destination(destination: str, maps: tuple[str, ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        asyncio.run(bp.copy("s3://from/", destination, maps=maps))


@pytest.mark.parametrize("relay", [False, True])
@pytest.mark.parametrize("name", ["seaweedfs", "ceph", "ministack"])
def test_one_server_makes_the_copies_itself(
    name: str, relay: bool, behind_proxy: BehindProxy, request: pytest.FixtureRequest
) -> None:
    sides = behind_proxy(request.getfixturevalue(name))
    bodies = {key: body for key, body in BODIES.items() if "/" not in key or name != "ministack"}
    sides.upload(bodies, **HEADERS)
    parts = [RANDOM.randbytes(5 * MIB), RANDOM.randbytes(5 * MIB), b"x"]
    etag = sides.upload_in_parts("parts", parts, **HEADERS)
    report = sides.copy(relay=relay)
    moved = sum(len(seen.body) for seen in sides.proxy.seen if seen.method == "PUT")
    assert (report.done, report.failed) == (len(bodies) + 1, 0), sides.outcomes
    assert sides.copied() == {**bodies, "parts": b"".join(parts)}
    assert moved == (report.bytes if relay else 0)
    unproven = {outcome.object.key for outcome in sides.outcomes if outcome.is_unproven}
    gives_other_etags = name == "seaweedfs" and not relay  # for copies of parts
    assert unproven == ({"parts"} if gives_other_etags else set())
    found = sides.put.head_object(Bucket=sides.destination, Key="parts")
    assert found["ETag"].strip('"') == etag or gives_other_etags
    assert found["CacheControl"] == HEADERS["CacheControl"]
    assert sides.put.head_object(Bucket=sides.destination, Key="small")["Metadata"]["author"] == "me"


@only("seaweedfs-ceph", "seaweedfs-rclone")
@pytest.mark.parametrize("if_exists", ["keep", "fail"])
def test_what_exists_is_kept(sides: Sides, if_exists: str) -> None:
    sides.upload({"same": b"1", "other": b"2", "missing": b"3"})
    sides.store({"same": b"1", "other": b"x"})
    report = sides.copy(if_exists=if_exists)
    found = {outcome.object.key: (outcome.status, outcome.code) for outcome in sides.outcomes}
    other = ("skipped", None) if if_exists == "keep" else ("failed", "Exists")
    assert found == {"same": ("skipped", None), "other": other, "missing": ("done", None)}
    assert (report.done, report.failed) == (1, 0 if if_exists == "keep" else 1)
    assert sides.copied() == {"same": b"1", "other": b"x", "missing": b"3"}


@pytest.mark.parametrize("size", [5 * MIB, 300_000])
def test_a_byte_that_changes_on_its_way_is_noticed(size: int, proxied: ProxiedSides) -> None:
    """In parts of which only the etag of the whole is compared, and in one request."""
    bodies = [RANDOM.randbytes(size), RANDOM.randbytes(1000)]
    if size >= 5 * MIB:
        proxied.upload_in_parts("key", bodies)
    else:
        proxied.upload({"key": bodies[0]})
    flips = iter((Fault(flip_answer=True),))
    asked = "range" if size >= 5 * MIB else "host"
    proxied.proxy.schedule = lambda seen: (
        next(flips, None) if seen.method == "GET" and "/key?" in seen.target and seen.header(asked) else None
    )
    report = proxied.copy(relay=True)
    assert next(flips, None) is None
    assert (report.done, report.unproven, report.retries) == (1, 0, 1)
    assert proxied.copied() == {"key": b"".join(bodies if size >= 5 * MIB else bodies[:1])}


@pytest.mark.parametrize("status", [412, 416])
def test_a_refused_range_tells_that_the_object_changed(status: int, proxied: ProxiedSides) -> None:
    proxied.upload({"key": RANDOM.randbytes(11 * MIB)})
    proxied.proxy.schedule = lambda seen: Fault(status) if seen.header("range") else None
    report = proxied.copy(part_size=5 * MIB, attempts=2, relay=True)
    assert (report.done, report.failed) == (0, 1)
    assert [outcome.code for outcome in proxied.outcomes] == ["ObjectChanged"]
    assert proxied.copied() == {}


def test_an_object_that_changes_in_the_middle_is_reported(proxied: ProxiedSides) -> None:
    size = 11 * MIB
    proxied.upload({"key": RANDOM.randbytes(size)})
    changes = iter((RANDOM.randbytes(size),))

    def change(seen: Seen) -> None:
        """Before its second part is read."""
        is_part = (seen.header("range") or "").startswith("bytes=5242880-")
        if is_part and (body := next(changes, None)) is not None:
            proxied.upload({"key": body})

    proxied.proxy.schedule = change
    report = proxied.copy(part_size=5 * MIB, attempts=2, relay=True)
    assert (report.done, report.failed) == (0, 1)
    assert [outcome.code for outcome in proxied.outcomes] == ["ObjectChanged"]
    assert proxied.copied() == {}
    assert proxied.copy(part_size=5 * MIB, relay=True).done == 1
    assert list(proxied.copied().values()) == [proxied.get.get_object(Bucket=proxied.source, Key="key")["Body"].read()]


@pytest.mark.parametrize("relay", [False, True])
def test_a_link_that_expires_in_the_middle_is_signed_again(relay: bool, proxied: ProxiedSides) -> None:
    """The link of an object, the link of a part, and the link that completes an upload."""
    bodies = {"small": b"1", "large": RANDOM.randbytes(11 * MIB)}
    proxied.upload(bodies, ContentType="text/x")
    asked: set[str] = set()

    def expire_once(seen: Seen) -> Fault | None:
        request = re.sub(r"X-Amz-\w+=[^&]*&?", "", f"{seen.method} {seen.target}")
        is_new = request not in asked
        asked.add(request)
        return expired() if is_new and seen.method in {"PUT", "POST"} and "uploads=" not in request else None

    proxied.proxy.schedule = expire_once
    report = proxied.copy(part_size=5 * MIB, headers={"x-amz-storage-class": "STANDARD"}, relay=relay)
    stored = [seen for seen in proxied.proxy.seen if seen.method == "PUT" and "/small?" in seen.target]
    assert report.done == 2, proxied.outcomes
    assert proxied.copied() == bodies
    assert {seen.header("x-amz-storage-class") for seen in stored} == {"STANDARD"}
    for key in bodies:
        assert proxied.put.head_object(Bucket=proxied.destination, Key=key)["ContentType"] == "text/x"


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_metadata_outside_of_ascii_is_kept(sides: Sides, tmp_path: Path) -> None:
    """boto3 sends none, so it is sent through a link."""
    meta = {"x-amz-meta-name": "käse 🧀", "Content-Disposition": "attachment; filename*=UTF-8''k%C3%A4se"}

    async def upload() -> None:
        async with bp.Presigner(profile_name="source") as presigner:
            links = presigner.sign_batch([bp.ObjectRef(sides.source, "key", path="file")], "PUT", headers=meta)
            assert (await bp.put(links, source=tmp_path / "in")).done == 1

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_bytes(b"1")
    asyncio.run(upload())
    assert sides.copy().done == 1
    source = sides.get.head_object(Bucket=sides.source, Key="key")["ResponseMetadata"]["HTTPHeaders"]
    copy = sides.put.head_object(Bucket=sides.destination, Key="key")["ResponseMetadata"]["HTTPHeaders"]
    for name in map(str.lower, meta):
        assert copy[name] == source[name]
    assert copy["x-amz-meta-name"].encode("latin-1").decode() == meta["x-amz-meta-name"]


@only("seaweedfs-ceph", "ceph-seaweedfs")
def test_two_columns_of_links_need_no_credentials(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {key: body for key, body in BODIES.items() if key != "large"}
    sides.upload(bodies, **HEADERS)
    sides.sign()
    monkeypatch.delenv("AWS_CONFIG_FILE")
    report = sides.copy_links()
    assert (report.done, report.unproven) == (len(bodies), 0), sides.outcomes
    assert sides.copied() == {f"to/{key}": body for key, body in bodies.items()}
    found = sides.put.head_object(Bucket=sides.destination, Key="to/small")
    assert {name: found.get(name) for name in ("ContentType", "CacheControl")} == {
        name: HEADERS[name] for name in ("ContentType", "CacheControl")
    }
    assert sides.copy_links().skipped == len(bodies)
    assert Path("links.csv.copy.journal").is_file()


def test_links_of_copies_that_failed_are_signed_from_their_objects(proxied: ProxiedSides) -> None:
    proxied.upload({"a": b"1"})
    proxied.sign(expires_in=1)
    time.sleep(2)
    assert proxied.copy_links(failures="failed.csv").expired == 1
    with pytest.raises(ManifestError, match=r"failed\.csv:2: column dst_url: the rows of copies can't be signed again"):
        asyncio.run(bp.sign("failed.csv", "fresh.csv"))
    links = [link for rows in Table("failed.csv") for link in links_of(rows)]
    with pytest.raises(ManifestError, match=r"given rows:1: column dst_url: the rows of copies can't be signed again"):
        asyncio.run(bp.sign(links, "fresh.csv"))
    asyncio.run(bp.sign("failed.csv", "fresh.csv", to=f"s3://{proxied.destination}/to/"))
    assert proxied.copy_links("fresh.csv").done == 1
    assert proxied.copied() == {"to/a": b"1"}


@only("seaweedfs-ceph")
def test_links_that_failed_are_links_again(sides: Sides) -> None:
    sides.upload({"a": b"1", "b": b"2"})
    sides.sign(to="")
    sides.get.delete_object(Bucket=sides.source, Key="b")
    report = sides.copy_links(failures="failed.csv")
    assert (report.done, report.failed) == (1, 1)
    sides.upload({"b": b"2"})
    assert sides.copy_links("failed.csv", journal="other").done == 1
    assert sides.copied() == {"a": b"1", "b": b"2"}


def test_copies_of_one_object_are_apart_in_the_journal(tmp_path: Path) -> None:
    """The copy that failed is made by the next run, although the other one was done."""
    with FaultProxy() as proxy:
        proxy.objects["/b/a"] = b"bytes"
        rows = [f"b,a,{proxy.url}/b/a,{proxy.url}/{bucket}/a\n" for bucket in ("refused", "taken")]
        (tmp_path / "l.csv").write_text("bucket,key,url,dst_url\n" + "".join(rows))
        proxy.schedule = lambda seen: Fault(403) if "/refused/" in seen.target else None
        report = asyncio.run(bp.copy(tmp_path / "l.csv", concurrency=1))
        assert (report.done, report.failed) == (1, 1)
        proxy.schedule = lambda seen: None
        report = asyncio.run(bp.copy(tmp_path / "l.csv"))
        assert (report.done, report.skipped) == (1, 1)
        assert set(proxy.objects) == {"/b/a", "/refused/a", "/taken/a"}
    (read,) = asyncio.run(bp.report(tmp_path / "l.csv.copy.journal"))
    assert (read.objects, read.done) == (2, 2)


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        ("url", "http://h/a", r"l\.csv:2: .*the row has no dst_url: make one with sign --to"),
        ("url,dst_url", "http://h/a,h/a", r"l\.csv:2: .*column dst_url: 'h/a' is not an http"),
        ("url,dst_url,dst_headers", "http://h/a,http://h/b,[]", r"l\.csv:2: .*column dst_headers: not a JSON object"),
        ("bucket,key", "b,k", "needs s3://bucket/prefix/, or a table of links with a column dst_url"),
    ],
)
def test_rows_that_are_no_copies(columns: str, cells: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"{columns}\n{cells}\n")
    with pytest.raises(InputError, match=message):
        asyncio.run(bp.copy(tmp_path / "l.csv"))


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (
            Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>"),
            "NotImplemented",
            r"/a: 501 NotImplemented \(the copy has these headers of the object: content-type, cache-control, .*author",
        ),
        (Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>"), "AccessDenied", r"/a: 403 AccessDenied\Z"),
    ],
    ids=["a refused header", "read-only"],
)
def test_what_the_destination_refuses_is_said_with_its_name(
    fault: Fault, code: str, message: str, proxied: ProxiedSides
) -> None:
    proxied.upload({"a": b"1"}, **HEADERS)
    proxied.proxy.schedule = lambda seen: fault if seen.method == "PUT" else None
    report = proxied.copy(relay=True)
    assert (report.done, report.failed) == (0, 1)
    (outcome,) = proxied.outcomes
    assert (outcome.code, outcome.object.key) == (code, "a")
    assert re.search(f"^s3://{proxied.destination}{message}", str(outcome.message))


PAGE = Fault(200, {"Content-Type": "text/html"}, b"<html>Please sign in</html>")


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("page", [PAGE, Fault(200)], ids=["a page", "nothing"])
def test_an_object_that_a_proxy_swallowed_is_not_copied(page: Fault, size: int, proxied: ProxiedSides) -> None:
    """Neither by this run, nor for the next one. A response of S3 has its headers."""
    proxied.upload({"a": bytes(size)})
    proxied.sign()
    proxied.proxy.schedule = lambda seen: page if seen.method == "PUT" else None
    for is_by_links in (False, True):
        report = proxied.copy_links() if is_by_links else proxied.copy(to="to/", relay=True)
        assert (report.done, report.failed) == (0, 1)
        (outcome,) = proxied.outcomes
        assert (outcome.code, outcome.attempts) == ("NoEtag", 5)
        assert "the response is not that of an S3 server" in str(outcome.message)
    assert proxied.copied() == {}
    proxied.proxy.schedule = lambda _: None
    assert (proxied.copy(to="to/", relay=True).done, proxied.copy_links().done) == (1, 1)
    assert proxied.copied("to/") == {"to/a": bytes(size)}


@pytest.mark.parametrize("size", [1000, 400_000])
def test_a_page_of_a_proxy_is_not_copied_as_the_object(size: int, proxied: ProxiedSides, tmp_path: Path) -> None:
    """A row of a list of keys tells nothing of its object."""
    (tmp_path / "keys.txt").write_text("a\n")
    page = Fault(200, PAGE.headers, PAGE.body.ljust(size))
    proxied.proxy.schedule = lambda seen: (
        page if seen.method == "GET" and f"/{proxied.source}/" in seen.target else None
    )
    report = proxied.copy("keys.txt", bucket=proxied.source, relay=True)
    assert (report.done, report.failed) == (0, 1)
    (outcome,) = proxied.outcomes
    assert (outcome.code, outcome.attempts) == ("NoEtag", 5)
    assert "the response is not that of an S3 server" in str(outcome.message)
    assert proxied.copied() == {}


def test_credentials_of_one_side_that_end() -> None:
    """The objects expire, and the run goes on."""

    class Ended:
        def sign_put(self, *_: object) -> NoReturn:
            raise CredentialsError("they ended")

        async def prepare(self, _: object) -> None:
            """Nothing new comes."""

    sign: Any = PutSigner(cast("Any", Ended()), {})
    put = bp.Link("PUT", "", {}, None, bp.ObjectRef("bucket", "key"))
    with pytest.raises(LinkExpiredError, match="the PUT of s3://bucket/key can't be signed: they ended"):
        asyncio.run(sign(put, {}))


def test_outcomes_come_as_objects_end(sides: Sides) -> None:
    sides.upload({"a": b"1", "b": b"22"})

    async def run() -> dict[str, str | None]:
        where = f"s3://{sides.source}/", f"s3://{sides.destination}/"
        async with bp.copy_outcomes(*where, **sides.for_copy) as outcomes:
            return {outcome.object.key: outcome.verified_by async for outcome in outcomes}

    assert asyncio.run(run()) == {"a": "md5", "b": "md5"}


def test_a_relayed_copy_has_two_connections_of_aiohttp(proxied: ProxiedSides) -> None:
    """A pool of one for each copy would wait for itself."""
    proxied.upload({f"{number}": RANDOM.randbytes(300_000) for number in range(3)})

    async def copied() -> bp.Report:
        with anyio.fail_after(30):
            one, other = f"s3://{proxied.source}/", f"s3://{proxied.destination}/"
            settings: dict[str, Any] = {"transport": "aiohttp", "concurrency": 1, "part_concurrency": 1}
            return await bp.copy(one, other, relay=True, **settings)

    assert asyncio.run(copied()).done == 3
