"""Recognizes names of files that a spreadsheet took for numbers, dates, truth values or formulas.

A key stays text if it has a prefix, so its end tells the name. Only names that a spreadsheet rewrites so are compared:
any other path is the name that its row gives the file.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from bulkpresign.manifest.times import is_local

#: The errors of formulas, in the words of any language: #NAME?, #¿NOMBRE?, #DIV/0!, #N/A, #NV.
_FORMULA_ERROR = re.compile(r"#(?:¿?[^\W\d_][\w/]*[!?]|N/?[A-Z])\Z")
#: The same as LibreOffice has them: Err:509, Err :509.
_NUMBERED_ERROR = re.compile(r"[^\W\d_]{3,6}\s?:5\d\d\Z")
_FORMULA = re.compile(r"[=+@-]")
_NUMBER = re.compile(r"[+-]?\d{1,300}(?:[.,]\d{1,300})?(?:[Ee][+-]?\d{1,3})?\Z", re.ASCII)
_SHORTENED = Decimal("1e-5")  # a spreadsheet writes six digits of a long number, as 1.23457E+17
#: It keeps so many digits of a number, and writes zeros for the others.
_KEPT_DIGITS = 15
_ROUNDED = Decimal("1e-14")
_TRUTH_VALUES = frozenset({"true", "false"})
_MOST_SEGMENTS = 3
#: Names that become dates, with up to three segments: 2026-01-31, 1-2, 3/4.
_TYPED_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}(?:[-/.]\d{1,4})?\Z", re.ASCII)
#: Those with the name of a month: Jan-26, 26 Jan, MARCH1.
_TYPED_MONTH = re.compile(r"(?:([A-Za-z]{3,9})[-/ ]?(\d{1,4})|\d{1,2}[-/ ]?([A-Za-z]{3,9}))\Z", re.ASCII)
_MONTHS = frozenset({"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"})
#: Dates as a spreadsheet shows them with the name of the month: 02. Jan, 4-Mar, Jan-26, 1月2日.
_SHOWN_DATE = re.compile(r"(?:\d{1,2}\.?[- ]([^\W\d_]{3,9})\.?|([^\W\d_]{3,9})-\d{2,4}|\d{1,2}月\d{1,2}日)\Z")
#: A number beside a month is a year from here on, else the day, which a spreadsheet shows first.
_FIRST_YEAR = 32


def name_before(path: str, key: str) -> str | None:
    """The name that a spreadsheet made this path of, by the end of the key. None where it made nothing of it."""
    formula = next(filter(_FORMULA.match, _ends(key)), None)
    if _FORMULA_ERROR.match(path) and path.isupper():
        return formula or key.rpartition("/")[2]
    if formula and _NUMBERED_ERROR.match(path):
        return formula
    return next((name for name in _ends(key) if _is_rewritten(path, name)), None)


def _ends(key: str) -> Iterator[str]:
    """The last three segments of a key, the last two, and the last one."""
    segments = key.split("/")
    return ("/".join(segments[-count:]) for count in range(min(_MOST_SEGMENTS, len(segments)), 0, -1))


def _is_rewritten(path: str, name: str) -> bool:
    if name.lower() in _TRUTH_VALUES:
        return path.lower() == name.lower()
    if _NUMBER.match(path) and _NUMBER.match(name):
        return _is_same_number(path, name)
    if _TYPED_DATE.match(name):
        return is_local(path) or _SHOWN_DATE.match(path) is not None
    return _is_same_month(path, name)


def _is_same_number(path: str, name: str) -> bool:
    shown, typed = (Decimal(text.replace(",", ".")) for text in (path, name))
    tolerance = Decimal(0)
    if "E" in path:
        tolerance = _SHORTENED
    elif _digits(path) <= _KEPT_DIGITS < _digits(name):
        tolerance = _ROUNDED
    return shown == typed or abs(shown - typed) <= tolerance * abs(typed)


def _digits(number: str) -> int:
    """The significant digits of a number without an exponent."""
    return len(re.sub("[-+.,]", "", number).strip("0"))


def _is_same_month(path: str, name: str) -> bool:
    """True for a name with a month, and a date with the same one: in letters, or in figures if it is English."""
    typed = _TYPED_MONTH.match(name)
    if typed is None:
        return False
    month = (typed[1] or typed[3])[:3].lower()
    if is_local(path):
        return month in _MONTHS
    shown = _SHOWN_DATE.match(path)
    if shown is None or (shown[1] or shown[2] or "")[:3].lower() != month:
        return False
    return shown[2] is None or (typed[2] is not None and int(typed[2]) >= _FIRST_YEAR)
