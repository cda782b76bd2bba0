"""Downloads from real servers: keys that are awkward, sizes, expiry, credentials, bounds."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.errors import ListingError, ManifestError, ParameterError
from bulkpresign.model import Outcome
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import FaultProxy, expired
from tests.servers.server import S3Server
from tests.support.events import heard
from tests.support.folders import files, write_all

#: Every kind of awkward key that can be a file.
KEYS = [
    "plain",
    "with space",
    "a+b&c=d",
    "what?",
    "hash#tag",
    "tilde~star*",
    "percent%20%2F%25%zz",
    "quotes'\"`",
    "back\\slash" if os.sep == "/" else "bs",
    "\ud55c\uae00/\ud30c\uc77c",
    "emoji\U0001f600",
    "nfc-\u00e9",
    "nfd-e\u0301",
    "con",
    "trailing.",
    ".hidden",
    " leading",
    "trailing ",
    "a;b,c|d<e>f",
    "{brace}[bracket]^",
    "$(touch x)",
    "-rf",
    "bidi\u202egnp",
    "deep/" * 20 + "leaf",
    "x" * 255,
    "\ud55c" * 85,
    "dotted/..a/...",
    "a.part",
    "a",
]
CONTROL = ["new\nline", "tab\tbell\x07", "esc\x1b[31m", "carriage\rreturn"]
LONG = ["/".join(["s" * 199] * 5) + "/" + "t" * 24, "/".join(["\uac00" * 66] * 5) + "/" + "t" * 29]
NOT_FILES = ["a//b", "/lead", "./dot", "x/../y", "folder/"]


def rows(path: Path, keys: Sequence[str], bucket: str) -> Path:
    path.write_text("".join(json.dumps({"bucket": bucket, "key": key}) + "\n" for key in keys))
    return path


def bodies_of(keys: Sequence[str]) -> dict[str, bytes]:
    return {key: f"{number}: {key}".encode() for number, key in enumerate(keys)}


def keys_for(server: S3Server) -> list[str]:
    keys = KEYS if server.name != "seaweedfs" else [key for key in KEYS if "\\" not in key]
    if server.name == "ceph":
        return keys + CONTROL + LONG
    return keys


def test_put_sign_get_every_key(server: S3Server, bucket: str, aws_env: AwsEnv, tmp_path: Path) -> None:
    aws_env(server)
    bodies = bodies_of(keys_for(server))
    write_all(tmp_path / "in", bodies)
    sources = rows(tmp_path / "keys.jsonl", list(bodies), bucket)

    async def round_trip() -> None:
        await bp.sign(sources, tmp_path / "put.jsonl", method="PUT")
        report = await bp.put(tmp_path / "put.jsonl", tmp_path / "in")
        assert (report.done, report.objects) == (len(bodies), len(bodies))
        await bp.sign(sources, tmp_path / "get.csv")
        report = await bp.get(tmp_path / "get.csv", tmp_path / "out", concurrency=8)
        assert (report.done, report.objects) == (len(bodies), len(bodies))
        assert report.bytes == sum(map(len, bodies.values()))
        report = await bp.get(tmp_path / "get.csv", tmp_path / "out")
        assert report.objects == len(bodies)
        if server.name != "rclone":
            assert report.skipped == len(bodies)
        report = await bp.get(f"s3://{bucket}/", tmp_path / "listed")
        assert (report.done, report.objects) == (len(bodies), len(bodies))

    asyncio.run(round_trip())
    assert files(tmp_path / "out") == bodies
    assert files(tmp_path / "listed") == bodies


def test_sizes(server: S3Server, bucket: str, aws_env: AwsEnv, tmp_path: Path) -> None:
    aws_env(server)
    bodies = {f"{size}": os.urandom(size) for size in (0, 1, 65_536, 262_144, 262_145, 9_000_001)}
    write_all(tmp_path / "in", bodies)
    sent: list[Outcome] = []
    came: list[Outcome] = []

    async def round_trip() -> None:
        await bp.put(tmp_path / "in", f"s3://{bucket}/pre/", listeners=[heard(sent)])
        await bp.get(f"s3://{bucket}/pre/", tmp_path / "out", listeners=[heard(came)])

    asyncio.run(round_trip())
    assert files(tmp_path / "out") == bodies
    for outcomes in (sent, came):
        assert {outcome.object.key.removeprefix("pre/"): outcome.bytes for outcome in outcomes} == {
            name: len(body) for name, body in bodies.items()
        }
        assert {outcome.status for outcome in outcomes} == {"done"}
        assert {outcome.verified_by for outcome in outcomes} == {"md5"}


@pytest.mark.parametrize("key", NOT_FILES)
def test_a_key_that_cannot_be_a_file_is_refused_before_anything_is_sent(key: str, tmp_path: Path) -> None:
    with FaultProxy() as origin:
        table = tmp_path / "links.jsonl"
        table.write_text(
            f'{{"url": "{origin.url}/good", "key": "good"}}\n{{"url": "{origin.url}/bad", "key": "{key}"}}\n'
        )
        with pytest.raises(ManifestError) as caught:
            asyncio.run(bp.get(table, tmp_path / "out"))
        assert str(caught.value).startswith(f"{table}:2: column path: path {key!r} is refused")
        assert origin.count == 0
    assert not (tmp_path / "out").exists()


def test_keys_that_cannot_be_files_fail_by_name_in_a_listing(
    ceph: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(ceph)
    bucket = make_bucket(ceph)
    for key in [*NOT_FILES, "good", "x\ud55c" + "y" * 253]:
        boto(ceph).put_object(Bucket=bucket, Key=key, Body=b"" if key == "folder/" else b"body")
    outcomes: list[Outcome] = []
    report = asyncio.run(
        bp.get(f"s3://{bucket}/", tmp_path / "out", failures=tmp_path / "f.csv", listeners=[heard(outcomes)])
    )
    assert (report.done, report.skipped, report.failed) == (1, 1, 5)
    assert {outcome.object.key: (outcome.status, outcome.code) for outcome in outcomes} == {
        "good": ("done", None),
        "folder/": ("skipped", None),
        "a//b": ("failed", "NameRefused"),
        "/lead": ("failed", "NameRefused"),
        "./dot": ("failed", "NameRefused"),
        "x/../y": ("failed", "NameRefused"),
        "x\ud55c" + "y" * 253: ("failed", "NameRefused"),
    }
    assert {outcome.attempts for outcome in outcomes if outcome.status != "done"} == {0}
    assert files(tmp_path / "out") == {"good": b"body"}


def test_a_link_that_the_server_says_has_expired(
    server: S3Server, bucket: str, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """Its row hides when it ends, so that only the server can tell."""
    aws_env(server)
    boto(server).put_object(Bucket=bucket, Key="a", Body=b"x")

    async def run() -> None:
        async with bp.Presigner(expires_in=1) as presigner:
            (link,) = presigner.sign_batch([bp.ObjectRef(bucket, "a")])
        (tmp_path / "l.csv").write_text(f"url,expires_at\n{link.url},2099-01-01T00:00:00Z\n")
        await asyncio.sleep(2.1)
        outcomes: list[Outcome] = []
        report = await bp.get(tmp_path / "l.csv", tmp_path / "out", listeners=[heard(outcomes)])
        if server.name == "rclone":  # it says no more than AccessDenied, and the row lies
            assert outcomes[0].code in {"AccessDenied", "RequestTimeTooSkewed"}
            return
        if server.name == "ceph":
            assert outcomes[0].code == "AccessDenied"
            return
        assert (report.expired, outcomes[0].attempts) == (1, 1)

    asyncio.run(run())
    assert files(tmp_path / "out") == {}


def test_wrong_credentials_are_told(
    server: S3Server, bucket: str, boto: Boto, aws_env: AwsEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_env(server)
    boto(server).put_object(Bucket=bucket, Key="a", Body=b"x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    (tmp_path / "keys.csv").write_text(f"bucket,key\n{bucket},a\n")
    outcomes: list[Outcome] = []
    report = asyncio.run(bp.get(tmp_path / "keys.csv", tmp_path / "out", listeners=[heard(outcomes)]))
    assert report.failed == 1
    assert (outcomes[0].code, outcomes[0].attempts) == ("SignatureDoesNotMatch", 1)
    with pytest.raises(ListingError):
        asyncio.run(bp.get(f"s3://{bucket}/", tmp_path / "new", failures=tmp_path / "f.csv"))
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "f.csv").exists()


@pytest.mark.parametrize(("concurrency", "attempts"), [(0, 1), (1, 0), (-1, 1)])
def test_bounds_that_cannot_be(concurrency: int, attempts: int, tmp_path: Path) -> None:
    table = tmp_path / "none.csv"
    with pytest.raises(ParameterError, match="is not at least 1"):
        asyncio.run(bp.get(table, tmp_path / "out", concurrency=concurrency, attempts=attempts))
    with pytest.raises(ParameterError, match="is not at least 1"):
        asyncio.run(bp.put(table, tmp_path, concurrency=concurrency, attempts=attempts))


MEASURE = """
import asyncio, resource, sys
import bulkpresign as bp
table, to, concurrency = sys.argv[1:]
report = asyncio.run(bp.get(table, to, concurrency=int(concurrency)))
assert report.done + report.skipped == report.objects, report
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(table: Path, to: Path, concurrency: int = 64) -> int:
    command = [sys.executable, "-c", MEASURE, str(table), str(to), str(concurrency)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout)


