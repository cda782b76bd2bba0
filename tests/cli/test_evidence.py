"""Rows, bytes and servers that contradict the journal: the journal is not used."""

import csv
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, run
from tests.support.folders import files

MIB = 1 << 20


class Scene:
    """A bucket with three objects under `v/`, a proxy that counts, and the command line in one folder."""

    def __init__(self, server: S3Server, proxy: FaultProxy, client: Any, bucket: str, folder: Path) -> None:
        self.server, self.proxy, self.client, self.bucket, self.folder = server, proxy, client, bucket, folder
        self.env = {**server.environment, "AWS_ENDPOINT_URL": proxy.url}
        for name in "abc":
            self.store(f"v/{name}", f"object {name}".encode())

    def store(self, key: str, body: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def store_in_parts(self, key: str, body: bytes, part_size: int, **more: Any) -> str:
        target = {"Bucket": self.bucket, "Key": key}
        upload = self.client.create_multipart_upload(**target, **more)["UploadId"]
        parts = []
        for number, at in enumerate(range(0, len(body), part_size), 1):
            part = {"UploadId": upload, "PartNumber": number, "Body": body[at : at + part_size]}
            parts.append({"PartNumber": number, "ETag": self.client.upload_part(**target, **part)["ETag"]})
        done = self.client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
        return str(done["ETag"]).strip('"')

    def run(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """Its standard error."""
        done = run(*arguments, folder=self.folder, env=self.env if env is None else env)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "X-Amz-Signature" not in done.stderr
        return done.stderr

    def sent(self, since: int = 0) -> list[tuple[str, str]]:
        """Method and key of every request but listings."""
        prefix = f"/{self.bucket}/"
        return [
            (seen.method, seen.target.partition("?")[0].removeprefix(prefix))
            for seen in self.proxy.seen[since:]
            if "list-type" not in seen.target
        ]

    def listed(self, since: int = 0) -> int:
        return sum("list-type" in seen.target for seen in self.proxy.seen[since:])


@pytest.fixture
def scene(seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, tmp_path: Path) -> Iterator[Scene]:
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        yield Scene(seaweedfs, proxy, boto(seaweedfs), make_bucket(seaweedfs), tmp_path)


@pytest.mark.parametrize("source", ["listing", "links"])
def test_an_object_that_was_replaced_is_fetched_again(source: str, scene: Scene) -> None:
    def get() -> str:
        where = f"s3://{scene.bucket}/v/"
        if source == "links":
            scene.run("sign", where, "-o", "l.csv")
            where = "l.csv"
        return scene.run("get", where, "--to", "t")

    assert "get: 3 done" in get()
    assert "get: 0 done, 3 skipped" in get()
    scene.store("v/b", b"other bytes, and more of them")
    since = scene.proxy.count
    assert "get: 1 done, 2 skipped" in get()
    assert scene.sent(since) == [("GET", "v/b")]
    assert (scene.folder / "t/b").read_bytes() == b"other bytes, and more of them"
    scene.store("v/c", b"object C")  # the same size: the etag alone tells
    assert "get: 1 done, 2 skipped" in get()
    assert (scene.folder / "t/c").read_bytes() == b"object C"
    assert "get: 0 done, 3 skipped" in get()


def test_a_row_that_knows_nothing_is_asked_about_on_demand(scene: Scene) -> None:
    keys = "".join(f"{scene.bucket},v/{name}\n" for name in "abc")
    (scene.folder / "keys.csv").write_text(f"bucket,key\n{keys}")
    command = ("get", "keys.csv", "--to", "t")
    assert "get: 3 done" in scene.run(*command)
    scene.store("v/b", b"object B")
    since = scene.proxy.count
    assert "get: 0 done, 3 skipped" in scene.run(*command)
    assert scene.sent(since) == []
    assert "get: 1 done, 2 skipped" in scene.run(*command, "--recheck", "--concurrency", "1")
    assert scene.sent(since) == [("GET", f"v/{name}") for name in "abc"]
    assert all(seen.header("if-none-match") for seen in scene.proxy.seen[since:])
    assert files(scene.folder / "t") == {"v/a": b"object a", "v/b": b"object B", "v/c": b"object c"}
    since = scene.proxy.count
    assert "get: 0 done, 3 skipped" in scene.run(*command, "--recheck")
    assert len(scene.sent(since)) == 3


def _put_files(scene: Scene) -> Callable[[], str]:
    (scene.folder / "ds/sub").mkdir(parents=True)
    for name in ("x", "sub/y", "z"):
        (scene.folder / "ds" / name).write_text(f"file {name}")
    return lambda: scene.run("put", "ds", f"s3://{scene.bucket}/p/")


def test_what_is_missing_or_differs_at_the_destination_is_sent_again(scene: Scene) -> None:
    put = _put_files(scene)
    assert "put: 3 done" in put()
    assert scene.listed() == 0
    since = scene.proxy.count
    assert "put: 0 done, 3 skipped; " in put()
    assert (scene.listed(since), scene.sent(since)) == (1, [])
    scene.client.delete_object(Bucket=scene.bucket, Key="p/x")
    scene.store("p/sub/y", b"FILE sub/y")
    since = scene.proxy.count
    assert "put: 2 done, 1 skipped; " in put()
    assert sorted(scene.sent(since)) == [("PUT", "p/sub/y"), ("PUT", "p/x")]
    assert scene.client.get_object(Bucket=scene.bucket, Key="p/sub/y")["Body"].read() == b"file sub/y"


def test_what_is_there_by_its_bytes_is_not_sent_again(scene: Scene) -> None:
    """Files that were touched, and one that another tool sent."""
    put = _put_files(scene)
    put()
    os.utime(scene.folder / "ds/x", (1, 1))
    (scene.folder / "ds/new").write_text("new")
    (scene.folder / "ds/z").write_text("FILE z")
    scene.store("p/new", b"new")
    since = scene.proxy.count
    assert "put: 1 done, 3 skipped; " in put()
    assert scene.sent(since) == [("PUT", "p/z")]
    assert "put: 0 done, 4 skipped; " in put()


def test_a_large_file_is_compared_by_its_parts(scene: Scene) -> None:
    (scene.folder / "ds").mkdir()
    body = os.urandom(11 * MIB)
    (scene.folder / "ds/big").write_bytes(body)
    command = ("put", "ds", f"s3://{scene.bucket}/p/", "--part-size", "5MiB")
    assert "put: 1 done" in scene.run(*command)
    os.utime(scene.folder / "ds/big", (1, 1))
    since = scene.proxy.count
    assert "put: 0 done, 1 skipped" in scene.run(*command)
    assert scene.sent(since) == []
    (scene.folder / "ds/big").write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    assert "put: 1 done" in scene.run(*command)
    assert scene.client.get_object(Bucket=scene.bucket, Key="p/big")["Body"].read()[-1] == body[-1] ^ 1


def test_a_listing_that_is_refused_leaves_the_journals_word(scene: Scene) -> None:
    put = _put_files(scene)
    put()
    scene.proxy.schedule = lambda seen: (
        Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>") if "list-type" in seen.target else None
    )
    assert "put: 0 done, 3 skipped (done before, by ds.put.journal); " in put()


def test_a_listing_that_fails_is_no_refusal(scene: Scene) -> None:
    _put_files(scene)()
    scene.proxy.schedule = lambda seen: (
        Fault(503, body=b"<Error><Code>SlowDown</Code></Error>") if "list-type" in seen.target else None
    )
    command = ("put", "ds", f"s3://{scene.bucket}/p/", "--attempts", "1")
    assert "can't be listed: 503 SlowDown" in scene.run(*command, code=2)


def test_links_to_a_second_endpoint_are_sent(scene: Scene) -> None:
    """The same bucket and key elsewhere are another object."""
    _put_files(scene)
    rows = "".join(f"{scene.bucket},q/{name},{name}\n" for name in ("x", "z"))
    (scene.folder / "keys.csv").write_text(f"bucket,key,path\n{rows}")
    with FaultProxy(scene.server.endpoint_url) as other:
        for proxy in (scene.proxy, other):
            env = {**scene.env, "AWS_ENDPOINT_URL": proxy.url}
            scene.run("sign", "keys.csv", "--method", "PUT", "-o", "u.csv", env=env)
            assert "put: 2 done" in scene.run("put", "u.csv", "--from", "ds", env={})
            again = scene.run("put", "u.csv", "--from", "ds", env={})
            assert "put: 0 done, 2 skipped (done before, by ds.put.journal); " in again
            assert "ds.put.journal has all of it as done; to do it again, name another one by --journal\n" in again
            assert proxy.count == 2


def test_the_corrected_command_is_not_blocked(scene: Scene) -> None:
    _put_files(scene)
    assert "NoSuchBucket" in scene.run("put", "ds", "s3://typo-in-the-name/p/", code=1)
    assert "put: 3 done" in scene.run("put", "ds", f"s3://{scene.bucket}/p/")
    assert "put: 3 done" in scene.run("put", "ds", f"s3://{scene.bucket}/second/")
    for prefix in ("p", "second"):
        assert "put: 0 done, 3 skipped; " in scene.run("put", "ds", f"s3://{scene.bucket}/{prefix}/")
    assert len(list(scene.folder.glob("ds.put*.journal"))) == 2


def _flip(file: Path, at: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1]))


