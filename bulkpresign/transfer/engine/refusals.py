"""The request rate after a server refused requests or did not answer. Arithmetic on times and counts.

Source: RFC 9438 (CUBIC), and the adaptive retry mode of the AWS SDKs, which applies it to requests a second. After a
refusal the rate falls a little below what was served. It nears that level, rests there, and then grows beyond it.
"""

from collections import deque
from math import cbrt, inf

#: Seconds in which timeouts and refused connections count as one event.
COOL_DOWN = 1.0
#: Seconds over which served requests a second are measured, at least.
RATE_WINDOW = 0.5
#: A smaller share of refused requests changes nothing.
REFUSED_SHARE = 0.01
#: The rate after a refusal, as a share of what was served; and the least, where nothing was served, of what it was.
_SHARE, _LEAST_SHARE = 0.9, 0.3
_LEAST_RATE = 1.0
#: Seconds from one reduction to the next, at least; the short one while most requests are refused.
_PAUSE, _SHORT_PAUSE = 0.25, 0.05
#: Seconds of requests that may go out at once: timers are no finer.
_BURST = 0.01


def faded(peak: float, seconds: float) -> float:
    """A level that was reached so long ago, for how fast to grow again: half of it after ten seconds."""
    return peak * 0.5 ** (seconds / 10) if seconds < inf else 0.0


class CubicBound:
    """A bound that starts at `share` of a `level`, reaches the level, rests there, and then grows beyond it.

    `step` scales the growth: after the rest it adds a tenth of the step in 2.2 s, and the whole step in 4.6 s.
    """

    _SCALE = 0.01

    def __init__(self, now: float, level: float, share: float = 1.0, step: float = 0.0) -> None:
        self.level = level
        self._growth = self._SCALE * max(level, step)
        self._rest = now + cbrt(level * (1 - share) / self._growth)

    def at(self, now: float) -> float:
        """The bound at a time."""
        return self.level + self._growth * (now - self._rest) ** 3


class RequestPacer:
    """Requests a second, once a server refused some with 503 or 429. Until then there is no bound."""

    def __init__(self) -> None:
        self.rate = inf
        self._bound: CubicBound | None = None
        self._peak = 0.0
        self._next = self._reduced_at = -inf
        self._refused = 0
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=2)

    def delay(self, now: float) -> float:
        """Seconds until one more request may go out."""
        return 0.0 if self.rate == inf else max(0.0, self._next - now)

    def sent(self, now: float) -> None:
        """A request goes out."""
        self._next = max(self._next, now - _BURST) + 1 / self.rate

    def update(self, now: float, served: int) -> None:
        """Moves the rate along its curve. `served`: how many requests the server served in all."""
        if not self._marks or now - self._marks[-1][0] >= RATE_WINDOW:
            self._marks.append((now, served, self._refused))
        if self._bound is not None:
            self.rate = self._bound.at(now)
            if now - self._reduced_at > 10.0 and self.rate > 4 * self._served_rate(now, served):
                self.rate, self._bound = inf, None

    def refused(self, now: float, served: int, latency: float, in_flight: int) -> bool:
        """A request was refused. True where that made the rate lower: no sooner than requests at that rate answer."""
        self._refused += 1
        since, served_before, refused_before = self._marks[0] if self._marks else (now, served, 0)
        refused = self._refused - refused_before
        answered = refused + served - served_before
        pause = _PAUSE if refused < answered / 2 else _SHORT_PAUSE
        if refused < REFUSED_SHARE * answered or now - self._reduced_at < max(pause, 2 * latency) or now <= since:
            return False
        before = min(self.rate, in_flight / max(latency, 1e-4))  # what was asked for: served ones lag behind it
        level = max((served - served_before) / (now - since), _LEAST_SHARE * before, _LEAST_RATE)
        self._peak = max(level, faded(self._peak, now - self._reduced_at))
        self._bound = CubicBound(now, level, _SHARE, self._peak / 10)
        self.rate, self._reduced_at, self._next = _SHARE * level, now, now
        return True

    def _served_rate(self, now: float, served: int) -> float:
        since, before, _ = self._marks[0]
        return (served - before) / (now - since) if now > since else inf


class RequestCeiling:
    """Requests in flight, once a server took no connection or did not answer in time. Until then there is no bound."""

    def __init__(self, step: int) -> None:
        self._step = float(step)
        self._bound: CubicBound | None = None
        self._peak = 0.0
        self._lowered_at = -inf

    def at(self, now: float) -> float:
        """The bound at a time."""
        return inf if self._bound is None else self._bound.at(now)

    def refused(self, now: float, limit: int, in_flight: int) -> bool:
        """A connection was refused: no more requests than those that are left. True for the first in a while."""
        return self._lower(now, min(limit, in_flight), self._step)

    def timed_out(self, now: float, limit: int, in_flight: int) -> bool:
        """A request timed out: half as many, once for all that time out together. True where that was done."""
        if now - self._lowered_at < COOL_DOWN:
            return False
        self._peak = max(limit, faded(self._peak, now - self._lowered_at))
        return self._lower(now, min(limit, in_flight + 1) // 2, max(self._step, self._peak / 4))

    def _lower(self, now: float, level: int, step: float) -> bool:
        is_new = now - self._lowered_at >= COOL_DOWN
        self._lowered_at = now
        self._bound = CubicBound(now, max(1, level), step=step)
        return is_new
