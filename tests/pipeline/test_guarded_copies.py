"""Copies that replace only what the destination had when it was listed."""

import io
import os
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

import bulkpresign as bp
from tests.pipeline.copies import BehindProxy, ProxiedSides, Sides
from tests.servers.proxy import Fault, Seen
from tests.servers.server import S3Server
from tests.support.checksums import cut

PART = 5 << 20
#: Objects in one request from memory, in one as a stream, and in parts.
BODIES = {"small": b"new", "streamed": os.urandom(300_000), "parts": os.urandom(2 * PART + 1000)}
FORMS = pytest.mark.parametrize("key", BODIES)
WAYS = pytest.mark.parametrize("relay", [True, False])


def upload(sides: Sides, *keys: str) -> None:
    sides.upload({key: BODIES[key] for key in keys})


def copy(sides: Sides, **settings: Any) -> bp.Report:
    return sides.copy(**{"part_size": PART, "relay": True, **settings})


def writes(sides: ProxiedSides, key: str = "") -> list[Seen]:
    """The requests that make an object at the destination."""
    return [seen for seen in sides.proxy.seen if is_write(sides, seen) and f"/{key}" in seen.target]


def lists_destination(sides: Sides, seen: Seen) -> bool:
    """True for a request for a page of the destination's listing."""
    return f"/{sides.destination}?" in seen.target and "list-type=2" in seen.target


def is_write(sides: Sides, seen: Seen) -> bool:
    """True for a request that makes an object: no part, and no upload that is opened."""
    if f"/{sides.destination}/" not in seen.target:
        return False
    is_put = seen.method == "PUT" and "partNumber=" not in seen.target
    return is_put or (seen.method == "POST" and "uploadId=" in seen.target)


@WAYS
@pytest.mark.parametrize("name", ["seaweedfs", "ceph", "ministack", "rclone"])
def test_what_differs_is_replaced_on_every_server(
    name: str, relay: bool, behind_proxy: BehindProxy, request: pytest.FixtureRequest
) -> None:
    """Also on Ceph, which refuses every If-Match, and on rclone, which knows neither conditions nor ranges."""
    sides = behind_proxy(request.getfixturevalue(name))
    bodies = {key: body for key, body in BODIES.items() if name != "rclone" or key != "parts"}
    upload(sides, *bodies)
    sides.store(dict.fromkeys(bodies, b"old"))
    sides.upload({"new": b"1"})
    report = copy(sides, relay=relay, concurrency=1)
    assert (report.done, report.failed) == (len(bodies) + 1, 0), sides.outcomes
    assert sides.copied() == {**bodies, "new": b"1"}
    assert writes(sides, "new")[0].header("if-none-match") == "*"
    etag = '"149603e6c03516362a8da23f624db945"'  # the md5 of b"old"
    refuses = name == "ceph" and relay
    assert [event.code for event in sides.retries] == (["PreconditionFailed"] if refuses else [])
    guarded = [seen for key in bodies for seen in writes(sides, key) if seen.header("if-match") == etag]
    assert len(guarded) == (2 if refuses else len(bodies))  # Ceph ignores it when an upload is completed


def test_a_destination_whose_listing_fails_is_left_as_it_is(proxied: ProxiedSides) -> None:
    """It would be copied as a whole, over what others wrote there."""
    upload(proxied, "small")
    proxied.store({"small": b"other"})
    busy = Fault(503, body=b"<Error><Code>SlowDown</Code></Error>")
    proxied.proxy.schedule = lambda seen: busy if lists_destination(proxied, seen) else None
    with pytest.raises(bp.ListingError, match="can't be listed: 503 SlowDown"):
        copy(proxied)
    assert (writes(proxied), proxied.copied()) == ([], {"small": b"other"})


def test_a_destination_that_may_not_be_listed_is_written(proxied: ProxiedSides) -> None:
    upload(proxied, "small")
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    proxied.proxy.schedule = lambda seen: denied if lists_destination(proxied, seen) else None
    assert copy(proxied).done == 1


