"""Cells of the column `expires_at`."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import expiry_of, links_of
from bulkpresign.manifest.times import EARLIEST, LATEST, is_local
from bulkpresign.model import Link, utc_now
from bulkpresign.tables.rows import rows_of_mappings
from tests.fuzz.settings import FUZZ

SIGNED = "https://h/k?X-Amz-Date=20260131T120000Z&X-Amz-Expires=3600"
END = datetime(2026, 1, 31, 13, tzinfo=UTC)
DIGITS = st.integers(0, 9999).map(str) | st.integers(0, 31).map("{:02}".format)
#: Text that looks like a time, and any other.
CELLS = st.lists(DIGITS | st.sampled_from([*"-./: TZ+,", "PM", "a.m.", "\u202f"]), max_size=14).map("".join) | st.text()


def link_of(cell: str, url: str = SIGNED) -> Link | None:
    try:
        (link,) = links_of(rows_of_mappings("rows", [{"url": url, "expires_at": cell}], [1]))
    except ManifestError as error:
        assert (error.line, error.column) == (1, "expires_at")
        return None
    return link


@FUZZ
@given(cell=CELLS)
@example(cell="0001-01-01T00:00:00Z")
@example(cell="9999-12-31T23:59:59Z")
@example(cell="0001-01-01T00:00:00+23:59")
@example(cell="29.02.2026 12:00")
def test_a_cell_is_a_moment_or_refused(cell: str) -> None:
    link = link_of(cell)
    if link is None:
        return
    assert link.expires_at is not None
    assert EARLIEST <= link.expires_at <= LATEST
    link.expires_by(utc_now())
    if is_local(cell) or not cell:
        assert link.expires_at == END
    else:
        assert link.expires_at == datetime.fromisoformat(cell)


@FUZZ
@given(moment=st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_a_moment_is_read_as_it_is_written(moment: datetime) -> None:
    link = link_of(moment.isoformat())
    if 1970 < moment.year < 9998:
        assert link is not None
        assert link.expires_at == moment.astimezone(UTC)


@FUZZ
@given(
    moment=st.datetimes(END.replace(year=1000, tzinfo=None)),
    order=st.sampled_from(["%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%Y-%m-%d %H:%M:%S"]),
)
def test_a_local_date_is_never_a_moment_by_itself(moment: datetime, order: str) -> None:
    cell = moment.strftime(order)
    assert is_local(cell)
    link = link_of(cell)
    assert link is not None
    assert link.expires_at == END
    assert link_of(cell, "https://h/k") is None


@FUZZ
@given(date=st.text(st.sampled_from("0123456789TZ"), max_size=18), seconds=st.integers(0, 10**12))
@example(date="00010101T000000Z", seconds=0)
@example(date="99991231T235959Z", seconds=999_999_999)
def test_any_url_tells_an_end_that_can_be_or_none(date: str, seconds: int) -> None:
    url = f"https://h/k?X-Amz-Date={date}&X-Amz-Expires={seconds}"
    end = expiry_of(url)
    if end is not None:
        assert EARLIEST <= end <= LATEST
        assert end - timedelta(seconds=seconds) == datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    Link("GET", url, {}, end).expires_by(utc_now())
