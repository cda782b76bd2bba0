"""Runs a verb's coroutine: signals, messages, the summary, exit codes."""

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import anyio
import typer

from bulkpresign.cli.units import show_bytes
from bulkpresign.errors import BulkpresignError
from bulkpresign.events import Event, Listener, ObjectFinished, ObjectRetried
from bulkpresign.ledger.progress import progress
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import Report

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_EXPIRED = 0, 1, 2, 3
_NAMED_FAILURES = 10

Verb = Callable[[Sequence[Listener]], Awaitable[Report]]


def say(message: str) -> None:
    """One line on standard error, where everything but data goes."""
    typer.echo(message, err=True)


def run_transfer(name: str, verb: Verb, *, progress_mode: str, quiet: bool, verbose: bool) -> NoReturn:
    """Runs a transfer with its progress, names what failed, prints the summary, and exits by what became of it."""
    tally, failures = Tally(name), _Failures(sys.maxsize if verbose else _NAMED_FAILURES)
    try:
        display = progress(progress_mode)
    except BulkpresignError as error:
        _fail(error)
    listeners: list[Listener] = [tally, failures, *([display] if display else [])]
    listeners += [_say_retry] if verbose else []
    try:
        run_verb(verb, listeners)
    finally:
        if not quiet and (tally.report.objects or not sys.exc_info()[0]):
            failures.say(tally.report)
            say(summary(tally.report))
    raise typer.Exit(exit_code(tally.report))


def run_verb(verb: Verb, listeners: Sequence[Listener] = ()) -> Report:
    """Runs a coroutine to its end; exits with 2 where it raises one of our errors, 130 or 143 when it was stopped."""
    logging.getLogger("stamina").setLevel(logging.ERROR)  # retries are ours to tell
    stopped: list[int] = []

    async def main() -> Report:
        async with anyio.create_task_group() as group:
            group.start_soon(_stop_on_signal, group.cancel_scope, stopped)
            report = await verb(listeners)
            group.cancel_scope.cancel()
            return report
        raise AssertionError("cancelled")

    try:
        report = anyio.run(main, backend_options={"use_uvloop": _has_uvloop()})
    except BaseExceptionGroup as group:
        error = _leaf(group)
        if not isinstance(error, BulkpresignError):
            raise error from None
        _fail(error)
    except BulkpresignError as error:
        _fail(error)
    except AssertionError:
        if not stopped:
            raise
    if stopped:
        say("interrupted" if stopped[0] == signal.SIGINT else "terminated")
        raise typer.Exit(128 + stopped[0])
    return report


def exit_code(report: Report) -> int:
    """The exit code that counts mean."""
    if report.expired:
        return EXIT_EXPIRED
    return EXIT_FAILED if report.failed else EXIT_DONE


def summary(report: Report) -> str:
    """A run in one line."""
    counts = [f"{report.done:,} done", f"{report.skipped:,} skipped" if report.skipped else ""]
    counts += [
        f"{report.failed:,} failed" if report.failed else "",
        f"{report.expired:,} expired" if report.expired else "",
    ]
    counts += [f"{report.retries:,} retries" if report.retries else ""]
    seconds = max(report.seconds, 0.001)
    line = f"{report.verb}: {', '.join(count for count in counts if count)}"
    line += f"; {show_bytes(report.bytes)} in {report.seconds:.1f} s"
    line += f" ({report.done / seconds:,.0f} objects/s, {show_bytes(int(report.bytes / seconds))}/s)"
    return line if report.objects else f"{line}\nwarning: there were no rows: nothing to do"


class _Failures:
    """Keeps the first failures of a run, to be named at its end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, ObjectFinished) and event.outcome.status in {"failed", "expired"}:
            outcome = event.outcome
            if len(self._lines) < self._most:
                tries = f" (attempt {outcome.attempts})" if outcome.attempts > 1 else ""
                self._lines.append(f"{outcome.status}: {outcome.object.uri}: {outcome.message}{tries}")

    def say(self, report: Report) -> None:
        for line in self._lines:
            say(line)
        if rest := report.failed + report.expired - len(self._lines):
            say(f"... and {rest:,} more: --failures FILE keeps them all")


def _say_retry(event: Event) -> None:
    if isinstance(event, ObjectRetried):
        say(f"retry in {event.delay:.1f} s: {event.object.uri}: {event.message} (attempt {event.attempt})")


async def _stop_on_signal(scope: anyio.CancelScope, stopped: list[int]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stopped:  # asked twice: at once
                os._exit(128 + number)
            stopped.append(number)
            scope.cancel()


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def _leaf(error: BaseException) -> BaseException:
    return _leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _fail(error: BulkpresignError) -> NoReturn:
    say(f"error: {error}")
    raise typer.Exit(EXIT_USAGE) from None