@pytest.mark.slow
def test_memory_is_bounded_by_what_is_in_flight(tmp_path: Path) -> None:
    """256 objects of 8 MiB at once: about 512 KiB for each, and what Python itself takes."""
    with FaultProxy() as origin:
        origin.objects["/a"] = bytes(8 << 20)
        links = [f"{origin.url}/a?{n},d{n % 8}/{n}" for n in range(256)]
        for name, count in (("one", 1), ("all", 256)):
            (tmp_path / name).write_text("\n".join(["url,path", *links[:count]]))
        one = peak_kib(tmp_path / "one", tmp_path / "to-one", 256)
        most = peak_kib(tmp_path / "all", tmp_path / "to-all", 256)
    assert most - one < 256 * 512
    assert sum(path.stat().st_size for path in (tmp_path / "to-all").rglob("*") if path.is_file()) == 256 << 23


@pytest.mark.slow
def test_a_long_manifest_takes_no_more_memory(tmp_path: Path) -> None:
    """All links are over, so that rows go through at full speed once the server has told its time."""
    over = "2020-01-01T00:00:00Z"
    code = MEASURE.replace("report.done + report.skipped", "report.expired")
    peaks = []
    with FaultProxy() as origin:
        origin.always = expired()
        for name, count in (("short", 2_000), ("long", 200_000)):
            with (tmp_path / name).open("w") as table:  # not held here: a child counts its parent's memory as its peak
                table.write("url,path,expires_at\n")
                table.writelines(f"{origin.url}/{n},folder/object-{n:09},{over}\n" for n in range(count))
        for name in ("short", "long"):
            command = [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / "to"), "64"]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
            peaks.append(int(done.stdout))
    # SQLite's caches of the journal and of the index of paths are 8 MiB each
    assert peaks[1] - peaks[0] < 30 * 1024, peaks


