"""Dates of HTTP, and the servers' time."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.http.clock import Clock
from bulkpresign.http.dates import unix_time
from bulkpresign.model import Link, utc_now
from tests.support.dates import date_in


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


HUGE = "9" * 5000


@pytest.mark.parametrize(
    "date",
    [
        f"Sun, {HUGE} Nov 1994 08:49:37 GMT",
        f"Sun, 06 Nov {HUGE} 08:49:37 GMT",
        f"Sun, 06 Nov 1994 {HUGE}:49:37 GMT",
        "Sun, 99999999999999999999999999 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0001 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, 06 Nov 10000 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 19_4 08:49:37 GMT",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT",
    ],
)
def test_a_date_that_no_calendar_has_is_none(date: str) -> None:
    assert unix_time(date) is None


@pytest.mark.parametrize(
    ("off", "told"),
    [
        (timedelta(hours=-2), "2 h ahead of"),
        (timedelta(hours=2), "2 h behind"),
        (timedelta(minutes=-90), "1 h 30 min ahead of"),
        (timedelta(seconds=45), "45 s behind"),
        (timedelta(days=-366), "366 d ahead of"),
        (timedelta(days=-2, hours=-3, minutes=-4), "2 d 3 h ahead of"),
    ],
)
def test_the_difference_is_told(off: timedelta, told: str) -> None:
    clock = Clock()
    clock.skew = off
    assert clock.difference == f"this machine's clock is {told} the server's"


@pytest.mark.parametrize("seconds", [-20, 0, 20])
def test_a_difference_that_ends_no_link_is_not_told(seconds: int) -> None:
    clock = Clock()
    clock.learn(date_in(seconds=seconds))
    assert clock.difference == ""


@pytest.mark.parametrize(("days", "counts"), [(6, True), (8, False), (-8, True), (-3000, True)])
def test_a_server_far_behind_is_believed_and_one_far_ahead_is_not(days: int, counts: bool) -> None:
    """By the first a link is sent at worst, by the second a good one would not be."""
    clock = Clock()
    clock.learn(date_in(days=days))
    assert (clock.skew != timedelta(), clock.is_set) == (counts, True)


@pytest.mark.parametrize("hours", [-1, 1, 24])
def test_a_skew_is_learned(hours: int) -> None:
    clock = Clock()
    clock.learn(date_in(hours=hours))
    assert clock.is_set
    assert abs(clock.now() - utc_now() - timedelta(hours=hours)) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("server", "hours_left", "expired"),
    [("http://told", 23, True), ("http://told", 25, False), ("http://other", 23, False), ("http://other", -1, True)],
)
def test_the_time_of_one_server_does_not_end_links_of_another(server: str, hours_left: int, expired: bool) -> None:
    clock = Clock()
    link = Link("GET", f"{server}/k", {}, utc_now() + timedelta(hours=hours_left))
    assert not clock.has_expired(link)
    clock.learn(date_in(hours=24), "http://told/a?X-Amz-Signature=s")
    assert clock.has_expired(link) is expired


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
