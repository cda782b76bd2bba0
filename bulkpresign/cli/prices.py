"""Parses the prices of a plan: `get,head=0.0004`, `gb=0.09`."""

import re
from collections.abc import Iterable

import click

from bulkpresign.model import PRICED_UNITS, REQUEST_KINDS

_NAMES = {name.lower(): name for name in (*REQUEST_KINDS, *PRICED_UNITS)}
_AMOUNT = re.compile(r"\d+(\.\d+)?", re.ASCII)


def prices_of(given: Iterable[str]) -> dict[str, float]:
    """The prices of `--price` options, by the names that a plan has for them. Raises BadParameter."""
    prices: dict[str, float] = {}
    for text in given:
        kinds, equals, amount = text.partition("=")
        if not equals or not _AMOUNT.fullmatch(amount):
            raise _bad(f"{text!r} is not of the form KIND=AMOUNT; examples: get,head=0.0004, gb=0.09")
        for kind in (kind.strip().lower() for kind in kinds.split(",")):
            if kind not in _NAMES:
                raise _bad(f"{kind!r} is not one of {', '.join(_NAMES)}")
            if _NAMES[kind] in prices:
                raise _bad(f"{kind} has two prices")
            prices[_NAMES[kind]] = float(amount)
    if PRICED_UNITS.keys() <= prices.keys():
        raise _bad("gb and gib are two units for the same bytes: leave one out")
    return prices


def _bad(problem: str) -> click.BadParameter:
    return click.BadParameter(problem, param_hint="--price")
