"""How many parts of each large object are in flight: measured in the run, for nothing else tells.

Where one connection is the limit, more of them bring more; on a fast link they only cost. So the number is tried: it is
doubled for a moment, and stays so where the run's bytes a second grow by more than noise. Where they do not it goes
back, and the next trial waits longer. Now and then half as many are tried, and stay where they bring as much.
"""

from typing import Literal, Protocol

import msgspec

#: Seconds of one measurement. The first one after a change is thrown away: connections begin slowly.
WINDOW = 0.5
#: More lanes stay where they bring so much more, fewer where they lose no more than that.
GAIN = 0.15
LOSS = 0.05
#: Windows from a trial that failed to the next one: doubled by each, up to the most.
PATIENCE = 16
MOST_PATIENCE = 256
#: A window that nobody closed for so long had no large objects in it, and tells nothing.
_STALE = 3 * WINDOW


#: Of the files that a process may open, those that are left for other things than parts in flight.
_OTHER_FILES = 128
_FILES_OF_A_PART = 2  # its connection, and the file that it goes into


def part_concurrency_within(most: int, concurrency: int, open_files: int) -> int:
    """How many lanes each of `concurrency` objects can have where the process may open so many files (-1: any)."""
    if open_files < 0:
        return most
    return max(1, min(most, (open_files - _OTHER_FILES) // (concurrency * _FILES_OF_A_PART)))


class InFlight(Protocol):
    """An object that moves in parts."""

    @property
    def in_flight(self) -> int:
        """How many of its parts are on their way."""
        ...


class _Trial(msgspec.Struct, frozen=True):
    """What was before: lanes for each object, parts in flight in all, bytes a second."""

    tuner: int
    in_flight: int
    rate: float


class PartConcurrencyTuner:
    """The measurement of one run, shared by all its objects. Between one lane and `most` for each of them.

    Whoever moves bytes adds them to `bytes`, and those with parts `look` at the time now and then; times in seconds.
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
        """Closes the window where its time is over."""
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
        """How many parts are on their way, of all objects."""
        return sum(each.in_flight for each in self.objects)

    def _rest(self, rate: float) -> None:
        if self._wait > 0:
            self._wait -= 1
        else:
            self._try(rate)

    def _try(self, rate: float) -> None:
        if self.allowed in {1, self.most}:
            self._direction = "more" if self.allowed == 1 else "fewer"
        tuner = min(self.allowed * 2, self.most) if self._direction == "more" else self.allowed // 2
        if tuner not in {0, self.allowed}:
            self._trial = _Trial(self.allowed, self.in_flight, rate)
            self._set(tuner)

    def _judge(self, before: _Trial, rate: float) -> None:
        self._trial = None
        if self._direction == "more" and self.in_flight <= before.in_flight:  # no object had parts left for it
            self._set(before.tuner)
            self._wait = PATIENCE // 4
        elif rate > before.rate * (1 + GAIN if self._direction == "more" else 1 - LOSS):
            self._patience = PATIENCE
            self._go_on(rate)
        else:
            self._set(before.tuner)
            self._direction = "fewer" if self._direction == "more" else "more"
            self._wait, self._patience = self._patience, min(self._patience * 2, MOST_PATIENCE)

    def _go_on(self, rate: float) -> None:
        """It was worth it: more of the same, as far as that goes."""
        if self.allowed in {1, self.most}:
            self._wait = self._patience
        else:
            self._try(rate)

    def _set(self, tuner: int) -> None:
        self.allowed = tuner
        self._is_settling = True
        self._rate = None
