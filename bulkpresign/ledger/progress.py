"""Progress for people (a bar, or a line a minute) and for programs (JSON lines).

A thread shows it. So the display goes on while no event arrives, and a slow terminal does not delay the run.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bulkpresign.errors import ParameterError
from bulkpresign.ledger.console import Console
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.lines import DrawBar, log_line, status_line
from bulkpresign.ledger.meter import Meter, Reading

_log = logging.getLogger(__name__)

MODES = ("auto", "on", "off", "json")
_BAR_INTERVAL = 0.1
_INTERVAL = 1.0
_LOG_INTERVAL = 60.0
#: Seconds that the end of a run waits for the thread, which may hang in a terminal that was stopped.
_JOIN_TIMEOUT = 1.0

#: Shows a reading. `is_last` is True for the one at the end.
Show = Callable[[Reading, bool], None]


@contextmanager
def progress(mode: str, counts: Counts, console: Console) -> Iterator[None]:
    """Shows the counts of a run while the block runs. `auto` is a bar on a terminal, and a line a minute elsewhere.

    Raises ParameterError for a mode that is none of `MODES`.
    """
    if mode not in MODES:
        raise ParameterError(f"progress {mode!r} is none of {', '.join(MODES)}")
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
            console.leave()
    else:
        with ticking(meter, log_lines(counts, console, _LOG_INTERVAL), _INTERVAL):
            yield


@contextmanager
def ticking(meter: Meter, show: Show, interval: float) -> Iterator[None]:
    """Reads the meter every `interval` seconds and shows the reading, and once more at the end.

    What `show` raises ends the display, and nothing else.
    """
    ended = threading.Event()

    def look(is_last: bool) -> None:
        try:
            show(meter.read(), is_last)
        except Exception:  # noqa: BLE001 - the display is not the run
            _log.debug("progress can't be shown", exc_info=True)
            ended.set()

    def tick() -> None:
        while not ended.wait(interval):
            look(False)

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN_TIMEOUT)
        if not thread.is_alive():
            look(True)


def log_lines(counts: Counts, console: Console, every: float) -> Show:
    """A plain line every so many seconds; a run that is shorter has none."""
    shown_at = 0.0

    def show(reading: Reading, is_last: bool) -> None:
        nonlocal shown_at
        if not is_last and reading.seconds - shown_at >= every:
            shown_at = reading.seconds
            console.line(log_line(counts, reading))

    return show


def _bar(counts: Counts, console: Console) -> Show:
    draw_bar = _draw_bar(console)

    def show(reading: Reading, is_last: bool) -> None:
        if is_last and not counts.is_started:  # it was refused
            console.draw("")
            return
        console.draw(status_line(counts, reading, console.width, draw_bar))

    return show


def _draw_bar(console: Console) -> DrawBar:
    from tqdm import tqdm  # 30 ms, for those who see a bar

    def draw(fraction: float, columns: int) -> str:
        return tqdm.format_meter(fraction, 1, 0, ncols=columns, ascii=not console.can_draw, bar_format="{bar}")

    return draw


def _json_rows(counts: Counts, console: Console) -> Show:
    def show(reading: Reading, _is_last: bool) -> None:
        if counts.is_started or counts.rows:
            console.row({"event": "progress", **progress_fields(counts), **_speed_fields(reading)})

    return show


def progress_fields(counts: Counts) -> dict[str, object]:
    """The counts as fields of a JSON object. `bytes` are those that this run moved."""
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
    }


def _speed_fields(reading: Reading) -> dict[str, object]:
    return {
        "bytes_per_second": round(reading.bytes_per_second),
        "objects_per_second": round(reading.objects_per_second, 1),
        "seconds_left": None if reading.seconds_left is None else round(reading.seconds_left),
        "stalled": int(reading.stalled),
    }
