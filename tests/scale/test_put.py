"""`put` with worker processes: small files go in workers, uploads in parts in the process with the credentials."""

import os
from pathlib import Path
from typing import Any

from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.folders import write_all

PROCESSES = ("--executor", "processes:2")


def stored(client: Any, bucket: str) -> dict[str, bytes]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_a_folder_goes_to_a_bucket(seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path) -> None:
    bucket = make_bucket(seaweedfs)
    bodies = {f"a/{n}": os.urandom(n * 10) for n in range(400)} | {"large": os.urandom(12 << 20)}
    write_all(tmp_path / "data", bodies)

    def put(*more: str) -> str:
        command = ("put", "data", f"s3://{bucket}/", "--part-size", "5MiB", *PROCESSES, *more)
        done = run(*command, folder=tmp_path, env=seaweedfs.environment)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "put: 401 done" in put()
    assert stored(boto(seaweedfs), bucket) == bodies
    assert "put: 0 done, 401 skipped" in put()
    (tmp_path / "data.put.journal").unlink()
    write_all(tmp_path / "data", {"a/7": b"changed"})
    assert "put: 401 done" in put()
    assert stored(boto(seaweedfs), bucket) == bodies | {"a/7": b"changed"}


def test_files_go_through_links(seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path) -> None:
    bucket = make_bucket(seaweedfs)
    bodies = {f"{n}": os.urandom(50) for n in range(300)}
    write_all(tmp_path / "data", bodies)
    (tmp_path / "keys.csv").write_text("bucket,key\n" + "".join(f"{bucket},{key}\n" for key in [*bodies, "missing"]))
    sign = run("sign", "keys.csv", "--method", "PUT", "-o", "l.csv", folder=tmp_path, env=seaweedfs.environment)
    assert sign.returncode == 0
    done = run("put", "l.csv", "--from", "data", *PROCESSES, folder=tmp_path, env={})
    assert done.returncode == 1
    assert "put: 300 done, 1 failed" in done.stderr
    assert stored(boto(seaweedfs), bucket) == bodies
