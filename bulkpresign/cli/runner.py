"""Runs a verb's coroutine: signals, progress, messages, the summary, exit codes."""

import importlib.util
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn, TypeVar

import anyio
import msgspec
from click.exceptions import Exit

from bulkpresign.cli.debug_log import debug_log, library_warnings
from bulkpresign.cli.ending import EXIT_FAILED, EXIT_USAGE, Ending
from bulkpresign.cli.messages import console, finish, say, say_retry
from bulkpresign.cli.signals import SIGNAL_WORDS, stop_on_signal
from bulkpresign.cli.summary import (
    NAMED_FAILURES,
    Failures,
    certificate_notes,
    interruption,
    summary,
)
from bulkpresign.errors import BreakerError, BulkpresignError
from bulkpresign.events import Listener
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.progress import progress as show_progress
from bulkpresign.model import Report

_OPEN_FILES = 1 << 16

R = TypeVar("R")


def run_transfer(
    name: str,
    verb: Callable[..., Awaitable[Report]],
    *,
    progress: str,
    quiet: bool,
    verbose: int,
    in_one_line: Callable[[Report], str] | None = None,
    more_lines: Callable[[Report], Iterable[str]] = lambda _: (),
    **settings: Any,
) -> NoReturn:
    """Runs a transfer with progress, prints failures and the summary, and exits with the exit code of the result.

    `verbose`: 1 prints each failure and retry as it comes, 2 also the debug log. `more_lines` are lines after the
    summary, which `quiet` leaves out.
    """
    counts, failures, stopped = Counts(name), Failures(at_once=bool(verbose)), list[str]()
    listeners: list[Listener] = [counts, failures, *([say_retry] if verbose else [])]
    ended: Exit | None = None
    try:
        with debug_log() if verbose > 1 else nullcontext():
            shown = display(progress, counts, quiet=quiet)
            returned = run_verb(verb, listeners, shown=shown, on_stop=stopped.append, **settings)
        counts.report.extra = returned.extra  # counted after the last event
    except Exit as error:
        ended = error
    report, ending = counts.report, Ending(counts, ended, stopped[0] if stopped else None)
    lost = None if ending.unwritten is None else ending.unwritten.file
    are_listed = lost is None or lost != settings.get("failures")
    failures.say_rest(1 if isinstance(ending.cause, BreakerError) else NAMED_FAILURES, are_listed=are_listed)
    notes = list(ending.notes(failures.expired_codes, settings.get("filters"), quiet=quiet))
    if settings.get("certificate") is not None and ended is None:
        notes += certificate_notes(report, settings["certificate"], quiet=quiet)
    if not quiet:
        notes += [(line, "info") for line in more_lines(report)]
    if ending.stopped is not None:
        say_last(interruption(ending.stopped, counts), notes, counts, quiet=False, exit_code=ending.code)
    elif ended is None or report.objects:
        fields = {} if report.extra is None else {"extra": report.extra}
        text = (in_one_line or _in_one_line(counts))(report)
        say_last(text, notes, counts, quiet=quiet, exit_code=ending.code, **fields)
    raise Exit(ending.code) from ended


def say_last(
    text: str, notes: Sequence[tuple[str, str]], counts: Counts, *, quiet: bool, exit_code: int, **fields: object
) -> None:
    """Prints the summary and `notes` (message and level). As JSON, the summary is the last line."""
    if not console.is_json:
        finish(text, counts, quiet=quiet)
    for message, level in notes:
        say(message, level)
    if console.is_json:
        finish(text, counts, quiet=quiet, bytes_done=counts.report.bytes, exit_code=exit_code, **fields)


def display(progress: str, counts: Counts, *, quiet: bool) -> AbstractContextManager[None]:
    """A context manager that shows the progress. With `json`, all later messages are JSON objects."""
    console.is_json = console.is_json or progress == "json"
    return show_progress("off" if quiet and progress == "auto" else progress, counts, console)


def run_verb(
    verb: Callable[..., Awaitable[R]],
    listeners: Sequence[Listener] = (),
    *,
    shown: AbstractContextManager[object] | None = None,
    on_stop: Callable[[str], object] = say,
    **settings: Any,
) -> R:
    """Runs a verb. Exits with 2 for one of our errors (1 for BreakerError), and with 129, 130 or 143 for a signal.

    For a run whose last file could not be written, `run_transfer` exits with 1: it was no usage error.

    `verb` is a function of the pipeline, `settings` are its parameters by name. `shown` is a context manager for the
    run. If the run is stopped by a signal, `on_stop` is called with the word for that, such as `interrupted`.
    """
    allow_open_files()
    _warn_of_surplus(settings.get("executor"))
    stopped: list[int] = []

    async def main() -> R | None:
        report = None
        # A signal cancels `scope` alone, so that a second one is handled while the run is closing.
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                await group.start(stop_on_signal, scope, stopped)
                report = await verb(**settings, listeners=listeners)
            group.cancel_scope.cancel()
        return report

    try:
        with shown or nullcontext(), library_warnings():
            report = anyio.run(main, backend_options={"use_uvloop": _has_uvloop()})
    except* BulkpresignError as errors:
        _fail(_leaf(errors))
    if stopped or report is None:
        number = signal.Signals(stopped[0] if stopped else signal.SIGINT)
        on_stop(SIGNAL_WORDS[number])
        raise Exit(128 + number)
    return report


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Prints one of our errors and exits."""
    try:
        yield
    except BulkpresignError as error:
        _fail(error)


def _in_one_line(counts: Counts) -> Callable[[Report], str]:
    """Objects in flight when an error ended the run are not counted as failed: nothing is wrong with them."""

    def in_one_line(report: Report) -> str:
        attempted = msgspec.structs.replace(report, failed=report.failed - counts.interrupted)
        return summary(attempted, counts.moved)

    return in_one_line


def allow_open_files() -> None:
    """Raises the limit of open files, often 1,024, as far as allowed: a run can have more connections and files."""
    try:
        import resource
    except ImportError:  # not POSIX
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _warn_of_surplus(executor: str | None) -> None:
    if executor is None:
        return
    from bulkpresign.scale.workers import surplus

    if message := surplus(executor):
        say(message, "warning")


def _has_uvloop() -> bool:
    return importlib.util.find_spec("uvloop") is not None


def _leaf(error: BaseException) -> BaseException:
    return _leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _fail(error: BaseException) -> NoReturn:
    say(str(error), "error")
    raise Exit(EXIT_FAILED if isinstance(error, BreakerError) else EXIT_USAGE) from error
