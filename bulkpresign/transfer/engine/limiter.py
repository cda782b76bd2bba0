"""Bounds requests in flight and bytes a second."""

import time
from collections import deque
from types import TracebackType
from typing import Self

import anyio

from bulkpresign.errors import ThrottledError, TransferError

#: Seconds. Answers to requests that went out before a slow-down say nothing about the pace after it.
COOL_DOWN = 1.0


class AdaptiveLimiter:
    """Bounds the requests in flight: additive increase, multiplicative decrease, between one and `concurrency`.

    Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms". `slowed` counts how often a server made
    it slower, `lowest` is the least that was allowed in flight. `limit_rate` bounds bytes a second over the whole run.
    """

    def __init__(self, concurrency: int, limit_rate: int | None = None) -> None:
        self.concurrency = self.lowest = concurrency
        self.slowed = 0
        self._allowed = float(concurrency)
        self._in_flight = 0
        self._waiting: deque[anyio.Event] = deque()
        self._slowed_at = -COOL_DOWN
        self._rate = limit_rate
        self._free_at = 0.0

    @property
    def allowed(self) -> int:
        """How many requests may be in flight now."""
        return int(self._allowed)

    @property
    def has_room(self) -> bool:
        """True where one more request needs not wait."""
        return self._in_flight < self.allowed

    @property
    def limits_rate(self) -> bool:
        """True where bytes have to be spent."""
        return self._rate is not None

    async def acquire(self) -> None:
        """Waits until one more request may go out."""
        while self._in_flight >= self.allowed:
            event = anyio.Event()
            self._waiting.append(event)
            try:
                await event.wait()
            except BaseException:
                if event.is_set():
                    self._wake()  # the turn came and was not taken
                else:
                    self._waiting.remove(event)
                raise
        self._in_flight += 1

    def release(self, error: TransferError | None = None) -> None:
        """A request ended, well or with an error; a server that could not keep up makes the run slower."""
        self._in_flight -= 1
        if error is None:
            if self._allowed < self.concurrency:
                self._allowed = min(float(self.concurrency), self._allowed + 1 / self._allowed)
        elif isinstance(error, ThrottledError) or error.code == "Timeout":
            self._slow_down()
        if self._waiting:
            self._wake()

    async def throttle(self, count: int) -> None:
        """Waits until `count` bytes may have passed; a run that was slower for a second is not faster after it."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1.0) + count / self._rate
        if self._free_at > now:
            await anyio.sleep(self._free_at - now)

    def _slow_down(self) -> None:
        now = time.monotonic()
        if now - self._slowed_at >= COOL_DOWN:
            self._slowed_at = now
            self._allowed = max(1.0, min(self._allowed, self._in_flight + 1) / 2)  # + 1: the one that ended just now
            self.lowest = min(self.lowest, self.allowed)
            self.slowed += 1

    def _wake(self) -> None:
        for _ in range(min(len(self._waiting), self.allowed - self._in_flight)):
            self._waiting.popleft().set()


class Turn:
    """One request's place in the limiter: a context manager that gives it back, for use after `limiter.acquire()`.

    `error` is why the request failed, if that is not raised.
    """

    __slots__ = ("_limiter", "error")

    def __init__(self, limiter: AdaptiveLimiter) -> None:
        self._limiter = limiter
        self.error: TransferError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter.release(error if isinstance(error, TransferError) else self.error)
