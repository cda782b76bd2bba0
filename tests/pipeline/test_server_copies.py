"""Copies that the server makes, of rows that tell nothing but keys."""

import os
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from tests.pipeline.copies import ProxiedSides, Sides
from tests.servers.proxy import Fault, Seen
from tests.support.uploads import open_uploads

MIB = 1 << 20
#: The response of S3 to a copy, in one request, of an object over 5 GiB.
TOO_LARGE = Fault(
    400, body=b"<Error><Code>InvalidRequest</Code><Message>The source is larger than ...</Message></Error>"
)


def copy(sides: Sides, *keys: str, **settings: Any) -> bp.Report:
    """Copies a table of these keys."""
    Path("keys.csv").write_text("bucket,key\n" + "".join(f"{sides.source},{key}\n" for key in keys))
    return sides.copy("keys.csv", **settings)


def is_copy(seen: Seen) -> bool:
    return seen.header("x-amz-copy-source") is not None


def test_sizes_and_proofs_are_those_of_the_objects(proxied: ProxiedSides) -> None:
    bodies = {"a": b"1", "b": os.urandom(300_000)}
    proxied.upload(bodies)
    assert copy(proxied, *bodies, dry_run=True).plan.requests == {"COPY": 2, "GET": 2}  # type: ignore[union-attr]
    report = copy(proxied, *bodies)
    assert (report.done, report.bytes, report.unproven) == (2, 300_001, 0), proxied.outcomes
    assert set(proxied.verified_by) == {"md5"}
    assert proxied.copied() == bodies
    assert all(seen.header("x-amz-copy-source-if-match") for seen in proxied.proxy.seen if is_copy(seen))


def test_an_object_that_is_too_large_for_one_request_is_copied_in_parts(proxied: ProxiedSides) -> None:
    body = os.urandom(11 * MIB)
    proxied.upload({"large": body})
    proxied.proxy.schedule = lambda seen: TOO_LARGE if is_copy(seen) and "partNumber=" not in seen.target else None
    report = copy(proxied, "large", part_size=5 * MIB)
    assert (report.done, report.bytes) == (1, len(body)), proxied.outcomes
    assert proxied.copied() == {"large": body}


def test_an_object_of_one_small_part_is_copied_without_a_range(proxied: ProxiedSides) -> None:
    """S3 takes no range of an object of up to 5 MiB: then all others would pass here."""
    bodies = {"a": b"1", "b": os.urandom(6 * MIB)}
    proxied.upload_in_parts("a", [bodies["a"]])
    proxied.upload_in_parts("b", [bodies["b"][: 5 * MIB], bodies["b"][5 * MIB :]])
    is_range = "x-amz-copy-source-range"
    small = Fault(400, body=b"<Error><Code>InvalidRequest</Code></Error>")
    proxied.proxy.schedule = lambda seen: small if "/a?" in seen.target and seen.header(is_range) else None
    assert copy(proxied, *bodies, concurrency=1).done == 2, proxied.outcomes
    assert proxied.copied() == bodies
    assert all(is_copy(seen) for seen in proxied.proxy.seen if (seen.method, seen.body[:1]) == ("PUT", b"1"))
    assert proxied.retries == []


@pytest.mark.parametrize(
    "answer",
    [
        Fault(400, body=b"<Error><Code>InvalidArgument</Code></Error>"),
        Fault(405, body=b"<Error><Code>MethodNotAllowed</Code></Error>"),
        Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>"),
        Fault(200, {"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'}),
    ],
    ids=["400", "405", "501", "ignored"],
)
def test_parts_that_a_server_does_not_copy_pass_here(proxied: ProxiedSides, answer: Fault) -> None:
    """Storj answers 501 (rclone/rclone #8139), and copies objects in one request.

    So does Google Cloud Storage by the quirks that rclone has for it; its error is not published.

    `rclone serve s3` ignores the source, and stores the empty body of the request as a part: rclone/rclone #7454.
    """
    bodies = {"large": os.urandom(11 * MIB), "small": b"1"}
    proxied.upload(bodies)
    proxied.proxy.schedule = lambda seen: answer if is_copy(seen) and "partNumber=" in seen.target else None
    report = copy(proxied, "large", "small", part_size=5 * MIB, concurrency=1)
    assert (report.done, report.bytes) == (2, 11 * MIB + 1), proxied.outcomes
    assert proxied.copied() == bodies
    assert any(is_copy(seen) and "small" in seen.target for seen in proxied.proxy.seen)
    assert open_uploads(proxied.put, proxied.destination) == []


def test_a_part_that_can_not_be_copied_at_all(proxied: ProxiedSides) -> None:
    """Others are still copied by the server."""
    bodies = {"a": os.urandom(6 * MIB), "b": os.urandom(6 * MIB)}
    proxied.upload(bodies)
    refused = Fault(400, body=b"<Error><Code>InvalidArgument</Code></Error>")
    proxied.proxy.schedule = lambda seen: refused if "/a?" in seen.target and "partNumber=" in seen.target else None
    report = copy(proxied, *bodies, part_size=5 * MIB, concurrency=1)
    assert (report.done, report.failed) == (1, 1), proxied.outcomes
    assert proxied.copied() == {"b": bodies["b"]}
    assert all(is_copy(seen) for seen in proxied.proxy.seen if "/b?" in seen.target and "partNumber=" in seen.target)
    assert open_uploads(proxied.put, proxied.destination) == []


def test_an_object_that_is_replaced_meanwhile_is_named(proxied: ProxiedSides) -> None:
    proxied.upload({"key": b"1"})
    proxied.proxy.schedule = lambda seen: Fault(412) if is_copy(seen) else None
    assert copy(proxied, "key", attempts=2).failed == 1
    assert [outcome.code for outcome in proxied.outcomes] == ["ObjectChanged"]


def test_an_error_in_a_response_of_200_is_that_of_the_server(proxied: ProxiedSides) -> None:
    """S3 sends the status before the copy has ended."""
    proxied.upload({"key": b"1"})
    errors = iter((Fault(200, body=b"<Error><Code>SlowDown</Code></Error>"),))
    proxied.proxy.schedule = lambda seen: next(errors, None) if is_copy(seen) else None
    assert copy(proxied, "key").done == 1
    assert [retry.code for retry in proxied.retries] == ["SlowDown"]


def test_a_key_without_an_object_is_a_failure_of_its_own(proxied: ProxiedSides) -> None:
    proxied.upload({"there": b"1"})
    report = copy(proxied, "there", "gone")
    assert (report.done, report.failed) == (1, 1)
    assert [outcome.code for outcome in proxied.outcomes if outcome.status == "failed"] == ["NoSuchKey"]


def test_a_copy_that_is_denied_names_the_rights_that_it_takes(proxied: ProxiedSides) -> None:
    """A role may read and write the objects, and not their tags."""
    proxied.upload({"a": b"1"}, Tagging="k=v")
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
    proxied.proxy.schedule = lambda seen: denied if is_copy(seen) else None
    assert copy(proxied, "a").failed == 1
    (outcome,) = proxied.outcomes
    assert (outcome.code, outcome.attempts) == ("AccessDenied", 1)
    assert "s3:GetObjectTagging" in str(outcome.message)
    assert "--no-tags" in str(outcome.message)
    assert copy(proxied, "a", tags=False).done == 1
