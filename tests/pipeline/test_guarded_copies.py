"""Copies that replace only what the destination had when it was listed."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.events import Event, ObjectFinished, ObjectRetried
from bulkpresign.model import Outcome
from bulkpresign.transfer.engine import retries
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server

MIB = 1 << 20
#: Objects in one request from memory, in one as a stream, and in parts.
BODIES = {"small": b"new", "streamed": os.urandom(300_000), "parts": os.urandom(11 * MIB)}
FORMS = pytest.mark.parametrize("key", BODIES)
WAYS = pytest.mark.parametrize("relay", [True, False])


class Scene:
    """Two buckets of one server behind a proxy. `copy` copies everything from one to the other."""

    def __init__(self, server: S3Server, client: Any, make_bucket: MakeBucket, proxy: FaultProxy) -> None:
        self.client, self.proxy, self.server = client, proxy, server
        self.source, self.destination = make_bucket(server), make_bucket(server)
        self.events: list[Event] = []

    def copy(self, **settings: Any) -> bp.Report:
        self.events.clear()
        settings = {"part_size": 5 * MIB, "relay": True, "listeners": [self.events.append], **settings}
        return asyncio.run(bp.copy(f"s3://{self.source}/", f"s3://{self.destination}/", **settings))

    def upload(self, *keys: str) -> None:
        for key in keys:
            self.client.put_object(Bucket=self.source, Key=key, Body=BODIES[key])

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.destination, Key=key, Body=body)

    def copied(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.destination, Key=key)["Body"].read())

    @property
    def outcomes(self) -> list[Outcome]:
        return [event.outcome for event in self.events if isinstance(event, ObjectFinished)]

    @property
    def retries(self) -> list[ObjectRetried]:
        return [event for event in self.events if isinstance(event, ObjectRetried)]

    def writes(self, key: str = "") -> list[Seen]:
        """The requests that make an object at the destination."""
        return [seen for seen in self.proxy.seen if self.is_write(seen) and f"/{key}" in seen.target]

    def lists_destination(self, seen: Seen) -> bool:
        """True for a request for a page of the destination's listing."""
        return f"/{self.destination}?" in seen.target and "list-type=2" in seen.target

    def is_write(self, seen: Seen) -> bool:
        """True for a request that makes an object: no part, and no upload that is opened."""
        if f"/{self.destination}/" not in seen.target:
            return False
        is_put = seen.method == "PUT" and "partNumber=" not in seen.target
        return is_put or (seen.method == "POST" and "uploadId=" in seen.target)


