"""Multipart uploads while servers, files and links misbehave; and what the next run makes of it."""

import asyncio
import csv
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

import bulkpresign as bp
from bulkpresign import tasks
from bulkpresign.events import BytesMoved, Event, RunFinished
from bulkpresign.model import Outcome, Report
from bulkpresign.transfer.uploads import parts_upload
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, SIGN_ROWS
from tests.support.events import heard, outcomes_of
from tests.support.tables import rows_of
from tests.support.uploads import MIB, PART, is_look, open_uploads, table_of

BODY = os.urandom(2 * PART + MIB)
OVER = "2020-01-01T00:00:00Z"
ERROR_IN_200 = b"<?xml version='1.0'?>\n<Error><Code>InternalError</Code><Message>We failed.</Message></Error>"


def part_of(seen: Seen) -> int | None:
    """The number of the part that a request sends."""
    _, found, rest = seen.target.partition("partNumber=")
    return int(rest.partition("&")[0]) if found and seen.method == "PUT" else None


def is_completion(seen: Seen) -> bool:
    return seen.method == "POST" and "uploadId=" in seen.target


class Scene:
    """One file of three parts, a server behind a proxy, and everything that runs said."""

    def __init__(self, proxy: FaultProxy, client: Any, bucket: str, folder: Path) -> None:
        self.proxy, self.client, self.bucket, self.folder = proxy, client, bucket, folder
        self.file = folder / "in" / "big"
        self.outcomes: list[Outcome] = []
        self.moved = 0
        self.table = table_of(folder, bucket, {"big": BODY})

    def _count(self, event: Event) -> None:
        self.moved += event.count if isinstance(event, BytesMoved) else 0

    def sign(self) -> None:
        asyncio.run(bp.sign(self.table, self.folder / "links.csv", method="PUT", part_size=PART))

    def put(self, links: str = "links.csv", **more: Any) -> Report:
        """A run through rows; what it says is in `outcomes` and `moved`."""
        if links == "failures.csv":  # which can't be written while it is read
            more = {"failures": self.folder / "again.csv", **more}
        return self._run(lambda: bp.put(self.folder / links, self.folder / "in", **self._options(more)))

    def put_folder(self, **more: Any) -> Report:
        options = {"part_size": PART, **self._options(more)}
        return self._run(lambda: bp.put(self.folder / "in", f"s3://{self.bucket}/", **options))

    def _options(self, more: dict[str, Any]) -> dict[str, Any]:
        listeners = [heard(self.outcomes), self._count]
        return {"listeners": listeners, "failures": self.folder / "failures.csv", **more}

    def _run(self, run: Callable[[], Any]) -> Report:
        self.outcomes.clear()
        self.proxy.seen.clear()
        self.moved = 0
        report: Report = asyncio.run(run())
        return report

    @property
    def outcome(self) -> Outcome:
        (found,) = self.outcomes
        return found

    @property
    def parts_sent(self) -> list[int]:
        return sorted(number for seen in self.proxy.seen if (number := part_of(seen)) is not None)

    def complete(self) -> None:
        """Completes the one upload that is open, past everything that could tell of it."""
        (found,) = self.client.list_multipart_uploads(Bucket=self.bucket)["Uploads"]
        upload = {"Bucket": self.bucket, "Key": "big", "UploadId": found["UploadId"]}
        parts = [
            {"PartNumber": part["PartNumber"], "ETag": part["ETag"]}
            for part in self.client.list_parts(**upload)["Parts"]
        ]
        self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def stored(self) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.bucket, Key="big")["Body"].read()
        return body

    def check_whole(self) -> None:
        assert self.outcome.status == "done", self.outcome
        assert self.stored() == self.file.read_bytes()
        assert open_uploads(self.client, self.bucket) == []


def on(target: Callable[[Seen], bool], *faults: Fault | None) -> Callable[[Seen], Fault | None]:
    """Faults, one after another, for the requests that `target` is true of."""
    left = list(faults)
    return lambda seen: left.pop(0) if left and target(seen) else None


def is_part(number: int) -> Callable[[Seen], bool]:
    return lambda seen: part_of(seen) == number


