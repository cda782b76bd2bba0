"""Copies in parts have the kind of checksum that their objects have, and are verified by it."""

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import bulkpresign as bp
from bulkpresign.events import Event, ObjectFinished, ObjectRetried
from bulkpresign.transfer.copies import copier
from bulkpresign.transfer.engine import retries
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.pipeline.copies import Sides
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.checksums import cut, digest_of, parts_digest
from tests.support.tables import rows_of, table

MIB = 1 << 20
BODY = os.urandom(11 * MIB)
#: The headers that ask for a checksum of an upload, and that of a part.
OF_CHECKSUMS = {"x-amz-checksum-algorithm", "x-amz-checksum-sha256"}


class Scene:
    """Two buckets of SeaweedFS behind a proxy, the first with an object of 11 MiB. `copy` copies it in parts."""

    def __init__(self, client: Any, source: str, destination: str, proxy: FaultProxy) -> None:
        self.client, self.source, self.destination, self.proxy = client, source, destination, proxy
        self.events: list[Event] = []

    def put(self, **checksum: str) -> dict[str, Any]:
        """Uploads the object. Returns its checksums."""
        self.client.put_object(Bucket=self.source, Key="key", Body=BODY, **checksum)
        return self.checksums(self.source)

    def put_in_parts(self, algorithm: str, part_size: int = 5 * MIB) -> dict[str, Any]:
        """Uploads the object in parts. Returns its checksums."""
        upload_in_parts(self.client, self.source, algorithm, part_size)
        return self.checksums(self.source)

    def checksums(self, bucket: str) -> dict[str, Any]:
        found = self.client.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
        return {name: value for name, value in found.items() if name.startswith("Checksum")}

    def copy(self, **settings: Any) -> bp.Report:
        listeners = [self.events.append]
        source, destination = f"s3://{self.source}/", f"s3://{self.destination}/"
        settings = {"part_size": 5 * MIB, **settings}
        return asyncio.run(bp.copy(source, destination, listeners=listeners, **settings))

    @property
    def verified_by(self) -> list[str | None]:
        return [event.outcome.verified_by for event in self.events if isinstance(event, ObjectFinished)]


