"""Copies in parts have the kind of checksum that their objects have, and are verified by it."""

import asyncio
import json
import os
import re
from base64 import b64encode
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

import bulkpresign as bp
from bulkpresign.transfer.copies import multipart
from tests.pipeline.copies import ProxiedSides, Sides
from tests.servers.proxy import Fault, Seen
from tests.support.checksums import cut, digest_of, parts_digest
from tests.support.tables import rows_of, table

MIB = 1 << 20
PART = 5 * MIB
BODY = os.urandom(11 * MIB)
#: The headers that ask for a checksum of an upload, and that of a part.
OF_CHECKSUMS = {"x-amz-checksum-algorithm", "x-amz-checksum-sha256"}


def put(sides: Sides, algorithm: str) -> dict[str, Any]:
    """Uploads the object. Returns its checksums."""
    sides.upload({"key": BODY}, ChecksumAlgorithm=algorithm)
    return checksums(sides.get, sides.source)


def put_in_parts(sides: Sides, algorithm: str, part_size: int = PART) -> dict[str, Any]:
    """Uploads the object in parts. Returns its checksums."""
    sides.upload_in_parts("key", cut(BODY, part_size), ChecksumAlgorithm=algorithm)
    return checksums(sides.get, sides.source)


def checksums(client: Any, bucket: str) -> dict[str, Any]:
    found = client.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    return {name: value for name, value in found.items() if name.startswith("Checksum")}


def checksums_of_copy(sides: Sides) -> dict[str, Any]:
    return checksums(sides.put, sides.destination)


def copy(sides: Sides, **settings: Any) -> bp.Report:
    return sides.copy(**{"part_size": PART, **settings})


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_checksum_of_all_bytes_is_kept_and_compared(algorithm: str, relay: bool, proxied: ProxiedSides) -> None:
    """Also where the server makes the copy, whose etag is of another kind then."""
    stored = put(proxied, algorithm)
    assert stored[f"Checksum{algorithm}"]
    report = copy(proxied, relay=relay)
    assert (report.done, report.unproven) == (1, 0)
    assert proxied.verified_by == [algorithm.lower()]
    assert checksums_of_copy(proxied) == {"ChecksumType": "FULL_OBJECT", **stored}
    assert proxied.copied() == {"key": BODY}


COMPOSITES = ["SHA1", "SHA256", "CRC32", "CRC32C"]


def composite(algorithm: str, part_size: int) -> dict[str, str]:
    """The checksum of the parts of BODY, as a server tells it."""
    parts = cut(BODY, part_size)
    digest = parts_digest(algorithm.lower(), parts)
    return {"ChecksumType": "COMPOSITE", f"Checksum{algorithm}": f"{b64encode(digest).decode()}-{len(parts)}"}


@pytest.mark.parametrize("relay", [True, False])
@pytest.mark.parametrize("algorithm", COMPOSITES)
def test_a_checksum_of_parts_is_kept_and_compared(algorithm: str, relay: bool, proxied: ProxiedSides) -> None:
    """Each part goes with its checksum; the server that makes the copy computes them itself."""
    assert put_in_parts(proxied, algorithm) == composite(algorithm, PART)
    report = copy(proxied, relay=relay)
    assert (report.done, report.unproven, report.retries) == (1, 0, 0)
    assert proxied.verified_by == [f"{algorithm.lower()}-parts"]
    assert checksums_of_copy(proxied) == composite(algorithm, PART)
    sent = [seen.header(f"x-amz-checksum-{algorithm}") for seen in proxied.proxy.seen if is_part(seen)]
    digests = [b64encode(digest_of(algorithm.lower(), part)).decode() for part in cut(BODY, PART)]
    assert sorted(map(str, sent)) == (sorted(digests) if relay else ["None"] * 3)
    assert proxied.copied() == {"key": BODY}


@pytest.mark.parametrize("relay", [True, False])
def test_a_checksum_of_other_parts_is_of_those_of_the_copy(relay: bool, proxied: ProxiedSides) -> None:
    """They are computed and compared, and show nothing of the source, whose parts have other sizes."""
    put_in_parts(proxied, "SHA256")
    report = copy(proxied, relay=relay, part_size=6 * MIB)
    assert (report.done, report.unproven) == (1, 1)
    assert checksums_of_copy(proxied) == composite("SHA256", 6 * MIB)