@pytest.fixture
def make_scene(
    make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[S3Server], Scene]]:
    with FaultProxy("http://127.0.0.1:1") as proxy:

        def make(server: S3Server) -> Scene:
            aws_env(server)
            proxy._upstream = server.endpoint_url
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            return Scene(proxy, boto(server), make_bucket(server), tmp_path)

        yield make


@pytest.fixture
def scene(make_scene: Callable[[S3Server], Scene], seaweedfs: S3Server) -> Scene:
    return make_scene(seaweedfs)


@pytest.mark.parametrize("own", [False, True])
def test_a_part_that_fails_is_sent_again_and_no_other(scene: Scene, own: bool) -> None:
    if not own:
        scene.sign()
    schedules = [
        on(is_part(1), Fault(early=True, reset_after=0)),
        on(
            is_part(2), Fault(503, {"Retry-After": "0"}, b"<Error><Code>SlowDown</Code></Error>"), Fault(reset_after=20)
        ),
        on(is_part(3), Fault(flip_request=True)),
    ]
    scene.proxy.schedule = lambda seen: next((fault for each in schedules if (fault := each(seen))), None)
    report = scene.put_folder() if own else scene.put()
    scene.check_whole()
    assert scene.parts_sent == [1, 1, 2, 2, 2, 3, 3]
    assert report.retries == 4
    assert scene.outcome.attempts == 3
    assert scene.moved == len(BODY)


@pytest.mark.parametrize("fault", [Fault(200, body=ERROR_IN_200), Fault(reset_after=20), Fault(cut_after=60)])
@pytest.mark.parametrize("name", ["seaweedfs", "ceph"])
def test_a_completion_whose_answer_is_an_error_or_lost(
    make_scene: Callable[[S3Server], Scene], name: str, fault: Fault, request: pytest.FixtureRequest
) -> None:
    """Both servers know an upload that they have completed: to complete it again is well."""
    scene = make_scene(request.getfixturevalue(name))
    scene.sign()
    scene.proxy.schedule = on(is_completion, fault)
    scene.put()
    scene.check_whole()
    assert sum(map(is_completion, scene.proxy.seen)) == 2
    assert scene.parts_sent == [1, 2, 3]


@pytest.mark.parametrize("own", [False, True])
def test_a_lost_completion_that_the_server_does_not_remember(scene: Scene, own: bool) -> None:
    """Whoever may look at the object finds it whole; whoever has links for the upload alone is told to look."""
    if not own:
        scene.sign()
    gone = Fault(404, body=b"<Error><Code>NoSuchUpload</Code></Error>")
    scene.proxy.schedule = on(is_completion, Fault(reset_after=20), gone)
    report = scene.put_folder() if own else scene.put()
    assert scene.stored() == BODY
    if own:
        scene.check_whole()
        assert scene.outcome.verified_by == "md5-parts"
    else:
        assert (scene.outcome.status, scene.outcome.code) == ("failed", "NoSuchUpload")
        assert "completed before; see whether the object is there, else sign it anew" in (scene.outcome.message or "")
    assert report.uploads_left_open == 0


@pytest.mark.parametrize("name", ["seaweedfs", "ceph", "rclone"])
def test_a_completion_that_nobody_recorded(
    make_scene: Callable[[S3Server], Scene], name: str, request: pytest.FixtureRequest
) -> None:
    """Killed between the server's answer and the journal: to complete again tells, where the server remembers."""
    scene = make_scene(request.getfixturevalue(name))
    scene.sign()
    scene.proxy.schedule = on(is_completion, Fault(500))
    scene.put(attempts=1)
    assert (scene.outcome.code, scene.parts_sent) == ("HTTP500", [1, 2, 3])
    scene.complete()
    scene.put()
    assert scene.parts_sent == []
    assert scene.stored() == BODY
    if name == "rclone":
        assert scene.outcome.code == "NoSuchUpload"
        assert "see whether the object is there" in (scene.outcome.message or "")
    else:
        scene.check_whole()


