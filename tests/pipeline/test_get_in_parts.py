"""Large objects from real servers, as boto3 uploads them: in parts that come as the servers give them."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

import bulkpresign as bp
from bulkpresign.model import Outcome
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.events import heard
from tests.support.folders import files

MIB = 1 << 20
PART = 5 * MIB
SIZES = [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 77]


def upload(boto: Boto, server: S3Server, bucket: str, file: Path, key: str, part_size: int = PART) -> None:
    """As `upload_file` does, in parts where the file is larger than one."""
    config = TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size, max_concurrency=2)
    boto(server).upload_file(str(file), bucket, key, Config=config)


def bodies_in(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    for size in SIZES:
        (folder / f"{size}").write_bytes(os.urandom(size))
    return files(folder)


@pytest.mark.parametrize("part_concurrency", [1, 4])
@pytest.mark.parametrize("source", ["listing", "links", "bare links"])
def test_sizes_around_those_of_parts(
    source: str,
    part_concurrency: int,
    server: S3Server,
    bucket: str,
    boto: Boto,
    aws_env: AwsEnv,
    tmp_path: Path,
) -> None:
    """Sizes and etags from a listing, or from the answers alone. rclone knows no ranges."""
    aws_env(server)
    bodies = bodies_in(tmp_path / "in")
    for name in bodies:
        upload(boto, server, bucket, tmp_path / "in" / name, name)
    outcomes: list[Outcome] = []

    async def fetch() -> None:
        what = f"s3://{bucket}/"
        if source != "listing":
            what = str(tmp_path / "links.csv")
            await bp.sign(f"s3://{bucket}/", what)
        if source == "bare links":
            links = [line.split(",")[4] for line in Path(what).read_text().splitlines()[1:]]
            what = str(tmp_path / "links.txt")
            Path(what).write_text("\n".join(links))
        await bp.get(
            what, tmp_path / "out", part_size=PART, part_concurrency=part_concurrency, listeners=[heard(outcomes)]
        )

    asyncio.run(fetch())
    assert [outcome.message for outcome in outcomes if outcome.status != "done"] == []
    found = {name.rpartition("/")[2]: body for name, body in files(tmp_path / "out").items()}
    assert found == bodies
    if server.name != "rclone":
        by = {int(outcome.object.file_path.rpartition("/")[2]): outcome.verified_by for outcome in outcomes}
        asked = source == "listing" and server.name == "seaweedfs"  # links of our own ask for checksums
        name = "crc32" if asked else "md5"
        assert by == {size: name if size < PART else f"{name}-parts" for size in SIZES}


def test_several_hundred_mebibytes(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    """With everything as it is unless told otherwise."""
    aws_env(seaweedfs)
    bucket = make_bucket(seaweedfs)
    block = os.urandom(MIB)
    with (tmp_path / "in").open("wb") as stream:
        for n in range(300):
            stream.write(n.to_bytes(4, "big") + block)
    upload(boto, seaweedfs, bucket, tmp_path / "in", "large", 8 * MIB)
    outcomes: list[Outcome] = []
    asyncio.run(bp.get(f"s3://{bucket}/", tmp_path / "out", listeners=[heard(outcomes)]))
    assert [(outcome.status, outcome.verified_by) for outcome in outcomes] == [("done", "crc32-parts")]
    assert digest_of(tmp_path / "out" / "large") == digest_of(tmp_path / "in")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["large"]


def digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def test_a_link_whose_single_connection_is_the_limit(tmp_path: Path) -> None:
    """Nothing is set: more parts are in flight because they bring more."""
    body = os.urandom(5 * MIB)
    (tmp_path / "links.txt").write_text("http://none/")
    with FaultProxy() as origin:
        origin.objects["/a"], origin.etags["/a"] = body, '"x"'
        origin.gives_ranges = True
        origin.always = Fault(rate=MIB)
        (tmp_path / "links.txt").write_text(f"{origin.url}/a")
        asyncio.run(bp.get(tmp_path / "links.txt", tmp_path / "out", part_size=128 << 10))
        assert origin.most_open >= 2
        assert origin.count == 41, "no part was asked for twice; the first response is left after its start"
    assert files(tmp_path / "out") == {"a": body}


def test_all_parts_share_a_rate_limit(tmp_path: Path) -> None:
    body = os.urandom(6 * MIB)
    with FaultProxy() as origin:
        origin.objects["/a"], origin.etags["/a"] = body, '"x"'
        origin.gives_ranges = True
        (tmp_path / "links.txt").write_text(f"{origin.url}/a")
        began = time.monotonic()
        get = bp.get(tmp_path / "links.txt", tmp_path / "out", part_size=128 << 10, limit_rate=2 * MIB)
        asyncio.run(get)
    assert time.monotonic() - began > 1.5, "6 MiB at 2 MiB a second, less what a limit lends at its start"
    assert files(tmp_path / "out") == {"a": body}


@pytest.mark.parametrize("size", [300_000, 3 * MIB])
def test_a_stream_with_a_rate_limit_is_verified(size: int, tmp_path: Path) -> None:
    """The server gives the md5 as its etag; from 1 MiB on it is computed in a thread."""
    outcomes: list[Outcome] = []
    with FaultProxy() as origin:
        body = origin.objects["/a"] = os.urandom(size)
        link = bp.Link("GET", f"{origin.url}/a", {})
        get = bp.get([link], tmp_path, limit_rate=4 * MIB, attempts=1, listeners=[heard(outcomes)])
        asyncio.run(get)
    assert [(outcome.status, outcome.verified_by) for outcome in outcomes] == [("done", "md5")], outcomes
    assert files(tmp_path)["a"] == body


def test_parts_that_are_too_small(tmp_path: Path) -> None:
    (tmp_path / "links.txt").write_text("http://127.0.0.1:1/a")
    with pytest.raises(bp.ParameterError, match="part_size of 65,535 is less than 64 KiB"):
        asyncio.run(bp.get(tmp_path / "links.txt", tmp_path / "out", part_size=65_535))


MEASURE = """
import asyncio, resource, sys
import bulkpresign as bp
table, to = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
report = asyncio.run(bp.get(table, to, concurrency=128, part_size=256 << 10, part_concurrency=16))
assert report.done == report.objects, report
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(table: Path, to: Path) -> int:
    command = [sys.executable, "-c", MEASURE, str(table), str(to)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout)


