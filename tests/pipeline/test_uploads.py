"""Multipart uploads to real servers: through rows of others, and with own credentials."""

import asyncio
import csv
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from boto3.s3.transfer import TransferConfig

import bulkpresign as bp
from bulkpresign.errors import ManifestError, ParameterError, SigningError
from bulkpresign.events import Event, UploadLeftOpen
from bulkpresign.model import Outcome, Report
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.events import heard
from tests.support.folders import write_all
from tests.support.tables import rows_of
from tests.support.uploads import MIB, PART, open_uploads, table_of

#: Around every edge: nothing, one byte, one part less, more, exactly, and three.
SIZES = (0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART)
BODIES = {f"d/{size} ü": os.urandom(size) for size in SIZES}


def etag_of_boto(client: Any, bucket: str, file: Path) -> str:
    """The etag that boto3's own `upload_file` gives the same bytes, in parts of the same size."""
    config = TransferConfig(multipart_threshold=PART + 1, multipart_chunksize=PART)
    client.upload_file(str(file), bucket, "of boto", Config=config)
    return str(client.head_object(Bucket=bucket, Key="of boto")["ETag"])


async def sign_and_put(folder: Path, table: Path, **more: Any) -> Report:
    await bp.sign(table, folder / "links.csv", method="PUT", part_size=PART)
    return await bp.put(folder / "links.csv", folder / "in", **more)


@pytest.fixture
def scene(server: S3Server, bucket: str, boto: Boto, aws_env: AwsEnv) -> tuple[Any, str, str]:
    """A client, a bucket, and the server's name."""
    aws_env(server)
    return boto(server), bucket, server.name


def test_sizes_through_rows(scene: tuple[Any, str, str], tmp_path: Path) -> None:
    client, bucket, name = scene
    outcomes: list[Outcome] = []
    report = asyncio.run(sign_and_put(tmp_path, table_of(tmp_path, bucket, BODIES), listeners=[heard(outcomes)]))
    assert (report.done, report.failed, report.uploads_left_open) == (len(BODIES), 0, 0)
    assert report.bytes == sum(map(len, BODIES.values()))
    check_all(client, bucket, name, tmp_path, "")
    by_key = {outcome.object.key: outcome.verified_by for outcome in outcomes}
    assert by_key[f"d/{3 * PART} ü"] == "md5-parts"


def test_sizes_with_own_credentials(scene: tuple[Any, str, str], tmp_path: Path) -> None:
    client, bucket, name = scene
    write_all(tmp_path / "in", BODIES)
    report = asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/pre/", part_size=PART))
    assert (report.done, report.failed, report.uploads_left_open) == (len(BODIES), 0, 0)
    check_all(client, bucket, name, tmp_path, "pre/")


def check_all(client: Any, bucket: str, name: str, folder: Path, prefix: str) -> None:
    assert open_uploads(client, bucket) == []
    for path, body in BODIES.items():
        found = client.get_object(Bucket=bucket, Key=prefix + path)
        assert found["Body"].read() == body
        if name != "rclone":
            assert found["ETag"] == etag_of_boto(client, bucket, folder / "in" / path)