@pytest.mark.parametrize("name", ["seaweedfs", "ceph", "rclone"])
def test_killed_between_its_completion_and_the_record_of_it(
    make_scene: Callable[[S3Server], Scene], name: str, request: pytest.FixtureRequest
) -> None:
    """The upload is gone then, and the object shows what became of it; rclone's etags are none of parts."""
    scene = make_scene(request.getfixturevalue(name))
    scene.proxy.schedule = on(is_completion, Fault(hold_after=0))
    command = [*BULKPRESIGN, "put", "in", f"s3://{scene.bucket}/", "--part-size", "5MiB", "-q"]
    with subprocess.Popen(command, cwd=scene.folder) as process:
        try:
            while "Contents" not in scene.client.list_objects_v2(Bucket=scene.bucket):
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.kill()
    assert open_uploads(scene.client, scene.bucket) == []
    busy = Fault(503, {"Retry-After": "0"}, b"<Error><Code>SlowDown</Code></Error>")
    scene.proxy.schedule = on(is_look, busy, Fault(reset_after=20))
    report = scene.put_folder()
    scene.check_whole()
    assert report.uploads_left_open == 0
    assert scene.parts_sent == ([1, 2, 3] if name == "rclone" else [])
    assert scene.outcome.verified_by == "md5-parts"
    assert sum(map(is_look, scene.proxy.seen)) == 3
    assert scene.put_folder().skipped == 1


@pytest.mark.parametrize("what", ["object", "file", "look", "part"])
def test_where_nothing_shows_that_it_was_completed_it_is_sent_again(what: str, scene: Scene) -> None:
    scene.proxy.schedule = on(is_completion, Fault(500))
    scene.put_folder(attempts=1)
    assert (scene.outcome.code, scene.parts_sent) == ("HTTP500", [1, 2, 3])
    scene.complete()
    if what == "object":
        scene.client.put_object(Bucket=scene.bucket, Key="big", Body=b"of another")
    elif what == "file":
        scene.file.write_bytes(os.urandom(len(BODY)))
    elif what == "look":
        denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
        scene.proxy.schedule = on(is_look, denied)
    else:
        with closing(sqlite3.connect(scene.folder / "in.put.journal")) as database:
            database.execute("DELETE FROM finished_parts WHERE part_number = 2")
            database.commit()
    scene.put_folder()
    scene.check_whole()
    assert scene.parts_sent == [1, 2, 3]


def test_rclone_forgets_what_it_completed(make_scene: Callable[[S3Server], Scene], rclone: S3Server) -> None:
    """Its etags are of the whole, not of parts; the next run finds the object by its listing and its file's md5."""
    scene = make_scene(rclone)
    scene.proxy.schedule = on(is_completion, Fault(reset_after=20))
    scene.put_folder()
    assert (scene.outcome.status, scene.outcome.code) == ("failed", "NoSuchUpload")
    scene.put_folder()
    assert (scene.outcome.status, scene.outcome.verified_by) == ("skipped", "md5")


def test_what_a_server_says_it_made_is_compared(scene: Scene) -> None:
    scene.sign()
    response = b'<CompleteMultipartUploadResult><ETag>"00000000000000000000000000000000-3"</ETag></Complete...>'
    scene.proxy.schedule = on(is_completion, Fault(200, body=response))
    scene.put()
    assert (scene.outcome.status, scene.outcome.code) == ("failed", "EtagMismatch")
    assert sum(map(is_completion, scene.proxy.seen)) == 1


def test_a_part_without_an_etag(scene: Scene) -> None:
    scene.sign()
    scene.proxy.schedule = on(is_part(2), Fault(200, {"x-amz-request-id": "1"}))
    report = scene.put()
    assert (scene.outcome.status, scene.outcome.code) == ("failed", "NoEtag")
    assert "part 2 was stored without an etag" in (scene.outcome.message or "")
    assert report.uploads_left_open == 1
    assert open_uploads(scene.client, scene.bucket) == ["big"]


