"""Runs `verify` in its forms: prints what differs and the summary, and exits with the exit code of the result."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import click
import msgspec
from click.exceptions import Exit

from bulkpresign.cli.ending import EXIT_DONE, EXIT_FAILED
from bulkpresign.cli.filter_options import pop_filters
from bulkpresign.cli.messages import say, say_problem
from bulkpresign.cli.option_checks import (
    PROVE,
    VERIFY_CERTIFICATE,
    VERIFY_FOLDER,
    VERIFY_SIDES,
    WRITE_CERTIFICATE,
    Inapplicable,
    check_applicable,
)
from bulkpresign.cli.runner import (
    display,
    reporting_errors,
    run_transfer,
    run_verb,
    say_last,
)
from bulkpresign.cli.summary import certificate_line, interruption, left_out, no_rows
from bulkpresign.events import Event, ObjectFinished
from bulkpresign.ledger.counts import Counts
from bulkpresign.model import Outcome, Report
from bulkpresign.pipeline.verification.counts import VerifyReport
from bulkpresign.pipeline.verification.digests import ReadPlan
from bulkpresign.proof.files import MISSING, UNPROVEN
from bulkpresign.tables.files import STDOUT, open_output
from bulkpresign.text import counted, show_bytes

_NAMED, _SIDES = 10, 2
_VERDICTS = {MISSING: "missing", UNPROVEN: "unproven"}


def verify_folder(*, source: Sequence[str], **settings: Any) -> NoReturn:
    """Verifies the files of a folder."""
    from bulkpresign.pipeline.verify import verify

    _check_given(source, VERIFY_FOLDER)
    with reporting_errors():
        settings["filters"] = pop_filters(settings, has_limit=True)
    _run(partial(verify, source), **_without(VERIFY_FOLDER, settings))


def verify_sides(*, source: Sequence[str], max_read: int | None, **settings: Any) -> NoReturn:
    """Compares two sides."""
    from bulkpresign.pipeline.compare import MAX_READ, compare

    _check_given(source, VERIFY_SIDES, _SIDES)
    most = MAX_READ if max_read is None else max_read
    _take_filters(settings)
    verb = partial(compare, *source, max_read=most, announce=partial(_say_plan, most))
    _run(verb, **_without(VERIFY_SIDES, settings))


def verify_certificate(*, source: Sequence[str], certificate: str, max_read: int | None, **settings: Any) -> NoReturn:
    """Compares a source with a certificate."""
    from bulkpresign.pipeline.certify import verify_certificate as verify

    _check_given(source, VERIFY_CERTIFICATE)
    _take_filters(settings)
    verb = partial(verify, source, certificate, max_read=max_read, announce=partial(_say_plan, max_read))
    _run(verb, **_without(VERIFY_CERTIFICATE, settings))


def write_certificate(
    *, source: Sequence[str], write_certificate: str, progress: str, quiet: bool, verbose: bool, **settings: Any
) -> NoReturn:
    """Writes a certificate, and exits with 1 if an object can't be read."""
    from bulkpresign.pipeline.certify import write_certificate as write

    _check_given(source, WRITE_CERTIFICATE)
    _take_filters(settings)
    run_transfer(
        "verify",
        partial(write, source, write_certificate),
        progress=progress,
        quiet=quiet,
        verbose=int(verbose),
        in_one_line=lambda report: _written(report, write_certificate),
        **_without(WRITE_CERTIFICATE, settings),
    )


def prove(*, source: Sequence[str], certificate: str | None, prove: str, **_: Any) -> NoReturn:
    """Prints the proof for one row of a certificate, as JSON."""
    from bulkpresign.pipeline.certify import prove as proof_of

    check_applicable(PROVE)
    if certificate is None or source:
        raise click.UsageError("use: verify --certificate FILE --prove KEY")
    with reporting_errors():
        proof = msgspec.json.format(msgspec.json.encode(proof_of(certificate, prove)))
        with open_output(STDOUT) as output:
            output.write(proof + b"\n")
    raise Exit(EXIT_DONE)


def _check_given(source: Sequence[str], form: Sequence[Inapplicable], count: int | None = None) -> None:
    """Raises UsageError for options that the form of the verb does not have, and for another number of sources."""
    if not source or count not in {None, len(source)}:
        raise click.UsageError("use: verify MANIFEST... --in DIR, or: verify SOURCE DESTINATION")
    check_applicable(form)


def _take_filters(settings: dict[str, Any]) -> None:
    """Replaces the options of filters by the filters."""
    with reporting_errors():
        settings["filters"] = pop_filters(settings)


def _without(form: Sequence[Inapplicable], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that the form of the verb has."""
    left_out = {name for names, _ in form for name in names}
    return {name: value for name, value in settings.items() if name not in left_out}


def _say_plan(most: int | None, plan: ReadPlan) -> None:
    """Prints what was asked for, and what is read, before the first byte."""
    limit = "" if most is None else f" (--max-read {show_bytes(most)})"
    are = "is" if plan.over_limit == 1 else "are"
    left = f"; {plan.over_limit:,} more {are} over the limit" if plan.over_limit else ""
    if plan.asked:
        say(f"asked for checksums by HEAD: {counted(plan.asked, 'object')}")
    if plan.objects or plan.over_limit:
        objects = counted(plan.objects, "object")
        say(f"to read: {objects} that only the bytes can tell, {show_bytes(plan.bytes)} in all{limit}{left}")


def _written(report: Report, file: str) -> str:
    """A run that writes a certificate, in one line."""
    if report.certificate is None:
        return f"verify: no certificate: {report.failed:,} of {counted(report.objects, 'object')} can't be read"
    unproven = f"; {report.unproven:,} not proven by a checksum or an etag when read" if report.unproven else ""
    return f"verify: {certificate_line(report.certificate, file)}{unproven}"


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
    notes = [] if report.objects or report.extra else [(no_rows(settings.get("filters")), "warning")]
    if report.left_out and not quiet:
        notes.append((left_out(report.left_out), "info"))
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