def test_a_damaged_file_is_not_verified(scene: Scene) -> None:
    body = os.urandom(30 * MIB)
    scene.store_in_parts("v/big", body, 6 * MIB)
    scene.run("sign", f"s3://{scene.bucket}/v/", "-o", "l.csv")
    assert "get: 4 done" in scene.run("get", "l.csv", "--to", "t")
    assert "verify: 4 verified (3 by md5, 1 by md5-parts); " in scene.run("verify", "l.csv", "--in", "t")
    _flip(scene.folder / "t/big", 17 * MIB)
    said = scene.run("verify", "l.csv", "--in", "t", "--failures", "f.csv", code=1)
    assert "different: big: the bytes have md5-parts" in said  # the journal knows the part size
    (scene.folder / "t.journal").unlink()
    said = scene.run("verify", "l.csv", "--in", "t", "--failures", "f.csv", code=1)
    assert "unproven: big: the part size of its etag is unknown" in said
    assert "verify: 3 verified (3 by md5), 1 unproven; " in said
    with (scene.folder / "f.csv").open() as stream:
        assert [row["reason"].partition(":")[0] for row in csv.DictReader(stream)] == ["Unproven"]
    assert "4 verified" in scene.run("verify", "l.csv", "--in", "t", "--accept-size")


def test_the_checksum_of_s3_itself_proves_what_comes(scene: Scene) -> None:
    """Asked for by a signed header, for small objects and for large ones, which come in parts all the same."""
    bodies = {"small": b"small", "large": os.urandom(12 * MIB)}
    for name, body in bodies.items():
        scene.store(f"v/{name}", body, ChecksumAlgorithm="CRC64NVME")
    since = scene.proxy.count
    scene.run("get", f"s3://{scene.bucket}/v/", "--to", "t", "--part-size", "4MiB")
    with closing(sqlite3.connect(scene.folder / "t.journal")) as database:
        by = {name.rpartition("\0")[2]: by for name, by in database.execute("SELECT id, verified_by FROM outcomes")}
    assert (by["small"], by["large"]) == ("crc64nvme", "crc64nvme")
    assert {name: (scene.folder / "t" / name).read_bytes() for name in bodies} == bodies
    assert scene.sent(since).count(("GET", "v/large")) == 4  # the first one tells the checksum, and is left