def test_the_parts_of_a_copy_are_those_of_its_object(proxied: ProxiedSides) -> None:
    put_in_parts(proxied, "SHA1", part_size=7 * MIB)
    assert copy(proxied, relay=True, part_size=None).done == 1
    assert checksums_of_copy(proxied) == composite("SHA1", 7 * MIB)
    assert proxied.verified_by == ["sha1-parts"]


@pytest.mark.parametrize("is_source", [True, False], ids=["on the way here", "on the way there"])
def test_a_byte_that_changes_on_its_way(is_source: bool, proxied: ProxiedSides) -> None:
    put_in_parts(proxied, "SHA256")
    faults = iter((Fault(flip_answer=True) if is_source else Fault(flip_request=True),))

    def flip(seen: Seen) -> Fault | None:
        is_meant = seen.method == "GET" and seen.header("range") == f"bytes={PART}-{2 * PART - 1}"
        return next(faults, None) if (is_meant if is_source else is_part(seen)) else None

    proxied.proxy.schedule = flip
    assert copy(proxied, relay=True).done == 1
    code = "ChecksumMismatch" if is_source else "BadDigest"
    assert [event.code for event in proxied.retries] == [code]
    assert proxied.verified_by == ["sha256-parts"]
    assert proxied.copied() == {"key": BODY}


@pytest.mark.parametrize("relay", [True, False])
def test_a_copy_whose_parts_make_another_checksum_is_made_again(relay: bool, proxied: ProxiedSides) -> None:
    """Its answer is what is wrong here: without the object's part size only the parts that were sent can tell."""
    put_in_parts(proxied, "SHA256")
    value = b64encode(bytes(32))
    wrong = iter((Fault(200, body=b"<ETag>other</ETag><ChecksumSHA256>%b-2</ChecksumSHA256>" % value),))

    def answer(seen: Seen) -> Fault | None:
        return next(wrong, None) if is_completion(seen) else None

    proxied.proxy.schedule = answer
    assert copy(proxied, relay=relay, part_size=6 * MIB).done == 1
    assert [event.code for event in proxied.retries] == ["ChecksumMismatch"]


@pytest.mark.parametrize("relay", [True, False])
def test_a_copy_that_continues_knows_the_checksums_of_its_parts(relay: bool, proxied: ProxiedSides) -> None:
    put_in_parts(proxied, "SHA256")
    kept = Fault(503, body=b"<Error><Code>SlowDown</Code></Error>")
    proxied.proxy.schedule = lambda seen: kept if is_part(seen) and "partNumber=3" in seen.target else None
    assert copy(proxied, relay=relay, attempts=1, part_concurrency=1).failed == 1
    before = len(proxied.proxy.seen)
    proxied.proxy.schedule = lambda _: None
    assert copy(proxied, relay=relay).done == 1
    assert sum(is_part(seen) for seen in proxied.proxy.seen[before:]) == 1
    assert checksums_of_copy(proxied) == composite("SHA256", PART)
    assert proxied.verified_by == ["sha256-parts"]


def begin_in_other_parts(sides: ProxiedSides, *, relay: bool = True) -> None:
    """A run that sends three parts, and ends before they are completed. Their upload is gone then."""
    sides.proxy.schedule = lambda seen: Fault(500) if is_completion(seen) else None
    assert copy(sides, relay=relay, attempts=1).failed == 1
    sides.proxy.schedule = lambda _: None
    (found,) = sides.put.list_multipart_uploads(Bucket=sides.destination)["Uploads"]
    sides.put.abort_multipart_upload(Bucket=sides.destination, Key="key", UploadId=found["UploadId"])


