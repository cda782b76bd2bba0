"""Objects that several modules read: each names its own in `BODIES`, by key. Two servers for copies."""

import uuid
from pathlib import Path

import pytest

import bulkpresign as bp
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.pipeline.copies import Sides
from tests.servers.server import S3Server
from tests.support.sides import configure


@pytest.fixture(scope="module")
def stored(request: pytest.FixtureRequest, seaweedfs: S3Server, boto: Boto) -> str:
    """A bucket with all of the module's `BODIES`."""
    client, bucket = boto(seaweedfs), f"test-{uuid.uuid4().hex[:16]}"
    client.create_bucket(Bucket=bucket)
    for key, body in request.module.BODIES.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


@pytest.fixture
def refs(request: pytest.FixtureRequest, stored: str, seaweedfs: S3Server, aws_env: AwsEnv) -> list[bp.ObjectRef]:
    """The objects of the module's `BODIES`, in its order, with credentials that may read them."""
    aws_env(seaweedfs)
    return [bp.ObjectRef(stored, key) for key in request.module.BODIES]


@pytest.fixture(params=["seaweedfs-ceph", "ceph-seaweedfs", "seaweedfs-rclone"])
def sides(
    request: pytest.FixtureRequest,
    boto: Boto,
    make_bucket: MakeBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Sides:
    """The two servers of a copy, by their names."""
    source, destination = (request.getfixturevalue(name) for name in request.param.split("-"))
    configure(monkeypatch, tmp_path, source, destination)
    monkeypatch.chdir(tmp_path)
    return Sides(boto, make_bucket, source, destination)
