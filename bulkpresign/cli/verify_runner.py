"""Runs `verify`: prints files that differ and the summary, and exits with the exit code of the result."""

from functools import partial
from typing import Any, NoReturn

from click.exceptions import Exit

from bulkpresign.cli.messages import say, say_problem
from bulkpresign.cli.runner import EXIT_DONE, EXIT_FAILED, display, run_verb, say_last
from bulkpresign.cli.summary import interruption
from bulkpresign.events import Event, ObjectFinished
from bulkpresign.ledger.counts import Counts
from bulkpresign.model import Outcome
from bulkpresign.pipeline.verify import VerifyReport, verify
from bulkpresign.proof.files import MISSING, UNPROVEN
from bulkpresign.text import show_bytes

_NAMED = 10
_VERDICTS = {MISSING: "missing", UNPROVEN: "unproven"}


def run_verification(*, progress: str, quiet: bool, verbose: bool, **settings: Any) -> NoReturn:
    """Verifies, and exits with 1 if something is not as in the manifest."""
    problems, counts, stopped = _Problems(at_once=verbose), Counts("verify"), list[str]()
    shown = display(progress, counts, quiet=quiet)
    try:
        report = run_verb(
            partial(verify, extras=problems.extra), [counts, problems], shown=shown, on_stop=stopped.append, **settings
        )
    except Exit as ended:
        problems.say_rest()
        if stopped:
            text = interruption(stopped[0], counts, "run the same command to verify from the start")
            say_last(text, [], counts, quiet=False, exit_code=ended.exit_code)
        raise
    problems.say_rest()
    code = EXIT_DONE if report.is_good else EXIT_FAILED
    notes = [] if report.objects else [("there were no rows", "warning")]
    say_last(summary(report), notes, counts, quiet=quiet, exit_code=code, **_found(report))
    raise Exit(code)


def _found(report: VerifyReport) -> dict[str, object]:
    """The counts of a verification, as fields of its JSON object."""
    names = ("verified", "different", "missing", "extra", "unproven", "by")
    return {name: getattr(report, name) for name in names}


def summary(report: VerifyReport) -> str:
    """A verification in one line."""
    by = ", ".join(f"{count:,} by {name}" for name, count in sorted(report.by.items()))
    counts = [f"{report.verified:,} verified" + (f" ({by})" if by else "")]
    names = ("different", "missing", "unproven", "extra", "skipped")
    counts += [f"{count:,} {name}" for name in names if (count := getattr(report, name))]
    rate = show_bytes(int(report.bytes / max(report.seconds, 0.001)))
    return f"verify: {', '.join(counts)}; {show_bytes(report.bytes)} in {report.seconds:.1f} s ({rate}/s)"


class _Problems:
    """Prints files with a problem, one per line: each at once, or the first few at the end."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._first: list[tuple[str, str, str]] = []
        self._more = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, ObjectFinished):
            self._outcome(event.outcome)

    def _outcome(self, outcome: Outcome) -> None:
        path = outcome.object.file_path
        if outcome.status == "failed":
            self._add(_VERDICTS.get(str(outcome.code), "different"), path, outcome.message or "")

    def extra(self, path: str, problem: str) -> None:
        """Prints a file without a row."""
        self._add("extra", path, problem)

    def _add(self, kind: str, path: str, problem: str) -> None:
        if self._at_once:
            say_problem(kind, path, problem)
        elif len(self._first) < _NAMED:
            self._first.append((kind, path, problem))
        else:
            self._more += 1

    def say_rest(self) -> None:
        """Prints the first problems, and the number of the others."""
        for kind, path, problem in self._first:
            say_problem(kind, path, problem)
        if self._more:
            say(f"... and {self._more:,} more: -v prints all")
