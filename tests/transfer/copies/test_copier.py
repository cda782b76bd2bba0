"""Relay jobs through an executor: links go in as data, and no credentials are needed."""

import asyncio
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.events import Event
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import Job, MultipartUpload, RenewableLink
from bulkpresign.transfer.spec import TransferSpec
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.servers.server import S3Server
from tests.support.events import outcomes_of
from tests.support.jobs import run_jobs

MIB = 1 << 20


def run(*jobs: Job, **settings: Any) -> list[Outcome]:
    events: list[Event] = []
    asyncio.run(run_jobs(TransferSpec(concurrency=2, **settings), list(jobs), events.append, Coordinator()))
    return outcomes_of(events)


def job(origin: FaultProxy, key: str, **headers: str) -> Job:
    ref = ObjectRef("b", key)
    get = Link("GET", f"{origin.url}/a-{key}", {}, None, ref)
    put = Link("PUT", f"{origin.url}/b-{key}", headers, None, ref)
    return Job(RenewableLink(get), RenewableLink(put))


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB])
def test_a_link_into_a_link(size: int) -> None:
    with FaultProxy() as origin:
        origin.objects["/a-x"] = body = bytes(range(256)) * (size // 256) + b"1" * (size % 256)
        (outcome,) = run(job(origin, "x", **{"x-amz-meta-by": "me"}))
        assert (outcome.status, outcome.verified_by, outcome.bytes) == ("done", "md5", size)
        assert origin.objects["/b-x"] == body
        assert origin.seen[-1].header("x-amz-meta-by") == "me"


@pytest.mark.parametrize("size", [1000, 3 * MIB])
@pytest.mark.parametrize(
    "fault", [Fault(flip_answer=True), Fault(cut_after=500), Fault(reset_after=0), Fault(500)], ids=str
)
def test_faults_of_the_source_store_nothing_wrong(fault: Fault, size: int) -> None:
    with FaultProxy() as origin:
        origin.objects["/a-x"] = body = bytes(range(250)) * (size // 250)
        origin.faults.append(fault)
        (outcome,) = run(job(origin, "x"))
        assert (outcome.status, outcome.attempts) == ("done", 2)
        assert origin.objects["/b-x"] == body
        del origin.objects["/b-x"]
        origin.schedule = lambda seen: fault if seen.method == "GET" else None
        (outcome,) = run(job(origin, "x"), attempts=1)
        assert outcome.status == "failed"
        assert "/b-x" not in origin.objects


def test_an_expired_link_of_either_side_is_told_as_that() -> None:
    with FaultProxy() as origin:
        origin.objects["/a-x"] = b"1"
        for method in ("GET", "PUT"):
            origin.schedule = lambda seen, method=method: expired() if seen.method == method else None  # type: ignore[misc]
            (outcome,) = run(job(origin, "x"))
            assert outcome.status == "expired"


def test_an_upload_that_is_open(seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, aws_env: AwsEnv) -> None:
    aws_env(seaweedfs)
    client, bucket = boto(seaweedfs), make_bucket(seaweedfs)
    body = bytes(range(250)) * 50_000
    client.put_object(Bucket=bucket, Key="from", Body=body)
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]

    async def signed() -> Job:
        async with bp.Presigner() as presigner:
            (get,) = presigner.sign_batch([ObjectRef(bucket, "from")])
            upload = presigner.sign_upload(ObjectRef(bucket, "to", size=len(body)), upload_id, 5 * MIB)
            return Job(RenewableLink(get), MultipartUpload(upload))

    (outcome,) = run(asyncio.run(signed()))
    assert (outcome.status, outcome.object.key, outcome.bytes) == ("done", "from", len(body))
    assert client.get_object(Bucket=bucket, Key="to")["Body"].read() == body
