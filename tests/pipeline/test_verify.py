"""Verification from Python: what is counted, what is refused, what it takes."""

import csv
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import pytest

import bulkpresign as bp
from bulkpresign.checksums import base64_of, hasher
from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.events import BytesMoved, Event, ObjectFinished, RowsRead, RunFinished, RunStarted
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.checksums import checksum
from tests.support.events import outcomes_of
from tests.support.manifests import filled
from tests.support.tables import table

pytestmark = pytest.mark.anyio
MIB = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_all_is_counted(tmp_path: Path) -> None:
    rows = filled(tmp_path / "in", 1000)
    rows[0]["checksum"] = checksum("crc64nvme", b"0" * 100)
    rows[1]["etag"] = ""
    rows[2].update(size="", etag="")
    rows[3]["etag"] = "0" * 32
    rows[4]["size"] = 1
    rows[5]["etag"] = "0" * 32 + "-3"
    rows += [{"bucket": "bkt", "key": "gone"}, {"bucket": "bkt", "key": "d1/", "size": 0}]
    (tmp_path / "in" / "d1" / "1").rename(tmp_path / "in" / "\ud55c\uae00\u0301")
    rows[1]["path"] = "\ud55c\uae00\u0301"
    for name in ("x.part", "y/z", os.fsdecode(b"not-utf8-\xff")):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    extras: list[tuple[str, str]] = []
    report = await bp.verify(
        table(tmp_path / "m.csv", rows), tmp_path / "in", extras=lambda *found: extras.append(found)
    )
    assert (report.verified, report.different, report.missing, report.extra, report.skipped) == (995, 2, 1, 3, 1)
    assert report.by == {"crc64nvme": 1, "md5": 994}
    assert (report.unproven, report.failed) == (3, 6)
    assert not report.is_good
    report = await bp.verify(tmp_path / "m.csv", tmp_path / "in", accept_size=True)
    assert report.by == {"crc64nvme": 1, "size": 2, "presence": 1, "md5": 994}
    assert (report.verified, report.unproven, report.failed) == (998, 0, 3)
    assert sorted(extras) == [(name, "no row names it") for name in ("not-utf8-\udcff", "x.part", "y/z")]
    whole = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file())
    assert report.bytes == whole - 200


async def test_what_is_good(tmp_path: Path) -> None:
    rows = filled(tmp_path / "in", 30)
    half = table(tmp_path / "a.csv", rows[:15]), table(tmp_path / "b.csv", rows[15:])
    report = await bp.verify(half, folder=tmp_path / "in", concurrency=3)
    assert report.is_good
    assert report.verified == report.objects == 30
    report = await bp.verify(half[0], folder=tmp_path / "in")
    assert (report.verified, report.extra, report.is_good) == (15, 15, False)


async def test_links_of_any_method_and_age(tmp_path: Path) -> None:
    """Their objects are what counts: the path, size and etag that the rows tell."""
    filled(tmp_path / "in", 3)
    rows: list[dict[str, object]] = [
        {"url": "http://127.0.0.1:1/d0/0?X-Amz-Signature=s", "expires_at": "2020-01-01T00:00:00Z", "method": "GET"},
        {"url": "http://127.0.0.1:1/other", "path": "d1/1", "method": "PUT", "size": 100},
        {"url": "http://127.0.0.1:1/other", "path": "d2/2", "method": "HEAD", "size": 99},
    ]
    report = await bp.verify(
        table(tmp_path / "l.csv", rows), tmp_path / "in", failures=tmp_path / "f.csv", accept_size=True
    )
    assert (report.verified, report.different, report.by) == (2, 1, {"presence": 1, "size": 1})
    with (tmp_path / "f.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["url"], row["path"], row["method"]) == ("http://127.0.0.1:1/other", "d2/2", "HEAD")
    assert row["reason"] == "SizeMismatch: there are 100 bytes where 99 are expected"


async def test_listeners_hear_of_everything_on_one_thread(tmp_path: Path) -> None:
    rows = filled(tmp_path / "in", 600)
    events: list[Event] = []
    threads = set()

    def listen(event: Event) -> None:
        threads.add(threading.current_thread())
        events.append(event)

    report = await bp.verify(table(tmp_path / "m.csv", rows), tmp_path / "in", listeners=[listen], concurrency=4)
    size = sum(int(str(row["size"])) for row in rows)
    begun = events.index(RunStarted("verify", 600, size))
    assert sum(event.count for event in events[:begun] if isinstance(event, RowsRead)) == 600
    assert {type(event) for event in events[:begun]} == {RowsRead}
    assert events[-1] == RunFinished(report)
    assert sum(event.count for event in events if isinstance(event, BytesMoved)) == size
    finished = [outcome.object.key for outcome in outcomes_of(events)]
    assert sorted(finished) == sorted(str(row["key"]) for row in rows)
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": "../up"}, "m.csv:3: column path: path '../up' is refused"),
        ({"key": "/"}, "m.csv:3: column path: path '/' is refused"),
        ({"key": "d0/0"}, "m.csv:3: column path: path 'd0/0' is the path of .*m.csv:2 as well"),
        ({"size": "many"}, "m.csv:3: column size"),
        ({"bucket": ""}, "m.csv:3: column bucket"),
    ],
)
async def test_a_bad_row_is_refused_before_a_file_is_read(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    rows = filled(tmp_path / "in", 3)
    rows[1] |= change
    events: list[Event] = []
    with pytest.raises(ManifestError, match=words):
        await bp.verify(table(tmp_path / "m.csv", rows), tmp_path / "in", listeners=[events.append])
    assert events == []


async def test_what_is_refused(tmp_path: Path) -> None:
    manifest = table(tmp_path / "m.csv", filled(tmp_path / "in", 1))
    with pytest.raises(ParameterError, match="nowhere is missing"):
        await bp.verify(manifest, tmp_path / "nowhere")
    with pytest.raises(ParameterError, match=r"m\.csv is not a folder"):
        await bp.verify(manifest, manifest)
    with pytest.raises(ParameterError, match="s3://bucket/p/ is no table: verify is offline"):
        await bp.verify([manifest, "s3://bucket/p/"], tmp_path / "in")
    with pytest.raises(ParameterError, match="concurrency of 0"):
        await bp.verify(manifest, tmp_path / "in", concurrency=0)


async def test_a_cancelled_run_ends_in_the_middle_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "large").open("wb") as stream:
        stream.truncate(200 << 30)  # sparse: minutes to read
    rows: list[dict[str, object]] = [{"bucket": "bkt", "key": "large", "etag": "0" * 32}]
    manifest = table(tmp_path / "m.csv", rows)
    began = time.monotonic()
    with anyio.move_on_after(0.3) as scope:
        await bp.verify(manifest, tmp_path / "in")
    assert scope.cancelled_caught
    assert time.monotonic() - began < 20


