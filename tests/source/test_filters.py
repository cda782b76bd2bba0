"""Filters: what passes, and which errors they have."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import InputError, ManifestError, ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.source.filters import Candidates, Filters, Sample, Selector, candidates_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def error(index: int, problem: str, column: str) -> InputError:
    return ManifestError(problem, file="keys.csv", line=index + 2, column=column)


def refs(*keys: str, size: int | None = None, time: object = None) -> list[ObjectRef]:
    return [ObjectRef("b-1", key, size=size, extra={"last_modified": time}) for key in keys]


def kept(given: Sequence[ObjectRef], **filters: Any) -> list[str]:
    found = Selector(Filters(**filters)).kept(candidates_of(given, [ref.key for ref in given], error))
    return [given[index].key for index in found]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a.csv", "b/a.csv", "b/c/a.csv", "b/a.txt", "b/"]),
        ({"include": ["*.csv"]}, ["a.csv", "b/a.csv", "b/c/a.csv"]),
        ({"include": ["b/*.csv"]}, ["b/a.csv"]),
        ({"include": ["b/**.csv"]}, ["b/a.csv", "b/c/a.csv"]),
        ({"include": ["**/c/*", "*.txt"]}, ["b/c/a.csv", "b/a.txt"]),
        ({"exclude": ["b/"]}, ["a.csv"]),
        ({"exclude": ["*.txt", "c/*"]}, ["a.csv", "b/a.csv", "b/c/a.csv", "b/"]),
        ({"include": ["a.*"], "exclude": ["b/*/*"]}, ["a.csv", "b/a.csv", "b/a.txt"]),
        ({"include": ["?.[ct]*"]}, ["a.csv", "b/a.csv", "b/c/a.csv", "b/a.txt"]),
    ],
)
def test_globs(filters: dict[str, Any], expected: list[str]) -> None:
    assert kept(refs("a.csv", "b/a.csv", "b/c/a.csv", "b/a.txt", "b/"), **filters) == expected


def test_sizes_are_inclusive() -> None:
    sized = [ObjectRef("b-1", str(size), size=size) for size in range(5)]
    assert kept(sized, min_size=2) == ["2", "3", "4"]
    assert kept(sized, max_size=0) == ["0"]
    assert kept(sized, min_size=1, max_size=3) == ["1", "2", "3"]


@pytest.mark.parametrize("given", [NOON.date(), "2026-01-31", 5])
@pytest.mark.parametrize("name", ["newer_than", "older_than"])
def test_times_of_other_types(name: str, given: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} is a datetime with a time zone, not {type(given).__name__}"):
        Filters(**{name: given})


def test_newer_and_older_share_no_object_and_leave_none_out() -> None:
    times = ["2026-01-31T11:59:59.999Z", "2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31T12:00:01Z"]
    timed = [ref for number, time in enumerate(times) for ref in refs(str(number), time=time)]
    assert kept(timed, newer_than=NOON) == ["1", "2", "3"]
    assert kept(timed, older_than=NOON) == ["0"]
    assert kept(timed, newer_than=NOON, older_than=NOON + timedelta(seconds=1)) == ["1", "2"]


@pytest.mark.parametrize(
    ("filters", "column"),
    [({"min_size": 1}, "size"), ({"max_size": 1}, "size"), ({"older_than": NOON}, "last_modified")],
)
def test_a_value_that_is_missing_is_an_error_with_its_row(filters: dict[str, Any], column: str) -> None:
    with pytest.raises(ManifestError, match=f"keys.csv:3: column {column}: a filter by .* and there is none") as caught:
        kept(refs("a.txt", "b.csv"), include=["*.csv"], **filters)
    assert caught.value.line == 3


@pytest.mark.parametrize("time", ["2026-01-31T12:00:00", "31.1.2026", "0001-01-01T00:00:00+01:00", "", 5, None])
def test_what_is_no_time_with_a_zone_is_none(time: object) -> None:
    with pytest.raises(ManifestError, match="there is none"):
        kept(refs("a", time=time), newer_than=NOON)


def test_without_an_error_an_unknown_value_passes() -> None:
    objects = Candidates(["a"], lambda: [None], lambda: [None], None)
    assert list(Selector(Filters(min_size=1, newer_than=NOON)).kept(objects)) == [0]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"min_size": -1}, "min_size of -1 is not at least 0"),
        ({"limit": 0}, "limit of 0 is not at least 1"),
        ({"sample": 0}, "sample of 0 is not at least 1"),
        ({"min_size": 2, "max_size": 1}, "no object has at least 2 and at most 1 bytes"),
        ({"newer_than": NOON, "older_than": NOON}, "no object is newer"),
        ({"newer_than": NOON.replace(tzinfo=None)}, "newer_than of 2026-01-31T12:00:00 has no time zone"),
        ({"include": "*.csv"}, "include is not a list of globs"),
        ({"exclude": [""]}, "exclude is not a list of globs"),
        (
            {"exclude": ["*"], "include": ["*.csv"]},
            "exclude '\\*' leaves out every object; leave it out: include alone",
        ),
        ({"limit": 1, "sample": 1}, "limit and sample don't go together"),
    ],
)
def test_filters_that_are_not_valid(filters: dict[str, Any], problem: str) -> None:
    with pytest.raises(ParameterError, match=problem):
        Filters(**filters)


def test_a_glob_that_is_not_valid() -> None:
    with pytest.raises(ParameterError, match="range z-a of the pattern is reversed"):
        Selector(Filters(exclude=["[z-a]"]))


@given(st.integers(1, 30), st.lists(st.integers(0, 20), max_size=10), st.integers())
def test_a_sample_is_the_same_in_batches_of_any_size(count: int, batches: list[int], seed: int) -> None:
    whole, parts, total = Sample[int](count, seed), Sample[int](count, seed), sum(batches)
    whole.add(range(total))
    numbers = iter(range(total))
    for size in batches:
        parts.add([next(numbers) for _ in range(size)])
    drawn = whole.drawn()
    assert drawn == parts.drawn() == sorted(set(drawn))
    assert len(drawn) == min(count, total)


def test_a_sample_is_uniform() -> None:
    """Chi-squared of 20 items that 6,000 samples of 5 draw: its quantile for one in a million is 63."""
    seeds = random.Random(1)
    found: Counter[int] = Counter()
    for _ in range(6000):
        sample = Sample[int](5, seeds.getrandbits(64))
        sample.add(range(20))
        found.update(sample.drawn())
    assert sum((found[item] - 1500) ** 2 / 1500 for item in range(20)) < 63
