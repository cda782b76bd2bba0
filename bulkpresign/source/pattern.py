"""Patterns of keys, as in shells and other S3 tools.

`*` matches any characters but `/`, `?` one character but `/`, `[a-z]` and `[!a-z]` one character of a set; `**` matches
any characters, and `**/` any number of segments. A pattern that ends in `/` matches everything below.
"""

import re

from bulkpresign.errors import ParameterError

_WILDCARDS = re.compile(r"[*?\[]")


class Pattern:
    """A pattern of keys.

    All keys that it matches start with `prefix`. `base` is the prefix up to its last `/`; the path of a key is the rest
    after `base`.
    """

    def __init__(self, pattern: str) -> None:
        """Raises ParameterError for a reversed range, such as `[z-a]`."""
        expression, literal = _regular_expression(f"{pattern}**" if pattern.endswith("/") else pattern)
        self._matches = re.compile(expression, re.DOTALL).fullmatch
        self.prefix = pattern[:literal]
        self.base = self.prefix[: self.prefix.rfind("/") + 1]

    def matches(self, key: str) -> bool:
        """True for a key that matches the pattern."""
        return self._matches(key) is not None


def is_pattern(key: str) -> bool:
    """True for a key with wildcards. A `[` without a `]` after it is not a wildcard."""
    return any(char.group() != "[" or _end_of_set(key, char.start()) for char in _WILDCARDS.finditer(key))


def _regular_expression(pattern: str) -> tuple[str, int]:
    """The regular expression of a pattern, and the number of characters before its first wildcard."""
    found: list[str] = []
    literal, at = len(pattern), 0
    while at < len(pattern):
        part, end = _wildcard(pattern, at)
        if part is None:
            part = re.escape(pattern[at])
        else:
            literal = min(literal, at)
        found.append(part)
        at = end
    return "".join(found), literal


def _wildcard(pattern: str, at: int) -> tuple[str | None, int]:
    """The expression of the wildcard at an index, None for a plain character; and the index after it."""
    if pattern.startswith("**", at):
        end = at + 2
        while pattern.startswith("*", end):
            end += 1
        if pattern.startswith("/", end) and (at == 0 or pattern[at - 1] == "/"):
            return "(?:.*/)?", end + 1
        return ".*", end
    if pattern[at] == "*":
        return "[^/]*", at + 1
    if pattern[at] == "?":
        return "[^/]", at + 1
    if pattern[at] == "[" and (end := _end_of_set(pattern, at)):
        return _set(pattern[at + 1 : end - 1]), end
    return None, at + 1


def _end_of_set(pattern: str, at: int) -> int:
    """The index after the set that starts at `at`, 0 if none does. A `]` at the start is a member of the set."""
    first = at + 2 if pattern[at + 1 : at + 2] in {"!", "^"} else at + 1
    return pattern.find("]", first + 1) + 1


def _set(body: str) -> str:
    is_negative = body[0] in "!^"
    chars, found, at = body[is_negative:], "", 0
    while at < len(chars):
        if chars[at + 1 : at + 2] == "-" and at + 2 < len(chars):
            if chars[at] > chars[at + 2]:
                raise ParameterError(f"the range {chars[at : at + 3]} of the pattern is reversed")
            found += f"{re.escape(chars[at])}-{re.escape(chars[at + 2])}"
            at += 3
        else:
            found += re.escape(chars[at])
            at += 1
    return f"(?!/)[{'^' if is_negative else ''}{found}]"