def test_a_hundred_mebibytes(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    client, bucket = boto(seaweedfs), make_bucket(seaweedfs)
    block = os.urandom(MIB)
    write_all(tmp_path / "in", {"big": b"".join(block[n:] + block[:n] for n in range(107)) + b"end"})
    report = asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/", part_size=8 * MIB))
    assert (report.done, report.bytes) == (1, 107 * MIB + 3)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    client.upload_file(str(tmp_path / "in" / "big"), bucket, "of boto", Config=config)
    etags = {client.head_object(Bucket=bucket, Key=key)["ETag"] for key in ("big", "of boto")}
    assert len(etags) == 1
    assert etags.pop().endswith('-14"')


def test_an_upload_that_was_ended_under_us(scene: tuple[Any, str, str], tmp_path: Path) -> None:
    client, bucket, _ = scene
    table = table_of(tmp_path, bucket, {"big": bytes(PART + 1)})
    outcomes: list[Outcome] = []

    async def run() -> Report:
        await bp.sign(table, tmp_path / "links.csv", method="PUT", part_size=PART)
        upload_id = rows_of(tmp_path / "links.csv")[0]["upload_id"]
        client.abort_multipart_upload(Bucket=bucket, Key="big", UploadId=upload_id)
        return await bp.put(tmp_path / "links.csv", tmp_path / "in", listeners=[heard(outcomes)])

    report = asyncio.run(run())
    assert [(outcome.status, outcome.code) for outcome in outcomes] == [("failed", "NoSuchUpload")]
    assert "sign it anew" in (outcomes[0].message or "")
    assert report.uploads_left_open == 0
    assert asyncio.run(sign_and_put(tmp_path, table)).done == 1
    assert open_uploads(client, bucket) == []


@pytest.fixture
def proxied(
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    aws_env: AwsEnv,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[FaultProxy, Any, str]]:
    """A proxy before SeaweedFS, a client that goes past it, and a bucket."""
    aws_env(seaweedfs)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy, boto(seaweedfs), make_bucket(seaweedfs)


def sign(folder: Path, rows: str, **more: Any) -> Report:
    (folder / "keys.csv").write_text(rows)
    return asyncio.run(bp.sign(folder / "keys.csv", folder / "links.csv", method="PUT", part_size=PART, **more))


def test_rows_are_as_documented(proxied: tuple[FaultProxy, Any, str], tmp_path: Path) -> None:
    _, client, bucket = proxied
    report = sign(
        tmp_path,
        f"key,size,content_type,note\nsmall,{PART},text/plain,s\nbig,{2 * PART + 1},image/png,b\nlast,0,,l\n",
        bucket=bucket,
        headers={"x-amz-meta-a": "b"},
    )
    assert (report.done, report.uploads_opened) == (7, 1)
    rows = rows_of(tmp_path / "links.csv")
    assert [
        (row["key"], row["method"], row["size"], row["part_number"], row["offset"], row["note"]) for row in rows
    ] == [
        ("small", "PUT", f"{PART}", "", "", "s"),
        ("big", "PUT", f"{PART}", "1", "0", "b"),
        ("big", "PUT", f"{PART}", "2", f"{PART}", "b"),
        ("big", "PUT", "1", "3", f"{2 * PART}", "b"),
        ("big", "POST", f"{2 * PART + 1}", "", "", "b"),
        ("big", "DELETE", f"{2 * PART + 1}", "", "", "b"),
        ("last", "PUT", "0", "", "", "l"),
    ]
    assert {row["upload_id"] for row in rows if row["key"] != "big"} == {""}
    assert len({row["upload_id"] for row in rows if row["key"] == "big"}) == 1
    assert all(row["expires_at"] for row in rows)
    assert {row["headers"] for row in rows if row["key"] == "big"} == {"{}"}
    write_all(tmp_path / "in", {"small": bytes(PART), "big": bytes(2 * PART + 1), "last": b""})
    assert asyncio.run(bp.put(tmp_path / "links.csv", tmp_path / "in")).done == 3
    found = client.head_object(Bucket=bucket, Key="big")
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"a": "b"})


def test_jsonl_takes_the_same_way(proxied: tuple[FaultProxy, Any, str], tmp_path: Path) -> None:
    _, client, bucket = proxied
    table = table_of(tmp_path, bucket, {"big": bytes(PART + 1), "small": b"x"})

    async def run() -> Report:
        await bp.sign(table, tmp_path / "links.jsonl.gz", method="PUT", part_size=PART)
        return await bp.put(tmp_path / "links.jsonl.gz", tmp_path / "in")

    assert asyncio.run(run()).done == 2
    assert open_uploads(client, bucket) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("key,size\nbig,9999999\nx,\n", "keys.csv:3: column size: with --part-size an object needs its size"),
        ("key\nbig\n", "keys.csv:2: column size: with --part-size an object needs its size"),
        (
            "key,size\nbig,9999999\nhuge,99999999999\n",
            "keys.csv:3: column size: 99,999,999,999 bytes make 19,074 parts, and S3 allows 10,000: use --part-size 10",
        ),
    ],
)
def test_sizes_that_will_not_do_are_told_before_anything_is_opened(
    proxied: tuple[FaultProxy, Any, str], tmp_path: Path, rows: str, message: str
) -> None:
    proxy, _, bucket = proxied
    with pytest.raises(ManifestError, match=re.escape(message)):
        sign(tmp_path, rows, bucket=bucket)
    assert proxy.count == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.csv"]