def test_a_server_that_refuses_the_checksum_mode_is_asked_without_it(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: (
        Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>") if seen.header("x-amz-checksum-mode") else None
    )
    assert "get: 3 done" in scene.run("get", f"s3://{scene.bucket}/v/", "--to", "t")


def test_nothing_is_fetched_twice_for_proof(scene: Scene) -> None:
    """A part size that is in nobody's list: asked of the server with credentials, else said to be unproven."""
    body = os.urandom(12 * MIB)
    scene.store_in_parts("v/odd", body, 5 * MIB + 3)
    scene.run("sign", f"s3://{scene.bucket}/v/odd", "-o", "l.csv")
    since = scene.proxy.count
    said = scene.run("get", "l.csv", "--to", "links", env={})
    assert scene.sent(since) == [("GET", "v/odd")]
    assert "1 not proven by its bytes" in said
    since = scene.proxy.count
    scene.run("get", f"s3://{scene.bucket}/v/odd", "--to", "own")
    assert [method for method, _ in scene.sent(since)].count("GET") == 1
    assert ["partNumber=1" in scene.proxy.seen[-2].target, "partNumber=2" in scene.proxy.seen[-1].target] == [True] * 2
    assert files(scene.folder / "own") == files(scene.folder / "links") == {"v/odd": body}
    assert "1 by md5-parts" in scene.run("verify", "l.csv", "--in", "own")


def test_a_server_that_tells_no_length_to_a_head_tells_no_part_size(scene: Scene) -> None:
    body = os.urandom(12 * MIB)
    scene.store_in_parts("v/odd", body, 5 * MIB + 3)
    scene.proxy.schedule = lambda seen: Fault(206, {"Content-Length": "0"}) if seen.method == "HEAD" else None
    assert "1 not proven by its bytes" in scene.run("get", f"s3://{scene.bucket}/v/odd", "--to", "own")
    scene.run("copy", f"s3://{scene.bucket}/v/odd", f"s3://{scene.bucket}/w/", "--relay")
    assert "get: 1 done" in scene.run("get", f"s3://{scene.bucket}/w/", "--to", "copied")
    assert files(scene.folder / "own") == files(scene.folder / "copied") == {"v/odd": body}


def _recorded_parts(journal: Path) -> int:
    if not journal.exists():
        return 0
    with closing(sqlite3.connect(journal)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM finished_parts").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


@pytest.mark.parametrize("damage", ["none", "zeros"])
@pytest.mark.parametrize("knows", ["checksum", "size"])
def test_parts_of_an_earlier_run_are_looked_at_again(damage: str, knows: str, scene: Scene) -> None:
    """A power cut leaves zeros in a file that was allocated, whatever the journal says of its parts."""
    body = os.urandom(20 * MIB)
    scene.store_in_parts("v/big", body, 5 * MIB)
    scene.run("sign", f"s3://{scene.bucket}/v/big", "-o", "l.csv")
    if knows == "checksum":
        _add_checksum(scene.folder / "l.csv", body)
    else:
        _forget_etag(scene.folder / "l.csv")
    command = [
        *BULKPRESIGN,
        "get",
        "l.csv",
        "--to",
        "t",
        "--part-size",
        "5MiB",
        "--part-concurrency",
        "1",
        "--limit-rate",
        "3MiB",
    ]
    last = f"bytes={15 * MIB}-"  # is held back, for a busy disk can take seconds until the first part is recorded
    scene.proxy.schedule = lambda seen: Fault(hold_after=0) if (seen.header("range") or "").startswith(last) else None
    with subprocess.Popen(command, cwd=scene.folder, stderr=subprocess.PIPE, text=True) as process:
        while not _recorded_parts(scene.folder / "t.journal"):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.kill()
    scene.proxy.schedule = lambda _: None
    (part,) = (scene.folder / "t").rglob("*.part")
    if damage == "zeros":
        with part.open("r+b") as stream:
            stream.seek(MIB)
            stream.write(bytes(4096))
    since = scene.proxy.count
    assert "get: 1 done" in scene.run("get", "l.csv", "--to", "t", "--part-size", "5MiB", env={})
    assert files(scene.folder / "t") == {"v/big": body}
    asked = [seen.header("range") for seen in scene.proxy.seen[since:]]
    assert (f"bytes=0-{5 * MIB - 1}" in asked) == (damage == "zeros")


def _add_checksum(table: Path, body: bytes) -> None:
    from bulkpresign.checksums import base64_of, hasher

    digest = hasher("crc64nvme")
    digest.update(body)
    _with(table, checksum=f"crc64nvme:{base64_of(digest.digest())}")


def _forget_etag(table: Path) -> None:
    _with(table, etag="")


def _with(table: Path, **cells: str) -> None:
    with table.open(newline="") as stream:
        rows = [row | cells for row in csv.DictReader(stream)]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_two_runs_on_one_folder_are_one_too_many(scene: Scene) -> None:
    """By another name of the folder, and with a journal of its own."""
    scene.store("v/big", os.urandom(8 * MIB))
    scene.run("sign", f"s3://{scene.bucket}/v/", "-o", "l.csv")
    (scene.folder / "data").mkdir()
    (scene.folder / "alias").symlink_to("data")
    command = [*BULKPRESIGN, "get", "l.csv", "--to", "data", "--limit-rate", "1MiB"]
    with subprocess.Popen(command, cwd=scene.folder, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list((scene.folder / "data").glob("big.*.part")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "is in use by another run" in scene.run("get", "l.csv", "--to", "alias", code=2, env={})
        own = ("get", "l.csv", "--to", "alias", "--journal", "own.journal", "--if-exists", "replace")
        said = scene.run(*own, code=1, env={})
        assert "big" in said
        assert ".part is in use by another run" in said
        process.wait(60)
        assert process.returncode == 0
    assert (scene.folder / "data/big").stat().st_size == 8 * MIB
    assert "4 skipped" in scene.run("get", "l.csv", "--to", "alias", env={})


def test_a_clock_plays_no_part(scene: Scene) -> None:
    """The run was made under a clock two hours ahead; the file was edited after it."""
    scene.run("sign", f"s3://{scene.bucket}/v/", "-o", "l.csv")
    scene.run("get", "l.csv", "--to", "t", env={})
    with closing(sqlite3.connect(scene.folder / "t.journal", isolation_level=None)) as database:
        database.execute("UPDATE outcomes SET finished_at = finished_at + 7200")
    (scene.folder / "t/a").write_bytes(b"OBJECT a")
    assert "get: 1 done, 2 skipped" in scene.run("get", "l.csv", "--to", "t", env={})
    assert (scene.folder / "t/a").read_bytes() == b"object a"


def test_a_file_that_changes_in_the_middle_does_not_go_up_torn(scene: Scene) -> None:
    """Its mtime is put back, as some tools do."""
    (scene.folder / "ds").mkdir()
    file = scene.folder / "ds/big"
    file.write_bytes(os.urandom(11 * MIB))
    before = file.stat()

    def change(seen: Seen) -> None:
        if "partNumber=2" in seen.target:
            _flip(file, 0)
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    scene.proxy.schedule = change
    command = ("put", "ds", f"s3://{scene.bucket}/p/", "--part-size", "5MiB", "--part-concurrency", "1")
    assert "changed while it was sent" in scene.run(*command, code=1)
    assert "Contents" not in scene.client.list_objects_v2(Bucket=scene.bucket, Prefix="p/")


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_what_is_there_and_no_file_is_neither_followed_nor_replaced(kind: str, scene: Scene) -> None:
    scene.run("sign", f"s3://{scene.bucket}/v/", "-o", "l.csv")
    (scene.folder / "t").mkdir()
    there, outside = scene.folder / "t/b", scene.folder / "outside"
    if kind == "pipe":
        os.mkfifo(there)
    else:
        there.symlink_to("../outside")
        if kind == "link":
            outside.write_text("mine")
    before = there.lstat()
    assert "get: 2 done, 1 skipped" in scene.run("get", "l.csv", "--to", "t", "--if-exists", "keep", env={})
    said = scene.run("get", "l.csv", "--to", "t", "--if-exists", "fail", code=1, env={})
    assert "another file of that name is there" in said
    assert there.lstat().st_ino == before.st_ino
    assert outside.exists() == (kind == "link")
    assert "get: 1 done, 2 skipped" in scene.run("get", "l.csv", "--to", "t", env={})
    assert there.read_bytes() == b"object b"
    assert not there.is_symlink()
    assert kind != "link" or outside.read_text() == "mine"


def test_a_part_that_is_a_pipe_blocks_nothing(scene: Scene) -> None:
    scene.run("sign", f"s3://{scene.bucket}/v/a", "-o", "l.csv")
    (scene.folder / "t/v").mkdir(parents=True)
    from zlib import crc32

    os.mkfifo(scene.folder / f"t/v/a.{crc32(b'v/a'):08x}.part")
    assert "is not a regular file: remove it" in scene.run("get", "l.csv", "--to", "t", code=1, env={})


def test_input_that_turns_out_bad_leaves_nothing_behind(scene: Scene) -> None:
    """The listing comes first once a run has begun."""
    assert "is no object; objects lie under" in scene.run("get", f"s3://{scene.bucket}/v", "--to", "t", code=2)
    assert list(scene.folder.iterdir()) == []
