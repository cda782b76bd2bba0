"""Which servers can't be reached for a while, where a transport does not show its connections."""

from bulkpresign.http import pool


class Outages:
    """The servers that responded, with the responses that are open, and since when a server can't be reached."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._lost_at: dict[str, float] = {}

    def begin_response(self, server: str) -> None:
        """A server has responded."""
        self._open[server] = self._open.get(server, 0) + 1
        self._lost_at.pop(server, None)

    def end_response(self, server: str) -> None:
        """A response was read, or left."""
        self._open[server] -= 1

    def is_outage(self, server: str, now: float) -> bool:
        """No connection can be made. True, for OUTAGE seconds, if the server responded before and nothing is open."""
        if self._open.get(server) != 0:
            return False
        return now - self._lost_at.setdefault(server, now) < pool.OUTAGE
