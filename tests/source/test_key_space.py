"""Guesses of where the next keys are: points in order, under the prefix, and at the right distance for usual keys."""

import random
from bisect import bisect
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.source.key_space import points_after

ANY_KEYS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, unique=True)


@given(keys=ANY_KEYS, prefix=st.sampled_from(["", "a", "d/", "a-"]), count=st.integers(0, 20))
@example(keys=["-", "."], prefix="", count=1)
@example(keys=["1", "2"], prefix="", count=20)
def test_points_are_in_order_and_under_the_prefix(keys: list[str], prefix: str, count: int) -> None:
    keys = sorted(prefix + key for key in keys)
    points = points_after(keys, prefix, count)
    assert len(points) <= count
    assert all(before < point for before, point in pairwise([keys[-1], *points]))
    assert all(point.startswith(prefix) and "/" not in point[len(prefix) :] for point in points)


RANDOM = random.Random(3)
USUAL = {
    "numbers": [f"{n:08}-name.parquet" for n in range(100_000)],
    "carried numbers": [f"img_{n:05}.jpg" for n in range(9000, 60_000)],
    "parts": [f"part-{n:05}-7f3e-c000.snappy.parquet" for n in range(80_000)],
    "hashes": sorted(f"{RANDOM.getrandbits(128):032x}.json" for _ in range(100_000)),
    "few hex digits": sorted({f"{RANDOM.getrandbits(20):05X}" for _ in range(100_000)}),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_keys_are_about_a_page_apart(name: str) -> None:
    keys = USUAL[name]
    for at in range(0, len(keys) - 20_000, 7100):
        points = points_after(keys[at : at + 1000], "", 15)
        assert len(points) == 15
        found = [bisect(keys, point) for point in points]
        least = 700 if name in {"hashes", "few hex digits"} else 998  # keys with even distances fill a page
        assert all(least <= after - before <= 1000 for before, after in pairwise([at + 1000, *found])), (at, points)


@pytest.mark.parametrize("keys", [["a"], ["a/b/1", "a/b/2"], ["x", "x-", "x."], ["a/1", "b/2", "c/3"]], ids=" ".join)
def test_keys_that_tell_nothing(keys: list[str]) -> None:
    assert points_after(keys, "", 5) == []