@pytest.fixture
def ignored_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs take their folder for one that ignores case. No file system of Linux that can be mounted everywhere does."""
    monkeypatch.setattr("bulkpresign.pipeline.get.ignores_case", lambda _: True)


@pytest.mark.usefixtures("ignored_case")
def test_rows_that_are_one_file_where_case_is_ignored(tmp_path: Path) -> None:
    with FaultProxy() as origin:
        table = tmp_path / "links.csv"
        table.write_text(f"url,path\n{origin.url}/a,d/A.txt\n{origin.url}/b,D/a.txt\n")
        with pytest.raises(ManifestError) as caught:
            asyncio.run(bp.get(table, tmp_path / "out"))
        assert str(caught.value) == (
            f"{table}:3: column path: path 'D/a.txt' is the path of {table}:2 as well: names in this folder do not "
            "differ by case; column path names another file, --exclude leaves the row out"
        )
        assert origin.count == 0


@pytest.mark.usefixtures("ignored_case")
def test_keys_of_a_listing_that_are_one_file_where_case_is_ignored(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    bucket = make_bucket(seaweedfs)
    for key in ["A", "B", "a", "b", "d/e", "D/E", "d/f"]:
        boto(seaweedfs).put_object(Bucket=bucket, Key=key, Body=key.encode())
    outcomes: list[Outcome] = []
    report = asyncio.run(bp.get(f"s3://{bucket}/", tmp_path / "out", listeners=[heard(outcomes)]))
    assert (report.done, report.failed) == (4, 3)
    refused = {outcome.object.key: outcome for outcome in outcomes if outcome.status == "failed"}
    assert {outcome.code for outcome in refused.values()} == {"NameRefused"}
    assert refused["a"].message is not None
    assert f"the file of s3://{bucket}/A as well" in refused["a"].message
    assert refused.keys() > {"a", "b"}, "one after another"
    assert files(tmp_path / "out") == {
        key: key.encode() for key in ["A", "B", "d/e", "D/E", "d/f"] if key not in refused
    }
