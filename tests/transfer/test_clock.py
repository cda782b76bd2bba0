"""Dates of HTTP, and the servers' time."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.model import utc_now
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.dates import unix_time


def date_in(**ahead: float) -> str:
    return format_datetime(utc_now() + timedelta(**ahead), usegmt=True)


@given(st.integers(0, 7_258_118_400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_a_date_is_what_the_standard_library_says(moment: datetime) -> None:
    date = format_datetime(moment, usegmt=True)
    assert unix_time(date) == parsedate_to_datetime(date).timestamp()


def test_the_date_of_the_rfc() -> None:
    assert unix_time("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777


@pytest.mark.parametrize(
    "date",
    [None, "", "soon", "Sun, 06 Nov 1994", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT", "x" * 40],
)
def test_what_is_no_date_is_none_and_teaches_nothing(date: str | None) -> None:
    clock = Clock()
    assert unix_time(date) is None
    clock.learn(date)
    assert (clock.is_set, clock.skew) == (False, timedelta())


@given(st.text(max_size=60))
def test_any_text_is_a_date_or_none(text: str) -> None:
    Clock().learn(text)


@pytest.mark.parametrize("hours", [-1, 1, 24])
def test_a_skew_is_learned(hours: int) -> None:
    clock = Clock()
    clock.learn(date_in(hours=hours))
    assert clock.is_set
    assert abs(clock.now() - utc_now() - timedelta(hours=hours)) < timedelta(seconds=2)


@pytest.mark.parametrize("seconds", [-0.9, 0, 1.9])
def test_less_than_two_seconds_are_no_skew(seconds: float) -> None:
    clock = Clock()
    clock.learn(date_in(seconds=seconds))
    assert (clock.is_set, clock.skew) == (True, timedelta())


def test_a_clock_that_was_set_right_is_right_again() -> None:
    clock = Clock()
    clock.learn(date_in(hours=1))
    clock.learn(date_in())
    assert clock.skew == timedelta()


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_a_date_at_the_end_of_time_does_not_break_it(date: str) -> None:
    clock = Clock()
    clock.learn(date)
    assert clock.now() >= utc_now() - timedelta(seconds=5)
