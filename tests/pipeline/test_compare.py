"""Two sides against each other, on real servers: exactly what was altered, removed or added is named."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.pipeline.verification.digests import ReadPlan
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.servers.server import S3Server
from tests.support.checksums import checksum
from tests.support.tables import rows_of, table

pytestmark = pytest.mark.anyio

MIB = 1 << 20
AWKWARD = [
    "a b+c.txt",
    "d-e",
    "d/nl\n\tctrl.txt",
    "d/é&<x>\"'.txt",
    "per%20cent",
    "z/한글 😀",
    "z/~*?#[x]",
    "d!",
    'e,f"g',
]
OBJECTS = {key: os.urandom(100 + number) for number, key in enumerate([*AWKWARD, *(f"d/{n}/x" for n in range(120))])}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Two:
    """The same objects under `s3://BUCKET/p/` on SeaweedFS and on RGW, with a profile for each."""

    def __init__(self, clients: dict[str, Any], buckets: dict[str, str]) -> None:
        self.clients, self.buckets = clients, buckets
        self.seen: list[tuple[str, str]] = []
        self.plans: list[ReadPlan] = []

    def put(self, side: str, key: str, body: bytes) -> None:
        self.clients[side].put_object(Bucket=self.buckets[side], Key=f"p/{key}", Body=body)

    def delete(self, side: str, key: str) -> None:
        self.clients[side].delete_object(Bucket=self.buckets[side], Key=f"p/{key}")

    def uri(self, side: str) -> str:
        return f"s3://{self.buckets[side]}/p/"

    async def compare(self, source: Any = None, destination: Any = None, **settings: Any) -> bp.VerifyReport:
        profiles = {"source_profile_name": "source", "destination_profile_name": "destination"}
        return await bp.compare(
            source or self.uri("source"),
            destination or self.uri("destination"),
            extras=lambda *found: self.seen.append(found),
            announce=self.plans.append,
            **(profiles | settings),
        )


@pytest.fixture
def two(
    seaweedfs: S3Server,
    ceph: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Two:
    servers = {"source": seaweedfs, "destination": ceph}
    lines = []
    for side, server in servers.items():
        lines += [f"[profile {side}]", f"aws_access_key_id={server.access_key}", f"region={server.region_name}"]
        lines += [f"aws_secret_access_key={server.secret_key}", f"endpoint_url={server.endpoint_url}"]
    (tmp_path / "config").write_text("\n".join(lines))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    found = Two(
        {side: boto(server) for side, server in servers.items()},
        {side: make_bucket(server) for side, server in servers.items()},
    )
    for side in servers:
        for key, body in OBJECTS.items():
            found.put(side, key, body)
    return found


async def test_exactly_what_differs_is_named(two: Two, tmp_path: Path) -> None:
    report = await two.compare()
    assert (report.verified, report.by, report.is_good) == (len(OBJECTS), {"md5": len(OBJECTS)}, True)
    assert report.bytes == sum(map(len, OBJECTS.values()))
    changed = bytearray(OBJECTS["z/한글 😀"])
    changed[7] ^= 1
    two.put("destination", "z/한글 😀", bytes(changed))
    two.delete("destination", "d/nl\n\tctrl.txt")
    two.put("destination", "d/", b"x")
    report = await two.compare(differences=tmp_path / "found.csv")
    assert (report.verified, report.different, report.missing, report.extra) == (len(OBJECTS) - 2, 1, 1, 1)
    assert not report.is_good
    rows = {row["path"]: row for row in rows_of(tmp_path / "found.csv")}
    assert {path: row["difference"] for path, row in rows.items()} == {
        "d/": "extra",
        "d/nl\n\tctrl.txt": "missing",
        "z/한글 😀": "different",
    }
    assert rows["z/한글 😀"]["bucket"] == two.buckets["source"]
    assert rows["d/"]["bucket"] == two.buckets["destination"]
    assert rows["d/"]["reason"] == "it is only in the destination"
    assert two.seen == [("d/", "it is only in the destination")]
    assert two.plans == [ReadPlan(asked=2)]  # whether the etag of what differs is one of its bytes


async def test_parts_of_other_sizes_are_read(two: Two) -> None:
    """The etags of one object uploaded in two ways tell nothing: both are read, or unproven over the limit."""
    body = os.urandom(11 * MIB)
    for side, part_size in (("source", 5 * MIB), ("destination", 6 * MIB)):
        upload(two, side, "big", body, part_size)
        upload(two, side, "bad", body if side == "source" else body[:-1] + bytes([body[-1] ^ 1]), part_size)
    report = await two.compare()
    assert two.plans == [ReadPlan(2, 44 * MIB, 0, asked=4)]
    assert (report.by["sha256"], report.different, report.is_good) == (1, 1, False)
    for limit in (22 * MIB, 23 * MIB):
        report = await two.compare(max_read=limit)
        assert two.plans.pop() == ReadPlan(1, 22 * MIB, 1, asked=4)
        assert (report.different, report.unproven) == (1, 1)  # `bad` comes first
    report = await two.compare(max_read=0)
    assert (report.verified, report.unproven, report.failed) == (len(OBJECTS), 2, 2)


async def test_checksums_are_asked_for_before_objects_are_read(two: Two) -> None:
    """SeaweedFS tells those of whole objects: of both sides, or of one, so that the other alone is read."""
    body = os.urandom(11 * MIB)
    for part_size, prefix in ((5 * MIB, "q"), (6 * MIB, "r")):
        upload(two, "source", "same", body, part_size, prefix, ChecksumAlgorithm="CRC64NVME")
        other = body if prefix == "q" else body[:-1] + bytes([body[-1] ^ 1])
        upload(two, "source", "bad", other, part_size, prefix, ChecksumAlgorithm="CRC32")
        algorithm = "CRC32" if prefix == "q" else "CRC64NVME"
        upload(two, "source", "kinds", body, part_size, prefix, ChecksumAlgorithm=algorithm)
    q, r = (f"s3://{two.buckets['source']}/{prefix}/" for prefix in ("q", "r"))
    report = await two.compare(q, r, destination_profile_name="source")
    assert (report.by, report.different, report.failed) == ({"crc64nvme": 1, "crc32": 1}, 1, 1)
    assert two.plans == [ReadPlan(1, 11 * MIB, 0, asked=6)]
    upload(two, "destination", "same", body, 7 * MIB, "q")
    report = await two.compare(q, f"s3://{two.buckets['destination']}/q/")
    assert (report.by, report.missing) == ({"crc64nvme": 1}, 2)
    assert two.plans[1] == ReadPlan(1, 11 * MIB, 0, asked=2)


class EncryptingProxy(FaultProxy):
    """Gives all objects etags of its own. Only the responses to their requests say so, and the listing does not."""

    async def _relayed(self, upstream: str, asked: bytes, sent: bytes) -> tuple[bytes, bytes]:
        head, body = await super()._relayed(upstream, asked, sent)
        head, body = (re.sub(rb"(?<=[\";])[0-9a-f]{32}(?=[\"&])", _other_etag, part) for part in (head, body))
        return head.replace(b"\r\n\r\n", b"\r\nx-amz-server-side-encryption: aws:kms\r\n\r\n"), body


def _other_etag(etag: re.Match[bytes]) -> bytes:
    return hashlib.md5(etag[0]).hexdigest().encode()


async def test_objects_whose_etags_are_none_of_their_bytes_are_read(two: Two, ceph: S3Server) -> None:
    """As under a key of KMS: another etag in a listing is no difference."""
    changed = bytearray(OBJECTS["z/한글 😀"])
    changed[7] ^= 1
    two.put("destination", "z/한글 😀", bytes(changed))
    with EncryptingProxy(ceph.endpoint_url) as proxy:
        report = await two.compare(destination_endpoint_url=proxy.url)
    count = len(OBJECTS)
    assert report.by == {"crc32": count - 1}  # known of the objects in SeaweedFS, so only the other side is read
    assert (report.different, report.unproven) == (1, 0)
    assert two.plans == [ReadPlan(count, sum(map(len, OBJECTS.values())), 0, asked=2 * count)]


@pytest.mark.parametrize("has_checksums", [True, False])
async def test_a_folder_and_objects_whose_etags_are_none_of_their_bytes(
    two: Two, seaweedfs: S3Server, ceph: S3Server, tmp_path: Path, has_checksums: bool
) -> None:
    """As under a key of KMS. Files are hashed by the objects' checksums; objects without one are read."""
    for key, body in OBJECTS.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(body)
    (tmp_path / "d-e").write_bytes(OBJECTS["d-e"][:-1] + b"?")
    side, server = ("source", seaweedfs) if has_checksums else ("destination", ceph)
    with EncryptingProxy(server.endpoint_url) as proxy:
        sides = (two.uri(side), tmp_path) if has_checksums else (tmp_path, two.uri(side))
        report = await two.compare(*sides, **{f"{side}_endpoint_url": proxy.url})
    count, size = len(OBJECTS), sum(map(len, OBJECTS.values()))
    assert report.by == {"crc32" if has_checksums else "sha256": count - 1}
    assert (report.different, report.unproven) == (1, 0)
    assert two.plans == [ReadPlan(0, 0, 0, asked=count) if has_checksums else ReadPlan(count, size, 0, asked=count)]


