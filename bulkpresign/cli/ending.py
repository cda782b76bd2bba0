"""How a run that transfers ended: its exit code, and the notes after its summary."""

from collections.abc import Iterator
from typing import NamedTuple

from click.exceptions import Exit

from bulkpresign.cli.summary import (
    archived,
    done_before,
    expired_advice,
    left_open,
    left_out,
    no_rows,
    untagged,
    unwritten,
)
from bulkpresign.errors import BreakerError, OutputError
from bulkpresign.ledger.counts import Counts
from bulkpresign.model import Report

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_EXPIRED = 0, 1, 2, 3


def exit_code(report: Report) -> int:
    """The exit code for a report."""
    if report.expired:
        return EXIT_EXPIRED
    return EXIT_FAILED if report.failed or report.uncertified else EXIT_DONE


class Ending(NamedTuple):
    """The end of a run: its own, or the `exit` that an error or a signal asks for.

    `stopped` is the word for the signal, such as `interrupted`.
    """

    counts: Counts
    exit: Exit | None
    stopped: str | None

    @property
    def cause(self) -> BaseException | None:
        """The error that ended the run."""
        return None if self.exit is None else self.exit.__cause__

    @property
    def unwritten(self) -> OutputError | None:
        """The error of a file that could not be written, if that ended the run, or came with what ended it."""
        error = self.cause
        while error is not None and not isinstance(error, OutputError):
            error = error.__cause__
        return error

    @property
    def is_late(self) -> bool:
        """True where the run had ended, and only a file of its results could not be written."""
        return isinstance(self.cause, OutputError) and self.counts.is_finished

    @property
    def code(self) -> int:
        """The exit code."""
        if self.exit is None:
            return exit_code(self.counts.report)
        if self.is_late or isinstance(self.cause, BreakerError):  # whether all links had expired, or some of them
            return exit_code(self.counts.report) or EXIT_FAILED
        return self.exit.exit_code

    def notes(self, expired_codes: set[str | None], filters: object, *, quiet: bool) -> Iterator[tuple[str, str]]:
        """The messages after the summary, each with its level; with `quiet`, the warnings and what is to be done.

        `expired_codes` are those of links that had expired, `filters` those of the run.
        """
        report = self.counts.report
        if report.uploads_left_open:
            yield left_open(report.uploads_left_open), "info"
        if expired_codes and not quiet:
            yield expired_advice(expired_codes), "info"
        if self.exit is None and not report.objects:
            yield f"{no_rows(filters)}: nothing to do", "warning"
        is_told = report.verb == "get" or report.objects == report.skipped
        if report.skipped_by and is_told and report.planned is None and not quiet:
            yield done_before(report), "info"
        if not quiet:
            yield from self._early()
        if report.archived and not quiet:
            yield archived(report), "info"
        if report.untagged:
            yield untagged(report.untagged), "warning"
        if report.left_out and not quiet:
            yield left_out(report.left_out), "info"

    def _early(self) -> Iterator[tuple[str, str]]:
        """After an error: whether the same command continues the run, or writes a file that is missing."""
        if self.exit is None or self.stopped:
            return
        if self.is_late and self.unwritten is not None and not self.counts.objects_left:
            yield unwritten(self.unwritten.file), "info"
        elif self.counts.report.objects:
            yield "the run ended early, see above; the same command continues it", "info"
