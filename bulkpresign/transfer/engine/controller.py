"""Finds the best number of requests in flight during a run. Arithmetic on times and counts; no clock, no socket.

The controller cuts the run into rounds of about one latency, and takes sums over each. In a round of `t` seconds with
`n` responses and `b` bytes, `(n * latency + b / connection_rate) / t` requests in flight would have done the same had
each been alone on the wire. This is the bandwidth-delay product, counted in requests. The limit is twice that number:
it doubles in a round in which requests were served as if alone, and stays where more requests only wait.
A large response counts by its bytes and a small one by its latency, so a mix of both needs no special case.

Sources:
- Cardwell et al., "BBR: Congestion-Based Congestion Control" (ACM Queue, 2016): the largest rate and the least latency
  of the recent past make the limit; now and then the limit is lowered for a moment, to measure the latency again.
- Netflix concurrency-limits (Gradient2, Vegas): Little's law for requests; a round that did not use its limit tells
  nothing about it.
- s3transfer with the AWS CRT: connections are the throughput to reach over the throughput of one.
"""

from collections import deque
from math import inf
from typing import Literal

from bulkpresign.transfer.engine.refusals import RequestCeiling, RequestPacer

#: Why a request failed, as far as it concerns the limit. "refused": the server took no connection.
Failure = Literal["throttled", "timeout", "refused"]
#: The limiting resource of a run. "capacity": the link or the server; "requests": fewer than the limit are left.
BoundBy = Literal["latency", "connection", "capacity", "throttled", "cpu", "disk", "rate limit", "requests"]

#: The first response sets the limit for this throughput; after it the limit follows what is measured.
EXPECTED_REQUESTS = 10_000.0
EXPECTED_BYTES = 2e9
#: Bytes that a connection moves in one latency, until its rate is measured: a common receive window.
EXPECTED_WINDOW = 4 << 20

#: The round-trip time of the first connection makes the first limit larger by no more than this factor.
_FIRST_GROWTH = 4
#: Requests that begin together leave the wire idle together.
_HEADROOM = 1.5

#: The limit, as a multiple of the requests in flight that would do the same work alone on the wire.
_GAIN = 2.0
#: The same multiple if the CPU is the bound: more requests in flight then only cost CPU. But so many small ones take
#: less of it, as responses that come together are handled a step at a time (see `http.step_scheduler`).
_CPU_GAIN = 1.1
_CPU_BOUND = 0.95
_TOGETHER, _SMALL = 48, 16 << 10
#: A round that had a smaller share of its limit in flight is bound by something else.
_IN_USE = 0.75
_SHRINK = 0.8
#: The weight of earlier rounds in the sums of a round. It reduces noise if a round has few responses.
_KEEP = 0.7
#: The throughput is the largest of so many rounds. The limit goes down after so many without growth.
_ROUNDS = 8
#: Seconds of a round, at least and at most.
_SHORTEST, _LONGEST = 0.02, 0.5
_LONGEST_BODY = 0.1
#: A longer one had a pause in it, and is no measurement.
_STALE = 5.0
#: A probe lowers the limit for so many rounds. Seconds to the next one: four times as many where one found nothing.
_PROBE_ROUNDS = 3
_PROBE_AFTER, _PROBE_AFTER_MOST = 1.0, 16.0


