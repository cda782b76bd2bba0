"""Objects that several modules read: each names its own in `BODIES`, by key."""

import uuid

import pytest

import bulkpresign as bp
from tests.conftest import AwsEnv, Boto
from tests.servers.server import S3Server


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
