"""What a journal says of files and objects, compared with how these are now. No server is asked."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from pathlib import Path

import pytest

from bulkpresign.errors import JournalError
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.listing_index import ListingIndex
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome
from bulkpresign.pipeline.run.completed import CompletedFilter, files_are_current, recorded_evidence
from bulkpresign.pipeline.run.evidence import JournalEvidence
from bulkpresign.pipeline.run.present import PresentObjects
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.proof.files import Row
from bulkpresign.source.location import Location
from bulkpresign.transfer.disk.folder import Folder

SECOND = 10**9


def link_to(key: str, endpoint: str = "http://h", **more: object) -> Link:
    return Link("GET", f"{endpoint}/{key}", {}, None, ObjectRef("b", key, **more))  # type: ignore[arg-type]


class Scene:
    """A folder beside its journal, in which some files are recorded as done."""

    def __init__(self, root: Path) -> None:
        self.folder, self.file = root / "data", root / "data.journal"
        self.folder.mkdir()
        self.journal = self._next_run()

    def _next_run(self) -> Journal:
        return Journal(self.file, "get", str(self.folder)).__enter__()

    def record(self, link: Link, etag: str | None = "etag", **more: object) -> os.stat_result:
        """Writes the file of an object, records both, and begins the next run."""
        path = self.folder / link.object.key
        path.write_bytes(b"bytes")
        found = path.stat()
        evidence = Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns, etag, **more)  # type: ignore[arg-type]
        self.journal.record([Outcome(link.object, "done", 5, link=link, evidence=evidence)])
        self.journal.__exit__()
        self.journal = self._next_run()
        return found

    def are_done(self, links: Sequence[Link]) -> list[bool]:
        completed = CompletedFilter(self.journal, files_are_current(self.folder))
        return completed.are_done([(link.object, link) for link in links])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.journal.__exit__()


def test_what_is_recorded_and_unchanged_is_done(scene: Scene) -> None:
    links = [link_to(key) for key in "abcd"]
    assert scene.are_done(links) == [False] * 4
    scene.record(links[1])
    scene.record(links[2])
    assert scene.are_done(links) == [False, True, True, False]
    assert scene.are_done([links[2], links[0], links[1]]) == [True, False, True]
    assert scene.are_done([link_to("b", "http://other")]) == [False]
    assert scene.are_done([link_to("b", etag="other"), link_to("c", etag="etag")]) == [False, True]
    completed = CompletedFilter(scene.journal, files_are_current(scene.folder))
    assert completed.are_done([(links[1].object, None), (links[1].object, links[1])]) == [False, True]
    without = CompletedFilter(None, files_are_current(scene.folder))
    assert without.are_done([(links[1].object, links[1])]) == [False]


@pytest.mark.parametrize("change", ["size", "mtime", "ctime", "gone"])
def test_a_file_in_another_state_is_not_done(change: str, scene: Scene) -> None:
    link, path = link_to("a"), scene.folder / "a"
    found = scene.record(link)
    assert scene.are_done([link]) == [True]
    if change == "size":
        path.write_bytes(b"bytes and more")
    elif change == "mtime":
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + SECOND))
    elif change == "ctime":  # other bytes with the same size and mtime
        while path.stat().st_ctime_ns == found.st_ctime_ns:
            path.write_bytes(b"BYTES")
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    else:
        path.unlink()
    assert scene.are_done([link]) == [False]


def test_evidence_is_what_was_recorded_where_the_row_does_not_contradict_it(scene: Scene) -> None:
    found = scene.record(link_to("a"))
    recorded = Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns, "etag")
    links = [link_to("a"), link_to("a", etag="other"), link_to("b")]
    assert recorded_evidence(scene.journal, links) == [recorded, None, None]


def added(scene: Scene, *rows: Row, given: Path | None = None) -> Sequence[Row]:
    with JournalEvidence(given, scene.folder) as evidence:
        return evidence.added_to(rows)


@pytest.mark.parametrize("is_given", [True, False])
def test_a_row_gets_what_the_journal_has_of_its_object(is_given: bool, scene: Scene) -> None:
    """By any of the endpoints that the journal knows."""
    scene.record(link_to("a"), checksum="crc32:AAAAAA==", part_size=7)
    scene.record(link_to("b", "http://i"))
    given = scene.file if is_given else None
    rows = [Row(ObjectRef("b", key)) for key in "abc"]
    one, two, none = added(scene, *rows, given=given)
    assert one.recorded == ObjectRef("b", "a", size=5, etag="etag", checksum="crc32:AAAAAA==")
    assert one.part_size == 7
    assert two.recorded == ObjectRef("b", "b", size=5, etag="etag")
    assert two.part_size is None
    assert none == rows[2]


def test_a_row_is_believed_before_the_journal(scene: Scene) -> None:
    scene.record(link_to("a"), checksum="crc32:AAAAAA==")
    own = Row(ObjectRef("b", "a", size=5, checksum="sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
    (row,) = added(scene, own)
    assert row.recorded == ObjectRef("b", "a", size=5, etag="etag", checksum=own.ref.checksum)
    for contradiction in (ObjectRef("b", "a", size=6), ObjectRef("b", "a", etag="other")):
        assert added(scene, Row(contradiction)) == [Row(contradiction)]


def test_a_file_that_is_no_journal_is_an_error_where_it_is_given(scene: Scene, tmp_path: Path) -> None:
    row = Row(ObjectRef("b", "a"))
    assert list(added(scene, row)) == [row]
    other = tmp_path / "other"
    other.mkdir()
    with JournalEvidence(None, other) as evidence:
        assert list(evidence.added_to([row])) == [row]
    with JournalEvidence(None, Path("/")) as evidence:
        assert list(evidence.added_to([row])) == [row]
    (tmp_path / "other.journal").write_bytes(b"no journal at all" * 100)
    with JournalEvidence(None, other) as evidence:
        assert list(evidence.added_to([row])) == [row]
    with pytest.raises(JournalError), JournalEvidence(tmp_path / "other.journal", other):
        pytest.fail("it is damaged")
    with pytest.raises(JournalError), JournalEvidence(tmp_path / "none", other):
        pytest.fail("it is not there")


async def result(outcome: Awaitable[Outcome]) -> Outcome:
    return await outcome


def present(scene: Scene, *listed: ObjectRef) -> PresentObjects:
    """A folder's destination with some objects."""
    made = PresentObjects(Folder(scene.folder), 1 << 20)
    made._listed = ListingIndex()
    made._listed.add(listed)
    return made


