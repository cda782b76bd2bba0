"""The time as the servers see it."""

from datetime import datetime, timedelta

from bulkpresign.model import utc_now
from bulkpresign.transfer.dates import unix_time

#: The Date header has whole seconds and the answer was under way: less than this is no skew.
_LEAST_SKEW = timedelta(seconds=2)

#: A clock that is off by more than links live tells nothing.
_MOST_SKEW = timedelta(days=7)


class Clock:
    """Tells whether a lease is over by the server's time, which it learns from the Date header of answers."""

    def __init__(self) -> None:
        self.skew = timedelta()
        self.is_set = False

    def now(self) -> datetime:
        """The present, aware and in UTC."""
        return utc_now() + self.skew

    def learn(self, date: str | None) -> None:
        """Takes a Date header (RFC 9110, 6.6.1) for the server's present; one that is none is passed over."""
        told = unix_time(date)
        if told is None:
            return
        self.is_set = True
        skew = timedelta(seconds=told - utc_now().timestamp())
        if abs(skew) > _MOST_SKEW:
            return
        self.skew = skew if abs(skew) >= _LEAST_SKEW else timedelta()
