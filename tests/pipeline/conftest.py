"""Objects that several modules read: each names its own in `BODIES`, by key. The buckets of copies."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.transfer.engine import retries
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.pipeline.copies import BehindProxy, ProxiedSides, Sides
from tests.servers.proxy import FaultProxy
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
    """The buckets of a copy between two servers, which a test names as `source-destination`."""
    source, destination = (request.getfixturevalue(name) for name in request.param.split("-"))
    configure(monkeypatch, tmp_path, source, destination)
    monkeypatch.chdir(tmp_path)
    return Sides(boto, make_bucket, source, destination)


@pytest.fixture
def behind_proxy(
    boto: Boto, make_bucket: MakeBucket, aws_env: AwsEnv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[BehindProxy]:
    """`behind_proxy(server)`: the buckets of a copy within one server, behind a proxy. Retries don't wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
    with ExitStack() as stack:

        def start(server: S3Server) -> ProxiedSides:
            proxy = stack.enter_context(FaultProxy(server.endpoint_url))
            aws_env(replace(server, endpoint_url=proxy.url))
            return ProxiedSides(boto, make_bucket, server, proxy)

        yield start


@pytest.fixture
def proxied(behind_proxy: BehindProxy, seaweedfs: S3Server) -> ProxiedSides:
    """The buckets of a copy within SeaweedFS, behind a proxy."""
    return behind_proxy(seaweedfs)
