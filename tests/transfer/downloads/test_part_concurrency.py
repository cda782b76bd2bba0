"""How many lanes pay, on links that are figures."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from bulkpresign.transfer.downloads.part_concurrency import WINDOW, PartConcurrencyTuner, part_concurrency_within

MIB = 1 << 20
#: Seconds from one chunk to the next.
STEP = 0.02


@dataclass(eq=False)
class Object:
    """One that has so many parts left."""

    tuner: PartConcurrencyTuner
    parts: int = 10**9

    @property
    def in_flight(self) -> int:
        return min(self.tuner.allowed, self.parts)


class Link:
    """Bytes a second by the number of parts in flight, give or take some noise."""

    def __init__(
        self, tuner: PartConcurrencyTuner, rate: Callable[[int], float], objects: int = 1, noise: float = 0.0
    ) -> None:
        self.tuner, self.rate, self.noise = tuner, rate, noise
        self.objects = [Object(tuner) for _ in range(objects)]
        tuner.objects.update(self.objects)
        self.rng = random.Random(5)
        self.now = 100.0
        self.moved = 0.0

    def run(self, seconds: float) -> list[int]:
        """How many lanes there were, a window at a time."""
        seen = []
        for n in range(round(seconds / STEP)):
            bytes_moved = self.rate(self.tuner.in_flight) * STEP * self.rng.uniform(1 - self.noise, 1 + self.noise)
            self.tuner.bytes += round(bytes_moved)
            self.moved += bytes_moved
            self.now += STEP
            self.tuner.update(self.now)
            if n % round(WINDOW / STEP) == 0:
                seen.append(self.tuner.allowed)
        return seen


def narrow(in_flight: int) -> float:
    """A single connection is the limit."""
    return 10.0 * MIB * in_flight


def loopback(in_flight: int) -> float:
    """What FACTS tell: 1,246 MB/s by one, 841 by eight."""
    return 1250e6 - 55e6 * (in_flight - 1)


def capped(in_flight: int) -> float:
    return min(10.0 * MIB * in_flight, 60.0 * MIB)


@pytest.mark.parametrize("most", [2, 3, 8, 16])
def test_a_link_whose_single_connection_is_the_limit_gets_the_most(most: int) -> None:
    tuner = PartConcurrencyTuner(most)
    link = Link(tuner, narrow)
    assert tuner.allowed == 1
    seen = link.run(8)
    assert seen == sorted(seen)
    assert tuner.allowed == most
    link.moved = 0.0
    link.run(600)
    assert link.moved > 600 * narrow(most) * 0.98, "trials of fewer lanes cost next to nothing"
    assert tuner.allowed == most


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5])
def test_a_loopback_stays_at_one(noise: float) -> None:
    tuner = PartConcurrencyTuner(8)
    seen = Link(tuner, loopback, noise=noise).run(600)
    assert max(seen) <= 2
    assert seen.count(2) < len(seen) / 20


def test_it_stops_where_more_bring_no_more() -> None:
    tuner = PartConcurrencyTuner(64)
    link = Link(tuner, capped, noise=0.2)
    link.run(10)
    assert tuner.allowed == 8
    seen = link.run(600)
    assert seen.count(8) > len(seen) * 0.9


def test_many_objects_need_no_lanes_more() -> None:
    tuner = PartConcurrencyTuner(8)
    seen = Link(tuner, capped, objects=6).run(100)
    assert max(seen) == 2
    assert seen.count(1) > len(seen) * 0.9


def test_it_goes_back_once_fewer_bring_as_much() -> None:
    tuner = PartConcurrencyTuner(8)
    link = Link(tuner, narrow)
    link.run(8)
    assert tuner.allowed == 8
    link.rate = loopback
    link.run(60)
    assert tuner.allowed == 1


def test_a_trial_that_no_object_has_parts_for_tells_nothing() -> None:
    tuner = PartConcurrencyTuner(8)
    link = Link(tuner, narrow)
    link.objects[0].parts = 1
    link.run(20)
    link.objects[0].parts = 100
    link.run(8)
    assert tuner.allowed == 8, "what could not be tried has not failed"


def test_time_without_large_objects_tells_nothing() -> None:
    tuner = PartConcurrencyTuner(8)
    link = Link(tuner, loopback)
    for _ in range(30):
        link.run(WINDOW + 2 * STEP)
        link.now += 60
    assert tuner.allowed <= 2
    link.rate = narrow
    link.run(20)
    assert tuner.allowed == 8


def test_one_is_the_most() -> None:
    tuner = PartConcurrencyTuner(1)
    assert set(Link(tuner, narrow).run(60)) == {1}


@pytest.mark.parametrize(
    ("most", "concurrency", "open_files", "tuner"),
    [(8, 64, 1024, 7), (8, 64, 65_536, 8), (8, 64, None, 8), (8, 512, 1024, 1), (8, 64, 256, 1), (16, 1, 256, 16)],
)
def test_no_more_lanes_than_files_may_be_open(most: int, concurrency: int, open_files: int | None, tuner: int) -> None:
    assert part_concurrency_within(most, concurrency, open_files) == tuner
