"""Measures the rate and the remaining time of a run, from its counts at several times."""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from bulkpresign.ledger.counts import Counts

#: Seconds over which a rate is measured.
WINDOW = 8.0
#: Seconds without an event after which a run is stalled.
STALL_AFTER = 5.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run at one time. `seconds` since its start; rates per second, over the last `WINDOW` seconds.

    `fraction` is the part of the work that is done, from 0 to 1: by bytes if all sizes are known (`by_bytes`), else by
    objects; None if the total is unknown. Skipped objects are not part of the work. `seconds_left` is an estimate.
    `stalled` is the number of seconds without an event, 0 if the run is not stalled.
    """

    seconds: float
    fraction: float | None = None
    by_bytes: bool = False
    bytes_there: int = 0
    bytes_total: int | None = None
    objects_total: int | None = None
    bytes_per_second: float = 0.0
    objects_per_second: float = 0.0
    seconds_left: float | None = None
    stalled: float = 0.0


class Meter:
    """Takes readings of the counts of a run."""

    def __init__(self, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts = counts
        self._clock = clock
        self._began = self._last_event_at = clock()
        self._samples: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])
        self._last: tuple[int, ...] = ()

    def read(self) -> Reading:
        """The current state of the run."""
        now, counts = self._clock(), self.counts
        self._sample(now)
        by_bytes = counts.total_bytes is not None and counts.total_bytes > counts.skipped_bytes
        skipped = counts.report.skipped
        objects_total = None if counts.total_objects is None else max(0, counts.total_objects - skipped)
        bytes_total = counts.total_bytes - counts.skipped_bytes if by_bytes and counts.total_bytes else None
        there, total = (
            (min(counts.bytes_there, bytes_total), bytes_total)
            if bytes_total is not None
            else (counts.attempted, objects_total)
        )
        moved_rate, object_rate = self._rates()
        rate = moved_rate if by_bytes else object_rate
        return Reading(
            seconds=now - self._began,
            fraction=None if total is None else min(1.0, there / total) if total else 1.0,
            by_bytes=by_bytes,
            bytes_there=there if by_bytes else counts.moved,
            bytes_total=bytes_total,
            objects_total=objects_total,
            bytes_per_second=moved_rate,
            objects_per_second=object_rate,
            seconds_left=(total - there) / rate if total is not None and rate > 0 else None,
            stalled=now - self._last_event_at if now - self._last_event_at >= STALL_AFTER else 0.0,
        )

    def _sample(self, now: float) -> None:
        counts, samples = self.counts, self._samples
        seen = (counts.moved, counts.attempted, counts.report.skipped, counts.rows, counts.is_started)
        if seen != self._last:
            self._last, self._last_event_at = seen, now
        samples.append((now, counts.moved, counts.attempted))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW:
            samples.popleft()

    def _rates(self) -> tuple[float, float]:
        """Bytes and objects per second. A failed attempt subtracts bytes, so a negative rate becomes 0."""
        then, moved, attempted = self._samples[0]
        now, moved_now, attempted_now = self._samples[-1]
        seconds = max(now - then, 0.001)
        return max(0, moved_now - moved) / seconds, max(0, attempted_now - attempted) / seconds
