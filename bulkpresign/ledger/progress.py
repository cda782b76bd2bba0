"""Progress for people (a tqdm bar) and for programs (JSON lines). Both only listen to events."""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.events import (
    BytesMoved,
    Event,
    Listener,
    ObjectFinished,
    ObjectRetried,
    ObjectsSkipped,
    RunFinished,
    RunStarted,
)

MODES = ("auto", "on", "off", "json")
_BAR_INTERVAL = 0.1
_JSON_INTERVAL = 1.0


class _Counts(msgspec.Struct):
    verb: str = ""
    total_objects: int | None = None
    total_bytes: int | None = None
    objects: int = 0
    bytes: int = 0
    failed: int = 0
    expired: int = 0
    retries: int = 0
    seconds: float = 0.0


class Progress:
    """A listener that keeps counts and shows them now and then."""

    def __init__(self, interval: float, show: Callable[[_Counts, bool], None]) -> None:
        self._interval, self._show = interval, show
        self._counts = _Counts()
        self._began = time.monotonic()
        self._shown = 0.0

    def __call__(self, event: Event) -> None:
        """Counts one event."""
        counts = self._counts
        if isinstance(event, BytesMoved):
            counts.bytes += event.count
        elif isinstance(event, ObjectFinished):
            counts.objects += 1
            status = event.outcome.status
            counts.failed += status == "failed"
            counts.expired += status == "expired"
        elif isinstance(event, ObjectsSkipped):
            counts.objects += event.count
        elif isinstance(event, ObjectRetried):
            counts.retries += 1
        elif isinstance(event, RunStarted):
            counts.verb, counts.total_objects, counts.total_bytes = event.verb, event.objects, event.bytes
        now = time.monotonic()
        finished = type(event) is RunFinished
        if finished or now - self._shown >= self._interval:
            self._shown = now
            counts.seconds = round(now - self._began, 3)
            self._show(counts, finished)


def progress(mode: str, stream: TextIO | None = None) -> Listener | None:
    """The progress display for a mode of `--progress`, on standard error. `auto` shows a bar on a terminal only."""
    stream = stream or sys.stderr
    if mode not in MODES:
        raise ParameterError(f"progress {mode!r} is none of {', '.join(MODES)}")
    if mode == "json":
        return Progress(_JSON_INTERVAL, _json_lines(stream))
    if mode == "on" or (mode == "auto" and stream.isatty()):
        return Progress(_BAR_INTERVAL, _Bar(stream))
    return None


def write_line(text: str) -> None:
    """One line on standard error, above the bar where there is one."""
    if bar := sys.modules.get("tqdm"):
        bar.tqdm.write(text, file=sys.stderr)
    else:
        sys.stderr.write(f"{text}\n")


def _json_lines(stream: TextIO) -> Callable[[_Counts, bool], None]:
    def show(counts: _Counts, finished: bool) -> None:
        row = {"event": "finished" if finished else "progress", **msgspec.structs.asdict(counts)}
        stream.write(msgspec.json.encode(row).decode() + "\n")
        stream.flush()

    return show


class _Bar:
    """One bar over the whole run: objects, bytes, rates, time left, failures."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm  # 30 ms, for those who see a bar

        self._tqdm = tqdm
        self._stream = stream
        self._bar: Any = None

    def __call__(self, counts: _Counts, finished: bool) -> None:
        if self._bar is None:
            self._bar = self._tqdm(
                desc=counts.verb,
                total=counts.total_objects,
                unit=" objects",
                file=self._stream,
                mininterval=0,
                dynamic_ncols=True,
            )
        self._bar.n = counts.objects
        self._bar.set_postfix_str(_postfix(counts, self._tqdm.format_sizeof), refresh=False)
        self._bar.refresh()
        if finished:
            self._bar.close()


def _postfix(counts: _Counts, sizeof: Callable[..., str]) -> str:
    moved = sizeof(counts.bytes, "B", 1024)
    if counts.total_bytes:
        moved += "/" + sizeof(counts.total_bytes, "B", 1024)
    rate = sizeof(counts.bytes / max(counts.seconds, 0.001), "B/s", 1024)
    parts = [moved, rate]
    parts += [f"{number} {name}" for name in ("failed", "expired", "retries") if (number := getattr(counts, name))]
    return ", ".join(parts)
