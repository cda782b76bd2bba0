"""What is tried again, how often, and what comes of it; counted at the server."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkpresign.transfer.engine import retries
from tests.servers.proxy import Fault, FaultProxy
from tests.support.checksums import composite_etag
from tests.support.folders import files
from tests.transfer.running import get, put

BODY = os.urandom(300_000)
ETAG = hashlib.md5(BODY).hexdigest()
OTHER_SIZE = (
    "the object has 300,000 bytes, its row or listing says 299,999: it was replaced since, or the row was altered; "
    "run this again, with a fresh list if it is one"
)


def xml(code: str, message: str = "") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


PASSING = {
    "reset before the answer": (Fault(reset_after=0), "Disconnected"),
    "500": (Fault(status=500, body=xml("InternalError")), "InternalError"),
    "502 from a proxy": (Fault(status=502, body=b"<html>"), "HTTP502"),
    "503": (Fault(status=503, body=xml("SlowDown")), "SlowDown"),
    "429": (Fault(status=429), "HTTP429"),
    "408": (Fault(status=408, body=xml("RequestTimeout")), "RequestTimeout"),
    "400 RequestTimeout": (Fault(status=400, body=xml("RequestTimeout")), "RequestTimeout"),
}
PASSING_GET = {
    "reset in the headers": (Fault(reset_after=40), "Disconnected"),
    "reset in the body": (Fault(reset_after=100_000), "Truncated"),
    "a body cut off": (Fault(cut_after=100_000), "Truncated"),
    "a flipped bit": (Fault(flip_answer=True), "EtagMismatch"),
}
PASSING_PUT = {
    "a flipped bit": (Fault(flip_request=True), "EtagMismatch"),
    "BadDigest": (Fault(status=400, body=xml("BadDigest")), "BadDigest"),
    "200 with an error": (Fault(status=200, body=xml("InternalError")), "InternalError"),
}
FINAL = {
    "404": (Fault(status=404, body=xml("NoSuchKey", "gone")), "NoSuchKey", "404 NoSuchKey: gone"),
    "403": (Fault(status=403, body=xml("AccessDenied")), "AccessDenied", "403 AccessDenied"),
    "wrong signature": (
        Fault(status=403, body=xml("SignatureDoesNotMatch")),
        "SignatureDoesNotMatch",
        "403 SignatureDoesNotMatch (the method, a signed header or the url is not what was signed)",
    ),
    "412": (Fault(status=412, body=xml("PreconditionFailed")), "PreconditionFailed", "412 PreconditionFailed"),
    "400": (Fault(status=400, body=xml("EntityTooLarge")), "EntityTooLarge", "400 EntityTooLarge"),
    "304 unasked": (Fault(status=304), "HTTP304", "304 HTTP304"),
    "a message in two pieces": (
        Fault(status=403, body=xml("InvalidObjectState", "x" * 200), split=True),
        "InvalidObjectState",
        f"403 InvalidObjectState: {'x' * 200} (the object is archived and must be restored first)",
    ),
}


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects["/a"] = BODY
        yield proxy


@pytest.mark.parametrize("name", [*PASSING, *PASSING_GET])
def test_a_get_is_tried_again(name: str, origin: FaultProxy, tmp_path: Path) -> None:
    fault, code = (PASSING | PASSING_GET)[name]
    origin.faults.extend([fault, fault])
    outcome, run = get(f"{origin.url}/a", tmp_path, attempts=3)
    assert (outcome.status, outcome.attempts, outcome.verified_by) == ("done", 3, "md5")
    assert [(retry.attempt, retry.code) for retry in run.retries] == [(1, code), (2, code)]
    assert origin.count == 3
    assert files(tmp_path) == {"a": BODY}
    assert run.bytes_moved == len(BODY)


@pytest.mark.parametrize("name", [*PASSING, *PASSING_PUT])
@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_put_is_tried_again(name: str, size: int, origin: FaultProxy, tmp_path: Path) -> None:
    fault, code = (PASSING | PASSING_PUT)[name]
    (tmp_path / "a").write_bytes(BODY[:size])
    origin.faults.extend([fault, fault])
    outcome, run = put(f"{origin.url}/a", tmp_path, attempts=3)
    assert (outcome.status, outcome.attempts, outcome.verified_by) == ("done", 3, "md5")
    assert [(retry.attempt, retry.code) for retry in run.retries] == [(1, code), (2, code)]
    assert origin.count == 3
    assert origin.objects["/a"] == BODY[:size]
    assert run.bytes_moved == size


@pytest.mark.parametrize("name", [*PASSING, *PASSING_GET])
def test_it_is_given_up_after_its_attempts(name: str, origin: FaultProxy, tmp_path: Path) -> None:
    fault, code = (PASSING | PASSING_GET)[name]
    origin.always = fault
    outcome, run = get(f"{origin.url}/a", tmp_path, attempts=2)
    assert (outcome.status, outcome.attempts, outcome.code) == ("failed", 2, code)
    assert [(retry.attempt, retry.code) for retry in run.retries] == [(1, code)]
    assert origin.count == 2
    assert "a" not in files(tmp_path)
    assert run.bytes_moved == 0


@pytest.mark.parametrize("name", FINAL)
@pytest.mark.parametrize("verb", ["get", "put"])
def test_what_cannot_help_is_not_tried(name: str, verb: str, origin: FaultProxy, tmp_path: Path) -> None:
    fault, code, message = FINAL[name]
    (tmp_path / "source").write_bytes(b"x")
    origin.always = fault
    path = "new" if verb == "get" else "source"
    outcome, run = (get if verb == "get" else put)(f"{origin.url}/a", tmp_path, attempts=5, path=path)
    assert (outcome.status, outcome.attempts, outcome.code) == ("failed", 1, code)
    assert outcome.message == message
    assert origin.count == 1
    assert run.retries == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=403, body=xml("AccessDenied", "Request has expired")),
        Fault(status=400, body=xml("ExpiredToken")),
    ],
)
def test_an_expired_link_is_not_tried_again(fault: Fault, origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = fault
    outcome, _ = get(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.attempts, origin.count) == ("expired", 1, 1)


def test_a_mismatch_starts_again_from_zero_and_leaves_nothing(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(flip_answer=True)
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=3, etag=ETAG)
    assert (outcome.status, outcome.code, outcome.attempts) == ("failed", "EtagMismatch", 3)
    assert [seen.header("range") for seen in origin.seen] == [None] * 3
    assert files(tmp_path) == {}


def test_what_came_of_a_failed_object_stays_as_a_part(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(cut_after=100_000)
    get(f"{origin.url}/a", tmp_path, attempts=1)
    ((name, content),) = files(tmp_path).items()
    assert name.startswith("a.")
    assert name.endswith(".part")
    assert content == BODY[:100_000]
    origin.always = None
    get(f"{origin.url}/a", tmp_path)
    assert files(tmp_path) == {"a": BODY}


def test_a_file_keeps_its_content_until_the_new_one_is_whole(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    origin.always = Fault(cut_after=100_000)
    get(f"{origin.url}/a", tmp_path, attempts=1)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_size_that_is_not_the_manifests_moves_no_body(origin: FaultProxy, tmp_path: Path) -> None:
    outcome, run = get(f"{origin.url}/a", tmp_path, attempts=2, size=299_999)
    assert outcome.message == OTHER_SIZE
    assert (outcome.code, outcome.attempts, origin.count) == ("SizeMismatch", 1, 1)
    assert files(tmp_path) == {}
    assert not any(type(event).__name__ == "BytesMoved" and event.count > 0 for event in run.events)  # type: ignore[union-attr]


def test_a_size_that_is_not_the_manifests_is_asked_for_once(origin: FaultProxy, tmp_path: Path) -> None:
    """Small objects have a path of their own."""
    origin.objects["/small"] = BODY[:20_000]
    outcome, _ = get(f"{origin.url}/small", tmp_path, attempts=2, size=19_999)
    assert outcome.message == OTHER_SIZE.replace("300,", "20,").replace("299,", "19,")
    assert (outcome.code, outcome.attempts, origin.count) == ("SizeMismatch", 1, 1)


def test_another_size_without_an_etag_is_asked_for_again(origin: FaultProxy, tmp_path: Path) -> None:
    """A proxy may have sent it."""
    origin.etags["/a"] = ""
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=2, size=299_999)
    assert (outcome.code, outcome.attempts, origin.count) == ("SizeMismatch", 2, 2)


@pytest.mark.parametrize("row", [{}, {"etag": "0" * 32}])
def test_a_replaced_object_of_another_size(row: dict[str, str], origin: FaultProxy, tmp_path: Path) -> None:
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=2, size=299_999, **row)
    assert (outcome.code, outcome.attempts) == ("ObjectChanged" if row else "SizeMismatch", 1)


def test_a_cut_body_of_the_size_in_the_manifest_is_retried(origin: FaultProxy, tmp_path: Path) -> None:
    origin.faults.append(Fault(cut_after=200_000))
    outcome, _ = get(f"{origin.url}/a", tmp_path, size=300_000)
    assert (outcome.status, outcome.attempts) == ("done", 2)


def test_a_size_is_checked_where_no_length_is_announced(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(no_length=True)
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=1, size=299_999)
    assert outcome.code == "SizeMismatch"
    assert files(tmp_path) == {}
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=1, size=1000)
    assert outcome.message == "there are more than the 1,000 bytes that are expected"
    for ref in ({"size": 300_000}, {}):
        outcome, run = get(f"{origin.url}/a", tmp_path / f"{len(ref)}", attempts=1, **ref)
        assert (outcome.status, outcome.verified_by, outcome.bytes) == ("done", "md5", 300_000)
        assert run.bytes_moved == 300_000


def test_an_etag_that_is_not_the_manifests_is_that_of_another_object(origin: FaultProxy, tmp_path: Path) -> None:
    """To read it again would give the same bytes."""
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=3, etag="0" * 32)
    assert (outcome.code, outcome.attempts) == ("ObjectChanged", origin.count)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("size", [300_000, 1000])
@pytest.mark.parametrize("etag", [f"{'0' * 32}-2", f"{'0' * 32}-1", "0" * 32, "no-digest"])
@pytest.mark.parametrize("kind", [{}, {"x-amz-server-side-encryption": "aws:kms"}])
def test_bytes_that_the_etag_of_the_manifest_does_not_prove_are_those_of_another_object(
    etag: str, size: int, kind: dict[str, str], origin: FaultProxy, tmp_path: Path
) -> None:
    origin.objects["/a"] = BODY[:size]
    origin.always = Fault(headers=kind)
    outcome, run = get(f"{origin.url}/a", tmp_path, attempts=3, etag=etag)
    assert (outcome.status, outcome.code, outcome.attempts, origin.count) == ("failed", "ObjectChanged", 1, 1)
    assert f"has the etag {hashlib.md5(BODY[:size]).hexdigest()}, its row or listing {etag}" in str(outcome.message)
    assert files(tmp_path) == {}
    assert run.bytes_moved == 0


@pytest.mark.parametrize("part_size", [300_000, 150_000, 200_000])
@pytest.mark.parametrize("kind", [{}, {"x-amz-server-side-encryption": "aws:kms"}])
def test_an_etag_of_parts_can_prove_an_object_in_other_parts(
    part_size: int, kind: dict[str, str], origin: FaultProxy, tmp_path: Path
) -> None:
    origin.always = Fault(headers=kind)
    etag = composite_etag(BODY, part_size)
    outcome, _ = get(f"{origin.url}/a", tmp_path, etag=etag, extra={"part_size": part_size})
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", "md5-parts", 1)


def test_an_etag_that_a_proxy_made_weak_is_the_same(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(headers={"ETag": f'W/"{ETAG}"'})
    outcome, _ = get(f"{origin.url}/a", tmp_path, etag=ETAG.upper())
    assert (outcome.status, outcome.verified_by) == ("done", "md5")


def test_retry_after_is_waited_for(origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin.faults.append(Fault(status=503, headers={"Retry-After": "1"}, body=xml("SlowDown")))
    begin = time.monotonic()
    outcome, run = get(f"{origin.url}/a", tmp_path)
    assert outcome.status == "done"
    assert 1 <= run.retries[0].delay < 1.1
    assert time.monotonic() - begin >= 1
    monkeypatch.setattr(retries, "MAX_RETRY_AFTER", 0.5)
    origin.always = Fault(status=429, headers={"Retry-After": "1"})
    outcome, _ = get(f"{origin.url}/a", tmp_path, path="b")
    assert (outcome.status, outcome.attempts) == ("failed", 1)


def test_one_attempt_is_one(origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(status=500)
    outcome, _ = get(f"{origin.url}/a", tmp_path, attempts=1)
    assert (outcome.attempts, origin.count) == (1, 1)


@pytest.mark.parametrize("size", [1000, 8_000_000])
@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "EntityTooLarge"])
def test_an_early_refusal_of_an_upload_is_told_as_it_is(
    size: int, code: str, origin: FaultProxy, tmp_path: Path
) -> None:
    """The server answers when it has read the headers, and closes: that is no broken connection.

    Its reset can overtake its answer where it leaves bytes unread (RFC 9112, 9.6); then the answer comes the next time.
    """
    (tmp_path / "a").write_bytes(bytes(size))
    origin.always = Fault(status=403 if code.startswith("Sig") else 413, body=xml(code), early=True)
    outcome, run = put(f"{origin.url}/a", tmp_path, attempts=3)
    assert (outcome.status, outcome.code, outcome.attempts) == ("failed", code, origin.count)
    assert origin.count == 1 or size > 1000
    assert run.bytes_moved == 0


def test_what_stands_there_and_matches_is_not_fetched(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODY)
    outcome, _ = get(f"{origin.url}/a", tmp_path, etag=ETAG)
    assert (outcome.status, outcome.attempts, origin.count) == ("skipped", 0, 0)
    outcome, _ = get(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.attempts, origin.count) == ("skipped", 1, 1)
    assert origin.seen[0].header("if-none-match") == f'"{ETAG}"'


@pytest.mark.parametrize("size", [0, 300_000])
def test_what_stands_there_and_differs_is_replaced(size: int, origin: FaultProxy, tmp_path: Path) -> None:
    origin.objects["/a"] = BODY[:size]
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    outcome, _ = get(f"{origin.url}/a", tmp_path, size=size)
    assert (outcome.status, outcome.bytes) == ("done", size)
    assert files(tmp_path) == {"a": BODY[:size]}
