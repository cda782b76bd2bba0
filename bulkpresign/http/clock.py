"""The servers' time, as the Date headers of their responses tell it."""

from datetime import datetime, timedelta

from bulkpresign.http.dates import unix_time
from bulkpresign.model import EXPIRY_MARGIN, Link, endpoint_of, utc_now

#: The Date header has whole seconds, and the response took time to come: less than this is not a skew.
_LEAST_SKEW = timedelta(seconds=2)

#: A server that is further ahead than links live is wrong itself. One that is behind costs a request at most: an
#: expired link is sent, and refused.
_MOST_AHEAD = timedelta(days=7)

#: Less than this ends no link early, and is not shown.
_LEAST_SHOWN = timedelta(seconds=30)


class Clock:
    """Gives the server's present time, learned from the Date header of responses.

    `skew` is how far the server is ahead of this machine. `is_set` is True once a response had a date.
    """

    def __init__(self) -> None:
        self.skew = timedelta()
        self.is_set = False
        self._server = ""  # the one that told its time last

    def now(self) -> datetime:
        """The server's present time, as an aware datetime in UTC."""
        return utc_now() + self.skew

    def has_expired(self, link: Link, margin: timedelta = EXPIRY_MARGIN) -> bool:
        """True if a link has expired, or will within the margin (see `Link.expires_by`), by its own server's time.

        By that of another server, whose clock may be wrong, only if it has by this machine's clock as well.
        """
        if not self.is_set or not link.expires_by(self.now(), margin):
            return False
        return endpoint_of(link.url) == self._server or link.expires_by(utc_now(), margin)

    @property
    def difference(self) -> str:
        """The error of this machine's clock, as a clause of a message; empty where it is about right."""
        if abs(self.skew) < _LEAST_SHOWN:
            return ""
        side = "behind" if self.skew > timedelta() else "ahead of"
        return f"this machine's clock is {_shown(abs(self.skew))} {side} the server's"

    def learn(self, date: str | None, url: str = "") -> None:
        """Takes a Date header (RFC 9110, 6.6.1) as the present time of a url's server. An invalid one is ignored."""
        seconds = unix_time(date)
        if seconds is None:
            return
        self.is_set, self._server = True, endpoint_of(url)
        skew = timedelta(seconds=seconds - utc_now().timestamp())
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
