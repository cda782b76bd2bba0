"""Runs `verify`: names what is wrong, prints the summary, and exits by what was found."""

from functools import partial
from typing import Any, NoReturn

from click.exceptions import Exit

from bulkpresign.cli.running import EXIT_DONE, EXIT_FAILED, display, run_verb, say
from bulkpresign.cli.units import show_bytes
from bulkpresign.events import Event, ObjectFinished
from bulkpresign.model import Outcome
from bulkpresign.pipeline.verify import VerifyReport, verify
from bulkpresign.proof.files import MISSING, UNPROVEN

_NAMED = 10
_VERDICTS = {MISSING: "missing", UNPROVEN: "unproven"}


def run_verification(*, progress: str, quiet: bool, verbose: bool, **settings: Any) -> NoReturn:
    """Verifies, and exits with 1 where something is not as the manifest says."""
    names = _Names(at_once=verbose)
    try:
        report = run_verb(partial(verify, extras=names.extra), [names, *display(progress, quiet=quiet)], **settings)
    finally:
        names.say_rest()
    if not quiet:
        say(summary(report))
    if not report.objects:
        say("warning: there were no rows")
    raise Exit(EXIT_DONE if report.is_good else EXIT_FAILED)


def summary(report: VerifyReport) -> str:
    """A verification in one line."""
    by = ", ".join(f"{count:,} by {name}" for name, count in sorted(report.by.items()))
    counts = [f"{report.verified:,} verified" + (f" ({by})" if by else "")]
    names = ("different", "missing", "unproven", "extra", "skipped")
    counts += [f"{count:,} {name}" for name in names if (count := getattr(report, name))]
    rate = show_bytes(int(report.bytes / max(report.seconds, 0.001)))
    return f"verify: {', '.join(counts)}; {show_bytes(report.bytes)} in {report.seconds:.1f} s ({rate}/s)"


class _Names:
    """Names what is wrong, a line each: at once, or the first few of it at the end."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._lines: list[str] = []
        self._more = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, ObjectFinished):
            self._outcome(event.outcome)

    def _outcome(self, outcome: Outcome) -> None:
        path = outcome.object.place
        if outcome.status == "failed":
            self._add(f"{_VERDICTS.get(str(outcome.code), 'different')}: {path}: {outcome.message}")

    def extra(self, path: str, problem: str) -> None:
        """Names a file that no row names."""
        self._add(f"extra: {path}: {problem}")

    def _add(self, line: str) -> None:
        if self._at_once:
            say(line)
        elif len(self._lines) < _NAMED:
            self._lines.append(line)
        else:
            self._more += 1

    def say_rest(self) -> None:
        """Says what was kept."""
        for line in self._lines:
            say(line)
        if self._more:
            say(f"... and {self._more:,} more: -v names them all")
