"""Rules that rewrite keys, with `str` and `re` as oracles."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ParameterError
from bulkpresign.source.key_map import KeyMap

TEXTS = st.text(st.characters(exclude_characters="=", exclude_categories=["Cs"]))


@given(TEXTS, TEXTS, TEXTS)
def test_a_prefix_is_replaced(old: str, new: str, rest: str) -> None:
    assert KeyMap([f"{old}={new}"])(old + rest) == new + rest


@given(TEXTS.filter(bool), TEXTS, TEXTS)
def test_a_text_without_the_prefix_stays(old: str, new: str, text: str) -> None:
    assert KeyMap([f"{old}={new}"])(text) == (text if not text.startswith(old) else new + text.removeprefix(old))


@pytest.mark.parametrize(
    ("rule", "text", "rewritten"),
    [
        ("s/a/b/", "aa", "ba"),
        ("s/a/b/g", "aa", "bb"),
        (r"s/^(\d+)\/(.*)$/\2-\1/", "2026/x", "x-2026"),
        (r"s/-/\//g", "a-b-c", "a/b/c"),
        ("s/x//", "axb", "ab"),
        ("s/a/=/", "a", "="),
        ("s/a=b/c", "s/ax", "b/cx"),  # a prefix
    ],
)
def test_rules(rule: str, text: str, rewritten: str) -> None:
    assert KeyMap([rule])(text) == rewritten


def test_rules_apply_one_after_another() -> None:
    assert KeyMap(["a=b", "b=c", "s/c$/d/"])("ac") == "cd"
    assert KeyMap([])("a") == "a"
    assert not KeyMap([])


@pytest.mark.parametrize("rule", ["", "a", "s/a/b", "s/(/b/", r"s/a/\1/", r"s/a/\g<b>/", "s//b/"])
def test_what_is_no_rule(rule: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(f"map {rule!r} is not")):
        KeyMap([rule])