@pytest.mark.parametrize(
    ("listed", "is_current"),
    [
        (ObjectRef("b", "a", size=5, etag="etag"), True),
        (ObjectRef("b", "a", size=5), True),
        (ObjectRef("b", "a", size=6, etag="etag"), False),
        (ObjectRef("b", "a", size=5, etag="other"), False),
        (ObjectRef("b", "b", size=5, etag="etag"), False),
    ],
)
def test_an_object_is_current_as_its_listing_tells(listed: ObjectRef, is_current: bool, scene: Scene) -> None:
    link = link_to("a")
    scene.record(link)
    with present(scene, listed) as objects:
        completed = CompletedFilter(scene.journal, objects.are_current)
        assert completed.are_done([(link.object, link)]) == [is_current]
        (scene.folder / "a").write_bytes(b"bytes and more")
        assert completed.are_done([(link.object, link)]) == [False]
    (scene.folder / "a").unlink()
    scene.record(link, None)
    with present(scene, listed) as objects:
        completed = CompletedFilter(scene.journal, objects.are_current)
        assert completed.are_done([(link.object, link)]) == [listed.key == "a" and listed.size == 5]
    with PresentObjects(Folder(scene.folder), 1 << 20) as objects:
        assert CompletedFilter(scene.journal, objects.are_current).are_done([(link.object, link)]) == [True]


def test_the_index_of_a_listing_that_is_interrupted_is_closed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be large, and is in a temporary file."""
    closed: list[ListingIndex] = []

    def close(index: ListingIndex, *exc_info: object) -> None:
        closed.append(index)
        exit_index(index, *exc_info)

    exit_index = ListingIndex.__exit__
    monkeypatch.setattr(ListingIndex, "__exit__", close)

    class Interrupted(BucketLister):
        async def objects(self, *_: object, **__: object) -> AsyncGenerator[list[ObjectRef], None]:
            yield [ObjectRef("b", "a", size=5)]
            raise asyncio.CancelledError

    with PresentObjects(Folder(scene.folder), 1 << 20) as objects:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(objects.list_destination(object.__new__(Interrupted), Location("b", "")))
        assert len(closed) == 1
        assert not objects.is_listed


@pytest.mark.parametrize("size", [5, 300_000])
@pytest.mark.parametrize(
    ("etag", "verified_by"),
    [("right", "md5"), ("parts", "md5-parts"), ("0" * 32, None), (None, None), ("opaque", None)],
)
def test_bytes_that_stand_at_their_destination_are_not_sent(
    size: int, etag: str | None, verified_by: str | None, scene: Scene
) -> None:
    body, link = b"x" * size, link_to("a")
    (scene.folder / "a").write_bytes(body)
    digest = hashlib.md5(body)
    values = {"right": digest.hexdigest(), "parts": f"{hashlib.md5(digest.digest()).hexdigest()}-1"}
    etag = values.get(etag or "", etag)
    with present(scene, ObjectRef("b", "a", size=size, etag=etag)) as objects:
        outcome = asyncio.run(objects.find(link, "a"))
        assert (outcome is None) is (verified_by is None)
        if outcome is not None:
            assert outcome.verified_by == verified_by
            assert (outcome.status, outcome.attempts) == ("skipped", 0)
            assert outcome.evidence is not None
            assert (outcome.evidence.etag, outcome.evidence.size) == (etag, size)
    for listed in (ObjectRef("b", "a", size=size + 1, etag=etag), ObjectRef("b", "b", size=size, etag=etag)):
        with present(scene, listed) as objects:
            assert asyncio.run(objects.find(link, "a")) is None
    with PresentObjects(Folder(scene.folder), 1) as objects:
        assert asyncio.run(objects.find(link, "a")) is None
