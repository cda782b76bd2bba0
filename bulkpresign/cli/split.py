"""`bulkpresign split`."""

from typing import TYPE_CHECKING, Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import Argument, FileName, Verb
from bulkpresign.cli.units import count

if TYPE_CHECKING:
    from bulkpresign.pipeline.split import SplitReport


@click.command(cls=Verb)
@click.argument("manifest", cls=Argument, metavar="MANIFEST", help="A table of objects or links; - for standard input.")
@click.option("-n", "--parts", type=count, metavar="N", help="The number of manifests, at most 1000.")
@click.option("--by", metavar="COLUMN", help="One manifest for each value of a column, instead of -n.")
@click.option(
    "-o",
    "--output",
    "to",
    type=FileName(),
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
    NAME-001.csv and so on, or NAME-VALUE.csv with --by: characters but letters, digits, '.', '_' and '-' become '_'.
    The rows of a multipart upload stay together. Prints file, objects and bytes of each manifest as CSV.

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
            _print(report)
    notes = [] if report.done else [(f"{no_rows(settings['filters'])}: nothing to split", "warning")]
    say_last(_summary(report), notes, counts, quiet=quiet or not report.done, exit_code=0, manifests=len(report.parts))


def _print(report: "SplitReport") -> None:
    from bulkpresign.tables import open_output
    from bulkpresign.tables.delimited import csv_cell

    rows = [f"{csv_cell(part.file)},{part.objects},{part.bytes}\n" for part in report.parts]
    with open_output("-") as output:
        output.write("".join(["file,objects,bytes\n", *rows]).encode())


def _summary(report: "SplitReport") -> str:
    from bulkpresign.text import counted, show_bytes

    files = counted(len(report.parts), "manifest")
    return f"split: {counted(report.done, 'object')}, {show_bytes(report.bytes)}, in {files}"