async def test_a_listener_that_raises_ends_the_run(tmp_path: Path) -> None:
    def refuse(event: Event) -> None:
        if isinstance(event, ObjectFinished):
            raise RuntimeError("refused")

    manifest = table(tmp_path / "m.csv", filled(tmp_path / "in", 2000))
    with pytest.raises(RuntimeError, match="refused"):
        await bp.verify(manifest, tmp_path / "in", listeners=[refuse])


async def test_what_was_downloaded_is_verified(
    seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """A listing's etags, some of them of parts, against the files that get made; then one is damaged."""
    aws_env(seaweedfs)
    client, bucket = boto(seaweedfs), make_bucket(seaweedfs)
    for number in range(20):
        client.put_object(Bucket=bucket, Key=f"p/{number}", Body=os.urandom(1000))
    client.put_object(Bucket=bucket, Key="p/empty", Body=b"")
    (tmp_path / "big").write_bytes(os.urandom(20 * MIB))
    client.upload_file(str(tmp_path / "big"), bucket, "p/big")
    await bp.sign(f"s3://{bucket}/p/", str(tmp_path / "l.csv"), endpoint_url=seaweedfs.endpoint_url)
    await bp.get(str(tmp_path / "l.csv"), to=str(tmp_path / "in"))
    report = await bp.verify(tmp_path / "l.csv", tmp_path / "in")
    assert report.is_good
    assert report.by == {"md5": 21, "md5-parts": 1}
    with (tmp_path / "in" / "7").open("r+b") as stream:
        stream.write(b"\0")
    report = await bp.verify(tmp_path / "l.csv", tmp_path / "in", failures=tmp_path / "f.csv")
    assert (report.different, report.missing, report.extra) == (1, 0, 0)
    await bp.get(str(tmp_path / "f.csv"), to=str(tmp_path / "in"))
    assert (await bp.verify(tmp_path / "l.csv", tmp_path / "in")).is_good


#: `ru_maxrss` would count what the parent had before it started this.
MEASURE = """
import asyncio, re, sys
from pathlib import Path
import bulkpresign as bp
report = asyncio.run(bp.verify(sys.argv[1], sys.argv[2]))
assert report.missing == int(sys.argv[3]) and report.extra == int(sys.argv[4]), report
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_is_flat_in_rows_and_files(tmp_path: Path) -> None:
    """The index of paths has a cache of 8 MiB. Speed is printed."""
    (tmp_path / "in").mkdir()
    for number in range(3000):
        (tmp_path / "in" / f"extra-{number}").write_bytes(b"")
    peaks = []
    for count in (2_000, 200_000):
        file = tmp_path / f"{count}.csv"
        file.write_text("bucket,key\n" + "".join(f"bkt,folder/object-{n:09}\n" for n in range(count)))
        command = [sys.executable, "-c", MEASURE, str(file), str(tmp_path / "in"), str(count), "3000"]
        began = time.monotonic()
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
        print(f"{count:,} rows in {time.monotonic() - began:.1f} s")
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 30 * 1024, peaks


async def test_a_large_file_in_little_memory(tmp_path: Path) -> None:
    """512 MiB that are not on disk, by crc64nvme. Speed is printed."""
    size = 512 * MIB
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "large").open("wb") as stream:
        stream.truncate(size)
    crc = hasher("crc64nvme")
    for _ in range(size // MIB):
        crc.update(bytes(MIB))
    value = f"crc64nvme:{base64_of(crc.digest())}"
    rows: list[dict[str, object]] = [{"bucket": "bkt", "key": "large", "size": size, "checksum": value}]
    manifest = table(tmp_path / "m.csv", rows)
    code = MEASURE.replace("report.missing", "report.by['crc64nvme']")
    command = [sys.executable, "-c", code, str(manifest), str(tmp_path / "in"), "1", "0"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert int(done.stdout) < 120 * 1024
    report = await bp.verify(manifest, tmp_path / "in")
    print(f"crc64nvme: {report.bytes / report.seconds / 1e9:.2f} GB/s")