@pytest.mark.slow
def test_memory_is_bounded_by_what_is_in_flight(tmp_path: Path) -> None:
    """128 objects at once, each in 16 parts at once, all of which come in the same moment: 2,048 requests."""
    with FaultProxy() as origin:
        origin.objects["/a"], origin.etags["/a"] = bytes(4 * MIB), '"x"'
        origin.gives_ranges = True
        origin.always = Fault(delay=1.0)
        links = [f"{origin.url}/a?{n},{n}" for n in range(128)]
        for name, count in (("one", 1), ("all", 128)):
            (tmp_path / name).write_text("\n".join(["url,path", *links[:count]]))
        one = peak_kib(tmp_path / "one", tmp_path / "to-one")
        most = peak_kib(tmp_path / "all", tmp_path / "to-all")
        assert origin.most_open > 500
    assert most - one < origin.most_open * 512
    assert sum(path.stat().st_size for path in (tmp_path / "to-all").iterdir()) == 128 * 4 * MIB


def test_a_smaller_object_in_the_place_of_a_large_one_fails_at_once(tmp_path: Path) -> None:
    """The first range tells the etag and the size of the object that is there now."""
    with FaultProxy() as origin:
        origin.objects, origin.gives_ranges = {"/a": b"x"}, True
        row = bp.ObjectRef("b", "a", size=200 << 10, etag="0" * 32)
        link = bp.Link("GET", f"{origin.url}/a", {}, object=row)
        report = asyncio.run(bp.get([link], tmp_path / "to", part_size=64 << 10))
        assert (report.failed, report.retries, origin.count) == (1, 0, 1)


@pytest.mark.parametrize("at", range(2, 14))
def test_a_cancelled_download_ends_at_once(at: int, tmp_path: Path) -> None:
    """Also where the slot of a request that ended is offered to another part just then."""
    with FaultProxy() as origin:
        origin.objects, origin.etags = {"/large": os.urandom(40 * 64 * 1024)}, {"/large": '"x"'}
        origin.gives_ranges = True

        async def cancelled() -> None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None

            def cancel(_: Seen) -> Fault | None:
                if origin.count == at:
                    loop.call_soon_threadsafe(task.cancel)
                return None

            origin.schedule = cancel
            await bp.get(f"{origin.url}/large", tmp_path / "to", part_size=64 * 1024)

        async def main() -> None:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.create_task(cancelled()), 10)

        asyncio.run(main())