@FORMS
@WAYS
@pytest.mark.parametrize("old", [b"old", None])
def test_a_destination_that_changes_in_the_middle_is_left_as_it_is(
    key: str, relay: bool, old: bytes | None, proxied: ProxiedSides
) -> None:
    upload(proxied, key)
    if old is not None:
        proxied.store({key: old})
    changes = iter((b"of another",))

    def change(seen: Seen) -> None:
        if is_write(proxied, seen) and (body := next(changes, None)):
            proxied.store({key: body})

    proxied.proxy.schedule = change
    report = copy(proxied, relay=relay)
    assert (report.done, report.failed) == (0, 1)
    (outcome,) = proxied.outcomes
    assert outcome.code == "DestinationChanged"
    assert str(outcome.message).startswith(f"s3://{proxied.destination}/{key} was written or deleted by others since")
    assert proxied.copied() == {key: b"of another"}
    assert "Uploads" not in proxied.put.list_multipart_uploads(Bucket=proxied.destination)
    assert copy(proxied, relay=relay).done == 1  # it is listed now
    assert proxied.copied() == {key: BODIES[key]}


@pytest.mark.parametrize("name", ["seaweedfs", "ministack"])
def test_a_destination_that_is_deleted_in_the_middle(
    name: str, behind_proxy: BehindProxy, request: pytest.FixtureRequest
) -> None:
    """ministack answers 404."""
    sides = behind_proxy(request.getfixturevalue(name))
    upload(sides, "small")
    sides.store({"small": b"old"})

    def delete(seen: Seen) -> None:
        if is_write(sides, seen):
            sides.put.delete_object(Bucket=sides.destination, Key="small")

    sides.proxy.schedule = delete
    assert copy(sides).failed == 1
    assert [outcome.code for outcome in sides.outcomes] == ["DestinationChanged"]


@pytest.mark.parametrize(("key", "relay"), [*((key, True) for key in BODIES), ("small", False), ("streamed", False)])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_response_that_is_lost_does_not_make_a_copy_that_of_others(
    key: str, relay: bool, old: bytes | None, proxied: ProxiedSides
) -> None:
    upload(proxied, key)
    if old is not None:
        proxied.store({key: old})
    losses = iter((Fault(reset_after=1),))
    proxied.proxy.schedule = lambda seen: next(losses, None) if is_write(proxied, seen) else None
    report = copy(proxied, relay=relay)
    assert next(losses, None) is None
    assert (report.done, report.failed, report.unproven) == (1, 0, 0), proxied.outcomes
    assert proxied.copied() == {key: BODIES[key]}
    assert report.uploads_left_open == 0


@WAYS
@pytest.mark.parametrize("denied", [False, True])
def test_an_upload_is_aborted_whose_object_another_run_has_made(
    denied: bool, relay: bool, proxied: ProxiedSides
) -> None:
    """Its parts would be billed. Where it can't be aborted, it is counted."""
    upload(proxied, "parts")
    others = iter((io.BytesIO(BODIES["parts"]),))

    def make(seen: Seen) -> Fault | None:
        if is_write(proxied, seen) and (body := next(others, None)):
            in_parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
            proxied.put.upload_fileobj(body, proxied.destination, "parts", Config=in_parts)
        return Fault(403) if denied and seen.method == "DELETE" else None

    proxied.proxy.schedule = make
    report = copy(proxied, relay=relay)
    assert next(others, None) is None
    assert (report.done, report.failed, report.uploads_left_open) == (1, 0, int(denied)), proxied.outcomes
    found = proxied.put.list_multipart_uploads(Bucket=proxied.destination).get("Uploads", [])
    assert len(found) == int(denied)


@WAYS
@pytest.mark.parametrize("head", [Fault(reset_after=0), Fault(503)], ids=["reset", "503"])
def test_nor_does_a_broken_look_at_the_destination(head: Fault, relay: bool, proxied: ProxiedSides) -> None:
    """The object at the destination is unknown then, so the copy does not fail with DestinationChanged."""
    upload(proxied, "small")
    losses, heads = iter((Fault(reset_after=1),)), iter((head,))

    def lose(seen: Seen) -> Fault | None:
        if is_write(proxied, seen):
            return next(losses, None)
        return next(heads, None) if seen.method == "HEAD" else None

    proxied.proxy.schedule = lose
    report = copy(proxied, relay=relay)
    assert next(heads, None) is None
    assert (report.done, report.failed, report.unproven) == (1, 0, 0), proxied.outcomes
    assert proxied.copied() == {"small": BODIES["small"]}