@pytest.mark.parametrize("sizes", [(6, 6, 5, 7, 2), (6, 6, 6, 6, 2)])
async def test_etags_of_parts_prove_no_difference(two: Two, tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Servers tell the sizes of two parts, and some compute the etag of their own copies otherwise."""
    body = os.urandom(sum(sizes) * MIB)
    upload(two, "source", "big", body, 6 * MIB, "q", part_sizes=[size * MIB for size in sizes])
    upload(two, "destination", "big", body, 6 * MIB, "q")
    (folder := tmp_path / "files").mkdir()
    (folder / "big").write_bytes(body)
    source, destination = (f"s3://{two.buckets[side]}/q/" for side in two.buckets)
    for other in (destination, folder):
        report = await two.compare(source, other)
        assert report.by == {"md5-parts" if sizes[2] == 6 else "sha256": 1}, other
    (folder / "big").write_bytes(body[:-1] + b"?")
    report = await two.compare(source, folder)
    assert (report.different, report.failed) == (1, 1)


@pytest.mark.parametrize("is_folder", [True, False])
async def test_objects_are_read_whose_server_refuses_to_tell_what_their_etags_are(
    two: Two, ceph: S3Server, tmp_path: Path, is_folder: bool
) -> None:
    folder = tmp_path / "files"
    for key, body in OBJECTS.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    with EncryptingProxy(ceph.endpoint_url) as proxy:
        why = Fault(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
        proxy.schedule = lambda seen: why if seen.method == "HEAD" or seen.header("range") else None
        source = folder if is_folder else two.uri("source")
        report = await two.compare(source, destination_endpoint_url=proxy.url)
    assert (report.verified, report.failed) == (len(OBJECTS), 0)


async def test_a_server_that_refuses_to_be_asked(two: Two, seaweedfs: S3Server) -> None:
    """Its objects are read, also where it refuses more requests than the circuit breaker allows."""
    bodies = {f"one part {number}": os.urandom(100 + number) for number in range(60)}
    for key, body in bodies.items():
        upload(two, "source", key, body, 5 * MIB)
        two.put("destination", key, body)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        why = Fault(status=403, body=b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        proxy.schedule = lambda seen: why if seen.method == "HEAD" or seen.header("range") else None
        report = await two.compare(source_endpoint_url=proxy.url)
    assert (report.by, report.failed) == ({"md5": len(OBJECTS), "sha256": len(bodies)}, 0)
    assert [plan.objects for plan in two.plans] == [len(bodies)]


def upload(
    two: Two,
    side: str,
    key: str,
    body: bytes,
    part_size: int,
    prefix: str = "p",
    part_sizes: Sequence[int] = (),
    **settings: str,
) -> None:
    """In parts of one size, or of `part_sizes`. With `ChecksumAlgorithm`, of the whole object."""
    client, target = two.clients[side], {"Bucket": two.buckets[side], "Key": f"{prefix}/{key}"}
    kind = {**settings, "ChecksumType": "FULL_OBJECT"} if settings else {}
    upload_id = client.create_multipart_upload(**target, **kind)["UploadId"]
    parts = []
    ends = list(accumulate(part_sizes)) or range(part_size, len(body) + part_size, part_size)
    for number, (at, end) in enumerate(pairwise([0, *ends]), 1):
        part = {"PartNumber": number, "Body": body[at:end]}
        sent = client.upload_part(**target, UploadId=upload_id, **part, **settings)
        kept = {name: value for name, value in sent.items() if name == "ETag" or name.startswith("ChecksumC")}
        parts.append({"PartNumber": number, **kept})
    client.complete_multipart_upload(**target, UploadId=upload_id, MultipartUpload={"Parts": parts})


async def test_a_folder_on_either_side(two: Two, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    for key, body in OBJECTS.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    upload(two, "source", "big", big := os.urandom(11 * MIB), 6 * MIB + 7)
    (folder / "big").write_bytes(big)
    two.put("source", "d/", b"")  # a folder marker has no file
    two.put("destination", "full/", b"an object with such a key is none")
    report = await two.compare(destination=folder)
    assert (report.verified, report.is_good) == (len(OBJECTS) + 1, True)
    assert report.by == {"md5": len(OBJECTS), "md5-parts": 1}  # the server tells the size of its parts
    assert two.plans == [ReadPlan(0, 0, 0, asked=1)]
    (folder / "z" / "~*?#[x]").write_bytes(b"x" * len(OBJECTS["z/~*?#[x]"]))
    (folder / "d!").unlink()
    (folder / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"")
    report = await two.compare(folder, differences=tmp_path / "d.csv")
    assert (report.verified, report.different, report.missing, report.extra) == (len(OBJECTS) - 2, 1, 2, 2)
    assert {row["path"]: row["difference"] for row in rows_of(tmp_path / "d.csv")} == {
        "big": "missing",  # it is on the other server alone
        "d!": "extra",
        "not-utf8-\ufffd": "missing",
        "z/~*?#[x]": "different",
        "full/": "extra",
    }
    assert two.seen == [(path, "it is only in the destination") for path in ("d!", "full/")]


async def test_two_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "d").mkdir(parents=True)
        (tmp_path / name / "d" / "same").write_bytes(b"same")
        (tmp_path / name / "d" / "other").write_bytes(name.encode())
        (tmp_path / name / "empty").write_bytes(b"")
    report = await bp.compare(tmp_path / "a", tmp_path / "b")
    assert (report.by, report.different, report.bytes) == ({"sha256": 1, "size": 1}, 1, 4)
    (tmp_path / "b" / "d" / "same").unlink()
    (tmp_path / "b" / "d" / "same").symlink_to("/etc/passwd")
    report = await bp.compare(tmp_path / "a", tmp_path / "b")
    assert report.different == 2


async def test_manifests_and_links(two: Two, seaweedfs: S3Server, tmp_path: Path) -> None:
    """Links need no credentials; a checksum in a row is compared with the bytes of the other side."""
    links = tmp_path / "links.csv"
    await bp.sign(two.uri("source"), links, profile_name="source")
    report = await two.compare(links, source_profile_name=None)
    assert report.by == {"md5": len(OBJECTS)}
    for row in (rows := rows_of(links)):
        row["etag"] = ""
    report = await two.compare(table(links, rows), source_profile_name=None)
    assert (report.by, report.failed) == ({"sha256": len(OBJECTS)}, 0)
    assert two.plans[0].bytes == 2 * sum(map(len, OBJECTS.values()))
    keys = [{"bucket": "bkt", "key": key, "checksum": checksum_of(body)} for key, body in OBJECTS.items()]
    keys[3]["checksum"] = checksum_of(b"other")
    report = await two.compare(table(tmp_path / "keys.csv", keys), max_read=None)
    assert (report.by, report.different, report.failed) == ({"crc32c": len(OBJECTS) - 1}, 1, 1)
    with pytest.raises(bp.ParameterError, match=r"links.csv:3: its path 'x' is the path of .*links.csv:2 as well"):
        await two.compare(table(links, [{"url": rows[0]["url"], "path": "x"}] * 2))


async def test_an_object_is_not_compared_with_itself(
    seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """A list of keys against their own bucket read each object twice, and called that verified."""
    aws_env(seaweedfs)
    bucket, client = make_bucket(seaweedfs), boto(seaweedfs)
    keys = [{"bucket": bucket, "key": f"p/{name}", "path": name} for name in ("a", "b")]
    etags = [client.put_object(Bucket=bucket, Key=key["key"], Body=b"abc")["ETag"] for key in keys]
    for source in (f"s3://{bucket}/p/", table(tmp_path / "keys.csv", keys)):
        report = await bp.compare(source, f"s3://{bucket}/p/")
        assert (report.verified, report.unproven, report.failed) == (0, 2, 2)
    proven = table(tmp_path / "etags.csv", [{**key, "etag": etag} for key, etag in zip(keys, etags, strict=True)])
    assert (await bp.compare(proven, f"s3://{bucket}/p/")).by == {"md5": 2}


async def test_a_checksum_of_parts_is_not_compared_with_that_of_all_bytes(two: Two, tmp_path: Path) -> None:
    body, part_size = os.urandom(11 * MIB), 6 * MIB
    for side, size in (("source", 5 * MIB), ("destination", part_size)):
        upload(two, side, "big", body, size)
    digests = [hashlib.sha256(body[at : at + part_size]).digest() for at in range(0, len(body), part_size)]
    parts = f"{checksum('sha256', b''.join(digests))}-{len(digests)}"
    row = {"bucket": two.buckets["destination"], "key": "p/big", "path": "big", "checksum": parts}
    one = bp.ObjectRef(two.buckets["source"], "p/big", path="big")
    report = await two.compare([one], table(tmp_path / "parts.csv", [row]), max_read=None)
    assert (report.by, report.failed) == ({"sha256": 1}, 0)


async def test_objects_of_unknown_size_where_the_bytes_to_read_are_limited(tmp_path: Path) -> None:
    row = {"bucket": "bkt", "key": "k", "path": "k"}
    sides = [table(tmp_path / f"{name}.csv", [{**row, "bucket": f"bkt-{name}"}]) for name in ("one", "other")]
    report = await bp.compare(*sides, max_read=1, differences=tmp_path / "d.csv")
    assert report.unproven == 1
    assert [each["reason"] for each in rows_of(tmp_path / "d.csv")] == [
        "its size is unknown, and the bytes to read are limited"
    ]


def checksum_of(body: bytes) -> str:
    return checksum("crc32c", body)


async def test_two_manifests_are_compared_offline(tmp_path: Path) -> None:
    rows = [{"bucket": "bkt", "key": str(n), "size": 5, "checksum": checksum_of(b"12345")} for n in range(3)]
    one = table(tmp_path / "one.csv", rows)
    rows[1]["checksum"] = checksum_of(b"54321")
    report = await bp.compare(one, table(tmp_path / "other.csv", rows[:2]))
    assert (report.by, report.different, report.missing) == ({"crc32c": 1}, 1, 1)


@pytest.fixture
def proxy(seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        yield proxy


async def test_reading_goes_on_where_it_broke(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, proxy: FaultProxy, tmp_path: Path
) -> None:
    """A connection that breaks; a server that sends all bytes again; damaged bytes; an object that is gone."""
    aws_env(seaweedfs)
    bucket, body = make_bucket(seaweedfs), os.urandom(3 * MIB)
    for key in ("0", "1", "2", "3"):
        boto(seaweedfs).put_object(Bucket=bucket, Key=key, Body=body)
    rows = [{"bucket": bucket, "key": key, "checksum": checksum_of(body)} for key in ("0", "1", "2", "3")]
    manifest = table(tmp_path / "m.csv", rows)
    refs = [bp.ObjectRef(bucket, key) for key in ("0", "1", "2")] + [bp.ObjectRef(bucket, "gone", path="3")]
    faults = [
        Fault(cut_after=2 * MIB),
        Fault(),
        Fault(cut_after=MIB),
        Fault(ignore_range=True),
        Fault(flip_answer=True),
    ]
    proxy.faults.extend(faults)
    report = await bp.compare(
        manifest,
        refs,
        destination_endpoint_url=proxy.url,
        concurrency=1,
        max_read=None,
        differences=tmp_path / "d.jsonl",
    )
    assert (report.by, report.unproven, report.failed) == ({"crc32c": 3}, 1, 1)
    assert b'"reason":"s3://' + bucket.encode() + b"/gone can't be read: 404" in (tmp_path / "d.jsonl").read_bytes()
    ranges = [seen.header("range") for seen in proxy.seen if seen.header("range")]
    assert ranges == [f"bytes={2 * MIB}-", f"bytes={MIB}-"]


async def test_links_that_have_expired(seaweedfs: S3Server, proxy: FaultProxy, tmp_path: Path) -> None:
    """Nobody knows what their objects hold; sizes and etags of rows are compared all the same."""
    proxy.always = expired()
    url = f"{proxy.url}/bkt/{{}}?X-Amz-Signature=secret"
    rows = [{"url": url.format(number), "path": str(number), "size": number} for number in range(4)]
    one = table(tmp_path / "one.csv", rows)
    other = table(tmp_path / "other.csv", [*rows[:3], rows[3] | {"size": 5}])
    report = await bp.compare(one, other, differences=tmp_path / "d.csv")
    assert (report.verified, report.different, report.unproven) == (1, 1, 2)
    reasons = [row["reason"] for row in rows_of(tmp_path / "d.csv")]
    assert len([reason for reason in reasons if re.match(r"[12] can't be read: .*expired", reason)]) == 2, reasons
    assert "secret" not in (tmp_path / "d.csv").read_text()


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("s3://no-such-bucket-at-all/", "s3://no-such-bucket-at-all/", "can't be listed: 404 NoSuchBucket"),
        ("missing/", "s3://b12/", "missing/: no such file"),
        ("s3://x/", "s3://b12/", "'x' can't be a bucket's name"),
    ],
)
async def test_sides_that_can_not_be_used(
    seaweedfs: S3Server, aws_env: AwsEnv, source: str, destination: str, words: str, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    with pytest.raises(bp.InputError, match=words):
        await bp.compare(source, destination, differences=tmp_path / "d.csv")
    assert not (tmp_path / "d.csv").exists()


async def test_a_file_of_differences_that_is_a_source(tmp_path: Path) -> None:
    one = table(tmp_path / "one.csv", [{"bucket": "b12", "key": "k"}])
    with pytest.raises(bp.ParameterError, match=r"--differences .* is the table .*one.csv, which would be lost"):
        await bp.compare(one, one, differences=one)


async def test_filters_are_for_the_objects_of_the_source(two: Two, tmp_path: Path) -> None:
    """An object that the filters leave out at the source is not extra at the destination."""
    two.put("source", "small", b"1")
    two.put("destination", "small", bytes(5000))
    two.put("source", "large", bytes(5000))
    two.put("destination", "large", b"1")
    two.put("destination", "extra small", b"1")
    two.put("destination", "extra large", bytes(5000))
    report = await two.compare(filters=bp.Filters(min_size=1000))
    assert (report.verified, report.different, report.missing, report.extra) == (0, 1, 0, 1)
    assert two.seen == [("extra large", "it is only in the destination")]
    two.delete("destination", "d!")
    report = await two.compare(filters=bp.Filters(include=["d*", "extra *"], exclude=["* small", "d/**"]))
    assert (report.verified, report.missing, report.extra) == (1, 1, 1)  # d-e, d!, extra large
    now = datetime.now(UTC)
    report = await two.compare(filters=bp.Filters(newer_than=now + timedelta(hours=1)))
    assert (report.objects, report.extra) == (0, 0)
    report = await two.compare(filters=bp.Filters(older_than=now + timedelta(hours=1)))
    assert (report.different, report.missing, report.extra) == (2, 1, 2)


async def test_filters_of_files_and_manifests(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(4):
            file = tmp_path / name / f"{number}"
            file.write_bytes(b"x" * number)
            os.utime(file, (0, 0) if number < 2 else None)
    (tmp_path / "two" / "1").write_bytes(b"other")
    (tmp_path / "one" / "gone").symlink_to("nothing")
    filters = bp.Filters(newer_than=datetime(2000, 1, 1, tzinfo=UTC))
    report = await bp.compare(tmp_path / "one", tmp_path / "two", filters=filters)
    assert (report.verified, report.missing, report.failed, report.extra) == (2, 1, 1, 0)
    (tmp_path / "one" / "gone").unlink()
    sizes = table(tmp_path / "m.csv", [{"bucket": "bkt", "key": "3", "size": 3}, {"bucket": "bkt", "key": "4"}])
    report = await bp.compare(tmp_path / "one", sizes, filters=bp.Filters(min_size=2), max_read=0)
    assert (report.unproven, report.missing, report.extra) == (1, 1, 1)  # 3, 2, and 4 of an unknown size
    with pytest.raises(bp.ParameterError, match=r"m\.csv:3: a filter by size needs the size, and there is none"):
        await bp.compare(sizes, tmp_path / "one", filters=bp.Filters(min_size=2))
    with pytest.raises(bp.ParameterError, match="limit and sample are for verify of a folder's files"):
        await bp.compare(sizes, sizes, filters=bp.Filters(limit=2))
