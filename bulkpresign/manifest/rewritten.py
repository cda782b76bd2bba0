"""Recognizes names of files that a spreadsheet took for numbers, dates, truth values or formulas.

A key stays text if it has a prefix, so its end tells the name. Only names that a spreadsheet rewrites so are compared:
any other path is the name that its row gives the file.
"""

import re
from collections.abc import Iterator
from math import isclose

from bulkpresign.manifest.times import is_local

_FORMULA_ERRORS = frozenset({"#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#N/A", "#NUM!", "#NULL!"})
_NUMBER = re.compile(r"[+-]?\d{1,300}(?:[.,]\d{1,300})?(?:[Ee][+-]?\d{1,3})?\Z", re.ASCII)
_ROUNDED = 1e-5  # a spreadsheet writes six digits of a long number, as 1.23457E+17
_TRUTH_VALUES = frozenset({"true", "false"})
#: Names that become dates, with up to three segments: 2026-01-31, 1-2, 3/4, Jan-26.
_TYPED_DATE = re.compile(
    r"(?:\d{1,4}[-/.]\d{1,2}(?:[-/.]\d{1,4})?|[A-Za-z]{3,9}[-/ ]\d{1,4}|\d{1,2}[-/ ][A-Za-z]{3,9})\Z", re.ASCII
)
_MOST_SEGMENTS = 3
#: Dates as a spreadsheet shows them with the name of the month: 02. Jan, 4-Mar, Jan-26.
_SHOWN_DATE = re.compile(r"(?:\d{1,2}\.?[- ][^\W\d_]{3,9}\.?|[^\W\d_]{3,9}-\d{2,4})\Z")


def name_before(path: str, key: str) -> str | None:
    """The name that a spreadsheet made this path of, by the end of the key. None where it made nothing of it."""
    if path in _FORMULA_ERRORS:
        return key.rpartition("/")[2]
    return next((name for name in _ends(key) if _is_rewritten(path, name)), None)


def _ends(key: str) -> Iterator[str]:
    """The last three segments of a key, the last two, and the last one."""
    segments = key.split("/")
    return ("/".join(segments[-count:]) for count in range(min(_MOST_SEGMENTS, len(segments)), 0, -1))


def _is_rewritten(path: str, name: str) -> bool:
    if name.lower() in _TRUTH_VALUES:
        return path.lower() == name.lower()
    if _NUMBER.match(path) and _NUMBER.match(name):
        tolerance = _ROUNDED if "E" in path else 0
        return isclose(float(path.replace(",", ".")), float(name.replace(",", ".")), rel_tol=tolerance)
    return _TYPED_DATE.match(name) is not None and (is_local(path) or _SHOWN_DATE.match(path) is not None)
