"""Uploads to real servers: refusals in the middle, wrong links, folders."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.errors import ParameterError
from bulkpresign.model import Outcome
from bulkpresign.transfer.engine.plain_jobs import StoreSteps
from bulkpresign.transfer.uploads.plain import PlainUpload
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Fault
from tests.servers.server import S3Server
from tests.support.events import heard
from tests.support.folders import files, write_all


@pytest.mark.parametrize("size", [1000, 20_000_000])
def test_an_early_refusal_is_told_as_what_it_is(
    size: int, server: S3Server, bucket: str, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(server)
    paths = [f"{n}" for n in range(4)]
    write_all(tmp_path / "in", dict.fromkeys(paths, bytes(size)))
    (tmp_path / "keys.csv").write_text("".join(["bucket,key\n", *(f"{bucket},{path}\n" for path in paths)]))
    outcomes: list[Outcome] = []

    async def run() -> None:
        await bp.sign(tmp_path / "keys.csv", tmp_path / "links.csv", method="PUT")
        table = (tmp_path / "links.csv").read_text().replace("X-Amz-Signature=", "X-Amz-Signature=00")
        (tmp_path / "links.csv").write_text(table)
        await bp.put(tmp_path / "links.csv", tmp_path / "in", listeners=[heard(outcomes)])

    asyncio.run(run())
    assert [(outcome.status, outcome.code, outcome.attempts) for outcome in outcomes] == [
        ("failed", "SignatureDoesNotMatch", 1)
    ] * 4


def test_a_folder_goes_up_with_its_types(
    server: S3Server, bucket: str, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(server)
    bodies = {"a.html": b"<p>", "d/b.bin": b"\0", "d/e/c.txt.gz": b"zz"}
    write_all(tmp_path / "in", bodies)
    report = asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/pre/"))
    assert (report.done, report.bytes) == (3, sum(map(len, bodies.values())))
    for path, body in bodies.items():
        found = boto(server).get_object(Bucket=bucket, Key=f"pre/{path}")
        assert found["Body"].read() == body
    if server.name != "rclone":
        assert boto(server).head_object(Bucket=bucket, Key="pre/a.html")["ContentType"] == "text/html"


def test_only_new_files_go_up_as_plain_jobs_once_the_destination_is_listed(
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    aws_env: AwsEnv,
    boto: Boto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file whose key is listed may be there already: it is compared first."""
    aws_env(seaweedfs)
    bucket = make_bucket(seaweedfs)
    old = {f"old/{n}": b"%d" % n for n in range(10)}
    new = {f"new/{n}": b"%d" % n for n in range(10)}
    write_all(tmp_path / "in", {"first": b"1"})
    asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/pre/"))
    for path, body in old.items():
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"pre/{path}", Body=b"other" if path == "old/3" else body)
    write_all(tmp_path / "in", old | new)
    as_plain_jobs: list[str] = []
    store = PlainUpload.store

    def spy(upload: PlainUpload, *response: Any) -> StoreSteps:
        as_plain_jobs.append(upload.job.object.key)
        return store(upload, *response)

    monkeypatch.setattr(PlainUpload, "store", spy)
    report = asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/pre/"))
    assert (report.done, report.skipped) == (11, 10)
    assert sorted(as_plain_jobs) == [f"pre/{path}" for path in new]
    for path, body in (old | new).items():
        assert boto(seaweedfs).get_object(Bucket=bucket, Key=f"pre/{path}")["Body"].read() == body


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_file_that_a_proxy_swallowed_is_sent_by_the_next_run(size: int, proxied: ProxiedSides) -> None:
    write_all(Path("in"), {"a": bytes(size)})
    page = Fault(200, {"Content-Type": "text/html"}, b"<html>Please sign in</html>")
    proxied.proxy.schedule = lambda seen: page if seen.method == "PUT" else None
    outcomes: list[Outcome] = []
    to = f"s3://{proxied.destination}/"
    report = asyncio.run(bp.put("in", to, listeners=[heard(outcomes)]))
    assert (report.done, report.failed, outcomes[0].code) == (0, 1, "NoEtag")
    assert "the response is not that of an S3 server" in str(outcomes[0].message)
    proxied.proxy.schedule = lambda _: None
    assert asyncio.run(bp.put("in", to)).done == 1
    assert proxied.copied() == {"a": bytes(size)}


def test_a_symlink_that_leaves_the_folder_is_not_sent(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    bucket = make_bucket(seaweedfs)
    write_all(tmp_path / "in", {"good": b"x"})
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in" / "bad").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "inner").symlink_to(tmp_path / "in" / "good")
    outcomes: list[Outcome] = []
    asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/", listeners=[heard(outcomes)]))
    assert {outcome.object.key: outcome.code for outcome in outcomes} == {
        "good": None,
        "inner": None,
        "bad": "NameRefused",
    }


def test_a_file_whose_name_can_not_be_a_key_fails_alone(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """Latin-1 in a name, or a path of over 1,024 bytes. The run ended at the first one, and told no way out."""
    aws_env(seaweedfs)
    bucket = make_bucket(seaweedfs)
    deep = "/".join(["d" * 100] * 11)
    write_all(tmp_path / "in", {"good": b"x", deep: b"x", "zzz": b"x"})
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/caf\xe9")).write_bytes(b"x")

    async def outcomes() -> list[Outcome]:
        return [
            outcome
            async for outcome in bp.put_outcomes(tmp_path / "in", f"s3://{bucket}/", failures=tmp_path / "f.csv")
        ]

    for status in ("done", "skipped"):
        found = {outcome.object.key: outcome for outcome in asyncio.run(outcomes())}
        assert {key: (outcome.status, outcome.code) for key, outcome in found.items()} == {
            "good": (status, None),
            "zzz": (status, None),
            deep: ("failed", "NameRefused"),
            r"caf\udce9": ("failed", "NameRefused"),
        }
        remedy = "rename the file, or leave it out with --exclude"
        assert found[r"caf\udce9"].message == f"the key is not valid Unicode: {remedy}"
        assert found[deep].message == f"the key has 1,110 bytes; S3 allows 1,024: {remedy}"
        assert (tmp_path / "f.csv").read_text().count("NameRefused") == 2
    planned = asyncio.run(bp.put(tmp_path / "in", f"s3://{bucket}/", dry_run=True))
    assert (planned.planned, planned.failed) == (0, 2)
    listed = boto(seaweedfs).list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in listed] == ["good", "zzz"]


def test_folders_and_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="is missing"):
        asyncio.run(bp.put(tmp_path / "none", "s3://bucket/"))
    with pytest.raises(ParameterError, match="is not a folder"):
        asyncio.run(bp.put(tmp_path / "file", "s3://bucket/"))
    with pytest.raises(ParameterError, match="is a key; a folder goes to a prefix"):
        asyncio.run(bp.put(tmp_path, "s3://bucket/key"))
    assert files(tmp_path) == {"file": b""}