def upload_in_parts(client: Any, bucket: str, algorithm: str, part_size: int) -> None:
    """Uploads the object in parts with checksums."""
    where, name = {"Bucket": bucket, "Key": "key"}, f"Checksum{algorithm}"
    upload = client.create_multipart_upload(**where, ChecksumAlgorithm=algorithm)["UploadId"]
    parts = []
    for number, body in enumerate(cut(BODY, part_size), 1):
        part = {"UploadId": upload, "PartNumber": number}
        stored = client.upload_part(**where, **part, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": stored["ETag"], name: stored[name]})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.fixture
def scene(
    seaweedfs: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    aws_env: AwsEnv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        aws_env(replace(seaweedfs, endpoint_url=proxy.url))
        yield Scene(boto(seaweedfs), make_bucket(seaweedfs), make_bucket(seaweedfs), proxy)


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_checksum_of_all_bytes_is_kept_and_compared(algorithm: str, relay: bool, scene: Scene) -> None:
    """Also where the server makes the copy, whose etag is of another kind then."""
    checksums = scene.put(ChecksumAlgorithm=algorithm)
    assert checksums[f"Checksum{algorithm}"]
    report = scene.copy(relay=relay)
    assert (report.done, report.unproven) == (1, 0)
    assert scene.verified_by == [algorithm.lower()]
    assert scene.checksums(scene.destination) == {"ChecksumType": "FULL_OBJECT", **checksums}
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY


PART = 5 * MIB
COMPOSITES = ["SHA1", "SHA256", "CRC32", "CRC32C"]


def composite(algorithm: str, part_size: int) -> dict[str, str]:
    """The checksum of the parts of BODY, as a server tells it."""
    parts = cut(BODY, part_size)
    digest = parts_digest(algorithm.lower(), parts)
    return {"ChecksumType": "COMPOSITE", f"Checksum{algorithm}": f"{b64encode(digest).decode()}-{len(parts)}"}


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("algorithm", COMPOSITES)
def test_a_checksum_of_parts_is_kept_and_compared(algorithm: str, relay: bool, scene: Scene) -> None:
    """Each part goes with its checksum; the server that makes the copy computes them itself."""
    assert scene.put_in_parts(algorithm) == composite(algorithm, PART)
    report = scene.copy(relay=relay)
    assert (report.done, report.unproven, report.retries) == (1, 0, 0)
    assert scene.verified_by == [f"{algorithm.lower()}-parts"]
    assert scene.checksums(scene.destination) == composite(algorithm, PART)
    sent = [seen.header(f"x-amz-checksum-{algorithm}") for seen in scene.proxy.seen if is_part(seen)]
    digests = [b64encode(digest_of(algorithm.lower(), part)).decode() for part in cut(BODY, PART)]
    assert sorted(map(str, sent)) == (sorted(digests) if relay else ["None"] * 3)
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY


@pytest.mark.parametrize("relay", [True, False])
def test_a_checksum_of_other_parts_is_of_those_of_the_copy(relay: bool, scene: Scene) -> None:
    """They are computed and compared, and show nothing of the source, whose parts have other sizes."""
    scene.put_in_parts("SHA256")
    report = scene.copy(relay=relay, part_size=6 * MIB)
    assert (report.done, report.unproven) == (1, 1)
    assert scene.checksums(scene.destination) == composite("SHA256", 6 * MIB)


def test_the_parts_of_a_copy_are_those_of_its_object(scene: Scene) -> None:
    scene.put_in_parts("SHA1", part_size=7 * MIB)
    assert scene.copy(relay=True, part_size=None).done == 1
    assert scene.checksums(scene.destination) == composite("SHA1", 7 * MIB)
    assert scene.verified_by == ["sha1-parts"]


@pytest.mark.parametrize("is_source", [True, False], ids=["on the way here", "on the way there"])
def test_a_byte_that_changes_on_its_way(is_source: bool, scene: Scene) -> None:
    scene.put_in_parts("SHA256")
    faults = iter((Fault(flip_answer=True) if is_source else Fault(flip_request=True),))

    def flip(seen: Seen) -> Fault | None:
        is_meant = seen.method == "GET" and seen.header("range") == f"bytes={PART}-{2 * PART - 1}"
        return next(faults, None) if (is_meant if is_source else is_part(seen)) else None

    scene.proxy.schedule = flip
    assert scene.copy(relay=True).done == 1
    code = "ChecksumMismatch" if is_source else "BadDigest"
    assert [event.code for event in scene.events if isinstance(event, ObjectRetried)] == [code]
    assert scene.verified_by == ["sha256-parts"]
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY


@pytest.mark.parametrize("relay", [True, False])
def test_a_copy_whose_parts_make_another_checksum_is_made_again(relay: bool, scene: Scene) -> None:
    """Its answer is what is wrong here: without the object's part size only the parts that were sent can tell."""
    scene.put_in_parts("SHA256")
    value = b64encode(bytes(32))
    wrong = iter((Fault(200, body=b"<ETag>other</ETag><ChecksumSHA256>%b-2</ChecksumSHA256>" % value),))

    def answer(seen: Seen) -> Fault | None:
        return next(wrong, None) if seen.method == "POST" and "uploadId=" in seen.target else None

    scene.proxy.schedule = answer
    assert scene.copy(relay=relay, part_size=6 * MIB).done == 1
    assert [event.code for event in scene.events if isinstance(event, ObjectRetried)] == ["ChecksumMismatch"]


@pytest.mark.parametrize("relay", [True, False])
def test_a_copy_that_continues_knows_the_checksums_of_its_parts(relay: bool, scene: Scene) -> None:
    scene.put_in_parts("SHA256")
    kept = Fault(503, body=b"<Error><Code>SlowDown</Code></Error>")
    scene.proxy.schedule = lambda seen: kept if is_part(seen) and "partNumber=3" in seen.target else None
    assert scene.copy(relay=relay, attempts=1, part_concurrency=1).failed == 1
    before = len(scene.proxy.seen)
    scene.proxy.schedule = lambda _: None
    assert scene.copy(relay=relay).done == 1
    assert sum(is_part(seen) for seen in scene.proxy.seen[before:]) == 1
    assert scene.checksums(scene.destination) == composite("SHA256", PART)
    assert scene.verified_by[-1] == "sha256-parts"


def test_parts_that_are_too_large_to_hold_have_no_checksum(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier, "LARGEST_HELD_PART", PART - 1)
    scene.put_in_parts("SHA256")
    assert scene.copy(relay=True).done == 1
    assert "ChecksumSHA256" not in scene.checksums(scene.destination)
    assert scene.verified_by == ["md5-parts"]


@pytest.mark.parametrize(
    ("sides", "verified_by"),
    [("seaweedfs-ministack", "sha256-parts"), ("seaweedfs-ceph", "md5-parts"), ("seaweedfs-rclone", "md5-parts")],
    indirect=["sides"],
)
def test_a_checksum_of_parts_from_server_to_server(sides: Sides, verified_by: str) -> None:
    """Ceph and rclone ignore it: there the etag proves the copy."""
    upload_in_parts(sides.get, sides.source, "SHA256", PART)
    report = sides.copy()
    assert (report.done, report.unproven) == (1, 0)
    assert [outcome.verified_by for outcome in sides.outcomes] == [verified_by]
    assert sides.copied() == {"key": BODY}


def is_part(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber=" in seen.target


def test_a_checksum_that_parts_can_not_have_is_left_out(scene: Scene) -> None:
    scene.put(ChecksumAlgorithm="SHA256")
    assert scene.copy(relay=True).done == 1
    assert "ChecksumSHA256" not in scene.checksums(scene.destination)


def test_a_copy_with_another_checksum_is_made_again(scene: Scene) -> None:
    """Its answer, and not the object, is what is wrong here."""
    scene.put(ChecksumAlgorithm="CRC64NVME")
    wrong = iter((Fault(200, body=b"<ETag>other</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>"),))

    def answer(seen: Seen) -> Fault | None:
        return next(wrong, None) if seen.method == "POST" and "uploadId=" in seen.target else None

    scene.proxy.schedule = answer
    assert scene.copy(relay=False).done == 1
    assert [event.code for event in scene.events if isinstance(event, ObjectRetried)] == ["ChecksumMismatch"]
    assert scene.verified_by == ["crc64nvme"]


@pytest.mark.parametrize("executor", [None, "processes:2"])
@pytest.mark.parametrize(
    ("status", "refused"), [(400, "x-amz-checksum-"), (501, "x-amz-checksum-"), (501, ("x-amz-checksum-", "if-"))]
)
def test_a_server_that_knows_no_checksums_gets_copies_without(
    status: int, refused: str | tuple[str, ...], executor: str | None, scene: Scene
) -> None:
    """As Backblaze B2. Objects in one request from memory, and as a stream; conditions may be refused as well."""
    bodies = {"small": b"1", "streamed": os.urandom(300_000), **{f"{n}": b"%d" % n for n in range(20)}}
    for key, body in bodies.items():
        scene.client.put_object(Bucket=scene.source, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")
    refusal = Fault(status, body=b"<Error><Code>InvalidArgument</Code><Message>Unsupported header</Message></Error>")
    scene.proxy.schedule = lambda seen: (
        refusal if any(name != "x-amz-checksum-mode" and name.startswith(refused) for name, _ in seen.headers) else None
    )
    report = scene.copy(relay=True, concurrency=1, executor=executor)
    assert (report.done, report.unproven) == (len(bodies), 0)
    for key, body in bodies.items():
        assert scene.client.get_object(Bucket=scene.destination, Key=key)["Body"].read() == body
    notes = [str(event.message) for event in scene.events if isinstance(event, ObjectRetried)]
    assert sum("the server knows no checksums" in note for note in notes) == 1, notes
    if executor is None:
        writes = sum(seen.method == "PUT" for seen in scene.proxy.seen)
        assert writes <= len(bodies) + 3  # not each of them is refused


def test_a_copy_that_is_refused_for_another_reason_leaves_the_checksums_of_others(scene: Scene) -> None:
    for key in ("a", "b"):
        scene.client.put_object(Bucket=scene.source, Key=key, Body=b"1", ChecksumAlgorithm="CRC32")
    refusal = Fault(400, body=b"<Error><Code>InvalidRequest</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if seen.method == "PUT" and "/a?" in seen.target else None
    report = scene.copy(relay=True, concurrency=1)
    assert (report.done, report.failed) == (1, 1)
    found = scene.client.head_object(Bucket=scene.destination, Key="b", ChecksumMode="ENABLED")
    assert found["ChecksumCRC32"] == b64encode(crc32(b"1").to_bytes(4, "big")).decode()


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("kind", ["FULL_OBJECT", "COMPOSITE"])
def test_a_server_that_refuses_the_header_gets_none(kind: str, status: int, scene: Scene) -> None:
    if kind == "COMPOSITE":
        scene.put_in_parts("SHA256")
    else:
        scene.put(ChecksumAlgorithm="CRC64NVME")
    refusal = Fault(status, body=b"<Error><Code>InvalidRequest</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if {name for name, _ in seen.headers} & OF_CHECKSUMS else None
    assert scene.copy(relay=True).done == 1
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY
    assert not any(b"<Checksum" in seen.body for seen in scene.proxy.seen if seen.method == "POST")


def signed_rows(scene: Scene, **settings: Any) -> list[dict[str, str]]:
    """The rows of the copy by links."""
    source, to = f"s3://{scene.source}/", f"s3://{scene.destination}/"
    asyncio.run(bp.sign(source, "links.csv", to=to, part_size=5 * MIB, **settings))
    return rows_of(Path("links.csv"))


def copy_by_links(scene: Scene) -> bp.Report:
    return asyncio.run(bp.copy("links.csv", listeners=[scene.events.append]))


def test_a_copy_by_links_keeps_a_checksum_of_all_bytes(scene: Scene) -> None:
    checksums = scene.put(ChecksumAlgorithm="CRC64NVME")
    signed_rows(scene)
    assert copy_by_links(scene).done == 1
    assert scene.checksums(scene.destination).items() >= checksums.items()
    assert scene.verified_by == ["crc64nvme"]


def test_rows_are_signed_for_a_server_that_knows_no_checksums(scene: Scene) -> None:
    scene.put(ChecksumAlgorithm="CRC32")
    refusal = Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if seen.header("x-amz-checksum-algorithm") else None
    signed_rows(scene)
    assert copy_by_links(scene).done == 1
    assert scene.client.get_object(Bucket=scene.destination, Key="key")["Body"].read() == BODY


def sign_parts(scene: Scene, bodies: list[bytes]) -> None:
    """Makes the rows those of an upload with SHA256 checksums of parts, whose links sign that of these bodies."""
    rows = signed_rows(scene)
    where = {"Bucket": scene.destination, "Key": "key"}
    upload_id = scene.client.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    for row in rows:
        query = {"uploadId": upload_id}
        headers: dict[str, str] = {}
        if number := row["part_number"]:
            query["partNumber"] = number
            digest = digest_of("sha256", bodies[int(number) - 1])
            headers = {"x-amz-checksum-sha256": b64encode(digest).decode()}

        async def signed(method: Any, headers: dict[str, str] = headers, query: dict[str, str] = query) -> bp.Link:
            async with bp.Presigner() as presigner:
                ref = bp.ObjectRef(scene.destination, "key")
                return presigner.sign_batch([ref], method, headers=headers, query=query)[0]

        link = asyncio.run(signed(row["dst_method"]))
        row.update(upload_id=upload_id, dst_url=link.url, dst_headers=json.dumps(dict(link.headers)))
    table(Path("links.csv"), rows)


def test_checksums_that_the_links_of_parts_sign_are_those_of_the_copy(scene: Scene) -> None:
    """S3 wants them again when the upload is completed."""
    checksums = scene.put_in_parts("SHA256")
    sign_parts(scene, cut(BODY, 5 * MIB))
    assert copy_by_links(scene).done == 1
    assert scene.checksums(scene.destination) == checksums
    assert scene.verified_by == ["sha256-parts"]
    (completion,) = [seen for seen in scene.proxy.seen if seen.method == "POST" and b"<Part>" in seen.body]
    assert completion.body.count(b"<ChecksumSHA256>") == 3


def test_parts_of_other_bytes_than_their_links_sign_are_refused(scene: Scene) -> None:
    scene.put_in_parts("SHA256")
    sign_parts(scene, [b"other", *cut(BODY, 5 * MIB)[1:]])
    assert copy_by_links(scene).failed == 1
    codes = [event.outcome.code for event in scene.events if isinstance(event, ObjectFinished)]
    assert codes == ["ChecksumSigned"]
