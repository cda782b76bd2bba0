"""The plan of an object in parts, without a socket: what is asked for, what is left, what is proved."""

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.checksums import COMBINABLE, ExpectedDigest, base64_of, expected_digest, hasher
from bulkpresign.errors import MismatchError
from bulkpresign.model import ObjectRef
from bulkpresign.transfer.downloads.ranges import RangePart, RangePlan, is_strong, part_size_of
from bulkpresign.transfer.downloads.steps import Knowledge, Ranged, next_step

MIB = 1 << 20
REF = ObjectRef("b", "k")
SIZE_ONLY = ExpectedDigest(10)


def opened(size: int, part_size: int, expected: ExpectedDigest | None = None, etag: str = "e") -> RangePlan:
    plan = RangePlan(size, part_size)
    plan.open(expected or ExpectedDigest(size), etag)
    return plan


def plan_of(ref: ObjectRef, part_size: int) -> RangePlan:
    """The plan for an object by its row alone."""
    step = next_step(Knowledge(ref, part_size))
    assert isinstance(step, Ranged)
    return step.plan()


def taken(plan: RangePlan) -> list[RangePart]:
    """All that are left."""
    return list(iter(plan.take, None))


def md5(data: bytes) -> bytes:
    return hashlib.md5(data).digest()


