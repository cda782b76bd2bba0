"""Runs a verb's coroutine: signals, messages, the summary, exit codes."""

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import anyio
from anyio.abc import TaskStatus
from click.exceptions import Exit

from bulkpresign.cli.units import show_bytes
from bulkpresign.errors import BreakerError, BulkpresignError
from bulkpresign.events import Event, Listener, ObjectFinished, ObjectRetried, UploadLeftOpen
from bulkpresign.ledger.progress import progress as progress_display
from bulkpresign.ledger.progress import write_line
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import Outcome, Report, redacted

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_EXPIRED = 0, 1, 2, 3
_NAMED_FAILURES = 10
_OPEN_FILES = 1 << 16

R = TypeVar("R")


def say(message: str) -> None:
    """One line on standard error, where everything but data goes; above the bar where there is one.

    Names of objects can hold line ends and what steers a terminal; here they are escaped. No signature is shown.
    """
    message = redacted(message)
    text = message if message.isprintable() else "".join(map(_printable, message))
    write_line(text)


def run_transfer(
    name: str,
    verb: Callable[..., Awaitable[Report]],
    *,
    progress: str,
    quiet: bool,
    verbose: bool,
    in_one_line: Callable[[Report], str] | None = None,
    **settings: Any,
) -> NoReturn:
    """Runs a transfer with its progress, names what failed, prints the summary, and exits by what became of it."""
    tally, failures = Tally(name), _Failures(at_once=verbose)
    listeners: list[Listener] = [tally, failures, *display(progress, quiet=quiet)]
    listeners += [_say_retry] if verbose else []
    try:
        run_verb(verb, listeners, **settings)
    finally:
        failures.say_rest(tally.report, 1 if _ended_alike(sys.exc_info()[1]) else _NAMED_FAILURES)
        if not quiet and (tally.report.objects or not sys.exc_info()[0]):
            say((in_one_line or summary)(tally.report))
        if tally.report.uploads_left_open:
            say(_left_open(tally.report.uploads_left_open))
        if not tally.report.objects and not sys.exc_info()[0]:
            say("warning: there were no rows: nothing to do")
    raise Exit(exit_code(tally.report))


def display(progress: str, *, quiet: bool) -> list[Listener]:
    """The listener that shows progress, where there is one."""
    with reporting_errors():
        shown = progress_display("off" if quiet and progress == "auto" else progress)
    return [shown] if shown else []


def run_verb(verb: Callable[..., Awaitable[R]], listeners: Sequence[Listener] = (), **settings: Any) -> R:
    """Runs a coroutine to its end; exits with 2 where it raises one of our errors, 130 or 143 when it was stopped.

    `verb` is a function of the pipeline, `settings` are its parameters by their names.
    """
    logging.getLogger("stamina").setLevel(logging.ERROR)  # retries are ours to tell
    _allow_open_files()
    stopped: list[int] = []

    async def main() -> R | None:
        report = None
        async with anyio.create_task_group() as group:
            await group.start(_stop_on_signal, group.cancel_scope, stopped)
            report = await verb(**settings, listeners=listeners)
            group.cancel_scope.cancel()
        return report

    try:
        report = anyio.run(main, backend_options={"use_uvloop": _has_uvloop()})
    except* BulkpresignError as errors:
        _fail(_leaf(errors))
    if stopped or report is None:
        number = stopped[0] if stopped else signal.SIGINT
        say("interrupted" if number == signal.SIGINT else "terminated")
        raise Exit(128 + number)
    return report


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Ends the program with a message where one of our errors is raised."""
    try:
        yield
    except BulkpresignError as error:
        _fail(error)


def exit_code(report: Report) -> int:
    """The exit code that counts mean."""
    if report.expired:
        return EXIT_EXPIRED
    return EXIT_FAILED if report.failed else EXIT_DONE


def summary(report: Report) -> str:
    """A run in one line."""
    names = ("skipped", "failed", "expired", "retries")
    counts = [f"{report.done:,} done", *(f"{n:,} {name}" for name in names if (n := getattr(report, name)))]
    seconds = max(report.seconds, 0.001)
    rates = f"{report.done / seconds:,.0f} objects/s, {show_bytes(int(report.bytes / seconds))}/s"
    moved = f"{show_bytes(report.bytes)} in {report.seconds:.1f} s"
    if report.planned is not None:
        return f"{report.verb}: {report.planned:,} to do, {report.skipped:,} done before; {show_bytes(report.bytes)}"
    slowed = f"; slowed to {report.lowest_concurrency} at a time" if report.slowed else ""
    return f"{report.verb}: {', '.join(counts)}; {moved} ({rates}){slowed}"


def _left_open(count: int) -> str:
    uploads = "1 upload stays" if count == 1 else f"{count:,} uploads stay"
    return f"{uploads} open: run this again to go on, or end them with bulkpresign abort"


class _Failures:
    """Names what failed: at once, or the first few at the end of the run."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._lines: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, ObjectFinished) and event.outcome.status in {"failed", "expired"}:
            if self._at_once:
                say(_failure(event.outcome))
            elif len(self._lines) < _NAMED_FAILURES:
                self._lines.append(_failure(event.outcome))

    def say_rest(self, report: Report, most: int) -> None:
        named = self._lines[:most]
        for line in named:
            say(line)
        rest = 0 if self._at_once else report.failed + report.expired - len(named)
        if rest:
            say(f"... and {rest:,} more: --failures FILE keeps them all")


def _ended_alike(error: BaseException | None) -> bool:
    """True where a run ended because all failed alike: one failure tells them all."""
    return error is not None and isinstance(error.__cause__, BreakerError)


def _failure(outcome: Outcome) -> str:
    tries = f" (attempt {outcome.attempts})" if outcome.attempts > 1 else ""
    return f"{outcome.status}: {outcome.object.uri}: {outcome.message}{tries}"


def _say_retry(event: Event) -> None:
    if isinstance(event, ObjectRetried):
        say(f"retry in {event.delay:.1f} s: {event.object.uri}: {event.message} (attempt {event.attempt})")


def say_left_open(event: Event) -> None:
    """Names an upload that was opened in vain and could not be ended."""
    if isinstance(event, UploadLeftOpen):
        say(f"still open: {event.object.uri}: upload {event.upload_id}; bulkpresign abort ends it")


def _printable(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]


async def _stop_on_signal(
    scope: anyio.CancelScope, stopped: list[int], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stopped:  # asked twice: at once
                os._exit(128 + number)
            stopped.append(number)
            scope.cancel()


def _allow_open_files() -> None:
    """Raises the shell's limit, often 1,024, as far as it may be: connections and files in flight can be more."""
    try:
        import resource
    except ImportError:  # not POSIX
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _has_uvloop() -> bool:
    return importlib.util.find_spec("uvloop") is not None


def _leaf(error: BaseException) -> BaseException:
    return _leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _fail(error: BaseException) -> NoReturn:
    say(f"error: {error}")
    raise Exit(EXIT_FAILED if isinstance(error, BreakerError) else EXIT_USAGE) from error
