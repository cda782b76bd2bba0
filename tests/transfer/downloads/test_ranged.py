"""Objects in parts: what is asked for, what is asked for again, and what stands in the file; counted at the server."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from bulkpresign.transfer.disk import temporary
from bulkpresign.transfer.downloads import ordered_hash
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.support.folders import files
from tests.transfer.parts import BODY, ETAG, KIB, KNOWN, PART, Got, crc64, knowledge, origin, parts_of, range_of

__all__ = ["origin"]


@pytest.mark.parametrize("part_concurrency", [1, 2, 4, 16])
def test_every_part_is_asked_for_once(part_concurrency: int, origin: FaultProxy, tmp_path: Path) -> None:
    got = Got(origin, tmp_path, KNOWN, part_concurrency=part_concurrency)
    got.check(verified_by="crc64nvme")
    assert sorted(got.asked, key=str) == sorted(parts_of(len(BODY)), key=str)
    assert got.seen[0].header("if-match") is None
    assert {seen.header("if-match") for seen in got.seen[1:]} == {ETAG}
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)
    assert origin.most_open <= part_concurrency


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
    assert len(got.asked) == max(1, -(-size // PART))
    assert files(tmp_path) == {"a": body}
    assert got.run.bytes_moved == size


def test_one_md5_of_all_bytes_is_computed_in_order_behind_the_parts(origin: FaultProxy, tmp_path: Path) -> None:
    origin.etags.clear()
    for ref in ({}, {"size": len(BODY), "etag": hashlib.md5(BODY).hexdigest()}):
        got = Got(origin, tmp_path / f"{len(ref)}", ref)
        got.check(verified_by="md5")
        assert len(got.asked) == -(-len(BODY) // PART)


@pytest.mark.parametrize("is_intact", [True, False])
def test_parts_wait_for_the_hash_in_order(
    is_intact: bool, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered_hash, "MOST_AHEAD", PART + 1)
    monkeypatch.setattr(ordered_hash, "_STEP_BYTES", PART // 2)
    ref = {"size": len(BODY), "etag": hashlib.md5(BODY).hexdigest()}
    origin.etags["/a"] = f'"{ref["etag"]}"'
    origin.objects["/a"] = BODY if is_intact else BODY[:-1] + bytes([BODY[-1] ^ 1])
    got = Got(origin, tmp_path, ref)
    if is_intact:
        got.check(verified_by="md5")
    else:
        assert got.outcome.code == "EtagMismatch"
        assert files(tmp_path) == {}


@pytest.mark.parametrize("own", [PART // 2, PART, 3 * PART])
def test_an_etag_of_parts(own: int, origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkpresign.checksums.part_size._COMMON", (own,))
    digests = [hashlib.md5(BODY[at : at + own]).digest() for at in range(0, len(BODY), own)]
    etag = f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"
    origin.etags["/a"] = f'"{etag}"'
    for ref in ({}, {"size": len(BODY), "etag": etag}):
        got = Got(origin, tmp_path / f"{len(ref)}", ref)
        got.check(verified_by="md5-parts")
        assert len(got.asked) == -(-len(BODY) // max(own, PART))


def test_an_object_that_nothing_proves_is_fetched_once_and_called_so(origin: FaultProxy, tmp_path: Path) -> None:
    etag = f"{'0' * 32}-5"
    origin.etags["/a"] = f'"{etag}"'
    got = Got(origin, tmp_path, {"size": len(BODY), "etag": etag})
    got.check(verified_by="size")
    assert got.outcome.is_unproven
    assert got.outcome.attempts == 1
    assert len(set(got.asked)) == len(got.asked)
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


def test_parts_are_fetched_beside_a_first_part_that_takes_its_time(origin: FaultProxy, tmp_path: Path) -> None:
    """The object has two parts, and the first one comes in a second."""
    body = origin.objects["/a"] = BODY[: 2 * PART]
    origin.faults.append(Fault(rate=PART))
    got = Got(origin, tmp_path, {"size": len(body), "checksum": crc64(body)}, part_concurrency=2)
    got.check(body, "crc64nvme")
    assert origin.most_open == 2


def test_the_rest_of_a_first_part_is_asked_for_by_its_range(origin: FaultProxy, tmp_path: Path) -> None:
    """The response with the whole object breaks off within the first part."""
    origin.faults.append(Fault(cut_after=50 * KIB))
    got = Got(origin, tmp_path, part_concurrency=1)
    got.check()
    rest = range_of(got.seen[1])
    assert rest is not None
    assert rest[0] <= 50 * KIB  # aiohttp drops bytes that came before the break
    assert rest[1] == PART - 1
    assert [range_of(seen) for seen in got.seen[2:]] == parts_of(len(BODY))[1:]
    assert got.run.bytes_moved == len(BODY)


@knowledge
def test_attempts_of_the_first_request_are_in_the_outcome(
    ref: dict[str, object], origin: FaultProxy, tmp_path: Path
) -> None:
    origin.faults.append(Fault(503, body=b"<Error><Code>SlowDown</Code></Error>"))
    got = Got(origin, tmp_path, ref)
    got.check()
    assert got.outcome.attempts == 2


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
    got = Got(origin, tmp_path, ref, attempts=attempts, part_concurrency=1)
    got.check()
    assert got.outcome.attempts == 1
    assert len(got.seen) == (1 if ref else 3), "where all was asked for, nothing tells at first that it is in vain"
    assert files(tmp_path) == {"a": BODY}
    assert got.run.bytes_moved == len(BODY)


#: Answers that don't fit, and the code of the retry; None: no retry, for the object goes on in one stream.
ODD: dict[str, tuple[Fault, str | None]] = {
    "range ignored": (Fault(ignore_range=True), None),
    "range lied about": (Fault(shift_range=True), None),
    "412": (Fault(412), "ObjectChanged"),
    "another length": (
        Fault(206, {"Content-Range": f"bytes 0-{PART - 1}/{len(BODY)}", "ETag": ETAG}, b"short"),
        None,
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
    assert [retry.code for retry in got.run.retries] == ([code] if code else [])
    assert code or got.asked[-1] is None
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
    assert not got.run.retries
    assert files(tmp_path) == {}


@knowledge
def test_another_file_that_has_to_stay(ref: dict[str, object], origin: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    got = Got(origin, tmp_path, ref, if_exists="fail")
    assert (got.outcome.status, got.outcome.code) == ("failed", "FileExists")
    assert files(tmp_path) == {"a": b"mine"}
    Got(origin, tmp_path, ref).check()
    assert files(tmp_path) == {"a": BODY}


@knowledge
def test_a_disk_that_is_full_shows_at_the_start(ref: dict[str, object], origin: FaultProxy, tiny_disk: Path) -> None:
    got = Got(origin, tiny_disk, ref)
    assert (got.outcome.status, got.outcome.code, got.outcome.attempts) == ("failed", "DiskFull", 1)
    assert (len(got.seen), got.run.bytes_moved) == (1, 0)
    assert files(tiny_disk) == {}


def test_a_file_system_that_takes_no_room_ahead(
    origin: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "_LIBC_FALLOCATE", None)
    Got(origin, tmp_path, KNOWN).check(verified_by="crc64nvme")
    assert files(tmp_path) == {"a": BODY}


def test_a_checksum_in_the_first_answer_proves_the_parts(tmp_path: Path) -> None:
    said = {"x-amz-checksum-crc64nvme": crc64().partition(":")[2]}
    with FaultProxy(answer_headers=said) as origin:
        origin.objects["/a"], origin.etags["/a"], origin.gives_ranges = BODY, ETAG, True
        got = Got(origin, tmp_path)
    got.check(verified_by="crc64nvme")
    assert len(got.asked) == 11


def test_only_the_start_is_read_of_an_answer_with_the_whole_object(origin: FaultProxy, tmp_path: Path) -> None:
    """The server sends no more of it than a tenth of the first part."""
    origin.faults.append(Fault(hold_after=PART // 10))
    got = Got(origin, tmp_path, part_concurrency=2)
    got.check(verified_by="size")
    assert got.run.retries == []
    assert Counter(got.asked) == Counter([None, *parts_of(len(BODY))[1:]])


def test_parts_on_their_way_are_given_up_where_one_cannot_be_had(origin: FaultProxy, tmp_path: Path) -> None:
    """One is refused while another waits for its bytes."""
    held, gone = parts_of(len(BODY))[4:6]

    def schedule(seen: Seen) -> Fault | None:
        faults = {held: Fault(hold_after=KIB), gone: Fault(404, body=b"<Error><Code>NoSuchKey</Code></Error>")}
        return faults.get(range_of(seen) or (0, 0))

    origin.schedule = schedule
    got = Got(origin, tmp_path, KNOWN, part_concurrency=3)
    assert (got.outcome.status, got.outcome.code, got.run.retries) == ("failed", "NoSuchKey", [])
    assert files(tmp_path) == {}
    assert got.run.bytes_moved == 0