def test_the_failures_file_goes_on_with_the_parts_that_are_up(scene: Scene) -> None:
    scene.sign()
    before = rows_of(scene.folder / "links.csv")
    scene.proxy.schedule = lambda seen: (
        Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>") if part_of(seen) == 3 else None
    )
    report = scene.put(part_concurrency=1)
    assert (report.failed, report.uploads_left_open) == (1, 1)
    left = rows_of(scene.folder / "failures.csv")
    assert [{name: row[name] for name in before[0]} for row in left] == before
    assert {row["reason"] for row in left} == {"AccessDenied: 403 AccessDenied"}
    scene.proxy.schedule = lambda _: None
    scene.put("failures.csv")
    scene.check_whole()
    assert scene.parts_sent == [3]
    assert rows_of(scene.folder / "again.csv") == []
    assert scene.put().skipped == 1
    assert scene.proxy.count == 0


@pytest.mark.parametrize("change", ["time", "renamed"])
def test_parts_of_a_file_that_was_changed_since_are_sent_again(scene: Scene, change: str) -> None:
    scene.sign()
    scene.proxy.schedule = lambda seen: Fault(403) if part_of(seen) == 3 else None
    scene.put(part_concurrency=1)
    if change == "time":
        scene.file.write_bytes(os.urandom(len(BODY)))
    else:  # with the size and mtime of the old one
        found = scene.file.stat()
        other = scene.folder / "other"
        other.write_bytes(os.urandom(len(BODY)))
        os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
        other.rename(scene.file)
    scene.proxy.schedule = lambda _: None
    scene.put()
    scene.check_whole()
    assert scene.parts_sent == [1, 2, 3]


@pytest.mark.parametrize("own", [False, True])
def test_a_file_that_changes_while_it_goes_up_is_not_completed(scene: Scene, own: bool) -> None:
    if not own:
        scene.sign()

    def touch(seen: Seen) -> None:
        if part_of(seen) == 3:
            os.utime(scene.file)

    scene.proxy.schedule = touch
    report = scene.put_folder() if own else scene.put()
    assert (scene.outcome.status, scene.outcome.code) == ("failed", "FileChanged")
    assert not any(map(is_completion, scene.proxy.seen))
    assert report.uploads_left_open == (0 if own else 1)
    assert open_uploads(scene.client, scene.bucket) == ([] if own else ["big"])


def test_a_file_of_another_size_than_its_rows(scene: Scene) -> None:
    scene.sign()
    scene.file.write_bytes(b"short")
    scene.put()
    assert (scene.outcome.status, scene.outcome.code, scene.proxy.count) == ("failed", "FileChanged", 0)
    assert "has 5 bytes, its upload is for 11,534,336" in (scene.outcome.message or "")


def test_parts_that_are_gone_are_sent_again_by_the_next_run(scene: Scene) -> None:
    scene.sign()
    scene.proxy.schedule = on(is_completion, Fault(400, body=b"<Error><Code>InvalidPart</Code></Error>"))
    scene.put()
    assert (scene.outcome.status, scene.outcome.code, scene.outcome.attempts) == ("failed", "InvalidPart", 1)
    assert (scene.outcome.message or "").endswith(": a part of it is gone; run this again)")
    scene.put()
    scene.check_whole()
    assert scene.parts_sent == [1, 2, 3]


