"""A client and a wire in virtual time: requests as events, without sockets, the same in each run."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from bulkpresign.transfer.engine.controller import ConcurrencyController, Failure
from bulkpresign.transfer.engine.part_sizes import usual_part_size

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
#: Objects of more bytes are fetched in parts.
LARGE = 16 * MIB
SMALL = 64 * 1024


@dataclass(frozen=True)
class Wire:
    """The delays and rates between a client and a server, in seconds and bytes."""

    latency: float = 0.05
    jitter: float = 0.1  # the mean of what comes on top, as a share of the latency
    connection_rate: float = inf
    total_rate: float = inf
    server_requests: float = inf  # that it can serve in a second; others wait
    throttle: float = inf  # requests a second, over which it answers 503
    throttle_burst: float = 20.0
    max_connections: int = 1 << 30
    setup: float = 2.0  # latencies that a new connection takes
    slow_start: bool = False
    stall: tuple[float, float] = (inf, inf)
    slow: tuple[float, float, float] = (inf, inf, 1.0)  # from, to, and the share of the server's speed meanwhile
    timeout: float = 60.0
    cpu_request: float = 100e-6
    cpu_byte: float = 0.6e-9
    cpu_connection: float = 100e-6
    chunk: int = MIB


@dataclass
class Job:
    size: int
    attempt: int = 1
    connected: float = 0.0
    moved: int = 0
    chunk: int = 0
    next_chunk: float = 0.0
    window: float = 64 * 1024
    large: "Large | None" = None


@dataclass
class Large:
    """An object whose parts are fetched beside each other."""

    left: int
    in_flight: int = 0
    part: int = 0


@dataclass
class Result:
    seconds: float = 0.0
    cpu: float = 0.0
    finished: int = 0
    bytes: int = 0
    attempts: int = 1
    failures: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    limits: list[tuple[float, int, int, int]] = field(default_factory=list)  # time, limit, parts, in flight

    def refused_share(self, after: float) -> float:
        return sum(t > after for t in self.failures) / max(1, sum(t > after for t in self.sent))


class Simulation:
    """Runs objects of `sizes` to the end, with as many requests in flight as the controller says."""

    def __init__(
        self, wire: Wire, sizes: Sequence[int], controller: ConcurrencyController, *, seed: int = 1, trace: bool = False
    ) -> None:
        self.wire, self.controller, self.trace = wire, controller, trace
        self.result = Result()
        self._random = random.Random(seed)
        self._waiting: deque[int] = deque(sizes)
        self._large: list[Large] = []
        self._again: deque[Job] = deque()
        self._events: list[tuple[float, int, Callable[[float, Job], float], Job]] = []
        self._count = 0
        self._cpu_free = self._server_free = self._link_free = 0.0
        self._open = self._idle = 0
        self._tokens, self._tokens_at = wire.throttle_burst, 0.0
        self._wake_at = inf

    def run(self, until: float = inf) -> Result:
        self._fill(0.0)
        controller, result, now = self.controller, self.result, 0.0
        noted = 0.0
        while self._events:
            at, _, handle, job = heapq.heappop(self._events)
            now = max(at, self._cpu_free)
            if now > until:
                break
            cost = handle(now, job)
            result.cpu += cost
            self._cpu_free = now + cost
            if controller.in_flight < controller.limit and self._wake_at == inf:
                self._fill(now)
            if now - noted >= 0.05:
                noted = now
                controller.note_cpu(now, result.cpu)
                if self.trace:
                    result.limits.append((now, controller.limit, controller.parts, controller.in_flight))
        result.seconds = max(now, self._cpu_free)
        return result

    def _at(self, time: float, handle: Callable[[float, Job], float], job: Job) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, handle, job))

    def _fill(self, now: float) -> None:
        controller = self.controller
        while controller.in_flight < controller.limit:
            delay = controller.delay(now)
            if delay > 0:
                if now + delay < self._wake_at or self._wake_at <= now:
                    self._wake_at = now + delay
                    self._at(now + delay, self._wake, Job(0))
                return
            job = self._next()
            if job is None:
                return
            job.moved, job.window = 0, 64 * 1024.0
            controller.sent(now)
            self.result.sent.append(now)
            self._at(now, self._send, job)

    def _wake(self, now: float, job: Job) -> float:
        self._wake_at = inf
        return 0.0

    def _next(self) -> Job | None:
        """Parts of objects that have begun go first, as far as they may; then the next object."""
        controller = self.controller
        if self._again:
            return self._again.popleft()
        for large in self._large:
            if controller.in_flight < controller.parts:
                at_once = max(1, controller.parts // len(self._large))
                if large.in_flight < max(at_once, controller.parts - controller.in_flight):
                    return self._part(large)
            elif large.in_flight == 0:
                return self._part(large)
        if self._waiting:
            size = self._waiting[0]
            if size <= LARGE:
                return Job(self._waiting.popleft())
            large = Large(self._waiting.popleft())
            self._large.append(large)
            return self._part(large)
        return None

    def _part(self, large: Large) -> Job:
        controller = self.controller
        if controller.fixed is None:
            large.part = usual_part_size(large.left)
        else:
            large.part = 8 * MIB
        size = min(large.part, large.left)
        large.left -= size
        large.in_flight += 1
        if not large.left:
            self._large.remove(large)
        return Job(size, large=large)

    def _send(self, now: float, job: Job) -> float:
        wire, cost = self.wire, 0.4 * self.wire.cpu_request
        arrival, job.connected = now + wire.latency / 2, now
        if self._idle:
            self._idle -= 1
        elif self._open >= wire.max_connections:
            self._at(now + wire.latency, self._refuse, job)
            return cost
        else:
            self._open += 1
            self._at(now + wire.latency, self._connect, job)
            job.connected += wire.setup * wire.latency
            arrival += wire.setup * wire.latency
            cost += wire.cpu_connection
        if wire.stall[0] <= arrival < wire.stall[1]:
            arrival = wire.stall[1]
        share = wire.slow[2] if wire.slow[0] <= arrival < wire.slow[1] else 1.0
        if wire.throttle < inf:
            self._tokens += max(0.0, arrival - self._tokens_at) * wire.throttle * share
            self._tokens, self._tokens_at = min(self._tokens, wire.throttle_burst), max(arrival, self._tokens_at)
            if self._tokens < 1:
                self._at(arrival + wire.latency / 2, self._throttle, job)
                return cost
            self._tokens -= 1
        begin = max(arrival, self._server_free)
        self._server_free = begin + 1 / wire.server_requests / max(share, 0.001)
        answer = begin + wire.latency / 2 + self._random.expovariate(1.0) * wire.jitter * wire.latency
        if answer - now > wire.timeout:
            self._at(now + wire.timeout, self._time_out, job)
        else:
            self._at(answer, self._answer, job)
        return cost

    def _connect(self, now: float, job: Job) -> float:
        self.controller.connected(now, self.wire.latency)
        return 0.0

    def _answer(self, now: float, job: Job) -> float:
        if job.size > SMALL:
            self.controller.answered(now, now - job.connected, job.size)
            self.controller.body_began(now)
        job.next_chunk = now
        cost = 0.6 * self.wire.cpu_request
        return cost + self._next_chunk(now + cost, job)

    def _next_chunk(self, now: float, job: Job) -> float:
        wire = self.wire
        count = min(wire.chunk, job.size - job.moved)
        rate = wire.connection_rate
        if wire.slow_start and wire.latency:
            rate = min(rate, job.window / wire.latency)
            job.window += count
        time = max(job.next_chunk, now - 4 * wire.chunk / rate) + count / rate
        if wire.total_rate < inf:
            self._link_free = max(self._link_free, now) + count / wire.total_rate
            time = max(time, self._link_free)
        if wire.stall[0] <= time < wire.stall[1]:
            time = wire.stall[1]
        job.next_chunk, job.chunk = time, count
        job.moved += count
        if job.size <= SMALL:  # comes with the head of the response
            return self._chunk(now, job)
        self._at(max(time, now), self._chunk, job)
        return 0.0

    def _chunk(self, now: float, job: Job) -> float:
        count = job.chunk
        cost = count * self.wire.cpu_byte
        self.result.bytes += count
        if job.size > SMALL:
            self.controller.moved(now, count)
        if job.moved < job.size:
            self._at(now + cost, self._more, job)
        else:
            if job.size > SMALL:
                self.controller.body_ended(now)
            self._idle += 1
            self.result.finished += 1
            self._end(now, job, None)
        return cost

    def _more(self, now: float, job: Job) -> float:
        return self._next_chunk(now, job)

    def _end(self, now: float, job: Job, failure: Failure | None) -> None:
        if job.large is not None and failure is None:
            job.large.in_flight -= 1
        if failure is None and job.size <= SMALL:
            self.controller.completed(now, now - job.connected, job.size)
        else:
            self.controller.finished(now, failure)

    def _refuse(self, now: float, job: Job) -> float:
        return self._retry(now, job, "refused")

    def _throttle(self, now: float, job: Job) -> float:
        self._idle += 1
        return self._retry(now, job, "throttled")

    def _time_out(self, now: float, job: Job) -> float:
        self._open -= 1
        return self._retry(now, job, "timeout")

    def _retry(self, now: float, job: Job, failure: Failure) -> float:
        self.result.failures.append(now)
        job.attempt += 1
        self.result.attempts = max(self.result.attempts, job.attempt)
        pause = self._random.uniform(0, min(20.0, 0.2 * 2 ** (job.attempt - 1)))
        self._at(now + pause, self._try_again, job)
        self._end(now, job, failure)
        return 0.5 * self.wire.cpu_request

    def _try_again(self, now: float, job: Job) -> float:
        self._again.append(job)
        return 0.0


def run(wire: Wire, sizes: Sequence[int], until: float = inf, **options: int) -> Result:
    return Simulation(wire, sizes, ConcurrencyController(**options)).run(until)


def best_fixed(wire: Wire, sizes: Sequence[int], numbers: Sequence[int]) -> tuple[int, float]:
    """The fixed number with which the run is shortest, and its seconds. Longer runs are not carried to their end."""
    best, shortest = 0, inf
    for number in sorted(numbers, reverse=True):
        seconds = run(wire, sizes, until=shortest, fixed=number).seconds
        if seconds <= shortest:
            best, shortest = number, seconds
    return best, shortest
