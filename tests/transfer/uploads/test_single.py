"""Files that are not as they seem when they are uploaded."""

import os
import zlib
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from bulkpresign.model import Link, ObjectRef
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.transfer.running import put, transfer


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("kind", "code"),
    [("missing", "FileNotFoundError"), ("folder", "NotAFile"), ("pipe", "NotAFile"), ("dangling", "FileNotFoundError")],
)
def test_what_is_no_file_is_named_and_not_sent(kind: str, code: str, origin: FaultProxy, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nothing")
    outcome, _ = put(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.code, origin.count) == ("failed", code, 0)
    assert str(path) in (outcome.message or "")


@pytest.mark.parametrize("size", [300_000, 2_000_000])
def test_a_file_that_shrinks_is_told_and_not_tried_again(
    size: int, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    pread = os.pread

    def read_little(descriptor: int, count: int, offset: int) -> bytes:
        os.truncate(tmp_path / "a", 10)
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", read_little)
    outcome, run = put(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.code, outcome.attempts) == ("failed", "FileChanged", 1)
    assert run.retries == []
    assert run.bytes_moved == 0
    assert "/a" not in origin.objects


def test_a_file_that_changes_while_it_is_sent_is_not_done(origin: FaultProxy, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))

    def change(_: Seen) -> None:
        path.write_bytes(bytes(2000))

    origin.schedule = change
    outcome, run = put(f"{origin.url}/a", tmp_path)
    assert origin.count == 1
    assert (outcome.status, outcome.code) == ("failed", "FileChanged")
    assert run.bytes_moved == 0


def test_a_server_without_an_md5_etag_leaves_it_unverified(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    origin.always = Fault(status=200, headers={"ETag": '"abc-1"'})
    outcome, _ = put(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.verified_by) == ("done", None)


@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize("status", [200, 201, 204])
def test_servers_have_several_statuses_for_what_they_stored(
    status: int, size: int, origin: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    origin.always = Fault(status, {"ETag": f'"{md5(bytes(size)).hexdigest()}"'})
    outcome, _ = put(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", "md5", 1)
    assert origin.seen[0].body == bytes(size)


def test_a_folder_marker_is_skipped(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    link = Link("PUT", f"{origin.url}/d/", {}, object=ObjectRef("bucket", "d/", size=0))
    outcome, _ = transfer("put", link, tmp_path)
    assert (outcome.status, outcome.attempts, outcome.message) == ("skipped", 0, "a folder marker has no file")
    assert origin.count == 0


@pytest.mark.parametrize("size", [1000, 2_000_000])
def test_an_error_in_a_response_with_status_200_is_an_error(size: int, origin: FaultProxy, tmp_path: Path) -> None:
    body = os.urandom(size)
    (tmp_path / "a").write_bytes(body)
    origin.faults.append(Fault(status=200, body=b"<Error><Code>InternalError</Code></Error>"))
    outcome, run = put(f"{origin.url}/a", tmp_path)
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", "md5", 2)
    assert [retry.code for retry in run.retries] == ["InternalError"]
    assert origin.objects["/a"] == body


V2 = "AWSAccessKeyId=A&Expires=1999999999&Signature=s"


@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize("query", ["X-Amz-Signature=s", V2])
@pytest.mark.parametrize("body", [b"", b"<html>Please sign in</html>"])
def test_a_success_that_no_s3_server_sent_is_a_failure(
    body: bytes, query: str, size: int, origin: FaultProxy, tmp_path: Path
) -> None:
    """A proxy or a login page responds to any request, and stores nothing."""
    (tmp_path / "a").write_bytes(bytes(size))
    page = Fault(200, {"Content-Type": "text/html"}, body)
    origin.faults.append(page)
    outcome, run = put(f"{origin.url}/a?{query}", tmp_path)
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", "md5", 2)
    assert [retry.code for retry in run.retries] == ["NoEtag"]
    origin.always = page
    outcome, run = put(f"{origin.url}/a?{query}", tmp_path)
    assert (outcome.status, outcome.code, outcome.attempts, run.bytes_moved) == ("failed", "NoEtag", 3, 0)
    assert "not that of an S3 server: it has no etag and no header x-amz-*" in (outcome.message or "")
    assert "a proxy or a login page" in (outcome.message or "")


@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize(
    ("query", "headers"),
    [("X-Amz-Signature=s", {"x-amz-request-id": "1"}), ("Key-Pair-Id=K&Signature=s", {}), ("", {})],
)
def test_a_success_without_an_etag_counts_where_s3_or_another_server_sent_it(
    query: str, headers: dict[str, str], size: int, origin: FaultProxy, tmp_path: Path
) -> None:
    """A gateway may remove the etag; web servers that take a PUT send none."""
    (tmp_path / "a").write_bytes(bytes(size))
    origin.always = Fault(201, headers)
    outcome, _ = put(f"{origin.url}/a?{query}", tmp_path)
    assert (outcome.status, outcome.verified_by, outcome.attempts) == ("done", None, 1)


def crc32_of(body: bytes) -> str:
    return b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize(("repeats", "verified_by"), [(True, "crc32"), (False, "md5")])
def test_a_checksum_that_the_link_signs_is_the_proof_where_the_server_repeats_it(
    repeats: bool, verified_by: str, size: int, tmp_path: Path
) -> None:
    """A server that does not has not looked at it: then the etag is compared, for which the file is read again."""
    body = os.urandom(size)
    (tmp_path / "a").write_bytes(body)
    signed = {"x-amz-checksum-crc32": crc32_of(body)}
    with FaultProxy(answer_headers=signed if repeats else {}) as origin:
        outcome, _ = put(f"{origin.url}/a", tmp_path, headers=signed)
        assert origin.objects["/a"] == body
    assert (outcome.status, outcome.verified_by) == ("done", verified_by)


@pytest.mark.parametrize("headers", [{}, {"x-amz-checksum-crc32": crc32_of(bytes(2_000_000))}])
def test_a_file_system_that_gives_fewer_bytes_than_asked(
    headers: dict[str, str], origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some in user space do."""
    (tmp_path / "a").write_bytes(bytes(2_000_000))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, count, at: pread(descriptor, min(count, 99_999), at))
    outcome, run = put(f"{origin.url}/a", tmp_path, headers=headers)
    assert (outcome.status, outcome.verified_by, run.retries) == ("done", "md5", [])
    assert origin.objects["/a"] == bytes(2_000_000)


@pytest.mark.parametrize("size", [1000, 2_000_000])
@pytest.mark.parametrize("refuses", [True, False])
def test_a_file_that_is_not_what_the_link_was_signed_for_is_told_and_not_sent_again(
    refuses: bool, size: int, origin: FaultProxy, tmp_path: Path
) -> None:
    """Whether the server looks at the checksum, as S3 does, or takes anything, as Ceph does."""
    if refuses:
        origin.always = Fault(status=400, body=b"<Error><Code>BadDigest</Code></Error>")
    altered = os.urandom(size)
    (tmp_path / "a").write_bytes(altered)
    signed = crc32_of(b"right")
    outcome, run = put(f"{origin.url}/a", tmp_path, headers={"x-amz-checksum-crc32": signed})
    assert (outcome.status, outcome.code, outcome.attempts) == ("failed", "ChecksumSigned", 1)
    assert outcome.message == f"the link is signed for bytes with crc32 {signed}, the file's is {crc32_of(altered)}"
    assert (run.retries, run.bytes_moved, origin.count) == ([], 0, 1)


def test_bytes_that_were_altered_on_their_way_are_sent_again(origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"right")
    origin.faults.append(Fault(status=400, body=b"<Error><Code>BadDigest</Code></Error>"))
    outcome, run = put(f"{origin.url}/a", tmp_path, headers={"x-amz-checksum-crc32": crc32_of(b"right")})
    assert (outcome.status, [retry.code for retry in run.retries]) == ("done", ["BadDigest"])


def test_an_early_yes_to_some_of_a_file_is_none(origin: FaultProxy, tmp_path: Path) -> None:
    """Though the server repeats the checksum that the link signs."""
    body = bytes(32 << 20)
    (tmp_path / "a").write_bytes(body)
    signed = {"x-amz-checksum-crc32": crc32_of(body)}
    origin.always = Fault(status=200, headers=signed, early=True)
    outcome, run = put(f"{origin.url}/a", tmp_path, headers=signed, attempts=2)
    assert (outcome.status, outcome.verified_by, run.bytes_moved) == ("failed", None, 0)


@pytest.mark.parametrize("name", ["Content-Length", "content-length"])
def test_a_length_that_the_link_signs_is_compared_first(name: str, origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"right")
    outcome, _ = put(f"{origin.url}/a", tmp_path, headers={name: "6"})
    assert (outcome.status, outcome.code, outcome.attempts, origin.count) == ("failed", "LengthSigned", 1, 0)
    assert outcome.message == "the link is signed for a length of 6, the file has 5 bytes"
    outcome, _ = put(f"{origin.url}/a", tmp_path, headers={name: "5"})
    assert (outcome.status, origin.objects["/a"]) == ("done", b"right")
    assert origin.seen[0].header("content-length") == "5"
