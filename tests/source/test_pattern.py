"""Patterns of keys: the keys that they match, and the prefix of a listing."""

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.source.location import Location
from bulkpresign.source.pattern import Pattern, is_pattern

KEYS = [
    *("a.csv", "b.csv", "a/x.csv", "a/y.txt", "a/b/x.csv", "a/b/c/x.csv", "a/[1].csv", "a/*.csv", "ab/x.csv"),
    *("a/é.csv", "a/x.csv.gz", "a/new\nline.csv", "a/^.csv", "a/-.csv"),
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("a/?.csv", ["a/x.csv", "a/*.csv", "a/é.csv", "a/^.csv", "a/-.csv"]),
        ("a/*.txt", ["a/y.txt"]),
        ("a*/x.csv", ["a/x.csv", "ab/x.csv"]),
        ("a/**/x.csv", ["a/x.csv", "a/b/x.csv", "a/b/c/x.csv"]),
        ("**/x.csv", ["a/x.csv", "a/b/x.csv", "a/b/c/x.csv", "ab/x.csv"]),
        ("a/b**", ["a/b/x.csv", "a/b/c/x.csv"]),
        ("a/b***csv", ["a/b/x.csv", "a/b/c/x.csv"]),
        ("a?b/x.csv", []),
        ("a[b/]x.csv", []),
        ("a/*/", ["a/b/x.csv", "a/b/c/x.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("[!a].csv", ["b.csv"]),
        ("[^a].csv", ["b.csv"]),
        ("a/[w-y].csv", ["a/x.csv"]),
        ("a/[!w-z*^é-].csv", []),
        ("a/[]x].csv", ["a/x.csv"]),
        ("a/[-^].csv", ["a/^.csv", "a/-.csv"]),
        ("a/[[]1].csv", ["a/[1].csv"]),
        ("a/n*.csv", ["a/new\nline.csv"]),
        ("a/x.csv*", ["a/x.csv", "a/x.csv.gz"]),
        ("A/*.csv", []),
    ],
)
def test_what_a_pattern_matches(pattern: str, expected: list[str]) -> None:
    assert is_pattern(pattern)
    assert [key for key in KEYS if Pattern(pattern).matches(key)] == expected


@pytest.mark.parametrize("key", ["a/b.csv", "a[b", "a]b[", "a+(b).csv", "a\\b", "{a,b}", "[]"])
def test_keys_without_wildcards(key: str) -> None:
    assert not is_pattern(key)
    assert Location.parse(f"s3://bucket/{key}", literal=False) == Location("bucket", key)


@pytest.mark.parametrize(
    ("pattern", "prefix", "base"),
    [
        ("*", "", ""),
        ("a/b*.csv", "a/b", "a/"),
        ("a/b/[x]/c", "a/b/", "a/b/"),
        ("a[/b?", "a[/b", "a[/"),
        ("a/**/x", "a/", "a/"),
        ("ab?/", "ab", ""),
    ],
)
def test_the_prefix_and_base_of_a_pattern(pattern: str, prefix: str, base: str) -> None:
    assert (Pattern(pattern).prefix, Pattern(pattern).base) == (prefix, base)


def test_a_reversed_range_is_refused() -> None:
    with pytest.raises(ParameterError, match="the range z-a of the pattern is reversed"):
        Location.parse("s3://bucket/[z-a]", literal=False)


def test_a_location_is_literal_by_default() -> None:
    assert Location.parse("s3://bucket/a*/").is_prefix
    assert not Location.parse("s3://bucket/a*/", literal=False).is_prefix
