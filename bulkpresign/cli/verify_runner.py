"""Runs `verify` in its forms: prints what differs and the summary, and exits with the exit code of the result."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import click
from click.exceptions import Exit

from bulkpresign.cli.messages import say, say_problem
from bulkpresign.cli.option_checks import VERIFY_FOLDER, VERIFY_SIDES, check_applicable, names_of
from bulkpresign.cli.runner import EXIT_DONE, EXIT_FAILED, display, run_verb, say_last
from bulkpresign.cli.summary import interruption
from bulkpresign.events import Event, ObjectFinished
from bulkpresign.ledger.counts import Counts
from bulkpresign.model import Outcome
from bulkpresign.pipeline.verification.counts import VerifyReport
from bulkpresign.pipeline.verification.pairs import ReadPlan
from bulkpresign.proof.files import MISSING, UNPROVEN
from bulkpresign.text import counted, show_bytes

_NAMED, _SIDES = 10, 2
_VERDICTS = {MISSING: "missing", UNPROVEN: "unproven"}


def verify_folder(*, source: Sequence[str], **settings: Any) -> NoReturn:
    """Verifies the files of a folder."""
    from bulkpresign.pipeline.verify import verify

    check_applicable(VERIFY_FOLDER)
    for name in names_of(VERIFY_FOLDER):
        del settings[name]
    _run(partial(verify, source), **settings)


def verify_sides(*, source: Sequence[str], max_read: int | None, **settings: Any) -> NoReturn:
    """Compares two sides."""
    from bulkpresign.pipeline.compare import MAX_READ, compare

    if len(source) != _SIDES:
        raise click.UsageError("use: verify MANIFEST... --in DIR, or: verify SOURCE DESTINATION")
    check_applicable(VERIFY_SIDES)
    for name in ["folder", *names_of(VERIFY_SIDES)]:
        del settings[name]
    most = MAX_READ if max_read is None else max_read
    _run(partial(compare, *source, max_read=most, announce=partial(_say_plan, most)), **settings)


def _say_plan(most: int, plan: ReadPlan) -> None:
    """Prints what is read, before the first byte."""
    are = "is" if plan.over_limit == 1 else "are"
    left = f"; {plan.over_limit:,} more {are} over the limit" if plan.over_limit else ""
    say(
        f"to read: {counted(plan.objects, 'object')} that only the bytes can tell, {show_bytes(plan.bytes)} in all"
        f" (--max-read {show_bytes(most)}){left}"
    )


def _run(
    verb: Callable[..., Awaitable[VerifyReport]], *, progress: str, quiet: bool, verbose: bool, **settings: Any
) -> NoReturn:
    """Verifies, and exits with 1 if something is not as it should be."""
    problems, counts, stopped = _Problems(at_once=verbose), Counts("verify"), list[str]()
    shown = display(progress, counts, quiet=quiet)
    try:
        report = run_verb(
            partial(verb, extras=problems.extra), [counts, problems], shown=shown, on_stop=stopped.append, **settings
        )
    except Exit as ended:
        problems.say_rest()
        if stopped:
            text = interruption(stopped[0], counts, "run the same command to verify from the start")
            say_last(text, [], counts, quiet=False, exit_code=ended.exit_code)
        raise
    problems.say_rest()
    code = EXIT_DONE if report.is_good else EXIT_FAILED
    notes = [] if report.objects or report.extra else [("there were no rows", "warning")]
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
