"""When a wire lets bytes through: a timetable that is never early, and rates as arithmetic."""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from time import monotonic

#: The loop's timers are whole milliseconds.
_TICK = 0.001
#: Due by less than this is due: a timer could not tell it apart.
NOW = 0.0005
PACKET = 1460  # bytes


class Timetable:
    """Calls, each when it is due. One timer serves them all, so that ten thousand of them a second are cheap."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf
        self.reset()

    def reset(self) -> None:
        """Count calls, and by how much they are late, from zero."""
        self.calls = 0
        self.late = 0.0

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Calls when the monotonic clock has reached `due`."""
        heapq.heappush(self._calls, (due, next(self._numbers), call))
        if due < self._wakes_at:
            self._wake_at(due)

    def _wake_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = due
        self._timer = self._loop.call_later(max(_TICK, due - monotonic()), self._run)

    def _run(self) -> None:
        self._timer, self._wakes_at = None, -math.inf  # calls that are added by calls wake nobody
        calls = self._calls
        while calls and calls[0][0] <= (now := monotonic()):
            due, _, call = heapq.heappop(calls)
            self.calls += 1
            self.late += now - due
            call()
        self._wakes_at = math.inf
        if calls:
            self._wake_at(calls[0][0])


class Pacer:
    """One direction of a connection or of the whole wire: bytes follow one another at a rate."""

    __slots__ = ("free_at",)

    def __init__(self) -> None:
        self.free_at = 0.0

    def after(self, start: float, count: int, rate: float | None) -> float:
        """When the last of `count` bytes is through that are there from `start` on."""
        if not rate:
            return start
        self.free_at = max(self.free_at, start) + count / rate
        return self.free_at


def quantum(rate: float | None, most: int) -> int:
    """The bytes that are sent at once: those of 5 ms, so that a rate is smooth and timers are few."""
    return most if not rate else min(most, max(PACKET, int(rate * 0.005)))


def loses(draw: float, loss: float, count: int) -> bool:
    """Whether a number between 0 and 1 says that one of the packets of `count` bytes is lost."""
    return draw < 1 - (1 - loss) ** math.ceil(count / PACKET)