def test_parameters_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "keys.csv").write_text("bucket,key,size\nbucket,k,1\n")
    links = tmp_path / "links.csv"
    with pytest.raises(ParameterError, match="is not between 5 MiB and 5 GiB"):
        asyncio.run(bp.sign(tmp_path / "keys.csv", links, method="PUT", part_size=PART - 1))
    with pytest.raises(ParameterError, match="is not between 5 MiB and 5 GiB"):
        asyncio.run(bp.put(tmp_path / "in", "s3://bucket/", part_size=PART - 1))
    with pytest.raises(ParameterError, match="a part size is for PUT links"):
        asyncio.run(bp.sign(tmp_path / "keys.csv", links, part_size=PART))
    assert not links.exists()


def test_what_was_opened_in_vain_is_ended(proxied: tuple[FaultProxy, Any, str], tmp_path: Path) -> None:
    proxy, client, bucket = proxied
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    proxy.schedule = lambda seen: denied if "/k7?" in seen.target else None
    events: list[Event] = []
    rows = "".join(f"k{n},9999999\n" for n in range(8))
    with pytest.raises(SigningError, match="k7: no upload can be opened: 403 AccessDenied"):
        sign(tmp_path, f"key,size\n{rows}", bucket=bucket, listeners=[events.append])
    assert open_uploads(client, bucket) == []
    assert sum(seen.method == "DELETE" for seen in proxy.seen) > 0
    assert not (tmp_path / "links.csv").exists()
    assert not [event for event in events if isinstance(event, UploadLeftOpen)]


def test_what_can_not_be_ended_is_named(proxied: tuple[FaultProxy, Any, str], tmp_path: Path) -> None:
    proxy, client, bucket = proxied
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    proxy.schedule = lambda seen: denied if seen.method == "DELETE" or "/k1?" in seen.target else None
    (tmp_path / "keys.csv").write_text("key,size\nk0,9999999\n")
    (tmp_path / "more.csv").write_text("key,size\nk1,9999999\n")
    events: list[Event] = []
    tables = [tmp_path / "keys.csv", tmp_path / "more.csv"]
    with pytest.raises(SigningError, match="k1: no upload"):
        asyncio.run(
            bp.sign(
                tables, tmp_path / "links.csv", bucket=bucket, method="PUT", part_size=PART, listeners=[events.append]
            )
        )
    assert [event.object.key for event in events if isinstance(event, UploadLeftOpen)] == ["k0"]
    assert open_uploads(client, bucket) == ["k0"]


def test_signing_that_is_cut_off_leaves_no_upload_open(proxied: tuple[FaultProxy, Any, str], tmp_path: Path) -> None:
    proxy, client, bucket = proxied
    stopped = threading.Event()

    def hold(seen: Seen) -> None:
        if "/k1?" in seen.target:
            stopped.wait(20)

    proxy.schedule = hold
    (tmp_path / "keys.csv").write_text("key,size\nk0,9999999\n")
    (tmp_path / "more.csv").write_text("key,size\nk1,9999999\n")
    tables = [tmp_path / "keys.csv", tmp_path / "more.csv"]

    async def run() -> None:
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                while not any("/k1?" in seen.target for seen in proxy.seen):
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()
                stopped.set()

            group.start_soon(stop)
            await bp.sign(tables, tmp_path / "links.csv", bucket=bucket, method="PUT", part_size=PART)

    asyncio.run(run())
    assert open_uploads(client, bucket) == []
    assert not (tmp_path / "links.csv").exists()


