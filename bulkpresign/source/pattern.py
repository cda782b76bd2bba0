"""Patterns over keys, as shells and other S3 tools have them.

`*` stands for any characters but `/`, `?` for one of these, `[a-z]` and `[!a-z]` for one of a set; `**` stands for any
characters, and `**/` for any number of segments. A pattern that ends in `/` is for everything below what it matches.
"""

import re

from bulkpresign.errors import ParameterError

_WILDCARDS = re.compile(r"[*?\[]")


class Pattern:
    """One pattern.

    `prefix` is what all its keys begin with; `base` is the prefix up to its last `/`: a key's path is what follows it.
    """

    def __init__(self, pattern: str) -> None:
        """Raises ParameterError for a range that runs backwards."""
        expression, literal = _translated(f"{pattern}**" if pattern.endswith("/") else pattern)
        self._matches = re.compile(expression, re.DOTALL).fullmatch
        self.prefix = pattern[:literal]
        self.base = self.prefix[: self.prefix.rfind("/") + 1]

    def matches(self, key: str) -> bool:
        """True for a key that the pattern is for."""
        return self._matches(key) is not None


def is_pattern(key: str) -> bool:
    """True where a key holds characters that stand for others; a `[` that nothing closes stands for itself."""
    return any(char.group() != "[" or _end_of_set(key, char.start()) for char in _WILDCARDS.finditer(key))


def _translated(pattern: str) -> tuple[str, int]:
    """A regular expression, and how many of the pattern's characters all keys begin with."""
    found: list[str] = []
    literal, at = len(pattern), 0
    while at < len(pattern):
        piece, end = _piece(pattern, at)
        if piece is None:
            piece = re.escape(pattern[at])
        else:
            literal = min(literal, at)
        found.append(piece)
        at = end
    return "".join(found), literal


def _piece(pattern: str, at: int) -> tuple[str | None, int]:
    """What stands at a place, None for a character that is itself; and where the next begins."""
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
    """Where a set ends that begins at a place, 0 where it does not. A `]` that comes first is one of its characters."""
    first = at + 2 if pattern[at + 1 : at + 2] in {"!", "^"} else at + 1
    return pattern.find("]", first + 1) + 1


def _set(body: str) -> str:
    is_negative = body[0] in "!^"
    chars, found, at = body[is_negative:], "", 0
    while at < len(chars):
        if chars[at + 1 : at + 2] == "-" and at + 2 < len(chars):
            if chars[at] > chars[at + 2]:
                raise ParameterError(f"the pattern's range {chars[at : at + 3]} runs backwards")
            found += f"{re.escape(chars[at])}-{re.escape(chars[at + 2])}"
            at += 3
        else:
            found += re.escape(chars[at])
            at += 1
    return f"(?!/)[{'^' if is_negative else ''}{found}]"
