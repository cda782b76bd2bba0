"""Certificates of real buckets: one root from any server, and exactly what was changed later is named."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aioboto3
import pytest

import bulkpresign as bp
from bulkpresign.events import BytesMoved, Event
from bulkpresign.pipeline.verification.digests import ReadPlan
from bulkpresign.proof.certificate import CertificateReader
from bulkpresign.proof.merkle import MerkleTree
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.certificates import root_of
from tests.support.links import links
from tests.support.tables import rows_of, table

pytestmark = pytest.mark.anyio

MIB = 1 << 20
AWKWARD = ["a b+c.txt", "d-e", "d/nl\n\tctrl.txt", "d/é&<x>\"'.txt", "per%20cent", "z/한글 😀", "z/~*?#[x]", "d!"]
OBJECTS = {key: os.urandom(100 + number) for number, key in enumerate([*AWKWARD, *(f"d/{n}/x" for n in range(200))])}
OBJECTS |= {"empty": b"", "large": os.urandom(9 * MIB)}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["seaweedfs", "ceph"])
def server(request: pytest.FixtureRequest, aws_env: AwsEnv) -> S3Server:
    found: S3Server = request.getfixturevalue(request.param)
    aws_env(found)
    return found


@pytest.fixture
def bucket(server: S3Server, make_bucket: MakeBucket, boto: Boto) -> str:
    """A bucket with all objects under `p/`; the large one in parts, which other servers cut elsewhere."""
    bucket, client = make_bucket(server), boto(server)
    for key, body in OBJECTS.items():
        client.put_object(Bucket=bucket, Key=f"p/{key}", Body=body)
    client.upload_fileobj(io.BytesIO(OBJECTS["large"]), bucket, "p/large")
    return bucket


def stored(folder: Path) -> Path:
    """The same objects as files."""
    for key, body in OBJECTS.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    return folder


async def test_one_root_from_any_server_folder_and_order_of_work(bucket: str, tmp_path: Path) -> None:
    uri, roots = f"s3://{bucket}/p/", set()
    runs: list[tuple[str | Path, dict[str, Any]]] = [
        (uri, {}),
        (uri, {"concurrency": 1}),
        (uri, {"concurrency": 32, "transport": "aiohttp"}),
        (stored(tmp_path / "files"), {"concurrency": 3}),
    ]
    for number, (source, settings) in enumerate(runs):
        report = await bp.write_certificate(source, tmp_path / f"{number}.jsonl.gz", **settings)
        assert report.certificate is not None
        assert (report.done, report.bytes) == (len(OBJECTS), sum(map(len, OBJECTS.values())))
        roots.add(report.certificate.root)
    assert roots == {root_of(OBJECTS)}


async def test_bytes_that_change_on_their_way_are_read_again(bucket: str, server: S3Server, tmp_path: Path) -> None:
    """Those of an object in parts, too, if its server tells the size of the parts. Else they are not proven."""
    uri = f"s3://{bucket}/p/"
    right = (await bp.write_certificate(uri, tmp_path / "right.jsonl")).certificate
    with FaultProxy(server.endpoint_url) as proxy:
        flips = iter([Fault(flip_answer=True)])
        is_large = "/p/large?"
        proxy.schedule = lambda seen: next(flips, None) if seen.method == "GET" and is_large in seen.target else None
        report = await bp.write_certificate(uri, tmp_path / "c.jsonl", endpoint_url=proxy.url)
        assert next(flips, None) is None
    assert right is not None
    assert report.certificate is not None
    is_right = report.certificate.root == right.root
    tells_part_sizes = server.name != "ceph"
    assert (is_right, report.failed, report.unproven) == (tells_part_sizes, 0, not tells_part_sizes)


async def test_the_credentials_of_a_session(
    bucket: str, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all functions take it."""
    keys = server.environment["AWS_ACCESS_KEY_ID"], server.environment["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    given: dict[str, Any] = {"session": aioboto3.Session(*keys, region_name="us-east-1")}
    uri, file = f"s3://{bucket}/p/d/", tmp_path / "c.jsonl"
    assert (await bp.write_certificate(uri, file, **given)).failed == 0
    assert (await bp.verify_certificate(uri, file, **given)).failed == 0
    assert (await bp.compare(uri, stored(tmp_path / "files") / "d", **given)).failed == 0


async def test_exactly_what_was_changed_is_named(bucket: str, server: S3Server, boto: Boto, tmp_path: Path) -> None:
    uri, client, file = f"s3://{bucket}/p/", boto(server), tmp_path / "c.jsonl"
    await bp.write_certificate(uri, file)
    plans: list[ReadPlan] = []
    report = await bp.verify_certificate(uri, file, announce=plans.append)
    assert (report.by, report.is_good) == ({"sha256": len(OBJECTS) - 1, "size": 1}, True)
    assert plans == [ReadPlan(len(OBJECTS) - 1, sum(map(len, OBJECTS.values())))]
    changed = bytearray(OBJECTS["z/한글 😀"])
    changed[7] ^= 1
    client.put_object(Bucket=bucket, Key="p/z/한글 😀", Body=bytes(changed))
    client.delete_object(Bucket=bucket, Key="p/d/nl\n\tctrl.txt")
    client.put_object(Bucket=bucket, Key="p/new", Body=b"x")
    extras: list[tuple[str, str]] = []
    report = await bp.verify_certificate(
        uri, file, differences=tmp_path / "d.csv", extras=lambda *found: extras.append(found)
    )
    assert (report.verified, report.different, report.missing, report.extra) == (len(OBJECTS) - 2, 1, 1, 1)
    assert {row["path"]: row["difference"] for row in rows_of(tmp_path / "d.csv")} == {
        "d/nl\n\tctrl.txt": "missing",
        "new": "extra",
        "z/한글 😀": "different",
    }
    assert extras == [("new", "it is only in the source")]
    report = await bp.verify_certificate(uri, file, max_read=0)
    assert (report.verified, report.unproven) == (1, len(OBJECTS) - 2)


async def test_a_folder_against_the_certificate_of_a_bucket(bucket: str, tmp_path: Path) -> None:
    folder, file = stored(tmp_path / "files"), tmp_path / "c.jsonl"
    await bp.write_certificate(f"s3://{bucket}/p/", file, algorithm="crc64nvme")
    assert json.loads(file.read_text().partition("\n")[0])["root"] == root_of(OBJECTS, "crc64nvme")
    report = await bp.verify_certificate(folder, file)
    assert report.by == {"crc64nvme": len(OBJECTS) - 1, "size": 1}
    (folder / "d!").write_bytes(OBJECTS["d!"][:-1] + bytes([OBJECTS["d!"][-1] ^ 1]))
    (folder / "d-e").unlink()
    (folder / "d" / "new").write_bytes(b"")
    report = await bp.verify_certificate(folder, file)
    assert (report.different, report.missing, report.extra) == (1, 1, 1)


async def test_proofs_of_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(11):
        (tmp_path / "in" / f"{number}é").write_bytes(b"x" * number)
    report = await bp.write_certificate(tmp_path / "in", tmp_path / "c.jsonl.gz")
    assert report.certificate is not None
    for number in range(11):
        proof = bp.prove(tmp_path / "c.jsonl.gz", f"{number}é")
        assert (proof.size, proof.objects, proof.root) == (number, 11, report.certificate.root)
        (tmp_path / "proof.json").write_text(
            json.dumps({name: getattr(proof, name) for name in proof.__struct_fields__})
        )
        said = checked(tmp_path, "proof.json", proof.root, f"in/{number}é")
        assert said.startswith(f"{number}é belongs to the certificate: {number} bytes, sha256 ")
    assert checked(tmp_path, "proof.json", "0" * 64) == "the proof does not lead to the root\n"
    assert checked(tmp_path, "proof.json", proof.root, "in/9é") == "the file is not the object\n"


def checked(folder: Path, *arguments: str) -> str:
    """What the page of code of `examples/` says."""
    page = Path(__file__).parents[2] / "examples" / "check_proof.py"
    done = subprocess.run(
        [sys.executable, "-I", str(page), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if "belongs" in done.stdout else 1)
    return done.stdout + done.stderr


async def test_two_objects_with_one_path(tmp_path: Path) -> None:
    rows = [{"bucket": "bkt", "key": "k", "path": "same"}, {"bucket": "bkt", "key": "l", "path": "same"}]
    one, other = table(tmp_path / "one.csv", rows[:1]), table(tmp_path / "other.csv", rows[1:])
    with pytest.raises(bp.ParameterError, match=r"other.csv:2: its path 'same' is the path of .*one.csv:2 as well"):
        await bp.write_certificate([one, other], tmp_path / "c.jsonl")
    refs = [bp.ObjectRef("bkt", "k", path="same"), bp.ObjectRef("bkt", "l", path="same")]
    with pytest.raises(bp.ParameterError, match=r"s3://bkt/l: its path 'same' is the path of s3://bkt/k as well"):
        await bp.write_certificate(refs, tmp_path / "c.jsonl")
    with pytest.raises(bp.ParameterError, match="is a folder, which can't be one of several sources"):
        await bp.write_certificate([one, tmp_path], tmp_path / "c.jsonl")
    with pytest.raises(bp.ParameterError, match=r"--write-certificate .*one.csv is the table"):
        await bp.write_certificate(one, one)
    assert not (tmp_path / "c.jsonl").exists()


async def test_objects_that_can_not_be_read(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """No certificate is written; one that stands under the name stays."""
    aws_env(seaweedfs)
    bucket, file = make_bucket(seaweedfs), tmp_path / "c.jsonl"
    boto(seaweedfs).put_object(Bucket=bucket, Key="k", Body=b"12345")
    file.write_text("before")
    report = await bp.write_certificate([bp.ObjectRef(bucket, "k"), bp.ObjectRef(bucket, "gone")], file)
    assert (report.done, report.failed, report.certificate) == (1, 1, None)
    assert file.read_text() == "before"
    with pytest.raises(bp.ListingError, match="404 NoSuchBucket"):
        await bp.write_certificate("s3://no-such-bucket-at-all/", file)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        proxy.always = Fault(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
        with pytest.raises(bp.ListingError, match=f"s3://{bucket}/ can't be listed: 403 AccessDenied"):
            await bp.verify_certificate(f"s3://{bucket}/", written(tmp_path), endpoint_url=proxy.url)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(bp.ParameterError, match="is not UTF-8, so it can't be a key of a certificate"):
        await bp.write_certificate(tmp_path / "in", file)
    assert file.read_text() == "before"


def written(folder: Path) -> Path:
    """A certificate of no objects."""
    root = MerkleTree().root().hex()
    header = {"format": "bulkpresign certificate", "version": 1, "algorithm": "sha256", "objects": 0, "bytes": 0}
    more = {"root": root, "created_at": "2026-01-01T00:00:00Z", "created_by": "test"}
    (folder / "none.jsonl").write_text(json.dumps(header | more))
    return folder / "none.jsonl"


async def test_an_altered_certificate_is_refused_before_anything_is_sent(
    seaweedfs: S3Server, aws_env: AwsEnv, make_bucket: MakeBucket, tmp_path: Path
) -> None:
    """It is the last row of many."""
    aws_env(seaweedfs)
    bucket, file = make_bucket(seaweedfs), written(tmp_path)
    rows = [f'["{number:06}",0,"{"00" * 32}"]' for number in range(100_000)]
    file.write_text("\n".join([file.read_text(), *rows]))
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        with pytest.raises(bp.ManifestError, match=r"none.jsonl: the certificate is cut or altered"):
            await bp.verify_certificate(f"s3://{bucket}/", file, endpoint_url=proxy.url)
        bad = table(tmp_path / "bad.csv", [{"bucket": "bkt", "key": "k", "size": "many"}])
        for source, destination in ((bad, f"s3://{bucket}/"), (f"s3://{bucket}/", bad)):
            with pytest.raises(bp.ManifestError, match=r"bad.csv:2: column size"):
                await bp.compare(source, destination, endpoint_url=proxy.url)
        assert proxy.count == 0


MEASURE = """
import re, sys
from pathlib import Path
from bulkpresign.proof.certificate import CertificateReader, CertificateRow, CertificateWriter
from bulkpresign.tables import open_output
count = int(sys.argv[1])
with CertificateWriter("sha256") as writer, open_output(sys.argv[2]) as output:
    for number in range(count):
        writer.add([CertificateRow(f"folder/object-{number * 7919 % count:09}", number, bytes(32))])
    assert writer.write(output).objects == count
reader = CertificateReader(sys.argv[2])
assert reader.prove("folder/object-000000007").objects == count
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
def test_memory_is_flat_for_a_million_rows(tmp_path: Path) -> None:
    """Rows come in another order than that of their keys. The bound: SQLite's cache of 8 MiB, and as much to sort."""
    peaks = []
    for count in (10_000, 1_000_000):
        command = [sys.executable, "-c", MEASURE, str(count), str(tmp_path / "c.jsonl")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout))
    assert peaks[1] - peaks[0] < 40 * 1024, peaks


async def test_filters(bucket: str, tmp_path: Path) -> None:
    """They select the rows of a certificate, and the objects that are compared with one."""
    uri, file, part = f"s3://{bucket}/p/", tmp_path / "c.jsonl", tmp_path / "part.jsonl"
    await bp.write_certificate(uri, file)
    filters = bp.Filters(include=["d/**"], max_size=200)
    report = await bp.write_certificate(uri, part, filters=filters)
    selected = {key for key, body in OBJECTS.items() if key.startswith("d/") and len(body) <= 200}
    assert {row.key for row in CertificateReader(str(part)).rows()} == selected
    assert report.done == len(selected)
    found = await bp.verify_certificate(uri, file, filters=filters)
    assert (found.verified, found.extra, found.missing) == (len(selected), 0, 0)
    found = await bp.verify_certificate(uri, part, filters=filters)
    assert (found.verified, found.extra, found.missing) == (len(selected), 0, 0)
    now = datetime.now(UTC)
    with pytest.raises(bp.ParameterError, match="a certificate, which has no times"):
        await bp.verify_certificate(uri, file, filters=bp.Filters(newer_than=now))
    with pytest.raises(bp.ParameterError, match="limit and sample are for verify of a folder's files"):
        await bp.write_certificate(uri, part, filters=bp.Filters(sample=2))
    report = await bp.write_certificate(uri, part, filters=bp.Filters(older_than=now - timedelta(days=1)))
    assert report.done == 0


OLD, NEW = os.urandom(MIB), os.urandom(MIB)
REST = f"bytes={MIB // 2}-"


@pytest.fixture
def broken() -> Iterator[FaultProxy]:
    """A server of one object, whose etag tells nothing of its bytes. The first response breaks off in the middle."""
    with FaultProxy() as origin:
        origin.objects["/k"], origin.etags["/k"], origin.gives_ranges = OLD, '"old"', True
        origin.faults.append(Fault(cut_after=MIB // 2))
        yield origin


async def certified(origin: FaultProxy, folder: Path, **settings: Any) -> tuple[bp.Report, int]:
    """The report on a certificate of the object, and the bytes that its listeners were told of."""
    events: list[Event] = []
    source = links(folder / "l.csv", [{"url": f"{origin.url}/k", "path": "k"}])
    report = await bp.write_certificate(source, folder / "c.jsonl", listeners=[events.append], **settings)
    return report, sum(event.count for event in events if isinstance(event, BytesMoved))


@pytest.mark.parametrize("status", [206, 412, 416])
async def test_an_object_that_is_replaced_while_it_is_read_is_read_anew(
    status: int, broken: FaultProxy, tmp_path: Path
) -> None:
    """Some servers ignore If-Match, and give the rest of the other object. The digest is of the bytes of one."""
    broken.drop_conditions = status == 206

    def replace(seen: Seen) -> Fault | None:
        broken.objects["/k"], broken.etags["/k"] = NEW, '"new"'
        return Fault(416) if status == 416 and seen.header("range") else None

    broken.schedule = replace
    report, moved = await certified(broken, tmp_path)
    assert report.certificate is not None
    assert report.certificate.root == root_of({"k": NEW})
    assert [seen.header("range") for seen in broken.seen] == [None, REST, None]
    assert (report.done, moved) == (1, MIB)


async def test_an_object_goes_on_where_its_response_broke_off(broken: FaultProxy, tmp_path: Path) -> None:
    report, moved = await certified(broken, tmp_path)
    assert report.certificate is not None
    assert report.certificate.root == root_of({"k": OLD})
    assert [(seen.header("range"), seen.header("if-match")) for seen in broken.seen] == [(None, None), (REST, '"old"')]
    assert moved == MIB


async def test_an_object_with_a_weak_etag_is_read_anew(broken: FaultProxy, tmp_path: Path) -> None:
    """Two objects can share one, and no server takes it in If-Match."""
    broken.etags["/k"] = 'W/"weak"'
    report, moved = await certified(broken, tmp_path)
    assert report.certificate is not None
    assert report.certificate.root == root_of({"k": OLD})
    assert [seen.header("range") for seen in broken.seen] == [None, None]
    assert moved == MIB


@pytest.mark.parametrize("attempts", [1, 2])
async def test_the_bytes_of_an_object_that_failed_are_taken_back(
    attempts: int, broken: FaultProxy, tmp_path: Path
) -> None:
    """The last attempt is cut off, or gives the rest of another object."""
    broken.drop_conditions = True
    broken.schedule = lambda _: broken.etags.update({"/k": '"new"'})
    report, moved = await certified(broken, tmp_path, attempts=attempts)
    assert (report.failed, report.certificate, moved) == (1, None, 0)
    assert broken.count == attempts
