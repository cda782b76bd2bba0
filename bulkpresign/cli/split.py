"""`bulkpresign split`."""

from typing import TYPE_CHECKING, Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import Argument, FileName, Verb
from bulkpresign.cli.units import count

if TYPE_CHECKING:
    from bulkpresign.pipeline.split import SplitReport

#: The files of an earlier split that the warning names.
_NAMED_FILES = 3


@click.command(cls=Verb)
@click.argument("manifest", cls=Argument, metavar="MANIFEST", help="A table of objects or links; - for standard input.")
@click.option("-n", "--parts", type=count, metavar="N", help="The number of manifests, at most 1000.")
@click.option("--by", metavar="COLUMN", help="One manifest for each value of a column, instead of -n.")
@click.option(
    "-o",
    "--output",
    "to",
    type=FileName(allow_dash=False),
    default=".",
    metavar="DIR",
    help="The folder for the manifests; created with its parents.",
)
@options.from_format
@filter_options.filters
@filter_options.limit
@options.progress
@options.quiet
def split(progress: str, quiet: bool, **settings: Any) -> None:
    """Split a manifest into several, for several partners or workers.

    With -n, all have about the same number of bytes; objects without a size count as one each. The files are
    NAME-001.csv and so on, or NAME-VALUE.csv with --by: characters but letters, digits, '.', '_' and '-' become '_',
    and a hash of the value follows. The rows of a multipart upload stay together. Prints file, objects, bytes and, with
    --by, value of each manifest as CSV. Files of an earlier split that this one did not replace are a warning.

    \b
    bulkpresign split links.csv -n 4 -o parts/
    bulkpresign split links.csv --by partner -o partners/
    bulkpresign split links.csv -n 2 -o large/ --min-size 1GiB
    """
    from bulkpresign.cli.runner import display, reporting_errors, run_verb, say_last
    from bulkpresign.cli.summary import no_rows
    from bulkpresign.ledger.counts import Counts
    from bulkpresign.pipeline.split import split as run

    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings, has_limit=True)
    counts = Counts("split")
    report = run_verb(run, [counts], shown=display(progress, counts, quiet=quiet), **settings)
    if not quiet:
        with reporting_errors():
            _print(report, has_values=settings["by"] is not None)
    notes = [] if report.done else [(f"{no_rows(settings['filters'])}: nothing to split", "warning")]
    if report.others:
        notes.append((_others(report.others), "warning"))
    say_last(_summary(report), notes, counts, quiet=quiet or not report.done, exit_code=0, manifests=len(report.parts))


def _print(report: "SplitReport", *, has_values: bool) -> None:
    from bulkpresign.tables import open_output
    from bulkpresign.tables.delimited import csv_cell

    def value(text: str | None) -> str:
        return f",{csv_cell(text or '')}" if has_values else ""

    rows = [f"{csv_cell(part.file)},{part.objects},{part.bytes}{value(part.value)}\n" for part in report.parts]
    header = f"file,objects,bytes{',value' if has_values else ''}\n"
    with open_output("-") as output:
        output.write("".join([header, *rows]).encode())


def _others(files: list[str]) -> str:
    """The warning of files that look like some of this run: who hands out the whole folder hands out these, too."""
    more = len(files) - _NAMED_FILES
    names = ", ".join(files[:_NAMED_FILES]) + (f" and {more:,} more file{'s' if more > 1 else ''}" if more > 0 else "")
    were, them = ("was", "it") if len(files) == 1 else ("were", "them")
    problem = f"{names} {were} not written by this run, and may hold links of an earlier split"
    return f"{problem}: remove {them}, or use an empty folder"


def _summary(report: "SplitReport") -> str:
    from bulkpresign.text import counted, show_bytes

    files = counted(len(report.parts), "manifest")
    return f"split: {counted(report.done, 'object')}, {show_bytes(report.bytes)}, in {files}"