class _Unloaded:
    """Seconds that a unit of work takes alone on the wire: the least that was measured, of means over rounds."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._time = self._units = 0.0

    def add(self, time: float, units: float, *, is_alone: bool) -> None:
        """Takes a round. With few requests in flight (`is_alone`) the value can rise as well."""
        self._time, self._units = _KEEP * self._time + time, _KEEP * self._units + units
        mean = self._time / self._units
        if self.value is None or mean < self.value:
            self.value = mean
        elif is_alone:
            self.value += (mean - self.value) / 2

    def forget(self) -> None:
        """Discards the sums of earlier rounds."""
        self._time = self._units = 0.0


class ConcurrencyController:
    """One limit of requests in flight for a whole run, for objects and for parts of large objects.

    The caller reports each request with the seconds of a monotonic clock, and sends one more only while
    `in_flight < limit` and `delay(now)` is 0; while `in_flight >= parts`, only one that is no part, or that is the
    first part of its object. With `fixed` the limit and `parts` are that number, until a server refuses requests.
    """

    def __init__(self, initial: int = 64, minimum: int = 8, maximum: int = 1024, fixed: int | None = None) -> None:
        self.fixed = fixed
        self.maximum = fixed or maximum
        self.minimum = min(minimum, self.maximum)
        #: Requests that may be in flight: at least `minimum`, but for moments of a probe, or after refusals.
        self.limit = fixed or min(initial, maximum)
        #: Requests in flight beside which one more part of a large object may go out. One connection may be enough.
        self.parts = fixed or 1
        self.in_flight = 0
        #: True while a server that refused requests sets their rate: before that, `delay` is 0.
        self.is_paced = False
        #: The number of slowdowns, each after refused requests or a timeout.
        self.slowed = 0
        self.bound_by: BoundBy = "latency"
        self._wanted = float(self.limit)
        self._latency, self._byte_time = _Unloaded(), _Unloaded()
        self._recent: deque[tuple[float, float]] = deque(maxlen=_ROUNDS)
        self._settled = 0
        self._first_parts: float | None = 1.0  # until the rate of a connection is measured
        self._moving = self._length = 0
        self._round = _SHORTEST
        self._has_connected = False
        self._begin(-inf)
        self._probing, self._probe_at, self._probe_after, self._before_probe = 0, inf, _PROBE_AFTER, 0.0
        self._pacer = RequestPacer()
        self._ceiling = RequestCeiling(self.minimum)
        self._served = 0
        self._cpu_at, self._cpu, self._cpu_share = -inf, 0.0, 0.0
        self._waits: dict[BoundBy, float] = {}

    @property
    def latency(self) -> float | None:
        """Seconds from a request to the first byte of its response, where no other request is in its way."""
        return self._latency.value

    def delay(self, now: float) -> float:
        """Seconds until one more request may go out; more than 0 only after a server refused some."""
        return self._pacer.delay(now) if self.is_paced else 0.0

    def connected(self, now: float, seconds: float) -> None:
        """A connection was opened. `seconds` is its round-trip time: the first sign of how far the server is."""
        if not self._has_connected and self._latency.value is None:
            self._has_connected = True
            self._first_parts = seconds * EXPECTED_BYTES / EXPECTED_WINDOW
            self._wanted = max(self._wanted, min(seconds * EXPECTED_REQUESTS, _FIRST_GROWTH * self._wanted))
            self._apply(now)

    def sent(self, now: float) -> None:
        """A request goes out."""
        self.in_flight += 1
        self._area -= now
        if self.is_paced:
            self._pacer.sent(now)

    def answered(self, now: float, latency: float, length: int = 0) -> None:
        """A response that is no failure: so many seconds after its request, with so many bytes.

        For an upload: seconds from the end of the body to the response, and the bytes of the body.
        """
        self._answers += 1
        self._latencies += latency
        self._length += length
        if self._latency.value is None:
            self._begin_wide(now, latency, length)

    def completed(self, now: float, latency: float, length: int) -> None:
        """A small response that came whole: `answered` and `finished` in one call, for many a second."""
        self._answers += 1
        self._latencies += latency
        self._length += length
        self.in_flight -= 1
        self._area += now
        if now >= self._due:
            if self._latency.value is None:
                self._begin_wide(now, latency, length)
            self._close(now)

    def body_began(self, now: float) -> None:
        """A body begins to move, down or up. A small one that came with its head needs no report."""
        self._moving += 1
        self._moving_area -= now

    def moved(self, now: float, count: int) -> None:
        """Bytes of such a body."""
        self._bytes += count
        if now >= self._due:
            self._close(now)

    def body_ended(self, now: float) -> None:
        """The end of such a body, for whatever reason."""
        self._moving -= 1
        self._moving_area += now

    def finished(self, now: float, failure: Failure | None = None) -> None:
        """A request ended. A failure that has nothing to do with the load is None, like success."""
        self.in_flight -= 1
        self._area += now
        if failure is not None:
            self._failed(now, failure)
        if now >= self._due:
            self._close(now)

    def note_cpu(self, now: float, seconds: float) -> None:
        """CPU seconds of the event loop's thread since it began, a few times a second."""
        if now - self._cpu_at >= _SHORTEST:
            self._cpu_share = (seconds - self._cpu) / (now - self._cpu_at)
            self._cpu_at, self._cpu = now, seconds

    def note_wait(self, cause: Literal["disk", "rate limit"], seconds: float) -> None:
        """A request waited for something that more requests do not make faster."""
        self._waits[cause] = self._waits.get(cause, 0.0) + seconds

    def _begin_wide(self, now: float, latency: float, length: int) -> None:
        """The first response of all: raises the limit to that for the expected throughput."""
        self._latency.value = max(latency, 1e-6)
        self._probe_at = now + self._probe_after + 10 * latency
        self._first_parts = self._expect(length)
        self._wanted = max(self._wanted, self._first_parts)
        self._apply(now)

    def _expect(self, length: float) -> float:
        """Requests in flight for the expected throughput of bodies such as came, by the measured times."""
        latency = self._latency.value or 0.0
        byte_time = self._byte_time.value or latency / EXPECTED_WINDOW
        length = max(length, 1.0)
        return min(EXPECTED_REQUESTS, EXPECTED_BYTES / length) * (latency + length * byte_time)

    def _begin(self, now: float) -> None:
        self._since = now
        self._due = now + self._round
        self._answers = self._bytes = 0
        self._latencies = 0.0
        # seconds that requests were in flight, less `in_flight * now`: one addition for each event
        self._area = -self.in_flight * now if now > -inf else 0.0
        self._moving_area = -self._moving * now if now > -inf else 0.0

    def _close(self, now: float) -> None:
        """Ends a round."""
        took = now - self._since
        if took <= 0:
            return
        self._pacer.update(now, self._served + self._answers)
        self.is_paced = self._pacer.rate != inf
        if took <= _STALE:
            area = self._area + self.in_flight * now
            self._measure(area, took)
            self._adjust(now, area / took)
            self._apply(now)
        self._served += self._answers
        body = self._length / max(self._served, 1) * (self._byte_time.value or 0.0)
        self._round = min(max(_SHORTEST, self._latency.value or 0.0, min(body, _LONGEST_BODY)), _LONGEST)
        self._begin(now)
        self._waits.clear()

    def _measure(self, area: float, took: float) -> None:
        is_alone = self._probing == 1 or area / took <= self.minimum
        if self._answers:
            self._latency.add(self._latencies, self._answers, is_alone=is_alone)
        self._recent.append((self._answers / took, self._bytes / took))
        moving = self._moving_area + self._moving * (self._since + took)
        if self._bytes and moving > 0:
            self._byte_time.add(moving, self._bytes, is_alone=is_alone)
            if self._first_parts is not None:
                self._begin_again(self._first_parts)

    def _begin_again(self, first: float) -> None:
        """The rate of a connection is measured. A link that is full already makes it seem slow: bounds the growth."""
        expected = _HEADROOM * self._expect(self._length / max(self._answers + self._served, 1))
        self._wanted = max(first, min(expected, max(self.limit, _FIRST_GROWTH * first)))
        self._first_parts = None

    def _alone(self) -> float:
        """Requests in flight that would bring the throughput of the run if none was in another's way."""
        latency, byte_time = self._latency.value or 0.0, self._byte_time.value or 0.0
        return max(requests * latency + count * byte_time for requests, count in self._recent)

    def _adjust(self, now: float, in_flight: float) -> None:
        alone = self._alone()
        if self._probing:
            self._probe(now, alone)
            return
        self.bound_by = self._cause(alone, in_flight)
        if self.is_paced or in_flight >= _IN_USE * min(self._wanted, self.limit):
            target = alone * (_CPU_GAIN if self._cpu_share >= _CPU_BOUND else _GAIN)
            self._settled += 1
            if target > self._wanted:
                self._wanted, self._settled = min(target, 2 * self._wanted), 0
            elif self._settled > _ROUNDS:
                self._wanted = max(target, _SHRINK * self._wanted)
            if now >= self._probe_at and not self.is_paced and self._settled:
                self._probing, self._before_probe = _PROBE_ROUNDS, self._wanted

    def _probe(self, now: float, alone: float) -> None:
        if self.in_flight > self.limit:
            return
        self._probing -= 1
        if self._probing == 1:  # the responses until now waited behind those before the probe
            self._latency.forget()
            self._byte_time.forget()
        if self._probing:
            return
        has_found = _GAIN * alone < 0.9 * self._before_probe
        self._probe_after = _PROBE_AFTER if has_found else min(4 * self._probe_after, _PROBE_AFTER_MOST)
        self._probe_at = now + self._probe_after

    def _apply(self, now: float) -> None:
        """Makes the limit of what is wanted, and of what a server allows."""
        if self.fixed is None:
            self._wanted = min(max(self._wanted, 1.0), float(self.maximum))
            wanted = min(self._wanted, self._alone()) / 2 if self._probing else self._wanted
            self.limit = max(1 if self._probing else self._least, round(wanted))
            self.parts = max(1, round(wanted if self._first_parts is None else min(wanted, self._first_parts)))
        else:
            self.limit = self.parts = self.fixed
        bound = self._ceiling.at(now)
        if bound < self.limit:
            self.limit = max(1, int(bound))
        self.parts = min(self.parts, self.limit)

    @property
    def _least(self) -> int:
        """The fewest requests that may be in flight, but for moments of a probe."""
        is_small = self._length <= _SMALL * (self._served + self._answers)
        least = min(_TOGETHER, self.maximum) if is_small and self._cpu_share >= _CPU_BOUND else 0
        return max(self.minimum, least)

    def _failed(self, now: float, failure: Failure) -> None:
        if failure == "throttled":
            latency, served = self._latency.value or _LONGEST, self._served + self._answers
            is_slower = self._pacer.refused(now, served, latency, self.in_flight + 1)
            self.is_paced = self._pacer.rate != inf
        elif failure == "refused":
            is_slower = self._ceiling.refused(now, self.limit, self.in_flight)
        else:
            is_slower = self._ceiling.timed_out(now, self.limit, self.in_flight)
        self.slowed += is_slower
        self._apply(now)

    def _cause(self, alone: float, in_flight: float) -> BoundBy:
        if self.is_paced or self.limit < min(round(self._wanted), self.maximum):
            return "throttled"
        if self._cpu_share >= 0.9:
            return "cpu"
        if self._waits and max(self._waits.values()) > 0.3 * in_flight * (self._due - self._since):
            return max(self._waits, key=lambda cause: self._waits[cause])
        if in_flight < _IN_USE * min(self._wanted, self.limit):
            return "requests"
        if alone < 0.6 * in_flight:
            return "capacity"
        waiting = sum(requests for requests, _ in self._recent) * (self._latency.value or 0.0)
        moving = sum(count for _, count in self._recent) * (self._byte_time.value or 0.0)
        return "connection" if moving > waiting else "latency"