def test_rows_of_uploads_are_signed_anew_as_objects(proxied: tuple[FaultProxy, Any, str], tmp_path: Path) -> None:
    _, _, bucket = proxied
    sign(tmp_path, f"key,size\nbig,{PART + 1}\nsmall,1\n", bucket=bucket)
    asyncio.run(bp.sign(tmp_path / "links.csv", tmp_path / "get.csv", method="GET"))
    rows = rows_of(tmp_path / "get.csv")
    assert [(row["key"], row["method"], row["size"]) for row in rows] == [
        ("big", "GET", f"{PART + 1}"),
        ("small", "GET", "1"),
    ]
    assert "upload_id" not in rows[0]


def test_rows_of_uploads_are_signed_again_for_the_same_uploads(
    proxied: tuple[FaultProxy, Any, str], tmp_path: Path
) -> None:
    """What a partner could not finish in time goes on with what is up already, and new ones with a part size."""
    proxy, client, bucket = proxied
    sign(tmp_path, f"key,size,note\nbig,{PART + 1},n\nsmall,1,\n", bucket=bucket)
    write_all(tmp_path / "in", {"big": bytes(PART + 1), "small": b"x"})
    proxy.schedule = lambda seen: Fault(403) if "partNumber=2" in seen.target else None
    first = bp.put(tmp_path / "links.csv", tmp_path / "in", failures=tmp_path / "failed.csv", part_concurrency=1)
    assert asyncio.run(first).failed == 1
    asyncio.run(bp.sign(tmp_path / "failed.csv", tmp_path / "fresh.csv", expires_in=77))
    old, new = rows_of(tmp_path / "failed.csv"), rows_of(tmp_path / "fresh.csv")
    same = ("key", "method", "size", "upload_id", "part_number", "offset", "note")
    assert [[row[name] for name in same] for row in new] == [[row[name] for name in same] for row in old]
    assert all("X-Amz-Expires=77&" in row["url"] for row in new)
    proxy.schedule = lambda _: None
    proxy.seen.clear()
    assert asyncio.run(bp.put(tmp_path / "fresh.csv", tmp_path / "in")).done == 1
    assert sum("partNumber=" in seen.target for seen in proxy.seen) == 1
    assert open_uploads(client, bucket) == []
    asyncio.run(bp.sign(tmp_path / "fresh.csv", tmp_path / "anew.csv", method="PUT", part_size=PART))
    assert open_uploads(client, bucket) == ["big"]
    assert rows_of(tmp_path / "anew.csv")[0]["upload_id"] != old[0]["upload_id"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(1), "column part_number: part 2 is missing before part 3"),
        (lambda rows: rows.append(rows.pop(0)), "links.csv:2: column part_number: part 1 is missing"),
        (lambda rows: rows.insert(5, rows[0]), "links.csv:7: column part_number: part 1 is there twice"),
        (lambda rows: rows.extend(rows[:5]), "links.csv:8: column upload_id: the rows of upload"),
        (lambda rows: rows[4].update(method="GET"), "links.csv:6: column method: a row of an upload"),
        (lambda rows: rows[5].update(method="POST"), "links.csv:7: column method: a POST link where PUT links"),
    ],
)
def test_groups_that_are_none_are_told_before_the_first_request(
    proxied: tuple[FaultProxy, Any, str], tmp_path: Path, change: Callable[[list[dict[str, str]]], object], message: str
) -> None:
    proxy, _, bucket = proxied
    sign(tmp_path, f"key,size\nbig,{2 * PART + 1}\nsmall,1\n", bucket=bucket)
    rows = rows_of(tmp_path / "links.csv")
    change(rows)
    with (tmp_path / "links.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    write_all(tmp_path / "in", {"big": bytes(2 * PART + 1), "small": b"x"})
    proxy.seen.clear()
    with pytest.raises(ManifestError, match=message):
        asyncio.run(bp.put(tmp_path / "links.csv", tmp_path / "in"))
    assert proxy.count == 0
