"""Shows progress to people (a bar, or a line per minute) and to programs (JSON lines).

A thread writes it, so that it is updated without events, and a slow terminal does not delay the run.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bulkpresign.errors import ParameterError
from bulkpresign.events import LoadMeasured
from bulkpresign.ledger.console import Console
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.lines import DrawBar, log_line, status_line
from bulkpresign.ledger.meter import Meter, Reading

_log = logging.getLogger(__name__)

MODES = ("auto", "on", "off", "json")
_BAR_INTERVAL = 0.1
_INTERVAL = 1.0
_LOG_INTERVAL = 60.0
#: Seconds to wait for the thread at the end. It can hang if the terminal is stopped.
_JOIN_TIMEOUT = 1.0

#: Shows a reading. The second argument is True for the last one.
Show = Callable[[Reading, bool], None]


@contextmanager
def progress(mode: str, counts: Counts, console: Console) -> Iterator[None]:
    """Shows the counts of a run while the block runs. `auto` is a bar on a terminal, else a line per minute.

    Raises ParameterError for a mode that is not in `MODES`.
    """
    if mode not in MODES:
        raise ParameterError(f"progress {mode!r} is not one of {', '.join(MODES)}")
    meter = Meter(counts)
    if mode == "off":
        yield
    elif mode == "json":
        with ticking(meter, _json_rows(counts, console), _INTERVAL):
            yield
    elif mode == "on" or console.is_terminal:
        try:
            with ticking(meter, _bar(counts, console), _BAR_INTERVAL):
                yield
        finally:
            console.end_status()
    else:
        with ticking(meter, log_lines(counts, console, _LOG_INTERVAL), _INTERVAL):
            yield


@contextmanager
def ticking(meter: Meter, show: Show, interval: float) -> Iterator[None]:
    """Shows a reading of the meter every `interval` seconds, and once at the end.

    An exception of `show` ends the display, and not the run.
    """
    ended = threading.Event()

    def update(is_last: bool) -> None:
        try:
            show(meter.read(), is_last)
        except Exception:  # noqa: BLE001 - the run must not fail with its display
            _log.debug("progress can't be shown", exc_info=True)
            ended.set()

    def tick() -> None:
        while not ended.wait(interval):
            update(False)

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN_TIMEOUT)
        if not thread.is_alive():
            update(True)


def log_lines(counts: Counts, console: Console, every: float) -> Show:
    """Shows a plain line every `every` seconds, with the local time. A shorter run has no line."""
    shown_at = 0.0

    def show(reading: Reading, is_last: bool) -> None:
        nonlocal shown_at
        if not is_last and reading.seconds - shown_at >= every:
            shown_at = reading.seconds
            console.line(f"{log_line(counts, reading)}, at {time.strftime('%Y-%m-%d %H:%M:%S')}")

    return show


def _bar(counts: Counts, console: Console) -> Show:
    draw_bar = _draw_bar(console)

    def show(reading: Reading, is_last: bool) -> None:
        if is_last and not counts.is_started:  # the input was not valid
            console.draw("")
            return
        console.draw(status_line(counts, reading, console.width, draw_bar))

    return show


def _draw_bar(console: Console) -> DrawBar:
    from tqdm import tqdm  # takes 30 ms to import

    def draw(fraction: float, columns: int) -> str:
        return tqdm.format_meter(fraction, 1, 0, ncols=columns, ascii=not console.can_draw, bar_format="{bar}")

    return draw


def _json_rows(counts: Counts, console: Console) -> Show:
    def show(reading: Reading, _is_last: bool) -> None:
        if counts.is_started or counts.rows:
            console.row({"event": "progress", **progress_fields(counts), **_speed_fields(reading)})

    return show


def progress_fields(counts: Counts) -> dict[str, object]:
    """The counts as fields of a JSON object. `bytes` counts those that this run moved."""
    report = counts.report
    return {
        "verb": counts.verb,
        "total_objects": counts.total_objects,
        "total_bytes": counts.total_bytes,
        "objects": counts.attempted + report.skipped,
        "done": report.done,
        "skipped": report.skipped,
        "failed": report.failed - counts.interrupted,
        "expired": report.expired,
        "bytes": counts.moved,
        "retries": report.retries,
        "rows": counts.rows,
        "seconds": round(report.seconds, 3),
        **_load_fields(counts.load),
    }


def _load_fields(load: LoadMeasured | None) -> dict[str, object]:
    """The load of the run, as fields of a JSON object; `latency` is in seconds."""
    if load is None:
        return {}
    latency = None if load.latency is None else round(load.latency, 4)
    return {"in_flight": load.in_flight, "concurrency": load.limit, "bound_by": load.bound_by, "latency": latency}


def _speed_fields(reading: Reading) -> dict[str, object]:
    return {
        "bytes_per_second": round(reading.bytes_per_second),
        "objects_per_second": round(reading.objects_per_second, 1),
        "seconds_left": None if reading.seconds_left is None else round(reading.seconds_left),
        "stalled": int(reading.stalled),
    }
