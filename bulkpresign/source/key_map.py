"""Rewrites keys: a prefix by another, or by a regular expression."""

import re
from collections.abc import Callable, Sequence

from bulkpresign.errors import ParameterError

_SUBSTITUTION = re.compile(r"s/((?:[^/\\]|\\.)+)/((?:[^/\\]|\\.)*)/(g?)\Z")

Rule = Callable[[str], str]


class KeyMap:
    r"""Rewrites texts by rules, one after another in their order.

    `OLD=NEW` replaces the prefix `OLD` by `NEW`; either may be empty, and a text without the prefix stays.
    `s/REGEX/REPLACEMENT/` replaces the first match of a regular expression of Python, with `g` at its end each match;
    the replacement may have groups (`\1`), and `\/` is a slash of it.
    """

    def __init__(self, rules: Sequence[str] = ()) -> None:
        """Raises ParameterError for a rule of another form, and for a regular expression that is not valid."""
        self._rules = [_rule(text) for text in rules]
        self._text = " ".join(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __str__(self) -> str:
        return self._text

    def __call__(self, text: str) -> str:
        """The text, rewritten."""
        for rule in self._rules:
            text = rule(text)
        return text


def _rule(text: str) -> Rule:
    if found := _SUBSTITUTION.match(text):
        return _substitution(text, found[1], found[2], 0 if found[3] else 1)
    old, equals, new = text.partition("=")
    if not equals:
        raise ParameterError(f"map {text!r} is not of the form OLD=NEW or s/REGEX/REPLACEMENT/")
    return lambda key: new + key[len(old) :] if key.startswith(old) else key


def _substitution(text: str, regex: str, replacement: str, count: int) -> Rule:
    replacement = replacement.replace(r"\/", "/")
    try:
        pattern = re.compile(regex)
        pattern.sub(replacement, "")  # no match, but the replacement is parsed
    except (re.error, IndexError) as error:
        raise ParameterError(f"map {text!r} is not valid: {error}") from error
    return lambda key: pattern.sub(replacement, key, count)
