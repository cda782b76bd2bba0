"""Finished parts over runs and over links that end: what is there is not asked for again."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest

from bulkpresign.checksums import base64_of
from bulkpresign.events import BytesResumed
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Link, ObjectRef, ResumePoint
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads import ranges
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.support.folders import files
from tests.transfer.parts import (
    BODY,
    ETAG,
    EXPIRED,
    KNOWN,
    PART,
    Got,
    crc64,
    knowledge,
    origin,
    parts_of,
    range_of,
)
from tests.transfer.running import Run, reference

__all__ = ["origin"]


def finished(journal: Path, origin: FaultProxy) -> dict[int, str]:
    with Journal(journal, "get", "x") as opened:
        checkpoint = opened.checkpoint(link_to(origin))
        return dict(checkpoint.parts) if checkpoint else {}


def link_to(origin: FaultProxy) -> Link:
    return Link("GET", f"{origin.url}/a", {}, object=ObjectRef("bucket", "a", path="a"))


@knowledge
def test_finished_parts_are_kept_for_the_next_run(ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.schedule = lambda seen: Fault(500) if (range_of(seen) or (0, 0))[0] == 6 * PART else None
    first = Got(origin, folder, ref, attempts=1, part_concurrency=1, journal=journal)
    assert (first.outcome.status, first.outcome.code) == ("failed", "HTTP500")
    assert set(finished(journal, origin)) == {1, 2, 3, 4, 5, 6}
    ((name, content),) = files(folder).items()
    assert name.endswith(".part")
    assert content[: 6 * PART] == BODY[: 6 * PART]
    assert len(content) == len(BODY)
    assert first.run.bytes_moved == 6 * PART
    origin.schedule = lambda _: None
    second = Got(origin, folder, ref, part_concurrency=2, journal=journal)
    second.check(verified_by="crc64nvme" if ref else "size")
    assert Counter(second.asked) == Counter(parts_of(len(BODY))[6:])
    assert {seen.header("if-match") for seen in second.seen} == {ETAG}
    assert second.run.bytes_moved == len(BODY) - 6 * PART
    assert files(folder) == {"a": BODY}


def test_an_etag_that_only_answers_tell_proves_parts_of_two_runs(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkpresign.checksums.part_size._COMMON", (PART,))
    digests = [hashlib.md5(BODY[at : at + PART]).digest() for at in range(0, len(BODY), PART)]
    origin.etags["/a"] = f'"{hashlib.md5(b"".join(digests)).hexdigest()}-{len(digests)}"'
    folder, journal, _ = begun(origin, tmp_path, {"size": len(BODY)})
    second = Got(origin, folder, {"size": len(BODY)}, journal=journal)
    second.check(verified_by="md5-parts")
    assert Counter(second.asked) == Counter(parts_of(len(BODY))[6:])


def test_parts_are_kept_while_others_are_on_their_way(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that is killed would leave none."""
    kept: list[tuple[int, int]] = []
    real = Journal.add_finished_part

    def add_finished_part(self: Journal, link: Link, number: int, proof: str) -> None:
        kept.append((number, origin.count))
        real(self, link, number, proof)

    monkeypatch.setattr(Journal, "add_finished_part", add_finished_part)
    origin.always = Fault(delay=0.1)
    Got(origin, tmp_path / "to", KNOWN, part_concurrency=1, journal=tmp_path / "journal").check()
    assert kept[0][0] == 1
    assert kept[0][1] < 11  # before all parts were asked for
    assert [number for number, _ in kept] == list(range(1, len(kept) + 1))
    assert len(kept) < 11  # the last one is kept by its file


def begun(origin: FaultProxy, tmp_path: Path, ref: dict[str, object] | None = None) -> tuple[Path, Path, Path]:
    """A run that ended after six parts. Gives its folder, its journal and its file."""
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.schedule = lambda seen: Fault(500) if (range_of(seen) or (0, 0))[0] == 6 * PART else None
    Got(origin, folder, ref or KNOWN, attempts=1, part_concurrency=1, journal=journal)
    origin.schedule = lambda _: None
    return folder, journal, Path(Folder(folder).target("a").temporary_full_name)


