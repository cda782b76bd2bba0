"""Finds the best number of parts in flight for each large object. No server announces it, so the run measures it.

If one connection is the limit, more parts bring more bytes; on a fast link they only cost. The number is doubled on
trial, and stays so if the run's bytes a second grow by more than noise. If they don't, the number goes back, and the
next trial comes later. Now and then half as many are tried, and stay if they bring as much.
"""

import time
from typing import Literal, Protocol, Self

import msgspec

from bulkpresign.transfer.engine.limiter import AdaptiveLimiter

#: Seconds of one measurement. The first one after a change doesn't count: connections begin slowly.
WINDOW = 0.5
#: More parts stay if the rate grows by this share, fewer if it falls by no more than that.
GAIN = 0.15
LOSS = 0.05
#: Windows between a failed trial and the next one: doubled by each failure, up to the most.
PATIENCE = 16
MOST_PATIENCE = 256
#: A window that stayed open for longer had no large objects in it. It doesn't count.
_STALE = 3 * WINDOW


#: Files that a process opens for other things than parts in flight.
_OTHER_FILES = 128
_FILES_OF_A_PART = 2  # its connection, and the temporary file


def part_concurrency_within(most: int, concurrency: int, open_files: int | None) -> int:
    """The parts in flight that each of `concurrency` objects can have, at most `most`.

    `open_files` is the number of files that the process may open (None: any number).
    """
    if open_files is None:
        return most
    return max(1, min(most, (open_files - _OTHER_FILES) // (concurrency * _FILES_OF_A_PART)))


class InFlight(Protocol):
    """An object that is fetched in parts."""

    @property
    def in_flight(self) -> int:
        """The number of its parts in flight."""
        ...


class _Trial(msgspec.Struct, frozen=True):
    """The state before a trial: parts allowed for each object, parts in flight in all, bytes a second."""

    allowed: int
    in_flight: int
    rate: float


class PartConcurrencyTuner:
    """The measurement of one run, shared by all its objects: between one part in flight and `most` for each of them.

    Downloads add the bytes they move to `bytes`; those in parts call `update` with the time in seconds.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = 1
        self.bytes = 0
        self.objects: set[InFlight] = set()
        self._since = float("-inf")
        self._is_settling = False
        self._rate: float | None = None
        self._trial: _Trial | None = None
        self._direction: Literal["more", "fewer"] = "more"
        self._wait = 0
        self._patience = PATIENCE

    def update(self, now: float) -> None:
        """Ends the measurement where its time is over."""
        took = now - self._since
        if took < WINDOW:
            return
        rate = self.bytes / took
        self._since, self.bytes = now, 0
        if took > _STALE or self._is_settling:
            self._is_settling = False
        elif self._trial is not None:
            self._judge(self._trial, rate)
        else:
            self._rate = rate if self._rate is None else (self._rate + rate) / 2
            self._rest(self._rate)

    @property
    def in_flight(self) -> int:
        """The number of parts in flight, of all objects."""
        return sum(each.in_flight for each in self.objects)

    def _rest(self, rate: float) -> None:
        if self._wait > 0:
            self._wait -= 1
        else:
            self._try(rate)

    def _try(self, rate: float) -> None:
        if self.allowed in {1, self.most}:
            self._direction = "more" if self.allowed == 1 else "fewer"
        allowed = min(self.allowed * 2, self.most) if self._direction == "more" else self.allowed // 2
        if allowed not in {0, self.allowed}:
            self._trial = _Trial(self.allowed, self.in_flight, rate)
            self._set(allowed)

    def _judge(self, before: _Trial, rate: float) -> None:
        self._trial = None
        if self._direction == "more" and self.in_flight <= before.in_flight:  # no object had parts left to fetch
            self._set(before.allowed)
            self._wait = PATIENCE // 4
        elif rate > before.rate * (1 + GAIN if self._direction == "more" else 1 - LOSS):
            self._patience = PATIENCE
            self._go_on(rate)
        else:
            self._set(before.allowed)
            self._direction = "fewer" if self._direction == "more" else "more"
            self._wait, self._patience = self._patience, min(self._patience * 2, MOST_PATIENCE)

    def _go_on(self, rate: float) -> None:
        """The trial brought more: goes on in the same direction, as far as possible."""
        if self.allowed in {1, self.most}:
            self._wait = self._patience
        else:
            self._try(rate)

    def _set(self, allowed: int) -> None:
        self.allowed = allowed
        self._is_settling = True
        self._rate = None


class PartLimit:
    """Bounds the parts of one object in flight, by the run's tuner and limiter.

    Use as a context manager while parts are in flight: the tuner counts them.
    """

    __slots__ = ("_limiter", "_plan", "_tuner")

    def __init__(self, tuner: PartConcurrencyTuner, limiter: AdaptiveLimiter, plan: InFlight) -> None:
        self._tuner, self._limiter, self._plan = tuner, limiter, plan

    def __enter__(self) -> Self:
        self._tuner.objects.add(self._plan)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._tuner.objects.discard(self._plan)

    def update(self) -> None:
        """Measures. Call it when bytes were moved."""
        self._tuner.update(time.monotonic())

    @property
    def has_room(self) -> bool:
        """True where one more part may be in flight."""
        return self._plan.in_flight < self._tuner.allowed

    @property
    def allows_more(self) -> bool:
        """True where one more part may be in flight, and its request doesn't wait behind those of other objects."""
        return self.has_room and (not self._plan.in_flight or self._limiter.has_room)

    @property
    def is_exceeded(self) -> bool:
        """True where fewer parts should be in flight."""
        return self._plan.in_flight > self._tuner.allowed

    @property
    def is_exact(self) -> bool:
        """True where neither more nor fewer parts should be in flight."""
        return self._plan.in_flight == self._tuner.allowed