@pytest.fixture
def start(
    boto: Boto,
    make_bucket: MakeBucket,
    aws_env: AwsEnv,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Callable[[S3Server], Scene]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
    proxies = []

    def started(server: S3Server) -> Scene:
        proxies.append(proxy := FaultProxy(server.endpoint_url).__enter__())
        aws_env(replace(server, endpoint_url=proxy.url))
        return Scene(server, boto(server), make_bucket, proxy)

    yield started
    for proxy in proxies:
        proxy.__exit__(None, None, None)


@pytest.fixture
def scene(start: Callable[[S3Server], Scene], seaweedfs: S3Server) -> Scene:
    return start(seaweedfs)


@WAYS
@pytest.mark.parametrize("name", ["seaweedfs", "ceph", "ministack", "rclone"])
def test_what_differs_is_replaced_on_every_server(
    name: str, relay: bool, start: Callable[[S3Server], Scene], request: pytest.FixtureRequest
) -> None:
    """Also on Ceph, which refuses every If-Match, and on rclone, which knows neither conditions nor ranges."""
    scene = start(request.getfixturevalue(name))
    bodies = {key: body for key, body in BODIES.items() if name != "rclone" or key != "parts"}
    scene.upload(*bodies)
    for key in bodies:
        scene.put(key, b"old")
    scene.client.put_object(Bucket=scene.source, Key="new", Body=b"1")
    report = scene.copy(relay=relay, concurrency=1)
    assert (report.done, report.failed) == (len(bodies) + 1, 0), scene.outcomes
    assert {key: scene.copied(key) for key in bodies} == bodies
    assert scene.copied("new") == b"1"
    assert scene.writes("new")[0].header("if-none-match") == "*"
    etag = '"149603e6c03516362a8da23f624db945"'  # the md5 of b"old"
    refuses = name == "ceph" and relay
    assert [event.code for event in scene.retries] == (["PreconditionFailed"] if refuses else [])
    guarded = [seen for key in bodies for seen in scene.writes(key) if seen.header("if-match") == etag]
    assert len(guarded) == (2 if refuses else len(bodies))  # Ceph ignores it when an upload is completed


def test_a_destination_whose_listing_fails_is_left_as_it_is(scene: Scene) -> None:
    """It would be copied as a whole, over what others wrote there."""
    scene.upload("small")
    scene.put("small", b"other")
    busy = Fault(503, body=b"<Error><Code>SlowDown</Code></Error>")
    scene.proxy.schedule = lambda seen: busy if scene.lists_destination(seen) else None
    with pytest.raises(bp.ListingError, match="can't be listed: 503 SlowDown"):
        scene.copy()
    assert (scene.writes(), scene.copied("small")) == ([], b"other")


def test_a_destination_that_may_not_be_listed_is_written(scene: Scene) -> None:
    scene.upload("small")
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    scene.proxy.schedule = lambda seen: denied if scene.lists_destination(seen) else None
    assert scene.copy().done == 1


@FORMS
@WAYS
@pytest.mark.parametrize("old", [b"old", None])
def test_a_destination_that_changes_in_the_middle_is_left_as_it_is(
    key: str, relay: bool, old: bytes | None, scene: Scene
) -> None:
    scene.upload(key)
    if old is not None:
        scene.put(key, old)
    changes = iter((b"of another",))

    def change(seen: Seen) -> None:
        if scene.is_write(seen) and (body := next(changes, None)):
            scene.put(key, body)

    scene.proxy.schedule = change
    report = scene.copy(relay=relay)
    assert (report.done, report.failed) == (0, 1)
    (outcome,) = scene.outcomes
    assert outcome.code == "DestinationChanged"
    assert str(outcome.message).startswith(f"s3://{scene.destination}/{key} was written or deleted by others since")
    assert scene.copied(key) == b"of another"
    assert "Uploads" not in scene.client.list_multipart_uploads(Bucket=scene.destination)
    assert scene.copy(relay=relay).done == 1  # it is listed now
    assert scene.copied(key) == BODIES[key]


@pytest.mark.parametrize("name", ["seaweedfs", "ministack"])
def test_a_destination_that_is_deleted_in_the_middle(
    name: str, start: Callable[[S3Server], Scene], request: pytest.FixtureRequest
) -> None:
    """ministack answers 404."""
    scene = start(request.getfixturevalue(name))
    scene.upload("small")
    scene.put("small", b"old")

    def delete(seen: Seen) -> None:
        if scene.is_write(seen):
            scene.client.delete_object(Bucket=scene.destination, Key="small")

    scene.proxy.schedule = delete
    assert scene.copy().failed == 1
    assert [outcome.code for outcome in scene.outcomes] == ["DestinationChanged"]


@pytest.mark.parametrize(("key", "relay"), [*((key, True) for key in BODIES), ("small", False), ("streamed", False)])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_response_that_is_lost_does_not_make_a_copy_that_of_others(
    key: str, relay: bool, old: bytes | None, scene: Scene
) -> None:
    scene.upload(key)
    if old is not None:
        scene.put(key, old)
    losses = iter((Fault(reset_after=1),))
    scene.proxy.schedule = lambda seen: next(losses, None) if scene.is_write(seen) else None
    report = scene.copy(relay=relay)
    assert next(losses, None) is None
    assert (report.done, report.failed, report.unproven) == (1, 0, 0), scene.outcomes
    assert scene.copied(key) == BODIES[key]


@pytest.mark.parametrize("key", ["small", "streamed"])
def test_a_copy_that_was_stored_wrongly_is_replaced(
    key: str, start: Callable[[S3Server], Scene], ceph: S3Server
) -> None:
    """Ceph compares no checksum."""
    scene = start(ceph)
    scene.upload(key)
    flips = iter((Fault(flip_request=True),))
    scene.proxy.schedule = lambda seen: next(flips, None) if scene.is_write(seen) else None
    assert scene.copy().done == 1, scene.outcomes
    assert [event.code for event in scene.retries] == ["EtagMismatch"]
    assert scene.copied(key) == BODIES[key]


def test_parts_that_were_stored_wrongly_are_replaced(scene: Scene) -> None:
    """The etag of the whole is compared alone, because that of the object tells all bytes."""
    where = {"Bucket": scene.source, "Key": "parts"}
    upload_id = scene.client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, at in enumerate(range(0, 11 * MIB, 5 * MIB), 1):
        body = BODIES["parts"][at : at + 5 * MIB]
        etag = scene.client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    scene.client.complete_multipart_upload(**where, UploadId=upload_id, MultipartUpload={"Parts": parts})
    scene.proxy.seen.clear()
    flips = iter((Fault(flip_request=True),))
    scene.proxy.schedule = lambda seen: (
        next(flips, None) if seen.method == "PUT" and "partNumber=2" in seen.target else None
    )
    assert scene.copy().done == 1, scene.outcomes
    assert [event.code for event in scene.retries] == ["EtagMismatch"]
    assert [seen.header("if-none-match") for seen in scene.writes()] == ["*", None]
    assert scene.copied("parts") == BODIES["parts"]


@FORMS
@WAYS
@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument"), (403, "AccessDenied")])
def test_a_server_that_refuses_the_header_is_asked_once(
    key: str, relay: bool, status: int, code: str, scene: Scene
) -> None:
    """403: a PUT needs no permission to read, If-Match does."""
    scene.upload(*BODIES)
    for each in BODIES:
        scene.put(each, b"old")
    scene.upload(key)
    refusal = Fault(status, body=f"<Error><Code>{code}</Code></Error>".encode())
    scene.proxy.schedule = lambda seen: refusal if scene.is_write(seen) and seen.header("if-match") else None
    report = scene.copy(relay=relay, concurrency=1, filters=bp.Filters(include=[key]))
    assert report.done == 1, scene.outcomes
    report = scene.copy(relay=relay, concurrency=1)
    assert report.failed == 0, scene.outcomes
    assert {key: scene.copied(key) for key in BODIES} == BODIES
    (retried,) = scene.retries
    assert retried.code == code
    assert retried.message.endswith(
        "(the server does not support if-match here: this and all other copies are sent without it)"
    )


@WAYS
def test_workers_leave_a_destination_that_changes_as_it_is(relay: bool, scene: Scene) -> None:
    """The process with the credentials looks what became of a copy that its worker could not make."""
    scene.upload("small", "streamed")
    for key in ("small", "streamed"):
        scene.put(key, b"old")
    changes = iter((b"of another",))

    def change(seen: Seen) -> None:
        if scene.is_write(seen) and "/small" in seen.target and (body := next(changes, None)):
            scene.put("small", body)

    scene.proxy.schedule = change
    report = scene.copy(relay=relay, executor="processes:2")
    assert (report.done, report.failed) == (1, 1), scene.outcomes
    assert {outcome.code for outcome in scene.outcomes} == {None, "DestinationChanged"}
    assert (scene.copied("small"), scene.copied("streamed")) == (b"of another", BODIES["streamed"])


@WAYS
def test_workers_copy_to_a_server_that_refuses_the_header(relay: bool, scene: Scene) -> None:
    scene.upload(*BODIES)
    for each in BODIES:
        scene.put(each, b"old")
    refusal = Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if scene.is_write(seen) and seen.header("if-match") else None
    report = scene.copy(relay=relay, executor="processes:2")
    assert (report.done, report.failed) == (len(BODIES), 0), scene.outcomes
    assert {key: scene.copied(key) for key in BODIES} == BODIES
