"""Slots for requests, as many as the controller allows, and a bound of bytes a second."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import anyio

from bulkpresign.errors import OpenFilesError, ThrottledError, TransferError
from bulkpresign.transfer.engine.controller import ConcurrencyController, Failure


class PartOffer:
    """A large object that has more parts to move. `start` starts one, and returns False where none is left."""

    def __init__(self, start: Callable[[], bool]) -> None:
        self.start = start
        #: Parts that were started and have not asked for their slots yet.
        self.starting = 0

    def part_started(self) -> None:
        """A part is about to take its slot."""
        self.starting -= 1


class RequestLimiter:
    """Every request of a run takes a slot before it is sent, and returns it at its end.

    `controller` finds how many slots there are. `limit_rate` bounds bytes a second over the whole run.
    """

    def __init__(self, controller: ConcurrencyController, limit_rate: int | None = None) -> None:
        self.controller = controller
        #: The fewest slots that a server left us when it slowed the run.
        self.lowest = controller.limit
        #: Is called where a request failed because too many files are open.
        self.on_too_many_files: Callable[[], object] = lambda: None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._on_growth: list[Callable[[], None]] = []
        self._offers: list[PartOffer] = []
        self._seen = controller.limit
        self._has_changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._rate = limit_rate
        self._free_at = 0.0

    @property
    def free(self) -> int:
        """Slots that nobody waits for."""
        return self.controller.limit - self.controller.in_flight - len(self._waiting)

    @property
    def limits_rate(self) -> bool:
        """True where bytes a second are bounded."""
        return self._rate is not None

    def bound(self, most: int) -> None:
        """Allows at most so many requests in flight from now on, unless their number is fixed."""
        controller = self.controller
        if controller.fixed is None and most != controller.maximum:
            controller.maximum = most
            controller.minimum = min(controller.minimum, most)
            controller.limit = min(controller.limit, most)
            self.wake()

    async def acquire(self) -> None:
        """Takes a slot, after those who asked before."""
        controller = self.controller
        if not self._waiting and controller.in_flight < controller.limit and not controller.is_paced:
            controller.sent(time.monotonic())
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.wake()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                controller.finished(time.monotonic())  # the slot came, and is not used
                self.wake()
            else:
                with suppress(ValueError):  # `wake` has passed over it
                    self._waiting.remove(turn)
            raise

    def release(self, error: TransferError | None = None) -> None:
        """Returns a slot. `error` is why the request failed; a server that can't keep up makes the run slower."""
        controller = self.controller
        if error is None:
            controller.finished(time.monotonic())
        else:
            if isinstance(error, OpenFilesError):
                self.on_too_many_files()
            slowed = controller.slowed
            controller.finished(time.monotonic(), _failure(error))
            if controller.slowed > slowed:
                self.lowest = min(self.lowest, controller.limit)
        if self._waiting or self._offers or controller.limit != self._seen:
            self.wake()

    def passed_on(self, latency: float, length: int) -> bool:
        """A request with a small body ended well. True if its slot is kept for the next request, which is sent now."""
        controller, now = self.controller, time.monotonic()
        controller.completed(now, latency, length)
        if self._waiting or controller.is_paced or controller.in_flight >= controller.limit:
            self.wake()
            return False
        controller.sent(now)
        if self._offers or controller.limit != self._seen:
            self.wake()
        return True

    def connected(self, seconds: float) -> None:
        """A connection was opened. `seconds` is its round-trip time."""
        self.controller.connected(time.monotonic(), seconds)
        self.wake()

    def responded(self, status: int, latency: float, length: int) -> None:
        """The head of a response came: see OnResponse. A server that can't keep up tells nothing of its latency."""
        if status < 500 and status != 429:
            self.controller.answered(time.monotonic(), latency, length)

    def moved(self, count: int) -> None:
        """Bytes of a large body moved, within `moving_body`."""
        controller = self.controller
        controller.moved(time.monotonic(), count)
        if controller.limit != self._seen or self._offers:
            self.wake()

    @contextmanager
    def moving_body(self) -> Iterator[None]:
        """A large body moves within the block; `moved` reports its bytes."""
        self.controller.body_began(time.monotonic())
        try:
            yield
        finally:
            self.controller.body_ended(time.monotonic())

    @contextmanager
    def watched(self, on_growth: Callable[[], None]) -> Iterator[None]:
        """Calls `on_growth` when there may be more slots."""
        self._on_growth.append(on_growth)
        try:
            yield
        finally:
            self._on_growth.remove(on_growth)

    @contextmanager
    def offering_parts(self, start: Callable[[], bool]) -> Iterator[PartOffer]:
        """Calls `start` while slots are free for one more part of a large object, until it returns False.

        Each part that it starts calls `part_started` of the offer before it takes its slot.
        """
        offer = PartOffer(start)
        self._offers.append(offer)
        try:
            yield offer
        finally:
            self._offers.remove(offer)

    @property
    def has_too_many_parts(self) -> bool:
        """True where fewer parts would do: a worker that ends one should leave."""
        return self.controller.in_flight >= self.controller.parts

    def wake(self) -> None:
        """Gives free slots to those who wait; `offer_slots` offers what is left."""
        self._wake_waiting()
        if self.controller.limit > self._seen or self._offers:
            self._has_changed.set()
        self._seen = self.controller.limit

    async def offer_slots(self) -> None:
        """Offers free slots, whenever there are some, until it is cancelled.

        It is a task of its own because `wake` is also called by a connection's callbacks, where no task can be started.
        """
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            for on_growth in self._on_growth:
                on_growth()
            if self._offers and not self._waiting and not self._is_rate_limited:
                self._offer_parts()

    @property
    def _is_rate_limited(self) -> bool:
        """True while bytes wait for the rate limit: more requests would not be faster."""
        return self._rate is not None and self._free_at > time.monotonic()

    def _offer_parts(self) -> None:
        room = self.controller.parts - self.controller.in_flight - sum(offer.starting for offer in self._offers)
        for offer in self._offers:
            while room > 0 and offer.start():
                offer.starting += 1
                room -= 1

    def _wake_waiting(self) -> None:
        controller = self.controller
        while self._waiting and controller.in_flight < controller.limit:
            now = time.monotonic()
            if controller.is_paced and (delay := controller.delay(now)) > 0:
                self._wake_after(delay)
                return
            turn = self._waiting.popleft()
            if not turn.done():
                controller.sent(now)
                turn.set_result(None)

    def _wake_after(self, delay: float) -> None:
        """One timer for all who wait."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    async def throttle(self, count: int) -> None:
        """Waits until `count` bytes may have passed. A pause is made up for by no more than a second's bytes."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1.0) + count / self._rate
        if self._free_at > now:
            self.controller.note_wait("rate limit", self._free_at - now)
            await anyio.sleep(self._free_at - now)


def _failure(error: TransferError) -> Failure | None:
    """The kind of failure, as far as the load may have caused it."""
    if isinstance(error, ThrottledError):
        return "throttled"
    if error.code == "Timeout":
        return "timeout"
    return "refused" if error.code == "NoConnection" or isinstance(error, OpenFilesError) else None


class Turn:
    """One request's place in the limiter: a context manager that gives it back, for use after `limiter.acquire()`.

    `error` is why the request failed, if that is not raised.
    """

    __slots__ = ("_limiter", "error")

    def __init__(self, limiter: RequestLimiter) -> None:
        self._limiter = limiter
        self.error: TransferError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter.release(error if isinstance(error, TransferError) else self.error)
