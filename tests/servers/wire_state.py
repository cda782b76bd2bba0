"""State that the connections of a wire share: its limits, its clock and its counts."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic

from tests.servers.wire import Statistics, Wire
from tests.servers.wire_objects import MOST
from tests.servers.wire_time import Pacer, Timetable

_LOOK_AGAIN = 0.005  # seconds, while the wire is stalled


class State:
    """One for each process."""

    def __init__(self, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
        self.timetable = Timetable(loop)
        self.random = random.Random(wire.seed)
        self.buffer = memoryview(bytearray(MOST))
        self.down = Pacer()
        self.up = Pacer()
        self.statistics = Statistics()
        self.methods: Counter[str] = Counter()
        self.change(wire)

    def change(self, wire: Wire) -> None:
        """Another wire from now on."""
        self.wire = self.base = wire
        self.first: float | None = None
        self._tokens = self._burst
        self._counted_at = monotonic()

    def reset(self) -> None:
        """Zero counts; what is open stays counted."""
        old = self.statistics
        self.methods.clear()
        self.timetable.reset()
        self.first = None
        self.statistics = Statistics(
            in_flight=old.in_flight,
            most_in_flight=old.in_flight,
            open_connections=old.open_connections,
            most_connections=old.open_connections,
        )

    def counts(self) -> Statistics:
        self.statistics.methods = dict(self.methods)
        self.statistics.late = self.timetable.late / max(1, self.timetable.calls)
        return self.statistics

    def opened(self) -> bool:
        """Counts a connection; False where it is one too many."""
        counts, most = self.statistics, self.wire.max_connections
        if most is not None and counts.open_connections >= most:
            counts.refused_connections += 1
            return False
        counts.connections += 1
        counts.open_connections += 1
        counts.most_connections = max(counts.most_connections, counts.open_connections)
        return True

    def arrived(self, method: bytes, now: float) -> bool:
        """Counts a request; False where it is to be refused."""
        counts = self.statistics
        if self.first is None:
            self._begin(now)
        counts.requests += 1
        self.methods[method.decode("latin-1")] += 1
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        admitted = self.wire.max_requests is None or self._admits(self.wire.max_requests, now)
        counts.refused += not admitted
        second = int(now - (self.first or now))
        requests, refused = counts.seconds.get(second, (0, 0))
        counts.seconds[second] = (requests + 1, refused + (not admitted))
        return admitted

    def rate(self) -> float | None:
        """The rate of a new connection."""
        wire = self.wire
        return wire.slow_rate if wire.slow_share and self.random.random() < wire.slow_share else wire.connection_rate

    def when_moving(self, call: Callable[[], None]) -> bool:
        """True where the wire moves; else it calls when it may do so again."""
        if self.wire.stalled:
            self.timetable.at(monotonic() + _LOOK_AGAIN, call)
        return not self.wire.stalled

    def _begin(self, now: float) -> None:
        self.first = now
        for phase in self.base.phases:
            if phase.begin <= 0:
                self._switch(phase.wire, self.base)
            else:
                self.timetable.at(now + phase.begin, partial(self._switch, phase.wire, self.base))
            self.timetable.at(now + phase.end, partial(self._switch, self.base, self.base))

    def _switch(self, wire: Wire, base: Wire) -> None:
        if self.base is base:  # no change since
            self.wire = wire
            self._tokens = min(self._tokens, self._burst)

    @property
    def _burst(self) -> float:
        wire = self.wire
        return wire.burst if wire.burst is not None else (wire.max_requests or 0.0)

    def _admits(self, rate: float, now: float) -> bool:
        self._tokens = min(max(1.0, self._burst), self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
