"""Checksums, compared with zlib, hashlib, CRCs bit by bit, S3's examples, and a real server."""

import base64
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.checksums import (
    ALGORITHMS,
    COMBINABLE,
    ExpectedDigest,
    PartsHasher,
    Verifier,
    base64_of,
    checksum_problem,
    combine,
    descriptor_blocks,
    expected_digest,
    hasher,
    part_sizes,
)
from bulkpresign.errors import MismatchError, ParameterError
from bulkpresign.model import ObjectRef
from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.checksums import ORACLES, checksum, composite_etag, cut, digest_of, parts_digest

MIB = 1 << 20
REF = ObjectRef("b", "k")


def verified(expected: ExpectedDigest, data: bytes, blocks: int = 65_521) -> str | None:
    return Verifier(expected).verified(lambda: cut(data, blocks))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


chunks = st.lists(st.binary(max_size=300), max_size=8)
algorithms = st.sampled_from(sorted(ALGORITHMS))


@given(algorithms, chunks)
def test_every_algorithm_equals_its_oracles(algorithm: str, data: list[bytes]) -> None:
    whole = hasher(algorithm)
    for chunk in data:
        whole.update(memoryview(chunk))
    for oracle in ORACLES[algorithm]:
        assert whole.digest() == oracle(b"".join(data))
    assert len(whole.digest()) == ALGORITHMS[algorithm]


def test_documented_values() -> None:
    """The check values of the CRC catalogue; 65 KiB of `a` of docs "Signature calculations", trailing headers."""
    for algorithm, value in (("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")):
        crc = hasher(algorithm)
        crc.update(b"123456789")
        assert crc.digest().hex() == value
    crc = hasher("crc32c")
    crc.update(b"a" * 65 * 1024)
    assert base64_of(crc.digest()) == "sOO8/Q=="


@given(st.sampled_from(sorted(COMBINABLE)), st.binary(max_size=500), st.binary(max_size=500))
def test_two_crcs_are_combined(algorithm: str, first: bytes, second: bytes) -> None:
    both = combine(algorithm, digest_of(algorithm, first), digest_of(algorithm, second), len(second))
    assert both == digest_of(algorithm, first + second)


@given(algorithms, chunks, st.integers(1, 400))
def test_parts_are_cut_wherever_chunks_end(algorithm: str, data: list[bytes], part_size: int) -> None:
    parts = PartsHasher(algorithm, part_size)
    for chunk in data:
        parts.update(chunk)
    expected = parts_digest(algorithm, cut(b"".join(data), part_size))
    assert parts.digest() == expected
    assert parts.digest() == expected  # asking changes nothing