@pytest.mark.parametrize("key", ["small", "streamed"])
def test_a_copy_that_was_stored_wrongly_is_replaced(key: str, behind_proxy: BehindProxy, ceph: S3Server) -> None:
    """Ceph compares no checksum."""
    sides = behind_proxy(ceph)
    upload(sides, key)
    flips = iter((Fault(flip_request=True),))
    sides.proxy.schedule = lambda seen: next(flips, None) if is_write(sides, seen) else None
    assert copy(sides).done == 1, sides.outcomes
    assert [event.code for event in sides.retries] == ["EtagMismatch"]
    assert sides.copied() == {key: BODIES[key]}


def test_parts_that_were_stored_wrongly_are_replaced(proxied: ProxiedSides) -> None:
    """The etag of the whole is compared alone, because that of the object tells all bytes."""
    proxied.upload_in_parts("parts", cut(BODIES["parts"], PART))
    flips = iter((Fault(flip_request=True),))
    proxied.proxy.schedule = lambda seen: (
        next(flips, None) if seen.method == "PUT" and "partNumber=2" in seen.target else None
    )
    assert copy(proxied).done == 1, proxied.outcomes
    assert [event.code for event in proxied.retries] == ["EtagMismatch"]
    assert [seen.header("if-none-match") for seen in writes(proxied)] == ["*", None]
    assert proxied.copied() == {"parts": BODIES["parts"]}


@FORMS
@WAYS
@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument"), (403, "AccessDenied")])
def test_a_server_that_refuses_the_header_is_asked_once(
    key: str, relay: bool, status: int, code: str, proxied: ProxiedSides
) -> None:
    """403: a PUT needs no permission to read, If-Match does."""
    upload(proxied, *BODIES)
    proxied.store(dict.fromkeys(BODIES, b"old"))
    upload(proxied, key)
    refusal = Fault(status, body=f"<Error><Code>{code}</Code></Error>".encode())
    proxied.proxy.schedule = lambda seen: refusal if is_write(proxied, seen) and seen.header("if-match") else None
    report = copy(proxied, relay=relay, concurrency=1, filters=bp.Filters(include=[key]))
    assert report.done == 1, proxied.outcomes
    report = copy(proxied, relay=relay, concurrency=1)
    assert report.failed == 0, proxied.outcomes
    assert proxied.copied() == BODIES
    (retried,) = proxied.retries
    assert retried.code == code
    assert retried.message.endswith(
        "(the server does not support if-match here: this and all other copies are sent without it)"
    )


@WAYS
def test_workers_leave_a_destination_that_changes_as_it_is(relay: bool, proxied: ProxiedSides) -> None:
    """The process with the credentials looks what became of a copy that its worker could not make."""
    upload(proxied, "small", "streamed")
    proxied.store({"small": b"old", "streamed": b"old"})
    changes = iter((b"of another",))

    def change(seen: Seen) -> None:
        if is_write(proxied, seen) and "/small" in seen.target and (body := next(changes, None)):
            proxied.store({"small": body})

    proxied.proxy.schedule = change
    report = copy(proxied, relay=relay, executor="processes:2")
    assert (report.done, report.failed) == (1, 1), proxied.outcomes
    assert {outcome.code for outcome in proxied.outcomes} == {None, "DestinationChanged"}
    assert proxied.copied() == {"small": b"of another", "streamed": BODIES["streamed"]}


@WAYS
def test_workers_copy_to_a_server_that_refuses_the_header(relay: bool, proxied: ProxiedSides) -> None:
    upload(proxied, *BODIES)
    proxied.store(dict.fromkeys(BODIES, b"old"))
    refusal = Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>")
    proxied.proxy.schedule = lambda seen: refusal if is_write(proxied, seen) and seen.header("if-match") else None
    report = copy(proxied, relay=relay, executor="processes:2")
    assert (report.done, report.failed) == (len(BODIES), 0), proxied.outcomes
    assert proxied.copied() == BODIES
