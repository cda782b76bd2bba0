"""The decision how an object is fetched next, without a socket."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.checksums import base64_of
from bulkpresign.errors import MismatchError, ServerError, TransferError
from bulkpresign.model import ObjectRef, ResumePoint
from bulkpresign.transfer.downloads.content_range import RANGE_MISMATCH
from bulkpresign.transfer.downloads.steps import (
    STREAM,
    Knowledge,
    Ranged,
    ResponseHead,
    Restart,
    Resume,
    Step,
    Stream,
    next_step,
)

CRC = f"crc64nvme:{base64_of(bytes(8))}"
SHA = f"sha256:{base64_of(bytes(32))}"
LARGE = ObjectRef("b", "k", size=100, checksum=CRC)
UNKNOWN = ObjectRef("b", "k")
ONE = ResumePoint("e", 100)
PARTS = ResumePoint("e", 100, 10)
RESUME = Resume(7, ONE)
REST = {"content-range": "bytes 7-99/100"}


def knowledge(ref: ObjectRef = UNKNOWN, **fields: object) -> Knowledge:
    return Knowledge(ref, 10, **fields)  # type: ignore[arg-type]


def mismatch(code: str = "EtagMismatch") -> MismatchError:
    return MismatchError("differs", code=code)


BEFORE: dict[str, tuple[Knowledge, Step]] = {
    "nothing is known": (knowledge(), STREAM),
    "a large object with a checksum that combines": (knowledge(LARGE), Ranged(100, 10)),
    "an object of one part": (knowledge(ObjectRef("b", "k", size=10, checksum=CRC)), STREAM),
    "a checksum of all bytes in their order": (knowledge(ObjectRef("b", "k", size=100, checksum=SHA)), Ranged(100, 10)),
    "a size alone": (knowledge(ObjectRef("b", "k", size=100)), STREAM),
    "an etag that is no digest": (knowledge(ObjectRef("b", "k", size=100, etag="e")), STREAM),
    "the first response tells more": (knowledge(LARGE, asks_first=True), STREAM),
    "no ranges": (knowledge(LARGE, gives_ranges=False), STREAM),
    "the start is on disk": (knowledge(point=ONE, on_disk=7), RESUME),
    "the start is on disk, of a large object": (knowledge(LARGE, point=ONE, on_disk=7), RESUME),
    "the start is on disk, and no ranges": (knowledge(point=ONE, on_disk=7, gives_ranges=False), STREAM),
    "an empty temporary file": (knowledge(point=ONE, on_disk=0), STREAM),
    "no temporary file": (knowledge(point=ONE), STREAM),
    "all bytes are on disk": (knowledge(point=ONE, on_disk=100), STREAM),
    "more bytes are on disk": (knowledge(point=ONE, on_disk=101), STREAM),
    "the row tells another size": (knowledge(ObjectRef("b", "k", size=99), point=ONE, on_disk=7), STREAM),
    "a weak etag": (knowledge(point=ResumePoint('W/"e', 100), on_disk=7), STREAM),
    "no resume point": (knowledge(point=ResumePoint("", 0), on_disk=7), STREAM),
    "parts are on disk": (knowledge(point=PARTS, on_disk=100, finished={2: "p"}), Ranged(100, 10, "e", {2: "p"})),
    "no part is finished": (knowledge(point=PARTS, on_disk=100), Ranged(100, 10, "e")),
    "parts in a file of another size": (knowledge(LARGE, point=PARTS, on_disk=99), Ranged(100, 10)),
    "parts of another size": (knowledge(point=ResumePoint("e", 100, 20), on_disk=100), STREAM),
    "parts of a file of another size than the row's": (
        knowledge(ObjectRef("b", "k", size=99), point=PARTS, on_disk=100),
        STREAM,
    ),
    "parts with a checksum of all bytes in their order": (
        knowledge(ObjectRef("b", "k", size=100, checksum=SHA), point=PARTS, on_disk=100),
        Ranged(100, 10, "e"),
    ),
    "an error that a retry can fix": (knowledge(LARGE, error=ServerError("500", code="HTTP500")), Ranged(100, 10)),
}


@pytest.mark.parametrize("name", BEFORE)
def test_the_step_before_a_request(name: str) -> None:
    known, step = BEFORE[name]
    assert next_step(known) == step


def answered(step: Step, response: ResponseHead, ref: ObjectRef = UNKNOWN, **fields: object) -> Step:
    return next_step(knowledge(ref, **fields).with_response(step, response))


RESPONSES: dict[str, tuple[Step, ResponseHead, Step]] = {
    "a small object": (STREAM, ResponseHead(200, "e", 10), STREAM),
    "a large object": (STREAM, ResponseHead(200, "e", 100), Ranged(100, 10)),
    "no length": (STREAM, ResponseHead(200, "e"), STREAM),
    "no etag": (STREAM, ResponseHead(200, None, 100), STREAM),
    "a weak etag": (STREAM, ResponseHead(200, 'W/"e', 100), STREAM),
    "an md5 of all bytes": (STREAM, ResponseHead(200, "0" * 32, 100), Ranged(100, 10)),
    "a checksum that combines": (
        STREAM,
        ResponseHead(200, "0" * 32, 100, {"x-amz-checksum-crc64nvme": base64_of(bytes(8))}),
        Ranged(100, 10),
    ),
    "the rest": (RESUME, ResponseHead(206, "e", 93, REST), RESUME),
    "the rest, without an etag": (RESUME, ResponseHead(206, None, 93, REST), RESUME),
    "all bytes instead of the rest": (RESUME, ResponseHead(200, "e", 100), STREAM),
    "all bytes instead of a part": (Ranged(100, 10), ResponseHead(200, "e", 100), STREAM),
    "a part": (Ranged(100, 10), ResponseHead(206, "e", 10), Ranged(100, 10)),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_the_step_by_a_response(name: str) -> None:
    asked, response, step = RESPONSES[name]
    assert answered(asked, response) == step


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (ResponseHead(412), "ObjectChanged"),
        (ResponseHead(416), "ObjectChanged"),
        (ResponseHead(206, "f", 93, REST), "ObjectChanged"),
        (ResponseHead(206, "e", 93), RANGE_MISMATCH),
        (ResponseHead(206, "e", 93, {"content-range": "bytes 6-99/100"}), RANGE_MISMATCH),
        (ResponseHead(206, "e", 93, {"content-range": "bytes 7-99/101"}), RANGE_MISMATCH),
    ],
)
def test_a_response_that_continues_nothing_restarts(response: ResponseHead, code: str) -> None:
    step = answered(RESUME, response)
    assert isinstance(step, Restart)
    assert (step.error.code, step.is_counted, step.gives_ranges) == (code, True, True)


def test_a_server_that_gives_no_ranges_is_not_asked_for_another_one() -> None:
    ranged = knowledge(LARGE).with_response(Ranged(100, 10), ResponseHead(206, "e", 10))
    known = ranged.with_error(mismatch(RANGE_MISMATCH))
    step = next_step(known)
    assert isinstance(step, Restart)
    assert (step.is_counted, step.gives_ranges) == (False, False)
    assert next_step(known.restarted(step)) == STREAM
    assert knowledge(LARGE).with_response(RESUME, ResponseHead(200, "e", 100)).gives_ranges is False


etags = st.sampled_from([None, "", "e", "f", 'W/"e', "0" * 32, f"{'0' * 32}-4"])
sizes = st.sampled_from([None, 0, 1, 9, 10, 11, 99, 100, 101])
checksums = st.sampled_from([None, CRC, SHA, f"crc32:{base64_of(bytes(4))}-4"])
refs = st.builds(ObjectRef, st.just("b"), st.just("k"), size=sizes, etag=etags, checksum=checksums)
points = st.builds(
    ResumePoint,
    st.sampled_from(["", "e", "f", 'W/"e']),
    st.sampled_from([0, 1, 10, 99, 100, 101]),
    st.sampled_from([0, 10, 20]),
)
knowledges = st.builds(
    Knowledge,
    refs,
    st.sampled_from([10, 20]),
    st.booleans(),
    st.booleans(),
    st.none() | points,
    st.dictionaries(st.integers(1, 10), st.just("p"), max_size=3),
    sizes,
)
ranges = st.sampled_from([None, "bytes 7-99/100", "bytes 7-99/*", "bytes 0-9/100", "bytes 0-6/7"])


def _head(status: int, etag: str | None, length: int | None, content_range: str | None) -> ResponseHead:
    headers: Mapping[str, str] = {} if content_range is None else {"content-range": content_range}
    return ResponseHead(status, etag, length, headers)


responses = st.builds(_head, st.sampled_from([200, 206, 412, 416]), etags, sizes, ranges)
errors = st.sampled_from(
    [mismatch(), mismatch(RANGE_MISMATCH), mismatch("ObjectChanged"), ServerError("500", code="HTTP500")]
)


def guards(step: Step) -> bool:
    """True where an etag guards the bytes on disk."""
    if isinstance(step, Resume):
        return step.point.etag in {"e", "f"}
    return not isinstance(step, Ranged) or not step.finished or step.etag in {"e", "f"}


@given(knowledges)
def test_bytes_on_disk_are_only_continued_under_the_recorded_strong_etag(known: Knowledge) -> None:
    step = next_step(known)
    assert guards(step)
    assert not isinstance(step, Restart)
    if isinstance(step, Resume):
        assert step.point == known.point
        assert known.on_disk is not None
        assert 0 < step.at == known.on_disk < step.point.size
        assert known.ref.size in {None, step.point.size}
    if isinstance(step, Ranged) and step.etag is not None:
        assert known.point is not None
        assert (step.etag, step.size, step.part_size) == (known.point.etag, known.on_disk, known.point.part_size)


@given(knowledges, responses)
def test_a_response_with_another_etag_is_never_appended(known: Knowledge, response: ResponseHead) -> None:
    asked = next_step(known)
    step = next_step(known.with_response(asked, response))
    if isinstance(asked, Resume) and response.status != 200:
        fits = response.status == 206 and response.etag in {None, asked.point.etag}
        assert isinstance(step, Resume if fits and step == asked else Restart)
    if isinstance(step, Resume):
        assert response.status == 206
        assert response.etag in {None, step.point.etag}


@given(knowledges, responses)
def test_parts_are_only_fetched_where_a_server_gives_ranges(known: Knowledge, response: ResponseHead) -> None:
    asked = next_step(known)
    for step in (asked, next_step(known.with_response(asked, response))):
        if isinstance(step, Ranged):
            assert step.part_size < step.size
            assert known.gives_ranges


@given(knowledges, responses, errors)
def test_a_restart_follows_every_mismatch_and_nothing_else(
    known: Knowledge, response: ResponseHead, error: TransferError
) -> None:
    asked = next_step(known)
    failed = known.with_response(asked, response).with_error(error)
    step = next_step(failed)
    assert isinstance(step, Restart) is isinstance(error, MismatchError)
    if isinstance(step, Restart):
        after = next_step(failed.restarted(step))
        assert isinstance(after, Stream) or (isinstance(after, Ranged) and not after.finished)


@given(knowledges, st.lists(st.tuples(responses, errors), max_size=30))
def test_a_restart_that_costs_no_attempt_comes_once(
    known: Knowledge, attempts: list[tuple[ResponseHead, TransferError]]
) -> None:
    """Each attempt fails. All of them but one are counted, so that the attempts come to an end."""
    free = 0
    for response, error in attempts:
        known = known.with_response(next_step(known), response)
        step = next_step(known)
        if not isinstance(step, Restart):
            known = known.with_response(step, response)
        known = known.with_error(step.error if isinstance(step, Restart) else error)
        step = next_step(known)
        if isinstance(step, Restart):
            free += not step.is_counted
            known = known.restarted(step)
    assert free <= 1