def test_a_server_that_takes_fewer_parts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaleway takes 1,000, and refuses the next one (tus/tus-node-server #711), here the third."""
    monkeypatch.setattr(parts_upload, "_FEWER_PARTS", 2)
    said = b"<Error><Code>InvalidArgument</Code><Message>Part number must be between 1 and 2</Message></Error>"
    scene.proxy.schedule = on(is_part(3), Fault(400, body=said))
    assert scene.put_folder().failed == 1
    assert scene.outcome.message is not None
    assert scene.outcome.message.endswith(
        ": it has 3 parts; where a server takes fewer, --part-size makes them larger)"
    )


def test_parts_are_kept_where_only_their_completion_is_refused(scene: Scene) -> None:
    scene.sign()
    scene.proxy.schedule = on(is_completion, Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>"))
    assert scene.put().failed == 1
    assert scene.put().done == 1
    assert scene.parts_sent == []
    scene.check_whole()


def test_our_own_upload_is_ended_where_it_is_refused(scene: Scene) -> None:
    refusal = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    scene.proxy.schedule = lambda seen: refusal if part_of(seen) == 2 else None
    report = scene.put_folder()
    assert (scene.outcome.status, scene.outcome.code, report.uploads_left_open) == ("failed", "AccessDenied", 0)
    assert open_uploads(scene.client, scene.bucket) == []


@pytest.mark.parametrize("journal", ["kept", "without its parts", "lost"])
def test_our_own_upload_that_was_interrupted_is_found_again(scene: Scene, journal: str) -> None:
    moved = 0

    async def interrupted() -> None:
        with anyio.CancelScope() as scope:

            def stop(event: Event) -> None:
                nonlocal moved
                moved += event.count if isinstance(event, BytesMoved) else 0
                if moved > 2 * PART:  # one part after another: two are up
                    scope.cancel()

            await bp.put(
                scene.folder / "in", f"s3://{scene.bucket}/", part_size=PART, part_concurrency=1, listeners=[stop]
            )
        assert scope.cancelled_caught

    asyncio.run(interrupted())
    assert open_uploads(scene.client, scene.bucket) == ["big"]
    kept = scene.folder / "in.put.journal"
    if journal == "lost":
        kept.unlink()
    elif journal == "without its parts":
        with closing(sqlite3.connect(kept)) as database:
            database.execute("DELETE FROM finished_parts")
            database.commit()
    report = scene.put_folder()
    assert (report.done, report.uploads_left_open) == (1, 0)
    assert scene.stored() == BODY
    assert scene.parts_sent == ([1, 2, 3] if journal == "lost" else [3])
    assert open_uploads(scene.client, scene.bucket) == (["big"] if journal == "lost" else [])


def interrupted_while_opening(scene: Scene) -> tuple[Report, Outcome]:
    """A run that is interrupted once the server has the request that opens the upload."""
    events: list[Event] = []

    async def interrupted() -> None:
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                while not any("uploads=" in seen.target for seen in scene.proxy.seen):
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()

            group.start_soon(stop)
            await bp.put(scene.folder / "in", f"s3://{scene.bucket}/", part_size=PART, listeners=[events.append])

    asyncio.run(interrupted())
    (report,) = (event.report for event in events if isinstance(event, RunFinished))
    (outcome,) = outcomes_of(events)
    return report, outcome


def test_an_upload_that_is_opened_as_its_run_is_interrupted_is_counted_and_found_again(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: Fault(delay=0.3) if "uploads=" in seen.target else None
    report, outcome = interrupted_while_opening(scene)
    assert (report.failed, report.uploads_left_open, outcome.code) == (1, 1, "Interrupted")
    assert open_uploads(scene.client, scene.bucket) == ["big"]
    scene.put_folder()
    scene.check_whole()


def test_an_upload_that_is_not_opened_in_time_as_its_run_is_interrupted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not answer."""
    monkeypatch.setattr(tasks, "_GRACE", 0.1)
    scene.proxy.schedule = lambda seen: Fault(hold_after=0) if "uploads=" in seen.target else None
    report, outcome = interrupted_while_opening(scene)
    assert (report.failed, report.uploads_left_open) == (1, 0)
    assert (outcome.code, outcome.message) == ("Interrupted", "the run was interrupted")


def test_a_found_part_with_other_bytes_is_sent_again(scene: Scene) -> None:
    """The file was changed since, and only its first part is as it was."""
    scene.proxy.schedule = lambda seen: Fault(500, body=b"<Error/>") if part_of(seen) == 3 else None
    report = scene.put_folder(part_concurrency=1, attempts=1)
    assert (report.failed, report.uploads_left_open) == (1, 1)
    scene.file.write_bytes(BODY[:PART] + os.urandom(PART + MIB))
    scene.proxy.schedule = lambda _: None
    scene.put_folder()
    scene.check_whole()
    assert scene.parts_sent == [2, 3]


def test_a_listed_part_of_another_size_does_not_count(scene: Scene) -> None:
    """Whatever its etag says: it can't be the one that is in the journal."""
    scene.proxy.schedule = lambda seen: Fault(500, body=b"<Error/>") if part_of(seen) == 3 else None
    scene.put_folder(part_concurrency=1, attempts=1)
    (upload,) = scene.client.list_multipart_uploads(Bucket=scene.bucket)["Uploads"]
    listed = scene.client.list_parts(Bucket=scene.bucket, Key="big", UploadId=upload["UploadId"])["Parts"]
    sizes = {1: PART, 2: PART - 1}
    parts = "".join(
        f"<Part><PartNumber>{part['PartNumber']}</PartNumber><ETag>{part['ETag']}</ETag>"
        f"<Size>{sizes[part['PartNumber']]}</Size></Part>"
        for part in listed
    )
    response = Fault(200, body=f"<ListPartsResult>{parts}</ListPartsResult>".encode())
    scene.proxy.schedule = lambda seen: response if seen.method == "GET" and "uploadId=" in seen.target else None
    scene.put_folder()
    scene.check_whole()
    assert scene.parts_sent == [2, 3]


def test_an_upload_for_a_file_of_another_size_is_ended(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: Fault(500, body=b"<Error/>") if part_of(seen) == 3 else None
    scene.put_folder(attempts=1)
    scene.file.write_bytes(BODY + b"more")
    scene.proxy.schedule = lambda _: None
    scene.put_folder()
    scene.check_whole()


@pytest.mark.parametrize("size", [PART + 1, len(BODY)])
def test_the_size_of_the_parts_is_recorded(size: int, scene: Scene) -> None:
    """Not that of the last one."""
    scene.file.write_bytes(BODY[:size])
    scene.put_folder()
    scene.check_whole()
    assert scene.outcome.evidence is not None
    assert scene.outcome.evidence.part_size == PART


def test_an_upload_for_a_file_that_is_small_now_is_ended(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: Fault(500, body=b"<Error/>") if part_of(seen) == 3 else None
    scene.put_folder(attempts=1)
    assert open_uploads(scene.client, scene.bucket) == ["big"]
    scene.file.write_bytes(b"small")
    scene.put_folder()
    scene.check_whole()


def test_whoever_may_not_list_parts_goes_by_the_journal(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: Fault(500, body=b"<Error/>") if part_of(seen) == 3 else None
    scene.put_folder(part_concurrency=1, attempts=1)
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    scene.proxy.schedule = lambda seen: denied if seen.method == "GET" and "uploadId=" in seen.target else None
    scene.put_folder()
    scene.check_whole()
    assert scene.parts_sent == [3]


def test_an_upload_that_is_gone_is_forgotten_by_whoever_may_not_list_parts(scene: Scene) -> None:
    scene.proxy.schedule = lambda seen: Fault(500, body=b"<Error/>") if part_of(seen) == 3 else None
    scene.put_folder(part_concurrency=1, attempts=1)
    (found,) = scene.client.list_multipart_uploads(Bucket=scene.bucket)["Uploads"]
    scene.client.abort_multipart_upload(Bucket=scene.bucket, Key="big", UploadId=found["UploadId"])
    denied = Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>")
    scene.proxy.schedule = lambda seen: denied if seen.method == "GET" and "uploadId=" in seen.target else None
    scene.put_folder()
    assert (scene.outcome.code, scene.parts_sent) == ("NoSuchUpload", [3])
    assert "run this again" in (scene.outcome.message or "")
    scene.put_folder()
    scene.check_whole()
    assert scene.parts_sent == [1, 2, 3]


def expire(file: Path, numbers: set[str]) -> None:
    """Rows of some parts are over (the one to complete: `""`)."""
    rows = rows_of(file)
    for row in rows:
        if row["part_number"] in numbers and row["method"] != "DELETE":
            row["expires_at"] = OVER
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("numbers", [{"2"}, {"1", "2", "3"}, {""}])
def test_rows_that_run_out_are_signed_again_and_parts_are_kept(scene: Scene, numbers: set[str]) -> None:
    scene.sign()
    expire(scene.folder / "links.csv", numbers)
    report = scene.put(part_concurrency=1)
    assert (report.expired, report.uploads_left_open) == (1, 1)
    up = scene.parts_sent
    assert up == ([1, 2, 3] if numbers == {""} else [1])  # the first tells the server's time
    scene.put("failures.csv", renew_credentials=True)
    scene.check_whole()
    assert scene.parts_sent == [number for number in (1, 2, 3) if number not in up]


def test_a_command_renews_all_parts_at_once(scene: Scene) -> None:
    scene.sign()
    fresh_link = (scene.folder / "links.csv").read_text()
    expire(scene.folder / "links.csv", {"1", "2", "3", ""})
    (scene.folder / "fresh.csv").write_text(fresh_link)
    code = "import csv, json, sys; [print(json.dumps(row)) for row in csv.DictReader(open(sys.argv[1]))]"
    (scene.folder / "renew.py").write_text("open(sys.argv[2], 'a').write('x')\n".join(["import sys\n", code]))
    command = f"python {scene.folder}/renew.py {scene.folder}/fresh.csv {scene.folder}/times"
    scene.put(renew_command=command, part_concurrency=1)
    scene.check_whole()
    assert (scene.folder / "times").read_text() == "xx"  # for the parts, and for the completion


@pytest.mark.parametrize("numbers", [{"2"}, {"1", "2", "3"}, {""}])
def test_sign_as_the_command_renews_single_rows_of_an_upload(scene: Scene, numbers: set[str]) -> None:
    scene.sign()
    expire(scene.folder / "links.csv", numbers)
    scene.put(renew_command=SIGN_ROWS, part_concurrency=1)
    scene.check_whole()
    assert scene.parts_sent == [1, 2, 3]


def test_rows_of_a_run_that_was_cut_off_are_valid_input_again(scene: Scene) -> None:
    """One upload is under way, another one waits."""
    scene.table = table_of(scene.folder, scene.bucket, {"big": BODY, "other": BODY[: PART + 1]})
    scene.sign()
    before = rows_of(scene.folder / "links.csv")

    async def interrupted() -> None:
        with anyio.CancelScope() as scope:

            def stop(event: Event) -> None:
                if isinstance(event, BytesMoved):
                    scope.cancel()

            await bp.put(
                scene.folder / "links.csv",
                scene.folder / "in",
                concurrency=1,
                failures=scene.folder / "failures.csv",
                listeners=[stop],
            )

    asyncio.run(interrupted())
    left = rows_of(scene.folder / "failures.csv")
    assert [row["url"] for row in left] == [row["url"] for row in before]
    assert scene.put("failures.csv").done == 2
    assert open_uploads(scene.client, scene.bucket) == []


def test_as_many_parts_at_a_time_as_were_asked_for(scene: Scene) -> None:
    scene.sign()
    scene.proxy.always = Fault(delay=0.3)
    scene.put(part_concurrency=2)
    scene.check_whole()
    assert scene.proxy.most_open == 2


def test_a_limit_counts_an_upload_once(scene: Scene) -> None:
    scene.table = table_of(scene.folder, scene.bucket, {"big": BODY, "other": BODY[: PART + 1]})
    scene.sign()
    report = scene.put(limit=1)
    assert report.done == 1
    assert open_uploads(scene.client, scene.bucket) == ["other"]


def test_the_checksum_of_a_continued_upload_is_of_all_its_parts(scene: Scene) -> None:
    """Part 1 is known by the journal, part 2 by its bytes, which are read again; part 3 is sent."""
    scene.proxy.schedule = on(is_part(3), Fault(500))
    report = scene.put_folder(checksum="crc64nvme", attempts=1, part_concurrency=1)
    assert (report.failed, report.uploads_left_open) == (1, 1)
    (journal,) = scene.folder.glob("*.journal")
    with closing(sqlite3.connect(journal)) as database, database:
        database.execute("DELETE FROM finished_parts WHERE part_number = 2")
    scene.proxy.schedule = on(is_completion)
    scene.put_folder(checksum="crc64nvme")
    scene.check_whole()
    assert scene.parts_sent == [3]
    assert scene.outcome.verified_by == "crc64nvme"


def test_checksums_of_parts_of_another_size_are_forgotten_with_their_upload(scene: Scene) -> None:
    """It is gone, so that the next one has the parts that are asked for now."""
    scene.proxy.schedule = on(is_completion, Fault(500))
    assert scene.put_folder(checksum="crc64nvme", attempts=1).failed == 1
    (found,) = scene.client.list_multipart_uploads(Bucket=scene.bucket)["Uploads"]
    scene.client.abort_multipart_upload(Bucket=scene.bucket, Key="big", UploadId=found["UploadId"])
    scene.put_folder(checksum="crc64nvme", part_size=6 * MIB)
    scene.check_whole()
    assert scene.parts_sent == [1, 2]
    assert scene.outcome.verified_by == "crc64nvme"


@pytest.mark.parametrize("checksum", [None, "crc32"])
def test_an_upload_that_was_begun_with_other_checksums_continues(checksum: str | None, scene: Scene) -> None:
    """The server tells one of all bytes, as S3 does unasked. Here those of two parts are not known."""
    scene.proxy.schedule = on(is_part(3), Fault(500))
    assert scene.put_folder(checksum=checksum, attempts=1, part_concurrency=1).failed == 1
    answer = b"<ETag>other</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>"
    scene.proxy.schedule = on(is_completion, Fault(200, body=answer))
    scene.put_folder(checksum="crc64nvme")
    assert (scene.outcome.status, scene.outcome.verified_by, set(scene.parts_sent)) == ("done", None, {3})


def test_an_object_in_parts_with_another_checksum_is_looked_at_by_the_next_run(scene: Scene) -> None:
    """The answer alone is wrong here: the server has the right parts, which are read here to compare them."""
    other = b"<ETag>other</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>"
    scene.proxy.schedule = on(is_completion, Fault(200, body=other))
    report = scene.put_folder(checksum="crc64nvme")
    assert (report.failed, scene.outcome.code) == (1, "ChecksumMismatch")
    scene.proxy.schedule = on(is_completion)
    scene.put_folder(checksum="crc64nvme")
    scene.check_whole()
    assert scene.parts_sent == []
    assert scene.outcome.verified_by == "crc64nvme"


def test_a_checksum_of_parts_is_not_compared_with_that_of_all_bytes(scene: Scene) -> None:
    """Some servers compute one of the parts all the same."""
    of_parts = b"<ETag>other</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=-3</ChecksumCRC64NVME>"
    scene.proxy.schedule = on(is_completion, Fault(200, body=of_parts))
    scene.put_folder(checksum="crc64nvme")
    assert (scene.outcome.status, scene.outcome.verified_by) == ("done", None)


def has_checksum(seen: Seen) -> bool:
    return any(name == "x-amz-checksum-crc64nvme" for name, _ in seen.headers)


def test_parts_go_with_their_checksums_to_a_server_that_compares_them(scene: Scene) -> None:
    """Altered bytes of a part are refused, and sent again."""
    scene.proxy.schedule = on(is_part(2), Fault(flip_request=True))
    scene.put_folder(checksum="crc64nvme")
    scene.check_whole()
    assert scene.parts_sent == [1, 2, 2, 3]
    assert all(has_checksum(seen) for seen in scene.proxy.seen if part_of(seen))
    assert scene.outcome.verified_by == "crc64nvme"


def test_a_server_that_refuses_checksums_of_parts_gets_none(scene: Scene) -> None:
    refuse = Fault(400, body=b"<Error><Code>InvalidArgument</Code></Error>")
    scene.proxy.schedule = lambda seen: refuse if part_of(seen) and has_checksum(seen) else None
    scene.put_folder(checksum="crc64nvme", part_concurrency=1)
    scene.check_whole()
    assert scene.parts_sent == [1, 1, 2, 3]
    assert scene.outcome.verified_by == "crc64nvme"


def test_a_part_that_is_denied_is_not_sent_again_without_its_checksum(scene: Scene) -> None:
    scene.proxy.schedule = on(is_part(1), Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>"))
    scene.put_folder(checksum="crc64nvme", part_concurrency=1)
    assert (scene.outcome.status, scene.outcome.code, scene.parts_sent) == ("failed", "AccessDenied", [1])


def test_a_file_that_changes_while_its_parts_are_sent_fails_for_that(scene: Scene) -> None:
    def change(seen: Seen) -> Fault | None:
        if part_of(seen) == 1:
            scene.file.write_bytes(os.urandom(len(BODY)))
        return None

    scene.proxy.schedule = change
    scene.put_folder(checksum="crc64nvme", part_concurrency=1)
    assert (scene.outcome.status, scene.outcome.code) == ("failed", "FileChanged")
