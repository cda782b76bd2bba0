"""`copy` with workers: through links of rows, by the server, and through links signed with headers of objects."""

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.pipeline.verification.digests import ReadPlan
from bulkpresign.scale.messages import Batch
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.scale.losing import Losing
from tests.scale.processes import workers_of
from tests.servers.proxy import Fault, FaultProxy, Seen, expired
from tests.servers.server import S3Server
from tests.support.certificates import root_of
from tests.support.cli import run
from tests.support.events import heard
from tests.support.links import links

PROCESSES = ("--executor", "processes:2")
COUNT = 60
MIB = 1 << 20


class Buckets:
    """Two buckets of one server; the first one has objects with headers of their own."""

    def __init__(self, server: S3Server, client: Any, source: str, destination: str) -> None:
        self.server, self.client, self.source, self.destination = server, client, source, destination
        self.bodies = {f"a/{n}": f"object {n}".encode() * (n % 40) for n in range(COUNT)}
        for number, (key, body) in enumerate(self.bodies.items()):
            meta = {"n": f"{number}"}
            client.put_object(Bucket=source, Key=key, Body=body, ContentType=f"text/{number % 3}", Metadata=meta)

    def check(self, count: int = COUNT) -> None:
        """All copies have the bytes and the headers of their objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.destination)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        assert len(keys) == count
        for number, (key, body) in enumerate(self.bodies.items()):
            copy = self.client.get_object(Bucket=self.destination, Key=key)
            assert copy["Body"].read() == body
            if key.startswith("a/"):
                assert (copy["ContentType"], copy["Metadata"]) == (f"text/{number % 3}", {"n": f"{number}"})

    def copy(self, executor: Any, **settings: Any) -> tuple[bp.Report, list[bp.Outcome]]:
        outcomes: list[bp.Outcome] = []
        given = {"executor": executor, "listeners": [heard(outcomes)], **settings}
        report = asyncio.run(bp.copy(f"s3://{self.source}/a/", f"s3://{self.destination}/a/", **given))
        return report, outcomes


@pytest.fixture
def buckets(
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    aws_env: AwsEnv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Buckets:
    aws_env(seaweedfs)
    monkeypatch.chdir(tmp_path)
    return Buckets(seaweedfs, boto(seaweedfs), make_bucket(seaweedfs), make_bucket(seaweedfs))


@pytest.mark.parametrize("relay", [False, True], ids=["by the server", "relayed"])
def test_from_bucket_to_bucket(buckets: Buckets, relay: bool) -> None:
    """One large object is copied in parts, by the process with the credentials."""
    buckets.bodies["a/large"] = bytes(12 * MIB)
    kept = {"ContentType": "text/0", "Metadata": {"n": f"{COUNT}"}}
    buckets.client.put_object(Bucket=buckets.source, Key="a/large", Body=buckets.bodies["a/large"], **kept)
    report, outcomes = buckets.copy("processes:2", relay=relay, part_size=5 * MIB)
    assert (report.done, report.failed) == (COUNT + 1, 0)
    assert len(outcomes) == COUNT + 1
    assert all(outcome.link is not None and outcome.link.method == "GET" for outcome in outcomes)
    buckets.check(COUNT + 1)
    report, _ = buckets.copy("processes:2", relay=relay, part_size=5 * MIB)
    assert (report.done, report.skipped) == (0, COUNT + 1)
    assert workers_of(os.getpid()) == []


def test_workers_compute_the_digests_of_a_certificate(buckets: Buckets) -> None:
    plans: list[ReadPlan] = []
    settings: dict[str, Any] = {"certificate": "c.jsonl", "announce": plans.append}
    report, _ = buckets.copy("processes:2", relay=True, **settings)
    assert report.certificate is not None
    assert report.certificate.root == root_of({key.removeprefix("a/"): body for key, body in buckets.bodies.items()})
    assert plans == []


def test_a_lost_worker_loses_nothing(buckets: Buckets) -> None:
    lost = list[Batch]()

    def loses(batch: Batch) -> bool:
        lost.append(batch)
        return len(lost) in {1, 3}

    report, outcomes = buckets.copy(Losing(loses), relay=True)
    assert len(lost) > 3
    assert (report.done + report.skipped, report.failed, len(outcomes)) == (COUNT, 0, COUNT)
    buckets.check()


def test_a_server_that_can_not_copy(buckets: Buckets) -> None:
    """The copies are relayed, by workers too."""

    def refuses(seen: Seen) -> Fault | None:
        is_copy = seen.header("x-amz-copy-source") is not None
        return Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>") if is_copy else None

    executor = Losing(lambda _: False)
    with FaultProxy(buckets.server.endpoint_url) as proxy:
        proxy.schedule = refuses
        report, _ = buckets.copy(executor, endpoint_url=proxy.url)
    assert (report.done, report.failed) == (COUNT, 0)
    assert [batch.spec.copies_on_server for batch in executor.batches][:: len(executor.batches) - 1] == [True, False]
    buckets.check()


def test_workers_get_links_and_no_keys(buckets: Buckets) -> None:
    given = list[bytes]()

    class Noting(Losing):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            given.append(args[0])
            return super().submit(fn, *args, **kwargs)

    executor = Noting(lambda _: False)
    buckets.copy(executor, relay=True)
    assert buckets.server.access_key.encode() in b"".join(given), "it is part of each link"
    assert buckets.server.secret_key.encode() not in b"".join(given)


def test_objects_that_exist_are_kept_or_an_error(buckets: Buckets) -> None:
    buckets.client.put_object(Bucket=buckets.destination, Key="a/7", Body=b"other")
    report, _ = buckets.copy("processes:2", relay=True, if_exists="fail")
    assert (report.done, report.failed) == (COUNT - 1, 1)
    assert buckets.client.get_object(Bucket=buckets.destination, Key="a/7")["Body"].read() == b"other"


def test_links_without_credentials(buckets: Buckets, tmp_path: Path) -> None:
    environment = buckets.server.environment
    given = ("sign", f"s3://{buckets.source}/", "--to", f"s3://{buckets.destination}/", "-o", "l.csv")
    assert run(*given, folder=tmp_path, env=environment).returncode == 0
    done = run("copy", "l.csv", *PROCESSES, folder=tmp_path, env={})
    assert f"copy: {COUNT} done" in done.stderr
    buckets.check()
    assert f"copy: 0 done, {COUNT} skipped" in run("copy", "l.csv", *PROCESSES, folder=tmp_path, env={}).stderr


@pytest.mark.parametrize("side", ["url", "dst_url"])
def test_the_coordinator_renews_either_side(side: str, origin: FaultProxy, tmp_path: Path) -> None:
    origin.objects = {f"/{n}": f"object {n}".encode() for n in range(40)}
    part = "/to/" if side == "dst_url" else "/"

    def refuses(seen: Seen) -> Any:
        is_side = ("/to/" in seen.target) == (part == "/to/")
        return expired() if is_side and "fresh" not in seen.target else None

    origin.schedule = refuses
    query = "X-Amz-Signature=secret"
    rows = [{"url": f"{origin.url}/{n}?{query}", "dst_url": f"{origin.url}/to/{n}?{query}"} for n in range(40)]
    links(tmp_path / "l.csv", rows)
    (tmp_path / "renew.py").write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    row = json.loads(line)\n"
        "    row['url'] = row['url'].partition('?')[0] + '?X-Amz-Signature=fresh-secret'\n"
        "    print(json.dumps(row | {'expires_at': '2099-01-01T00:00:00Z'}))\n"
    )
    command = f"{shlex.quote(sys.executable)} renew.py"
    done = run("copy", "l.csv", "--renew-command", command, *PROCESSES, folder=tmp_path, env={})
    assert "copy: 40 done" in done.stderr, done.stderr
    assert "expired" in run("copy", "l.csv", "--journal", "other", *PROCESSES, folder=tmp_path, env={}).stderr
