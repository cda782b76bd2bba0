"""`bulkpresign verify`."""

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bulkpresign.cli import options
from bulkpresign.cli.running import EXIT_DONE, EXIT_FAILED, run_verb, say
from bulkpresign.cli.units import show_bytes
from bulkpresign.errors import InputError
from bulkpresign.events import Event, Listener, ObjectFinished
from bulkpresign.ledger.progress import progress as progress_display
from bulkpresign.model import Outcome

if TYPE_CHECKING:
    from bulkpresign.pipeline.verify import VerifyReport

_NAMED = 10


def verify(
    manifest: Annotated[
        list[str],
        typer.Argument(
            metavar="MANIFEST...",
            help="Tables of objects or of links, which may be over; - for standard input.",
            show_default=False,
        ),
    ],
    folder: Annotated[str, typer.Option("--in", metavar="DIR", help="The folder with the files.", show_default=False)],
    bucket: options.Bucket = None,
    from_format: options.FromFormat = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Files read at a time.", show_default="the number of CPUs")
    ] = None,
    failures: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A manifest of what differs or is missing, each row with its reason. It is valid input of get.",
            show_default=False,
        ),
    ] = None,
    progress: options.Progress = "auto",
    quiet: options.Quiet = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Name everything that differs, is missing or is extra.")
    ] = False,
) -> None:
    """Hold files against a manifest, offline: by checksum, else by etag, else by size.

    Names what differs, what is missing, and what is in the folder though no row names it.

    \b
    bulkpresign verify links.csv --in data/
    bulkpresign verify keys.csv --in data/ --failures again.csv && bulkpresign get again.csv --to data/

    Exit codes: 0 all is good; 1 something differs, is missing or is extra; 2 bad manifest, no folder; 130 interrupted.
    """
    names = _Names(at_once=verbose)

    def run(listeners: Sequence[Listener]) -> "Awaitable[VerifyReport]":
        from bulkpresign.pipeline.verify import verify as run_verify

        return run_verify(
            manifest,
            folder,
            bucket=bucket,
            concurrency=concurrency,
            failures=failures,
            from_format=from_format,
            listeners=listeners,
            extras=names.extra,
        )

    try:
        display = progress_display("off" if quiet and progress == "auto" else progress)
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint="--progress") from error
    try:
        report = cast("VerifyReport", run_verb(run, [names, *([display] if display else [])]))
    finally:
        names.say_rest()
    if not quiet:
        say(summary(report))
    if not report.objects:
        say("warning: there were no rows")
    raise typer.Exit(EXIT_DONE if report.is_good else EXIT_FAILED)


def summary(report: "VerifyReport") -> str:
    """A verification in one line."""
    by = ", ".join(f"{count:,} by {name}" for name, count in sorted(report.by.items()))
    counts = [f"{report.verified:,} verified" + (f" ({by})" if by else "")]
    names = ("different", "missing", "extra", "skipped")
    counts += [f"{count:,} {name}" for name in names if (count := getattr(report, name))]
    if report.unproven:
        counts.append(f"{report.unproven:,} by size only, as no part size fits")
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
            self._add(f"{'missing' if outcome.code == 'FileMissing' else 'different'}: {path}: {outcome.message}")
        elif self._at_once and outcome.status == "done" and outcome.message is not None:
            say(f"by size only: {path}: {outcome.message}")

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