@pytest.mark.parametrize("change", ["larger", "smaller", "gone", "of parts of another size", "of another size"])
def test_what_does_not_fit_the_journal_starts_again(change: str, origin: FaultProxy, tmp_path: Path) -> None:
    folder, journal, part = begun(origin, tmp_path)
    if change == "larger":
        with part.open("ab") as stream:
            stream.write(b"x")
    elif change == "smaller":
        os.truncate(part, len(BODY) - 1)
    elif change == "gone":
        part.unlink()
    elif change == "of another size":
        with Journal(journal, "get", "x") as opened:
            opened.set_resume_point(link_to(origin), ResumePoint("opaque", len(BODY) - 1, PART))
            opened.add_finished_part(link_to(origin), 1, "crc64nvme:AAAAAAAAAAA=")
    part_size = 2 * PART if "parts" in change else PART
    got = Got(origin, folder, KNOWN, part_size=part_size, journal=journal)
    got.check(verified_by="crc64nvme")
    assert Counter(got.asked) == Counter(parts_of(len(BODY), part_size))
    assert files(folder) == {"a": BODY}


def test_a_hash_of_all_bytes_in_their_order_that_the_row_has_since(origin: FaultProxy, tmp_path: Path) -> None:
    folder, journal, _ = begun(origin, tmp_path, {"size": len(BODY)})
    checksum = f"sha256:{base64_of(hashlib.sha256(BODY).digest())}"
    got = Got(origin, folder, {"size": len(BODY), "checksum": checksum}, journal=journal)
    got.check(verified_by="sha256")
    assert None not in got.asked
    assert 0 < len(got.asked) < -(-len(BODY) // PART)
    assert files(folder) == {"a": BODY}


@pytest.mark.parametrize("minds_conditions", [True, False])
@knowledge
def test_an_object_that_changed_between_two_runs(
    minds_conditions: bool, ref: dict[str, object], origin: FaultProxy, tmp_path: Path
) -> None:
    folder, journal, _ = begun(origin, tmp_path, ref)
    other = origin.objects["/a"] = os.urandom(len(BODY))
    origin.etags["/a"] = '"another"'
    if not minds_conditions:
        origin.schedule = lambda seen: (
            Fault(
                206,
                {"Content-Range": "bytes {}-{}/{}".format(*range_of(seen) or (), len(BODY)), "ETag": '"another"'},
                b"",
            )
            if seen.header("if-match") == ETAG
            else None
        )
    got = Got(origin, folder, {**ref, "checksum": crc64(other)} if ref else {}, journal=journal)
    got.check(other)
    assert [retry.code for retry in got.run.retries] == ["ObjectChanged"]
    assert files(folder) == {"a": other}


def test_a_server_that_forgot_ranges_between_two_runs(origin: FaultProxy, tmp_path: Path) -> None:
    folder, journal, _ = begun(origin, tmp_path)
    origin.gives_ranges = False
    got = Got(origin, folder, KNOWN, journal=journal)
    got.check(verified_by="crc64nvme")
    assert len(got.seen) == 1
    assert files(folder) == {"a": BODY}


def test_parts_become_one_where_their_size_says_so(origin: FaultProxy, tmp_path: Path) -> None:
    folder, journal, _ = begun(origin, tmp_path)
    got = Got(origin, folder, KNOWN, part_size=len(BODY), journal=journal)
    got.check(verified_by="crc64nvme")
    assert got.asked == [None]
    assert files(folder) == {"a": BODY}


def test_what_was_begun_in_one_stream_goes_on_so(origin: FaultProxy, tmp_path: Path) -> None:
    body = origin.objects["/a"] = os.urandom(20 * PART)
    ref = {"size": len(body), "checksum": crc64(body)}
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.faults.append(Fault(reset_after=5 * PART))
    Got(origin, folder, ref, part_size=len(body), attempts=1, journal=journal)
    at = Path(Folder(folder).target("a").temporary_full_name).stat().st_size
    assert at > PART
    got = Got(origin, folder, ref, journal=journal)
    got.check(body, "crc64nvme")
    assert [seen.header("range") for seen in got.seen] == [f"bytes={at}-"]
    assert files(folder) == {"a": body}
    assert (got.run.bytes_resumed, got.run.bytes_moved) == (at, len(body) - at)


@pytest.mark.parametrize("is_intact", [True, False])
def test_what_an_earlier_run_left_is_told_once_and_taken_back_where_it_is_wrong(
    is_intact: bool, origin: FaultProxy, tmp_path: Path
) -> None:
    """The second run goes on in two requests; a wrong byte of the first run makes it start again."""
    body = origin.objects["/a"] = os.urandom(20 * PART)
    ref = {"size": len(body), "checksum": crc64(body)}
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.faults.append(Fault(reset_after=5 * PART))
    Got(origin, folder, ref, part_size=len(body), attempts=1, journal=journal)
    left = Path(Folder(folder).target("a").temporary_full_name)
    at = left.stat().st_size
    if not is_intact:
        content = left.read_bytes()
        left.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    origin.faults.append(Fault(cut_after=2 * PART))
    got = Got(origin, folder, ref, journal=journal)
    got.check(body, "crc64nvme")
    assert files(folder) == {"a": body}
    assert got.run.bytes_resumed == (at if is_intact else 0)
    assert got.run.bytes_resumed + got.run.bytes_moved == len(body)


@pytest.mark.parametrize("has_earlier_run", [True, False])
def test_bytes_of_an_attempt_are_taken_back_where_the_object_changes_after_it(
    has_earlier_run: bool, origin: FaultProxy, tmp_path: Path
) -> None:
    body = origin.objects["/a"] = os.urandom(20 * PART)
    ref: dict[str, object] = {"size": len(body), "checksum": crc64(body)}
    folder, journal = tmp_path / "to", tmp_path / "journal"
    if has_earlier_run:
        origin.faults.append(Fault(reset_after=5 * PART))
        Got(origin, folder, ref, part_size=len(body), attempts=1, journal=journal)
    origin.faults.extend([Fault(cut_after=2 * PART), Fault(412)])
    got = Got(origin, folder, ref, part_size=len(body), journal=journal)
    got.check(body, "crc64nvme")
    assert [retry.code for retry in got.run.retries] == ["Truncated", "ObjectChanged"]
    assert (got.run.bytes_resumed, got.run.bytes_moved) == (0, len(body))


def test_an_answer_with_all_bytes_takes_back_what_was_resumed(origin: FaultProxy, tmp_path: Path) -> None:
    """The second run resumes, and its next request is answered as if it asked for the whole object."""
    body = origin.objects["/a"] = os.urandom(20 * PART)
    ref = {"size": len(body), "checksum": crc64(body)}
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.faults.append(Fault(reset_after=5 * PART))
    Got(origin, folder, ref, part_size=len(body), attempts=1, journal=journal)
    origin.faults.extend([Fault(cut_after=2 * PART), Fault(ignore_range=True)])
    got = Got(origin, folder, ref, part_size=len(body), journal=journal)
    got.check(body, "crc64nvme")
    assert (got.run.bytes_resumed, got.run.bytes_moved) == (0, len(body))


def test_a_mismatch_takes_back_the_parts_that_came_by_an_earlier_link(origin: FaultProxy, tmp_path: Path) -> None:
    origin.faults.extend([*[None] * 3, Fault(403, body=EXPIRED), None, Fault(flip_answer=True)])
    got = Got(origin, tmp_path / "to", KNOWN, part_concurrency=1, journal=tmp_path / "journal")
    got.check(verified_by="crc64nvme")
    assert [retry.code for retry in got.run.retries] == ["ChecksumMismatch"]
    assert got.run.bytes_moved == len(BODY)


@pytest.mark.parametrize("part_concurrency", [1, 4])
@knowledge
def test_a_link_that_is_over_keeps_its_parts(
    part_concurrency: int, ref: dict[str, object], origin: FaultProxy, tmp_path: Path
) -> None:
    """Three times in one object; the renewals cost no attempt, and no part comes twice."""
    origin.faults.extend([*[None] * 3, Fault(403, body=EXPIRED), *[None] * 3, Fault(403, body=EXPIRED)])
    got = Got(origin, tmp_path / "to", ref, part_concurrency=part_concurrency, attempts=1, journal=tmp_path / "journal")
    got.check()
    whole = Counter(asked or (0, PART - 1) for asked in got.asked)
    assert whole.total() in {12, 13}  # the request for the rest of the first part can be one of those that are over
    assert set(whole) == set(parts_of(len(BODY)))
    assert got.run.bytes_moved == len(BODY)
    assert not [event for event in got.run.events if isinstance(event, BytesResumed)]
    assert files(tmp_path / "to") == {"a": BODY}


@pytest.fixture
def read_parts(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each part on disk is read, by number."""
    reads: Counter[int] = Counter()
    real = ranges.is_intact

    def is_intact(read_at: Callable[[int, int], bytes], offset: int, size: int, proof: str) -> bool:
        reads[offset // PART + 1] += 1
        return real(read_at, offset, size, proof)

    monkeypatch.setattr("bulkpresign.transfer.downloads.rehash.is_intact", is_intact)
    return reads


@pytest.mark.parametrize("is_left_intact", [True, False])
def test_a_part_on_disk_is_read_once_over_all_links(
    is_left_intact: bool, origin: FaultProxy, tmp_path: Path, read_parts: Counter[int]
) -> None:
    """Reading may take longer than a link is valid: if each link began it again, the object would never be done."""
    folder, journal, left = begun(origin, tmp_path)
    if not is_left_intact:
        content = left.read_bytes()
        left.write_bytes(content[:PART] + bytes(2 * PART) + content[3 * PART :])
    over = Fault(403, body=EXPIRED)
    origin.faults.extend([over, over, None, None, over])
    got = Got(origin, folder, KNOWN, attempts=1, part_concurrency=1, journal=journal)
    got.check(verified_by="crc64nvme")
    assert read_parts == Counter(range(1, 7))
    assert files(folder) == {"a": BODY}


@pytest.mark.parametrize("change", ["other bytes", "another file"])
def test_parts_are_read_again_where_the_file_changed_between_two_links(
    change: str, origin: FaultProxy, tmp_path: Path, read_parts: Counter[int]
) -> None:
    folder, journal, left = begun(origin, tmp_path)
    damaged = bytes(PART) + left.read_bytes()[PART:]

    class Changed(Got):
        async def renew(self, links: Sequence[Link]) -> Sequence[Link | None]:
            if change == "another file":
                left.rename(tmp_path / "aside")
            left.write_bytes(damaged)
            return links

    origin.faults.extend([None, Fault(403, body=EXPIRED)])
    got = Changed(origin, folder, KNOWN, part_concurrency=1, journal=journal)
    got.check(verified_by="crc64nvme")
    assert read_parts == Counter([*range(1, 7), *range(1, 8)])
    assert Counter(got.asked)[0, PART - 1] == 1
    assert got.run.retries == []
    assert files(folder) == {"a": BODY}


def test_parts_on_their_way_come_to_their_end_where_the_link_is_over(origin: FaultProxy, tmp_path: Path) -> None:
    """The second part is told that it is over at once, while the third one takes its time."""

    def slow_or_over(seen: Seen) -> Fault | None:
        start = (range_of(seen) or (0, 0))[0] // PART
        return {1: Fault(403, body=EXPIRED), 2: Fault(delay=0.3)}.get(start) if origin.count < 5 else None

    origin.schedule = slow_or_over
    got = Got(origin, tmp_path / "to", KNOWN, attempts=1, journal=tmp_path / "journal")
    got.check()
    assert Counter(got.asked)[parts_of(len(BODY))[2]] == 1


@pytest.mark.parametrize("part_concurrency", [1, 3])
def test_cancelled_at_any_moment(part_concurrency: int, origin: FaultProxy, tmp_path: Path) -> None:
    """Whatever was moved, no half file has the name, and the next run needs only what is left."""
    origin.always = Fault(split=True)
    link = Link("GET", f"{origin.url}/a", {}, object=reference(KNOWN))

    async def cut(seconds: float, journal: Path, folder: Path) -> None:
        with Journal(journal, "get", "x") as opened, anyio.move_on_after(seconds):
            await Run().in_parts([link], folder, PART, part_concurrency, journal=opened)

    for n in range(12):
        folder, journal = tmp_path / f"{n}", tmp_path / f"{n}.journal"
        asyncio.run(cut(n * 0.02, journal, folder))
        kept = finished(journal, origin)
        left = files(folder)
        whole = left.pop("a", BODY)
        assert whole == BODY
        for content in left.values():
            for number in kept:
                assert content[(number - 1) * PART : number * PART] == BODY[(number - 1) * PART : number * PART]
        if left:
            origin.always = None
            got = Got(origin, folder, KNOWN, journal=journal)
            got.check(verified_by="crc64nvme")
            assert len(got.seen) == max(11 - len(kept), 1)  # one answer has to confirm the object
            origin.always = Fault(split=True)