@given(st.integers(0, 10**14), st.integers(1, 10_000))
def test_part_sizes_make_as_many_parts(size: int, parts: int) -> None:
    found = part_sizes(size, parts)
    assert len(set(found)) == len(found) <= 24
    assert all(max(1, -(-size // part_size)) == parts for part_size in found)
    whole = -(-size // parts) if size else 1
    assert not found or whole in found or len(found) == 24


@given(
    st.sampled_from([8 * MIB, 5 * MIB, 16 * MIB, 64 * MIB, 10 * MIB, 50 * MIB, 100 * MIB, 128 * MIB, 1024 * MIB]),
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_min=True),
)
def test_the_part_sizes_of_tools_are_found(part_size: int, parts: int, last: float) -> None:
    size = (parts - 1) * part_size + max(1, int(part_size * last))
    if parts > 1:
        assert part_size in part_sizes(size, parts)
    else:
        assert part_sizes(size, 1) == [size]


@given(st.integers(1, 512), st.integers(32, 10_000), st.floats(0, 1, exclude_min=True))
def test_any_round_part_size_of_many_parts_is_found(mib: int, parts: int, last: float) -> None:
    part_size = mib * MIB
    assert part_size in part_sizes((parts - 1) * part_size + max(1, int(part_size * last)), parts)


def test_the_part_size_of_boto3_comes_first() -> None:
    assert part_sizes(10 * MIB, 2)[:2] == [8 * MIB, 5 * MIB]
    assert part_sizes(11 * MIB, 3)[:2] == [5 * MIB, -(-11 * MIB // 3)]
    assert 1 << 16 in part_sizes((1 << 17) + 1, 3)
    assert len(part_sizes(1 << 60, 2)) == 24  # at once, of all that would fit
    assert part_sizes(2, 3) == []
    assert part_sizes(2, 0) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_of_the_whole(algorithm: str) -> None:
    data = os.urandom(200_000)
    ref = ObjectRef("b", "k", checksum=checksum(algorithm, data), etag="0" * 32)
    assert verified(expected_digest(ref, size=len(data)), data) == algorithm
    with pytest.raises(MismatchError) as caught:
        verified(expected_digest(ref), flipped(data))
    assert caught.value.code == "ChecksumMismatch"
    assert caught.value.retry == "same_link"
    found, expected = (checksum(algorithm, each).partition(":")[2] for each in (flipped(data), data))
    assert str(caught.value) == f"the bytes have {algorithm} {found}, the checksum is {expected}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_of_parts(algorithm: str) -> None:
    data = os.urandom(200_000)
    value = base64.b64encode(parts_digest(algorithm, cut(data, 1 << 16))).decode()
    ref = ObjectRef("b", "k", checksum=f"{algorithm}:{value}-4", size=len(data))
    assert verified(expected_digest(ref), data) == f"{algorithm}-parts"
    assert verified(expected_digest(ref), flipped(data)) == "size"
    known = expected_digest(ref, part_size=1 << 16)
    assert verified(known, data) == f"{algorithm}-parts"
    with pytest.raises(MismatchError, match=rf"{algorithm}-parts .*-4, the checksum is .*-4$") as caught:
        verified(known, flipped(data))
    assert caught.value.code == "ChecksumMismatch"


def test_an_etag_that_is_an_md5() -> None:
    data = os.urandom(5000)
    etag = hashlib.md5(data).hexdigest()
    assert verified(expected_digest(REF, etag.upper()), data) == "md5"
    assert verified(expected_digest(ObjectRef("b", "k", etag=etag), "f" * 32), data) == "md5"
    with pytest.raises(MismatchError) as caught:
        verified(expected_digest(REF, etag), flipped(data))
    assert caught.value.code == "EtagMismatch"
    assert str(caught.value) == f"the bytes have md5 {hashlib.md5(flipped(data)).hexdigest()}, the etag is {etag}"


@pytest.mark.parametrize(
    "etag", [None, "", "abc", "0" * 31, "0" * 33, "0" * 32 + "-0", "0" * 32 + "-", "W/" + "0" * 32]
)
def test_an_etag_that_is_not_an_md5(etag: str | None) -> None:
    assert expected_digest(REF, etag, size=3) == ExpectedDigest(3)
    assert verified(expected_digest(REF, etag, size=3), b"abc") == "size"
    assert verified(expected_digest(REF, etag), b"abc") is None


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-amz-server-side-encryption": "AES256"}, "md5"),
        ({"x-amz-server-side-encryption": "aws:kms"}, "size"),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, "size"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, "size"),
    ],
)
def test_an_etag_of_an_encrypted_object(headers: Mapping[str, str], name: str) -> None:
    assert expected_digest(REF, "0" * 32, headers, 3).name == name
    parts = "md5-parts" if name == "md5" else name
    assert expected_digest(REF, "0" * 32 + "-3", headers, 3).name == parts


def test_an_etag_of_parts() -> None:
    data = os.urandom(2 * MIB + 7)
    for part_size in (MIB, 1 << 20 | 3, 3 * MIB):
        expected = expected_digest(REF, composite_etag(data, part_size), size=len(data))
        fits = part_size != 1 << 20 | 3
        assert verified(expected, data) == ("md5-parts" if fits else "size")
        assert expected.name == "md5-parts"


def test_other_part_sizes_are_tried_on_the_bytes_read_again(tmp_path: Path) -> None:
    """8 MiB in 3 parts: equal ones are likelier than 3 MiB."""
    data = os.urandom(8 * MIB)
    (tmp_path / "file").write_bytes(data)
    expected = expected_digest(REF, composite_etag(data, 3 * MIB), size=len(data))
    verifier = Verifier(expected)
    verifier.update(data)
    assert verifier.verify() == "size"
    reads = 0

    def reread() -> Iterator[bytes]:
        nonlocal reads
        reads += 1
        return iter([(tmp_path / "file").read_bytes()])

    assert verifier.verify(reread) == "md5-parts"
    assert reads == 1
    assert verifier.part_size == 3 * MIB


def test_the_search_for_a_part_size_has_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sizes that it allows are tried in one pass; a large object is not hashed for every guess."""
    data = os.urandom(8 * MIB)
    expected = expected_digest(REF, composite_etag(data, 3 * MIB), size=len(data))
    rank = part_sizes(len(data), 3).index(3 * MIB)
    for affordable, name in ((rank, "md5-parts"), (rank - 1, "size"), (0, "size")):
        monkeypatch.setattr("bulkpresign.checksums.verifier.PROOF_BUDGET", affordable * len(data) + 1)
        verifier, reads = Verifier(expected), list[int]()
        assert verifier.verified(lambda reads=reads: reads.append(1) or [data]) == name  # type: ignore[misc]
        assert verifier.part_size == (3 * MIB if name == "md5-parts" else 0)
        assert len(reads) == (2 if affordable else 1)


def test_the_part_size_of_a_row_is_used_if_it_fits() -> None:
    data = os.urandom(3 * MIB)
    etag = composite_etag(data, MIB | 3)
    for told, name in (
        ((MIB | 3), "md5-parts"),
        (str(MIB | 3), "md5-parts"),
        (5 * MIB, "size"),
        ("", "size"),
        (-1, "size"),
    ):
        expected = expected_digest(ObjectRef("b", "k", etag=etag, size=len(data), extra={"part_size": told}))
        assert verified(expected, data) == name
    with pytest.raises(MismatchError):
        verified(expected_digest(ObjectRef("b", "k", etag=etag, size=len(data)), part_size=MIB | 3), flipped(data))


def test_parts_of_an_object_of_unknown_size() -> None:
    data = os.urandom(200_000)
    expected = expected_digest(REF, composite_etag(data, 1 << 16))
    assert verified(expected, data) == "md5-parts"
    assert verified(expected, flipped(data)) is None
    verifier = Verifier(expected)
    verifier.update(data)
    assert verifier.verify() is None


def test_one_part_is_as_large_as_the_object() -> None:
    for data in (b"", b"x", os.urandom(1000)):
        expected = expected_digest(REF, composite_etag(data, 5 * MIB), size=len(data))
        assert verified(expected, data) == "md5-parts"
        with pytest.raises(MismatchError, match="the etag is "):
            verified(expected_digest(REF, "0" * 32 + "-1", size=len(data)), data)


@pytest.mark.parametrize("etag", [None, hashlib.md5(b"abc").hexdigest()])
def test_a_different_size(etag: str | None) -> None:
    for size in (2, 4):
        with pytest.raises(MismatchError, match=f"there are 3 bytes where {size} are expected") as caught:
            verified(expected_digest(ObjectRef("b", "k", size=size), etag, size=3), b"abc")
        assert caught.value.code == "SizeMismatch"


@pytest.mark.parametrize(
    ("ref", "code", "words"),
    [
        (ObjectRef("b", "k", size=3, etag="0" * 32 + "-9999"), "EtagMismatch", "the etag is of 9,999 parts"),
        (ObjectRef("b", "k", etag="0" * 32 + "-4"), "EtagMismatch", "the object has 3 bytes"),
        (ObjectRef("b", "k", checksum="crc32:AAAAAA==-4"), "ChecksumMismatch", "the checksum is of 4 parts"),
    ],
)
def test_more_parts_than_bytes_are_a_mismatch(ref: ObjectRef, code: str, words: str) -> None:
    with pytest.raises(MismatchError, match=words) as caught:
        verified(expected_digest(ref), b"abc")
    assert caught.value.code == code
    with pytest.raises(MismatchError):
        expected_digest(ref).check_size(3)


@pytest.mark.parametrize(("parts", "size"), [(3, 3), (1, 1), (1, 0)])
def test_as_many_parts_as_bytes_are_possible(parts: int, size: int) -> None:
    expected_digest(ObjectRef("b", "k", etag=f"{'0' * 32}-{parts}")).check_size(size)


def test_checksums_in_headers() -> None:
    data = b"abc"
    crc, sha = (checksum(name, data).partition(":")[2] for name in ("crc64nvme", "sha256"))
    headers = {"x-amz-checksum-sha256": sha, "x-amz-checksum-crc64nvme": crc, "x-amz-server-side-encryption": "aws:kms"}
    etag = hashlib.md5(data).hexdigest()
    assert verified(expected_digest(REF, etag, headers), data) == "crc64nvme"
    assert verified(expected_digest(ObjectRef("b", "k", checksum=f"sha256:{sha}"), etag, headers), data) == "sha256"
    whole = {"x-amz-checksum-sha256": sha, "x-amz-checksum-type": "FULL_OBJECT"}
    assert expected_digest(REF, etag, whole).name == "sha256"
    assert expected_digest(REF, etag, {"x-amz-checksum-sha256": f"{sha}-3"}).name == "sha256-parts"


@pytest.mark.parametrize("value", ["", "x", "AAAA", "ungültig", "crc32c:AAAAAA=="])
def test_invalid_headers_are_skipped(value: str) -> None:
    assert expected_digest(REF, "0" * 32, {"x-amz-checksum-crc64nvme": value}).name == "md5"


def test_a_composite_header_without_a_part_count_is_skipped() -> None:
    headers = {"x-amz-checksum-crc32c": "AAAAAA==", "x-amz-checksum-type": "COMPOSITE"}
    assert expected_digest(REF, "0" * 32, headers).name == "md5"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not a checksum; example:"),
        ("crc64nvme", "is not a checksum; example: crc64nvme:AAAAAAAAAAA="),
        ("sha512:AAAA", "(crc64nvme, crc32c, crc32, sha256, sha1, md5)"),
        ("SHA256:AAAA", "is not a checksum; example:"),
        ("crc32:", "crc32 has 4 bytes, not 0"),
        ("crc32:AAAAAA", "'AAAAAA' is not base64"),
        ("crc32:AAAAAB==", "'AAAAAB==' is not base64"),
        ("crc32:AA AAAA==", "is not base64"),
        ("crc32:ÄAAAAA==", "is not base64"),
        ("crc32:00000000", "crc32 has 4 bytes, not 6"),
        ("crc64nvme:AAAAAA==", "crc64nvme has 8 bytes, not 4"),
        ("crc32:AAAAAA==-0", "is not base64"),
        ("crc32:AAAAAA==-1000000", "is not base64"),
        ("crc32:AAAAAA==-٣", "is not base64"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "md5 has 16 bytes, not 24"),
    ],
)
def test_invalid_checksum_cells(text: str, words: str) -> None:
    assert words in str(checksum_problem(text))
    with pytest.raises(ParameterError):
        expected_digest(ObjectRef("b", "k", checksum=text))


@given(st.text() | st.builds("{}:{}".format, algorithms, st.text()))
def test_any_text_is_a_checksum_or_has_a_problem(text: str) -> None:
    problem = checksum_problem(text)
    if problem is None:
        assert expected_digest(ObjectRef("b", "k", checksum=text)).algorithm == text.partition(":")[0]
    else:
        assert problem.isascii() or not text.isascii()


@given(algorithms, st.binary(max_size=100), st.integers(0, 99_999))
def test_checksums_round_trip(algorithm: str, data: bytes, parts: int) -> None:
    digest = digest_of(algorithm, data)
    value = base64.b64encode(digest).decode() + (f"-{parts}" if parts else "")
    assert checksum_problem(f"{algorithm}:{value}") is None
    found = expected_digest(ObjectRef("b", "k", checksum=f"{algorithm}:{value}"))
    assert (found.algorithm, found.digest, found.parts) == (algorithm, digest, parts)
    assert found.shown(digest) == value
    assert found.checksum == f"{algorithm}:{value}"
    assert expected_digest(REF, "0" * 32).checksum is None


def checksum_argument(algorithm: str, data: bytes) -> dict[str, str]:
    """The argument by which boto3 sends a checksum; the server refuses bytes that have another."""
    return {f"Checksum{algorithm}": checksum(algorithm.lower(), data).partition(":")[2]}


def uploaded(client: Any, bucket: str, data: bytes, part_size: int, algorithm: str, kind: str) -> dict[str, str]:
    """The headers that tell of an object which was uploaded in parts with checksums."""
    names: dict[str, Any] = {"Bucket": bucket, "Key": f"{algorithm}-{kind}-{part_size}"}
    opened = client.create_multipart_upload(**names, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    upload = names | {"UploadId": opened["UploadId"]}
    parts = []
    for number, part in enumerate(cut(data, part_size), 1):
        value = checksum_argument(algorithm, part)
        done = client.upload_part(**upload, PartNumber=number, Body=part, **value)
        parts.append({"PartNumber": number, "ETag": done["ETag"], **value})
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    headers: dict[str, str] = client.head_object(**names, ChecksumMode="ENABLED")["ResponseMetadata"]["HTTPHeaders"]
    return headers


@pytest.mark.parametrize("part_size", [5 * MIB, 6 * MIB, 8 * MIB, 7_000_000])
def test_composite_values_of_a_real_server(
    part_size: int, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    client, bucket, data = boto(seaweedfs), make_bucket(seaweedfs), os.urandom(13 * MIB)
    kinds = [("SHA256", "COMPOSITE"), ("CRC32C", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT")]
    for algorithm, kind in kinds:
        headers = uploaded(client, bucket, data, part_size, algorithm, kind)
        name = algorithm.lower() + ("-parts" if kind == "COMPOSITE" else "")
        assert verified(expected_digest(REF, headers=headers, size=len(data)), data) == name
        etag = headers["etag"].strip('"')
        assert verified(expected_digest(REF, etag, size=len(data)), data) == "md5-parts"


def test_values_of_a_real_server(seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket) -> None:
    client, bucket = boto(seaweedfs), make_bucket(seaweedfs)
    for algorithm in ("CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1"):
        for size in (0, 1, 5000):
            data, name = os.urandom(size), {"Bucket": bucket, "Key": f"{algorithm}-{size}"}
            client.put_object(**name, Body=data, **checksum_argument(algorithm, data))
            head = client.head_object(**name, ChecksumMode="ENABLED")
            headers = head["ResponseMetadata"]["HTTPHeaders"]
            assert verified(expected_digest(REF, headers=headers), data) == algorithm.lower()
            assert verified(expected_digest(REF, head["ETag"].strip('"')), data) == "md5"
            ours = f"{algorithm.lower()}:{headers[f'x-amz-checksum-{algorithm.lower()}']}"
            assert ours == checksum(algorithm.lower(), data)


def test_speed_is_printed(tmp_path: Path) -> None:
    """For a large file with each algorithm; and for 4 KiB with an md5, compared with hashlib."""
    data = os.urandom(64 * MIB)
    (tmp_path / "file").write_bytes(data)
    for algorithm in ALGORITHMS:
        expected = expected_digest(ObjectRef("b", "k", checksum=checksum(algorithm, data)), size=len(data))
        began = time.perf_counter()
        with (tmp_path / "file").open("rb") as file:
            assert Verifier(expected).verified(lambda file=file: descriptor_blocks(file.fileno())) == algorithm  # type: ignore[misc]
        print(f"{algorithm}: {len(data) / (time.perf_counter() - began) / 1e9:.2f} GB/s")
    small = data[:4096]
    etag, count = hashlib.md5(small).hexdigest(), 10_000
    began = time.perf_counter()
    for _ in range(count):
        hashlib.md5(small, usedforsecurity=False).hexdigest()
    bare, began = time.perf_counter() - began, time.perf_counter()
    for _ in range(count):
        verifier = Verifier(expected_digest(REF, etag, {"x-amz-request-id": "1"}, 4096))
        verifier.update(small)
        assert verifier.verify() == "md5"
    print(f"md5 of 4 KiB: {(time.perf_counter() - began) / count * 1e6:.1f} us, bare {bare / count * 1e6:.1f} us")


def test_awscrt_is_loaded_only_if_necessary() -> None:
    code = """
import sys
from bulkpresign.checksums import hasher
for algorithm in ("crc32", "sha256", "sha1", "md5"):
    hasher(algorithm)
assert "awscrt" not in sys.modules
hasher("crc32c")
assert "awscrt" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
