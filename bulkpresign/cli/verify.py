"""`bulkpresign verify`."""

from typing import Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import Argument, FileName, Verb


@click.command(cls=Verb)
@click.argument(
    "manifest",
    cls=Argument,
    nargs=-1,
    metavar="MANIFEST...",
    help="Tables of objects or links, which may have expired; - for standard input.",
)
@click.option("--in", "folder", required=True, type=FileName(), metavar="DIR", help="The folder with the files.")
@options.bucket
@options.from_format
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    show_default="the number of CPUs",
    metavar="N",
    help="Files read at the same time.",
)
@click.option(
    "--failures",
    type=FileName(),
    metavar="FILE",
    help="Write a manifest of files that differ, are missing or unproven, with reasons: a valid input of get.",
)
@click.option("--journal", metavar="FILE", help="The journal of the download. Default: DIR.journal, if it exists.")
@click.option("--accept-size", is_flag=True, help="Accept files of which only the size can be verified.")
@filter_options.filters
@filter_options.limit
@options.progress
@options.quiet
@click.option("-v", "--verbose", is_flag=True, help="Print every file that differs, is missing or is extra.")
def verify(**settings: Any) -> None:
    """Check the files of a folder against a manifest.

    Sends nothing. A file is verified by its checksum or its etag; a file with only a size to compare is unproven.
    Prints files that differ, are missing, or are in the folder without a row. Filters select the rows to verify.

    \b
    bulkpresign verify links.csv --in data/
    bulkpresign verify keys.csv --in data/ --failures again.csv && bulkpresign get again.csv --to data/

    Exit codes: 0 all verified; 1 some files differ, are missing, unproven or extra; 2 bad manifest, no folder;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli.runner import reporting_errors
    from bulkpresign.cli.verify_runner import run_verification

    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings, has_limit=True)
    run_verification(**settings)
