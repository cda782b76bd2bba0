"""The plan of a copy: its requests are those that the run sends, and its costs follow from them."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.model import Plan
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import FaultProxy, Seen
from tests.servers.server import S3Server

MIB = 1 << 20


def kind(seen: Seen) -> str:
    """The kind of a request, as its provider charges it."""
    if "list-type=2" in seen.target:
        return "LIST"
    return "COPY" if seen.header("x-amz-copy-source") else seen.method


@pytest.mark.parametrize("relay", [False, True])
def test_its_requests_are_those_that_the_run_sends(
    relay: bool,
    seaweedfs: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    aws_env: AwsEnv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    client: Any = boto(seaweedfs)
    source, destination = make_bucket(seaweedfs), make_bucket(seaweedfs)
    for key, body in {"a": b"", "b": b"1" * 1000, "there": b"x", "c": bytes(300_000)}.items():
        client.put_object(Bucket=source, Key=key, Body=body)
    client.put_object(Bucket=destination, Key="there", Body=b"x")
    where = {"Bucket": source, "Key": "parts"}
    upload_id = client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, size in enumerate((6 * MIB, 6 * MIB, 7), 1):
        etag = client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=bytes(size))["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    client.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": parts})
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        aws_env(replace(seaweedfs, endpoint_url=proxy.url))

        def copied(**settings: Any) -> bp.Report:
            return asyncio.run(bp.copy(f"s3://{source}/", f"s3://{destination}/", relay=relay, **settings))

        plan = copied(dry_run=True).plan
        since = proxy.count
        assert copied().done == 4
        sent = Counter(map(kind, proxy.seen[since:]))
    assert plan is not None
    assert plan.requests == dict(sent)
    assert plan.bytes_out == (12 * MIB + 7 + 301_000 if relay else 0)


def test_costs() -> None:
    plan = Plan(
        requests={"GET": 2000, "PUT": 500, "LIST": 2},
        bytes_out=3 << 30,
        in_parts=0,
        unsized=0,
        largest=[],
        sizes=[],
        skipped={},
    )
    assert plan.costs({"GET": 0.5, "PUT": 1, "POST": 7, "GiB": 0.1}) == pytest.approx(
        {"GET": 1.0, "PUT": 0.5, "GiB": 0.3}
    )
    assert plan.costs({"GB": 1}) == pytest.approx({"GB": (3 << 30) / 1e9})
    assert plan.costs({}) == {}
