"""The time as the servers see it."""

from datetime import datetime, timedelta

from bulkpresign.http.dates import unix_time
from bulkpresign.model import utc_now

#: The Date header has whole seconds and the answer was under way: less than this is no skew.
_LEAST_SKEW = timedelta(seconds=2)

#: A server that is further ahead than links live is wrong itself. One that is behind costs a request at most: a link
#: that is over is sent, and refused.
_MOST_AHEAD = timedelta(days=7)

#: Less than this ends no link early, and is not told.
_LEAST_TOLD = timedelta(seconds=30)


class Clock:
    """Tells whether a lease is over by the server's time, which it learns from the Date header of answers.

    `skew` is how far the server is ahead. `is_set`: some answer told its time.
    """

    def __init__(self) -> None:
        self.skew = timedelta()
        self.is_set = False

    def now(self) -> datetime:
        """The present, aware and in UTC."""
        return utc_now() + self.skew

    @property
    def difference(self) -> str:
        """How far this machine's clock is off, as a clause of a message; empty where it is about right."""
        if abs(self.skew) < _LEAST_TOLD:
            return ""
        side = "behind" if self.skew > timedelta() else "ahead of"
        return f"this machine's clock is {_shown(abs(self.skew))} {side} the server's"

    def learn(self, date: str | None) -> None:
        """Takes a Date header (RFC 9110, 6.6.1) for the server's present; one that is none is passed over."""
        told = unix_time(date)
        if told is None:
            return
        self.is_set = True
        skew = timedelta(seconds=told - utc_now().timestamp())
        if skew > _MOST_AHEAD:
            return
        self.skew = skew if abs(skew) >= _LEAST_SKEW else timedelta()


def _shown(time: timedelta) -> str:
    """A length of time in its two largest units: `2 h`, `1 h 30 min`, `45 s`."""
    seconds = round(time.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    units = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join([f"{count} {unit}" for count, unit in units if count][:2])