def test_digests_of_the_parts_of_an_upload_that_is_gone_are_forgotten(proxied: ProxiedSides) -> None:
    """The destination tells no checksum here, so that the digests of the parts alone prove the copy."""

    def without_checksum(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        return head, re.sub(rb"Checksum(?=CRC64NVME>)", b"Unknown_", body) if is_completion(seen) else body

    put(proxied, "CRC64NVME")
    begin_in_other_parts(proxied)
    proxied.proxy.alter = without_checksum
    assert copy(proxied, relay=True, part_size=6 * MIB).unproven == 0
    assert proxied.verified_by == ["crc64nvme"]
    assert proxied.copied() == {"key": BODY}


@pytest.mark.parametrize("relay", [True, False])
def test_checksums_of_the_parts_of_an_upload_that_is_gone_are_forgotten(relay: bool, proxied: ProxiedSides) -> None:
    """Else the checksum in the answer is not compared, which is wrong here."""
    put_in_parts(proxied, "SHA256")
    begin_in_other_parts(proxied, relay=relay)
    value = b64encode(bytes(32))
    wrong = iter((Fault(200, body=b"<ETag>other</ETag><ChecksumSHA256>%b-2</ChecksumSHA256>" % value),))
    proxied.proxy.schedule = lambda seen: next(wrong, None) if is_completion(seen) else None
    assert copy(proxied, relay=relay, part_size=6 * MIB).done == 1
    assert [event.code for event in proxied.retries] == ["ChecksumMismatch"]


def test_parts_that_are_too_large_to_hold_have_no_checksum(
    proxied: ProxiedSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "LARGEST_HELD_PART", PART - 1)
    put_in_parts(proxied, "SHA256")
    assert copy(proxied, relay=True).done == 1
    assert "ChecksumSHA256" not in checksums_of_copy(proxied)
    assert proxied.verified_by == ["md5-parts"]


@pytest.mark.parametrize(
    ("sides", "verified_by"),
    [("seaweedfs-ministack", "sha256-parts"), ("seaweedfs-ceph", "md5-parts"), ("seaweedfs-rclone", "md5-parts")],
    indirect=["sides"],
)
def test_a_checksum_of_parts_from_server_to_server(sides: Sides, verified_by: str) -> None:
    """Ceph and rclone ignore it: there the etag proves the copy."""
    put_in_parts(sides, "SHA256")
    report = sides.copy()
    assert (report.done, report.unproven) == (1, 0)
    assert sides.verified_by == [verified_by]
    assert sides.copied() == {"key": BODY}


def is_completion(seen: Seen) -> bool:
    return seen.method == "POST" and "uploadId=" in seen.target


def is_part(seen: Seen) -> bool:
    return seen.method == "PUT" and "partNumber=" in seen.target


def test_a_checksum_that_parts_can_not_have_is_left_out(proxied: ProxiedSides) -> None:
    put(proxied, "SHA256")
    assert copy(proxied, relay=True).done == 1
    assert "ChecksumSHA256" not in checksums_of_copy(proxied)


def test_a_copy_with_another_checksum_is_made_again(proxied: ProxiedSides) -> None:
    """Its answer, and not the object, is what is wrong here."""
    put(proxied, "CRC64NVME")
    wrong = iter((Fault(200, body=b"<ETag>other</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>"),))

    def answer(seen: Seen) -> Fault | None:
        return next(wrong, None) if is_completion(seen) else None

    proxied.proxy.schedule = answer
    assert copy(proxied, relay=False).done == 1
    assert [event.code for event in proxied.retries] == ["ChecksumMismatch"]
    assert proxied.verified_by == ["crc64nvme"]


@pytest.mark.parametrize("executor", [None, "processes:2"])
@pytest.mark.parametrize(
    ("status", "refused"), [(400, "x-amz-checksum-"), (501, "x-amz-checksum-"), (501, ("x-amz-checksum-", "if-"))]
)
def test_a_server_that_knows_no_checksums_gets_copies_without(
    status: int, refused: str | tuple[str, ...], executor: str | None, proxied: ProxiedSides
) -> None:
    """As Backblaze B2. Objects in one request from memory, and as a stream; conditions may be refused as well."""
    bodies = {"small": b"1", "streamed": os.urandom(300_000), **{f"{n}": b"%d" % n for n in range(20)}}
    proxied.upload(bodies, ChecksumAlgorithm="CRC64NVME")
    refusal = Fault(status, body=b"<Error><Code>InvalidArgument</Code><Message>Unsupported header</Message></Error>")
    proxied.proxy.schedule = lambda seen: (
        refusal if any(name != "x-amz-checksum-mode" and name.startswith(refused) for name, _ in seen.headers) else None
    )
    report = copy(proxied, relay=True, concurrency=1, executor=executor)
    assert (report.done, report.unproven) == (len(bodies), 0)
    assert proxied.copied() == bodies
    notes = [str(event.message) for event in proxied.retries]
    assert sum("the server knows no checksums" in note for note in notes) == 1, notes
    if executor is None:
        writes = sum(seen.method == "PUT" for seen in proxied.proxy.seen)
        assert writes <= len(bodies) + 3  # not each of them is refused


def test_a_copy_that_is_refused_for_another_reason_leaves_the_checksums_of_others(proxied: ProxiedSides) -> None:
    proxied.upload({"a": b"1", "b": b"1"}, ChecksumAlgorithm="CRC32")
    refusal = Fault(400, body=b"<Error><Code>InvalidRequest</Code></Error>")
    proxied.proxy.schedule = lambda seen: refusal if seen.method == "PUT" and "/a?" in seen.target else None
    report = copy(proxied, relay=True, concurrency=1)
    assert (report.done, report.failed) == (1, 1)
    found = proxied.put.head_object(Bucket=proxied.destination, Key="b", ChecksumMode="ENABLED")
    assert found["ChecksumCRC32"] == b64encode(crc32(b"1").to_bytes(4, "big")).decode()


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("kind", ["FULL_OBJECT", "COMPOSITE"])
def test_a_server_that_refuses_the_header_gets_none(kind: str, status: int, proxied: ProxiedSides) -> None:
    if kind == "COMPOSITE":
        put_in_parts(proxied, "SHA256")
    else:
        put(proxied, "CRC64NVME")
    refusal = Fault(status, body=b"<Error><Code>InvalidRequest</Code></Error>")
    proxied.proxy.schedule = lambda seen: refusal if {name for name, _ in seen.headers} & OF_CHECKSUMS else None
    assert copy(proxied, relay=True).done == 1
    assert proxied.copied() == {"key": BODY}
    assert not any(b"<Checksum" in seen.body for seen in proxied.proxy.seen if seen.method == "POST")


def signed_rows(sides: Sides) -> list[dict[str, str]]:
    """The rows of the copy by links."""
    sides.sign(to="", part_size=PART)
    return rows_of(Path("links.csv"))


def test_a_copy_by_links_keeps_a_checksum_of_all_bytes(proxied: ProxiedSides) -> None:
    stored = put(proxied, "CRC64NVME")
    signed_rows(proxied)
    assert proxied.copy_links().done == 1
    assert checksums_of_copy(proxied).items() >= stored.items()
    assert proxied.verified_by == ["crc64nvme"]


def test_rows_are_signed_for_a_server_that_knows_no_checksums(proxied: ProxiedSides) -> None:
    put(proxied, "CRC32")
    refusal = Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>")
    proxied.proxy.schedule = lambda seen: refusal if seen.header("x-amz-checksum-algorithm") else None
    signed_rows(proxied)
    assert proxied.copy_links().done == 1
    assert proxied.copied() == {"key": BODY}


def sign_parts(sides: Sides, bodies: list[bytes]) -> None:
    """Makes the rows those of an upload with SHA256 checksums of parts, whose links sign that of these bodies."""
    rows = signed_rows(sides)
    where = {"Bucket": sides.destination, "Key": "key"}
    upload_id = sides.put.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    for row in rows:
        query = {"uploadId": upload_id}
        headers: dict[str, str] = {}
        if number := row["part_number"]:
            query["partNumber"] = number
            digest = digest_of("sha256", bodies[int(number) - 1])
            headers = {"x-amz-checksum-sha256": b64encode(digest).decode()}

        async def signed(method: Any, headers: dict[str, str] = headers, query: dict[str, str] = query) -> bp.Link:
            async with bp.Presigner() as presigner:
                ref = bp.ObjectRef(sides.destination, "key")
                return presigner.sign_batch([ref], method, headers=headers, query=query)[0]

        link = asyncio.run(signed(row["dst_method"]))
        row.update(upload_id=upload_id, dst_url=link.url, dst_headers=json.dumps(dict(link.headers)))
    table(Path("links.csv"), rows)


def test_checksums_that_the_links_of_parts_sign_are_those_of_the_copy(proxied: ProxiedSides) -> None:
    """S3 wants them again when the upload is completed."""
    stored = put_in_parts(proxied, "SHA256")
    sign_parts(proxied, cut(BODY, PART))
    assert proxied.copy_links().done == 1
    assert checksums_of_copy(proxied) == stored
    assert proxied.verified_by == ["sha256-parts"]
    (completion,) = [seen for seen in proxied.proxy.seen if seen.method == "POST" and b"<Part>" in seen.body]
    assert completion.body.count(b"<ChecksumSHA256>") == 3


def test_parts_of_other_bytes_than_their_links_sign_are_refused(proxied: ProxiedSides) -> None:
    put_in_parts(proxied, "SHA256")
    sign_parts(proxied, [b"other", *cut(BODY, PART)[1:]])
    assert proxied.copy_links().failed == 1
    assert [outcome.code for outcome in proxied.outcomes] == ["ChecksumSigned"]
