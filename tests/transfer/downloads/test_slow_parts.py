"""Parts whose connection is far slower than the others: found by their positions, and taken over by another one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.events import Event
from bulkpresign.transfer.downloads.ranges import RangePart
from bulkpresign.transfer.downloads.slow_parts import SlowParts
from tests.servers.wire import RunningWire, Wire, start
from tests.support.events import retries_of

MIB = 1 << 20


def parts_of(count: int) -> list[RangePart]:
    return [RangePart(number + 1, number * 64 * MIB, (number + 1) * 64 * MIB, None, None) for number in range(count)]


def move(parts: list[RangePart], count: int) -> None:
    for part in parts:
        part.at += count


def test_a_part_that_lags_for_a_second_is_slow_once() -> None:
    slow, (lame, *others) = SlowParts(32), parts_of(4)
    found = []
    for _ in range(8):
        found.append(slow.look([lame, *others]))
        move(others, MIB)
        move([lame], MIB // 8)
    assert found == [[], [], [], [], [lame], [], [], []]


def test_parts_that_all_stall_are_not_slow() -> None:
    slow, parts = SlowParts(32), parts_of(4)
    for _ in range(4):
        slow.look(parts)
        move(parts, MIB)
    assert all(slow.look(parts) == [] for _ in range(20))


def test_a_part_that_is_nearly_done_is_left_alone() -> None:
    slow, (lame, *others) = SlowParts(32), parts_of(4)
    lame.at = lame.stop - MIB
    for _ in range(8):
        assert slow.look([lame, *others]) == []
        move(others, MIB)


def test_the_last_part_of_all_is_compared_with_those_before_it() -> None:
    slow, (lame, *others) = SlowParts(32), parts_of(4)
    for _ in range(3):
        slow.look([lame, *others])
        move([lame, *others], MIB)
    assert [slow.look([lame]) for _ in range(5)][-2:] == [[], [lame]]


@pytest.mark.parametrize("moved", [0, MIB // 4, MIB])
def test_slow_parts_that_outlast_the_others_are_compared_with_them(moved: int) -> None:
    """Whatever the last other part did at the last look before its end: most of those in flight are slow by then."""
    slow, (lame, lamer, last, *others) = SlowParts(32), parts_of(12)
    slow.look([lame, lamer, *others])
    move(others, MIB)
    slow.look([lame, lamer, *others])
    move([last], moved)
    slow.look([lame, lamer, last])
    assert [slow.look([lame, lamer]) for _ in range(3)] == [[], [lame, lamer], []]


def test_three_slow_parts_are_found_though_no_other_is_left() -> None:
    slow, (*lame, first, last) = SlowParts(32), parts_of(5)
    for _ in range(2):
        slow.look([*lame, first, last])
        move([first, last], MIB)
    assert [slow.look(lame) for _ in range(4)] == [[], [], lame, []]


def test_a_slow_part_is_found_where_each_look_sees_other_parts_that_have_just_begun() -> None:
    slow, (lame, *others) = SlowParts(32), parts_of(4)
    found = []
    for look in range(6):
        found.append(slow.look([lame, *others]))
        move([lame], MIB // 8)
        if look < 2:
            move(others, MIB)
        else:
            others = parts_of(4)[1:]
            move(others, MIB // 4)
    assert found == [[], [], [], [], [lame], []]


def test_a_slow_part_is_found_where_each_other_part_ends_before_the_next_look() -> None:
    slow, (lame,) = SlowParts(32), parts_of(1)
    found = []
    for _ in range(6):
        others = parts_of(3)
        move([lame], MIB // 8)
        move(others, MIB)
        found.append(slow.look([lame, *others]))
    assert found == [[], [], [], [lame], [], []]


def test_fewer_than_three_parts_do_not_tell_a_slow_part_from_a_slow_wire() -> None:
    slow, parts = SlowParts(2), parts_of(2)
    for count in [MIB] * 3 + [MIB // 8] * 9:
        move(parts, count)
        assert slow.look(parts) == []


def test_a_wire_that_becomes_slower_for_one_part_after_another_is_not_slow_parts() -> None:
    slow, parts = SlowParts(32), parts_of(9)
    for look in range(20):
        assert slow.look(parts) == []
        fast = parts[3 * max(0, look - 4) :]
        for part in parts:
            move([part], MIB if part in fast else MIB // 8)


@pytest.mark.parametrize(("count", "most"), [(60, 6), (20, 4)])
def test_no_more_than_a_tenth_of_the_parts_are_slow_but_four_can_be(count: int, most: int) -> None:
    slow, parts = SlowParts(count), parts_of(20)
    found = 0
    for _ in range(50):
        found += len(slow.look(parts))
        move(parts[8:], MIB)
    assert found == most


@pytest.fixture
def wire() -> Iterator[RunningWire]:
    #: One connection in ten moves 100 KB a second: a part of 8 MiB would take more than a minute.
    with start(Wire(connection_rate=20e6, slow_share=0.1, slow_rate=100e3, seed=3)) as running:
        yield running


@pytest.mark.slow
def test_a_slow_connection_does_not_hold_up_an_object(wire: RunningWire, tmp_path: Path) -> None:
    size, events = 128 * MIB, list[Event]()
    link = bp.Link("GET", f"{wire.endpoint_url}/b/{size}/a", {}, None, bp.ObjectRef("b", "a", size=size, path="a"))

    async def run() -> bp.Report:
        return await bp.get([link], to=tmp_path / "to", listeners=[events.append], attempts=1)

    report = asyncio.run(asyncio.wait_for(run(), 60))
    assert report.done == 1
    assert (tmp_path / "to/a").stat().st_size == size
    slow = retries_of(events)
    assert {event.code for event in slow} == {"SlowConnection"}
    assert 1 <= len(slow) <= 4