def composite(body: bytes, part_size: int) -> str:
    """An etag as S3 makes it of parts."""
    digests = [md5(body[at : at + part_size]) for at in range(0, len(body), part_size)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_parts_are_all_the_bytes_once(size: int, part_size: int) -> None:
    parts = taken(opened(size, max(part_size, size // 100)))
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    covered = [at for part in parts for at in range(part.start, part.stop)]
    assert covered == list(range(size))


def test_one_part_is_in_flight_until_the_first_answer() -> None:
    plan = RangePlan(10, 3)
    first = plan.take()
    assert first is not None
    assert plan.headers(first) == {"Range": "bytes=0-2"}
    assert plan.take() is None
    plan.open(SIZE_ONLY, "e")
    assert [plan.headers(part)["Range"] for part in taken(plan)] == ["bytes=3-5", "bytes=6-8", "bytes=9-9"]
    assert plan.in_flight == 4
    assert plan.headers(first) == {"Range": "bytes=0-2", "If-Match": '"e"'}


@pytest.mark.parametrize("etag", [None, 'W/"x"'])
def test_a_weak_etag_is_no_condition(etag: str | None) -> None:
    assert not is_strong(etag)
    plan = opened(10, 4)
    plan.open(SIZE_ONLY, etag)
    (part, *_) = taken(plan)
    assert "If-Match" not in plan.headers(part)


@given(
    body=st.binary(min_size=2, max_size=400),
    part_size=st.integers(1, 200),
    algorithm=st.sampled_from(sorted(COMBINABLE)),
    seed=st.integers(0, 99),
    kept=st.integers(0, 5),
)
def test_crcs_of_parts_in_any_order_prove_the_whole(
    body: bytes, part_size: int, algorithm: str, seed: int, kept: int
) -> None:
    """The oracle: the value of all bytes at once. Some of the parts were there from a run before."""
    value = hasher(algorithm)
    value.update(body)
    expected = ExpectedDigest(len(body), algorithm, value.digest())
    proofs = fetch(opened(len(body), part_size, expected), body, seed)
    plan = RangePlan(len(body), part_size, "e", dict(list(proofs.items())[:kept]))
    plan.open(expected, "e")
    fetch(plan, body, seed)
    assert plan.is_finished
    assert plan.verifier().verify() == algorithm
    wrong = opened(len(body), part_size, expected)
    fetch(wrong, bytes([body[0] ^ 1]) + body[1:], seed)
    with pytest.raises(MismatchError):
        wrong.verifier().verify()


def fetch(plan: RangePlan, body: bytes, seed: int) -> dict[int, str]:
    """Everything that is left, in any order and any chunks, by several requests. Gives the proofs."""
    rng = random.Random(seed)
    in_flight = taken(plan)
    proofs = {}
    while in_flight or (in_flight := taken(plan)):
        part = rng.choice(in_flight)
        part.update(body[part.at : part.at + rng.randint(1, part.left)])
        if not part.left:
            proofs[part.number] = plan.finish(part)
            in_flight.remove(part)
    return proofs


@pytest.mark.parametrize("own", [5 * MIB, 8 * MIB])
@pytest.mark.parametrize("wished", [64 << 10, 5 * MIB, 11 * MIB, 17 * MIB])
def test_a_value_of_parts_is_proved_by_whole_ones(own: int, wished: int) -> None:
    body = random.Random(own).randbytes(33 * MIB)
    ref = ObjectRef("b", "k", size=len(body), etag=composite(body, own))
    part_size = part_size_of(ref, None, len(body), wished)
    assert part_size % own == 0
    assert part_size == max(own, wished // own * own)
    plan = plan_of(ref, wished)
    plan.open(expected_digest(ref), "e")
    proofs = fetch(plan, body, 1)
    assert all(proof.startswith("md5:") for proof in proofs.values())
    assert plan.verifier().verify() == "md5-parts"


def test_parts_of_another_size_than_the_likeliest_are_found_by_a_second_look() -> None:
    body = random.Random(1).randbytes(18 * MIB)
    ref = ObjectRef("b", "k", size=len(body), etag=composite(body, 7 * MIB))
    plan = plan_of(ref, MIB)
    plan.open(expected_digest(ref), "e")
    fetch(plan, body, 1)
    assert plan.verifier().verify() == "size"
    assert plan.verifier().verify(lambda: [body]) == "md5-parts"


@pytest.mark.parametrize(
    ("fields", "is_planned"),
    [
        ({"etag": "0" * 32}, True),
        ({"checksum": f"sha256:{base64_of(bytes(32))}"}, True),
        ({}, False),  # the answer has to tell first
        ({"etag": "something"}, False),
        ({"checksum": f"crc32:{base64_of(bytes(4))}"}, True),
        ({"etag": "0" * 32, "checksum": f"crc64nvme:{base64_of(bytes(8))}"}, True),
        ({"etag": f"{'0' * 32}-3"}, True),
        ({"checksum": f"sha256:{base64_of(bytes(32))}-3"}, True),
        ({"etag": f"{'0' * 32}-1"}, False),
    ],
)
def test_what_can_move_in_parts(fields: dict[str, str], is_planned: bool) -> None:
    ref = ObjectRef("b", "k", size=20 * MIB, **fields)  # type: ignore[arg-type]
    assert isinstance(next_step(Knowledge(ref, MIB)), Ranged) is is_planned
    assert not isinstance(next_step(Knowledge(ref, 20 * MIB)), Ranged)


def test_parts_that_something_else_proved_are_fetched_again() -> None:
    plan = RangePlan(10, 4, "e", {1: "md5:AAAA", 2: "crc32:AAAAAA=="})
    plan.open(ExpectedDigest(10, "crc32", bytes(4)), "e")
    assert [part.number for part in taken(plan)] == [1, 3]
    plan = RangePlan(10, 4, "e", {1: "md5:AAAA", 2: ""})
    plan.open(SIZE_ONLY, "e")
    assert [part.number for part in taken(plan)] == [3]


def test_where_all_parts_are_there_one_is_asked_for_so_that_an_answer_tells() -> None:
    plan = RangePlan(10, 4, "e", {1: "", 2: "", 3: ""})
    assert [part.number for part in taken(plan)] == [3]


GOOD = {"content-range": "bytes 4-7/10"}


@pytest.mark.parametrize(
    ("status", "headers", "etag", "length", "code"),
    [
        (206, GOOD, "e", 4, None),
        (206, GOOD, None, None, None),
        (206, {"content-range": "bytes 4-7/*"}, "e", 4, None),
        (206, GOOD, "f", 4, "ObjectChanged"),
        (412, {}, None, 0, "ObjectChanged"),
        (416, {}, None, 0, "ObjectChanged"),
        (200, {}, "e", 10, "RangeMismatch"),
        (206, {}, "e", 4, "RangeMismatch"),
        (206, {"content-range": "bytes 0-3/10"}, "e", 4, "RangeMismatch"),
        (206, {"content-range": "bytes 4-8/10"}, "e", 5, "RangeMismatch"),
        (206, {"content-range": "bytes 4-7/11"}, "e", 4, "RangeMismatch"),
        (206, GOOD, "e", 3, "RangeMismatch"),
        (206, GOOD, "e", 5, "RangeMismatch"),
    ],
)
def test_an_answer_fits_or_it_does_not(
    status: int, headers: dict[str, str], etag: str | None, length: int | None, code: str | None
) -> None:
    plan = opened(10, 4)
    _, part, _ = taken(plan)
    if code is None:
        plan.check(part, status, headers, etag, length)
    else:
        with pytest.raises(MismatchError) as caught:
            plan.check(part, status, headers, etag, length)
        assert caught.value.code == code


def test_the_first_answer_tells_another_size() -> None:
    plan = RangePlan(10, 4)
    part = plan.take()
    assert part is not None
    with pytest.raises(MismatchError, match="there are 3 bytes where 10 are expected"):
        plan.check(part, 206, {"content-range": "bytes 0-2/3"}, "e", 3)
