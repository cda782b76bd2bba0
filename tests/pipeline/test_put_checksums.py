"""Folders that go to a bucket with their checksums: `put --checksum`."""

import asyncio
import os
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.checksums import base64_of
from bulkpresign.events import Event, ObjectFinished
from bulkpresign.model import Outcome
from bulkpresign.proof.hashing import FileHasher, FileProblem
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.checksums import digest_of
from tests.support.events import heard
from tests.support.folders import write_all
from tests.support.tables import rows_of

MIB = 1 << 20
SMALL, LARGE = {"a.html": b"<p>", "d/empty": b"", "d/b": bytes(300_000)}, {"large.txt": os.urandom(17 * MIB)}


@pytest.fixture(params=["seaweedfs", "ministack"])
def knowing(request: pytest.FixtureRequest, aws_env: AwsEnv) -> S3Server:
    """A server that compares checksums."""
    server: S3Server = request.getfixturevalue(request.param)
    aws_env(server)
    return server


def put(folder: Path, bucket: str, **settings: object) -> tuple[bp.Report, dict[str, Outcome]]:
    """The report and the outcomes of a folder, by path."""
    outcomes: list[Outcome] = []
    uri = f"s3://{bucket}/pre/"
    report = asyncio.run(bp.put(folder, uri, part_size=5 * MIB, listeners=[heard(outcomes)], **settings))  # type: ignore[arg-type]
    return report, {outcome.object.file_path: outcome for outcome in outcomes}


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c", "crc32"])
def test_files_are_stored_with_their_checksums(
    algorithm: str, knowing: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bucket, bodies = make_bucket(knowing), SMALL | LARGE
    write_all(tmp_path / "in", bodies)
    report, outcomes = put(tmp_path / "in", bucket, checksum=algorithm)
    assert (report.done, report.failed, report.unproven) == (4, 0, 0)
    if knowing.name == "ministack":  # it computes a checksum of the parts
        assert outcomes["large.txt"].verified_by == "md5-parts"
        del bodies["large.txt"]
    for path, body in bodies.items():
        found = boto(knowing).head_object(Bucket=bucket, Key=f"pre/{path}", ChecksumMode="ENABLED")
        assert found[f"Checksum{algorithm.upper()}"] == base64_of(digest_of(algorithm, body)), path
        # ministack compares it, and does not say so
        assert outcomes[path].verified_by == (algorithm if knowing.name == "seaweedfs" else "md5"), path
    for path, kind in (("a.html", "text/html"), ("large.txt", "text/plain")):
        assert boto(knowing).head_object(Bucket=bucket, Key=f"pre/{path}")["ContentType"] == kind


@pytest.mark.parametrize("name", ["ceph", "rclone"])
def test_servers_that_ignore_checksums_prove_files_by_their_etags(
    name: str, request: pytest.FixtureRequest, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    server: S3Server = request.getfixturevalue(name)
    aws_env(server)
    write_all(tmp_path / "in", SMALL | LARGE)
    report, outcomes = put(tmp_path / "in", make_bucket(server), checksum="crc64nvme")
    assert (report.done, report.failed, report.unproven) == (4, 0, 0)
    assert {outcomes[path].verified_by for path in SMALL} == {"md5"}
    assert outcomes["large.txt"].verified_by == "md5-parts"


def test_only_files_that_are_sent_are_read(
    seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run reads the new file alone; what the first run stored is known by its state."""
    aws_env(seaweedfs)
    bucket, read = make_bucket(seaweedfs), list[str]()
    write_all(tmp_path / "in", SMALL)
    put(tmp_path / "in", bucket, checksum="crc64nvme")
    write_all(tmp_path / "in", {"new": b"new"})
    hashed = FileHasher.__call__

    def noted(self: FileHasher, refs: list[bp.ObjectRef]) -> list[bp.ObjectRef | FileProblem]:
        read.extend(ref.file_path for ref in refs)
        return hashed(self, refs)

    monkeypatch.setattr(FileHasher, "__call__", noted)
    report, outcomes = put(tmp_path / "in", bucket, checksum="crc64nvme")
    assert (report.done, report.skipped, read) == (1, 3, ["new"])
    assert outcomes["new"].verified_by == "crc64nvme"


def test_a_file_that_is_gone_when_it_is_read_fails_alone(
    seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    write_all(tmp_path / "in", SMALL)
    (tmp_path / "in" / "broken").symlink_to(tmp_path / "nowhere")
    report, outcomes = put(tmp_path / "in", make_bucket(seaweedfs), checksum="crc32c")
    assert (report.done, report.failed) == (3, 1)
    assert outcomes["broken"].status == "failed"


@pytest.mark.parametrize("executor", [None, "processes:2"])
def test_workers_send_checksums_too(
    executor: str | None, seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    write_all(tmp_path / "in", SMALL | LARGE)
    report, outcomes = put(tmp_path / "in", make_bucket(seaweedfs), checksum="crc64nvme", executor=executor)
    assert (report.done, report.failed) == (4, 0)
    assert {outcome.verified_by for outcome in outcomes.values()} == {"crc64nvme"}


def test_what_has_no_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bp.ParameterError, match="checksum is for put with s3://bucket/prefix/"):
        asyncio.run(bp.put("links.csv", tmp_path, checksum="crc32"))
    with pytest.raises(bp.ParameterError, match="checksum 'sha256' is not one of crc32, crc32c, crc64nvme"):
        asyncio.run(bp.put(tmp_path, "s3://bucket/pre/", checksum="sha256"))


def test_a_run_that_ends_early_reads_no_more_files(
    seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other files are rows of the failures file, which needs no checksums."""
    aws_env(seaweedfs)
    write_all(tmp_path / "in", {f"{number:04}": b"x" for number in range(2000)})
    read = list[int]()
    hashed = FileHasher.__call__

    def noted(self: FileHasher, refs: list[bp.ObjectRef]) -> list[bp.ObjectRef | FileProblem]:
        read.append(len(refs))
        return hashed(self, refs)

    def fails(event: Event) -> None:
        if isinstance(event, ObjectFinished):
            raise RuntimeError("enough")

    monkeypatch.setattr(FileHasher, "__call__", noted)
    failures = tmp_path / "failures.csv"
    uri = f"s3://{make_bucket(seaweedfs)}/pre/"
    with pytest.raises(RuntimeError, match="enough"):
        asyncio.run(bp.put(tmp_path / "in", uri, checksum="crc32", failures=failures, listeners=[fails]))
    assert 0 < sum(read) < 1500
    assert len(rows_of(failures)) > 1000
