"""Objects in parts: what is asked for, what is asked for again, and what stands in the file; counted at the server."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from bulkpresign.checksums import base64_of, hasher
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import Link, ObjectRef, Outcome, Part
from bulkpresign.transfer.getting import IfExists
from bulkpresign.transfer.storage import Folder
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.transfer.running import Run, files, reference

KIB = 1 << 10
PART = 100 * KIB
BODY = os.urandom(10 * PART + 5000)
ETAG = '"opaque"'
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def crc64(body: bytes = BODY) -> str:
    value = hasher("crc64nvme")
    value.update(body)
    return f"crc64nvme:{base64_of(value.digest())}"


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects["/a"] = BODY
        proxy.etags["/a"] = ETAG
        proxy.gives_ranges = True
        yield proxy


#: What a manifest may know of the object: enough for a plan, or so little that the first answer has to tell.
KNOWN = {"size": len(BODY), "checksum": crc64()}
KNOWLEDGE: dict[str, dict[str, object]] = {"planned": KNOWN, "told": {}}
knowledge = pytest.mark.parametrize("ref", KNOWLEDGE.values(), ids=KNOWLEDGE)


class Got:
    """One object, fetched in parts to `folder/a`."""

    def __init__(
        self,
        origin: FaultProxy,
        folder: Path,
        ref: dict[str, object] | None = None,
        *,
        lanes: int = 3,
        attempts: int = 3,
        part_size: int = PART,
        journal: Path | None = None,
        if_exists: IfExists = "replace",
    ) -> None:
        self.run = Run()
        self.before = origin.count
        link = Link("GET", f"{origin.url}/a?X-Amz-Signature=secret", {}, object=reference(ref or {}))

        async def get(parts: Journal | None) -> None:
            await self.run.in_parts(
                [link], folder, part_size, lanes, attempts=attempts, parts=parts, renew=self.renew, if_exists=if_exists
            )

        if journal is None:
            asyncio.run(get(None))
        else:
            with Journal(journal, "get", "x") as opened:
                asyncio.run(get(opened))
                if self.outcome.status == "done":
                    opened.record(self.run.outcomes)
        self.seen = origin.seen[self.before :]

    async def renew(self, links: Sequence[Link]) -> Sequence[Link | None]:
        return links

    @property
    def outcome(self) -> Outcome:
        (outcome,) = self.run.outcomes
        return outcome

    @property
    def asked(self) -> list[tuple[int, int] | None]:
        """The ranges that were asked for, None for the whole object."""
        return [range_of(seen) for seen in self.seen]

    def check(self, body: bytes = BODY, verified_by: str | None = None) -> None:
        assert (self.outcome.status, self.outcome.code) == ("done", None)
        assert self.outcome.bytes == len(body)
        assert verified_by is None or self.outcome.verified_by == verified_by


def range_of(seen: Seen) -> tuple[int, int] | None:
    value = seen.header("range")
    if value is None:
        return None
    first, _, last = value.removeprefix("bytes=").partition("-")
    return int(first), int(last)


def parts_of(size: int, part_size: int = PART) -> list[tuple[int, int]]:
    return [(at, min(at + part_size, size) - 1) for at in range(0, size, part_size)]


@pytest.mark.parametrize("lanes", [1, 2, 4, 16])
def test_every_part_is_asked_for_once(lanes: int, origin: FaultProxy, tmp_path: Path) -> None:
    got = Got(origin, tmp_path, KNOWN, lanes=lanes)
    got.check(verified_by="crc64nvme")
    assert sorted(got.asked, key=str) == sorted(parts_of(len(BODY)), key=str)
    assert got.seen[0].header("if-match") is None
    assert {seen.header("if-match") for seen in got.seen[1:]} == {ETAG}
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)
    assert origin.most_open <= lanes


def test_an_object_of_which_nothing_is_known_tells_itself(origin: FaultProxy, tmp_path: Path) -> None:
    got = Got(origin, tmp_path)
    got.check(verified_by="size")
    assert Counter(got.asked) == Counter([None, *parts_of(len(BODY))[1:]])
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 1])
@knowledge
def test_sizes_around_those_of_parts(size: int, ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    body = origin.objects["/a"] = BODY[:size]
    got = Got(origin, tmp_path, {"size": size, "checksum": crc64(body)} if ref else {})
    got.check(body)
    assert len(got.seen) == max(1, -(-size // PART))
    assert files(tmp_path) == {"a": body}
    assert got.run.bytes_moved == size


def test_one_md5_of_all_bytes_has_to_see_them_in_their_order(origin: FaultProxy, tmp_path: Path) -> None:
    origin.etags.clear()
    for ref in ({}, {"size": len(BODY), "etag": hashlib.md5(BODY).hexdigest()}):
        got = Got(origin, tmp_path / f"{len(ref)}", ref)
        got.check(verified_by="md5")
        assert got.asked == [None]


@pytest.mark.parametrize("own", [PART // 2, PART, 3 * PART])
def test_an_etag_of_parts(own: int, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkpresign.checksums._USUAL", (own,))
    digests = [hashlib.md5(BODY[at : at + own]).digest() for at in range(0, len(BODY), own)]
    etag = f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"
    origin.etags["/a"] = f'"{etag}"'
    for ref in ({}, {"size": len(BODY), "etag": etag}):
        got = Got(origin, tmp_path / f"{len(ref)}", ref)
        got.check(verified_by="md5-parts")
        assert len(got.asked) == -(-len(BODY) // max(own, PART))


def test_an_etag_of_parts_that_no_size_fits_comes_twice_alike(origin: FaultProxy, tmp_path: Path) -> None:
    etag = f"{'0' * 32}-5"
    got = Got(origin, tmp_path, {"size": len(BODY), "etag": etag})
    got.check(verified_by="size")
    assert got.outcome.attempts == 2
    assert len(got.asked) >= 2
    assert len(set(got.asked)) * 2 == len(got.asked)
    assert got.run.bytes_moved == len(BODY)


BREAKS = {
    "reset before the answer": (Fault(reset_after=0), "Disconnected"),
    "reset within": (Fault(reset_after=60 * KIB), "Truncated"),
    "cut off": (Fault(cut_after=50 * KIB), "Truncated"),
    "503": (Fault(503, body=b"<Error><Code>SlowDown</Code></Error>"), "SlowDown"),
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("number", [0, 4])
def test_a_part_that_breaks_off_is_asked_for_again(name: str, number: int, origin: FaultProxy, tmp_path: Path) -> None:
    """Where it was; the other parts mind nothing."""
    fault, code = BREAKS[name]
    origin.faults.extend([*[None] * number, fault])
    got = Got(origin, tmp_path, KNOWN)
    got.check(verified_by="crc64nvme")
    assert [retry.code for retry in got.run.retries] == [code]
    assert len(got.seen) == 12
    lasts = Counter(asked[1] for asked in got.asked if asked)
    assert sorted(lasts.values()) == [1] * 10 + [2]
    if name == "reset within":  # late enough for what came before to be there
        assert len({asked[0] for asked in got.asked if asked}) == 12
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)


def test_attempts_are_those_of_a_request(origin: FaultProxy, tmp_path: Path) -> None:
    """Each part breaks off once, and the object comes through with two."""
    broken: set[str] = set()

    def once(seen: Seen) -> Fault | None:
        part = (seen.header("range") or "").partition("-")[2]
        if part in broken:
            return None
        broken.add(part)
        return Fault(cut_after=KIB)

    origin.schedule = once
    got = Got(origin, tmp_path, KNOWN, attempts=2)
    got.check()
    assert got.outcome.attempts == 2
    assert len(got.run.retries) == 11


@knowledge
def test_it_is_given_up_after_its_attempts(ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    origin.schedule = lambda seen: Fault(500) if (range_of(seen) or (0, 0))[0] == 4 * PART else None
    got = Got(origin, tmp_path, ref, attempts=2)
    assert (got.outcome.status, got.outcome.code, got.outcome.attempts) == ("failed", "HTTP500", 2)
    assert [asked for asked in got.asked if asked and asked[0] == 4 * PART] == [(4 * PART, 5 * PART - 1)] * 2
    assert "a" not in files(tmp_path)
    assert got.run.bytes_moved == 0


@knowledge
def test_what_cannot_help_is_not_tried(ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    origin.always = Fault(404, body=b"<Error><Code>NoSuchKey</Code></Error>")
    got = Got(origin, tmp_path, ref)
    assert (got.outcome.status, got.outcome.code, got.outcome.attempts) == ("failed", "NoSuchKey", 1)
    assert len(got.seen) == 1
    assert files(tmp_path) == {}


@pytest.mark.parametrize("number", [0, 5])
def test_a_flipped_bit_starts_it_again_from_zero(number: int, origin: FaultProxy, tmp_path: Path) -> None:
    origin.faults.extend([*[None] * number, Fault(flip_answer=True)])
    got = Got(origin, tmp_path, KNOWN)
    got.check(verified_by="crc64nvme")
    assert [retry.code for retry in got.run.retries] == ["ChecksumMismatch"]
    assert Counter(got.asked) == Counter(parts_of(len(BODY)) * 2)
    assert got.outcome.attempts == 2
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)


@pytest.mark.parametrize("attempts", [1, 3])
def test_bytes_that_are_always_wrong_never_get_the_name(attempts: int, origin: FaultProxy, tmp_path: Path) -> None:
    got = Got(origin, tmp_path, {"size": len(BODY), "checksum": crc64(b"other")}, attempts=attempts)
    assert (got.outcome.status, got.outcome.code, got.outcome.attempts) == ("failed", "ChecksumMismatch", attempts)
    assert len(got.seen) == 11 * attempts
    assert files(tmp_path) == {}
    assert got.run.bytes_moved == 0


@knowledge
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_server_that_knows_no_ranges_sends_all_in_one_stream(
    attempts: int, ref: dict[str, object], origin: FaultProxy, tmp_path: Path
) -> None:
    origin.gives_ranges = False
    if not ref:  # told by the first answer, it can't be known to be in vain
        origin.etags.clear()
    got = Got(origin, tmp_path, ref, attempts=attempts)
    got.check()
    assert len(got.seen) == 1
    assert files(tmp_path) == {"a": BODY}


ODD = {
    "range ignored": (Fault(ignore_range=True), "RangeMismatch"),
    "range lied about": (Fault(shift_range=True), "RangeMismatch"),
    "412": (Fault(412), "ObjectChanged"),
    "another length": (
        Fault(206, {"Content-Range": f"bytes 0-{PART - 1}/{len(BODY)}", "ETag": ETAG}, b"short"),
        "RangeMismatch",
    ),
    "another etag": (
        Fault(206, {"Content-Range": f"bytes 0-{PART - 1}/{len(BODY)}", "ETag": '"x"'}, BODY[:PART]),
        "ObjectChanged",
    ),
}


@knowledge
@pytest.mark.parametrize("name", ODD)
def test_an_answer_that_does_not_fit_starts_it_again(
    name: str, ref: dict[str, object], origin: FaultProxy, tmp_path: Path
) -> None:
    fault, code = ODD[name]
    origin.faults.extend([None, None, fault])
    got = Got(origin, tmp_path, ref)
    got.check()
    assert [retry.code for retry in got.run.retries] == [code]
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)


def test_an_object_that_changes_under_the_run(origin: FaultProxy, tmp_path: Path) -> None:
    """Its etag is no hash, so nothing but the etag tells."""
    other = os.urandom(8 * PART)

    def change(seen: Seen) -> None:
        if range_of(seen) and range_of(seen) != (0, PART - 1):
            origin.objects["/a"], origin.etags["/a"] = other, '"another"'

    origin.schedule = change
    got = Got(origin, tmp_path, {})
    got.check(other)
    assert files(tmp_path) == {"a": other}
    assert [retry.code for retry in got.run.retries] == ["ObjectChanged"]


def test_what_is_another_size_than_the_manifest_says(origin: FaultProxy, tmp_path: Path) -> None:
    got = Got(origin, tmp_path, {"size": len(BODY) - 1, "checksum": crc64()})
    assert (got.outcome.status, got.outcome.code) == ("failed", "SizeMismatch")
    assert files(tmp_path) == {}


@knowledge
def test_another_file_that_has_to_stay(ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    got = Got(origin, tmp_path, ref, if_exists="fail")
    assert (got.outcome.status, got.outcome.code) == ("failed", "FileExists")
    assert files(tmp_path) == {"a": b"mine"}
    Got(origin, tmp_path, ref).check()
    assert files(tmp_path) == {"a": BODY}


def finished(journal: Path, link: Link) -> dict[int, str]:
    with Journal(journal, "get", "x") as opened:
        return dict(opened.finished_parts(link))


LINK = Link("GET", "http://h/a", {}, object=ObjectRef("bucket", "a", path="a"))


@knowledge
def test_finished_parts_are_kept_for_the_next_run(ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.schedule = lambda seen: Fault(500) if (range_of(seen) or (0, 0))[0] == 6 * PART else None
    first = Got(origin, folder, ref, attempts=1, lanes=1, journal=journal)
    assert (first.outcome.status, first.outcome.code) == ("failed", "HTTP500")
    assert set(finished(journal, LINK)) == {1, 2, 3, 4, 5, 6}
    ((name, content),) = files(folder).items()
    assert name.endswith(".part")
    assert content[: 6 * PART] == BODY[: 6 * PART]
    assert len(content) == len(BODY)
    assert first.run.bytes_moved == 6 * PART
    origin.schedule = lambda _: None
    second = Got(origin, folder, ref, lanes=2, journal=journal)
    second.check(verified_by="crc64nvme" if ref else "size")
    assert Counter(second.asked) == Counter(parts_of(len(BODY))[6:])
    assert {seen.header("if-match") for seen in second.seen} == {ETAG}
    assert second.run.bytes_moved == len(BODY) - 6 * PART
    assert files(folder) == {"a": BODY}


def begun(origin: FaultProxy, tmp_path: Path, ref: dict[str, object] | None = None) -> tuple[Path, Path, Path]:
    """A run that ended after six parts. Gives its folder, its journal and its file."""
    folder, journal = tmp_path / "to", tmp_path / "journal"
    origin.schedule = lambda seen: Fault(500) if (range_of(seen) or (0, 0))[0] == 6 * PART else None
    Got(origin, folder, ref or KNOWN, attempts=1, lanes=1, journal=journal)
    origin.schedule = lambda _: None
    return folder, journal, Path(Folder(folder).part("a"))


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
            opened.begin_part(LINK, Part("opaque", len(BODY) - 1, PART))
            opened.finish_part(LINK, 1, "crc64nvme:AAAAAAAAAAA=")
    part_size = 2 * PART if "parts" in change else PART
    got = Got(origin, folder, KNOWN, part_size=part_size, journal=journal)
    got.check(verified_by="crc64nvme")
    assert Counter(got.asked) == Counter(parts_of(len(BODY), part_size))
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


def test_parts_become_one_and_one_becomes_parts(origin: FaultProxy, tmp_path: Path) -> None:
    """What came before under the other rule is of no use, and does no harm."""
    origin.objects["/a"] = body = os.urandom(20 * PART)
    ref = {"size": len(body), "checksum": crc64(body)}
    folder, journal = tmp_path / "to", tmp_path / "journal"
    for n, part_size in enumerate((PART, 1 << 30, PART, 1 << 30)):
        origin.faults.extend([*[None] * (1 - n % 2), Fault(cut_after=90 * KIB)])
        Got(origin, folder, ref, part_size=part_size, lanes=1, attempts=1, journal=journal)
    origin.faults.clear()
    Got(origin, folder, ref, journal=journal).check(body, "crc64nvme")
    assert files(folder) == {"a": body}


@pytest.mark.parametrize("lanes", [1, 4])
@knowledge
def test_a_link_that_is_over_keeps_its_parts(
    lanes: int, ref: dict[str, object], origin: FaultProxy, tmp_path: Path
) -> None:
    """Three times in one object; the renewals cost no attempt, and no part comes twice."""
    origin.faults.extend([*[None] * 3, Fault(403, body=EXPIRED), *[None] * 3, Fault(403, body=EXPIRED)])
    got = Got(origin, tmp_path / "to", ref, lanes=lanes, attempts=1, journal=tmp_path / "journal")
    got.check()
    whole = Counter(asked or (0, PART - 1) for asked in got.asked)
    assert whole.total() == 13
    assert set(whole) == set(parts_of(len(BODY)))
    assert got.run.bytes_moved == len(BODY)
    assert files(tmp_path / "to") == {"a": BODY}


def test_parts_on_their_way_come_to_their_end_where_the_link_is_over(origin: FaultProxy, tmp_path: Path) -> None:
    """The second part is told that it is over at once, while the third one takes its time."""

    def slow_or_over(seen: Seen) -> Fault | None:
        start = (range_of(seen) or (0, 0))[0] // PART
        return {1: Fault(403, body=EXPIRED), 2: Fault(delay=0.3)}.get(start) if origin.count < 5 else None

    origin.schedule = slow_or_over
    got = Got(origin, tmp_path / "to", KNOWN, attempts=1, journal=tmp_path / "journal")
    got.check()
    assert Counter(got.asked)[parts_of(len(BODY))[2]] == 1


@pytest.mark.parametrize("lanes", [1, 3])
def test_cancelled_at_any_moment(lanes: int, origin: FaultProxy, tmp_path: Path) -> None:
    """Whatever was moved, no half file has the name, and the next run needs only what is left."""
    origin.always = Fault(split=True)
    link = Link("GET", f"{origin.url}/a", {}, object=reference(KNOWN))

    async def cut(seconds: float, journal: Path, folder: Path) -> None:
        with Journal(journal, "get", "x") as opened, anyio.move_on_after(seconds):
            await Run().in_parts([link], folder, PART, lanes, parts=opened)

    for n in range(12):
        folder, journal = tmp_path / f"{n}", tmp_path / f"{n}.journal"
        asyncio.run(cut(n * 0.02, journal, folder))
        kept = finished(journal, LINK)
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
            assert len(got.seen) == 11 - len(kept)
            origin.always = Fault(split=True)
