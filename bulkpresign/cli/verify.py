"""`bulkpresign verify`."""

from typing import Any

import click

from bulkpresign.cli import options, sides
from bulkpresign.cli.help import Argument, FileName, SectionedOption, Verb
from bulkpresign.cli.units import size

_FILES, _SIDES = "Files of a folder (--in)", "SOURCE and DESTINATION"


@click.command(cls=Verb)
@click.argument(
    "source",
    cls=Argument,
    nargs=-1,
    metavar="SOURCE...",
    help="With --in: tables of objects or links, which may have expired; - for standard input. Otherwise two sides, "
    "each s3://bucket/prefix/, a folder, or a table.",
)
@click.option(
    "--in",
    "folder",
    cls=SectionedOption,
    section=_FILES,
    type=FileName(),
    metavar="DIR",
    help="The folder with the files of the tables. Sends nothing.",
)
@click.option(
    "--failures",
    cls=SectionedOption,
    section=_FILES,
    type=FileName(),
    metavar="FILE",
    help="Write a manifest of files that differ, are missing or unproven, with reasons: a valid input of get.",
)
@click.option(
    "--journal",
    cls=SectionedOption,
    section=_FILES,
    metavar="FILE",
    help="The journal of the download. Default: DIR.journal, if it exists.",
)
@click.option(
    "--accept-size",
    cls=SectionedOption,
    section=_FILES,
    is_flag=True,
    help="Accept files of which only the size can be verified.",
)
@click.option(
    "--max-read",
    cls=SectionedOption,
    section=_SIDES,
    type=size,
    show_default="10GiB",
    metavar="SIZE",
    help="The most bytes that are read to compare objects without a checksum or etag of the same kind. What is left "
    "out is unproven.",
)
@click.option(
    "--differences",
    cls=SectionedOption,
    section=_SIDES,
    type=FileName(),
    metavar="FILE",
    help="Write a manifest of objects that differ, are missing, extra or unproven: columns difference and reason.",
)
@options.bucket
@options.from_format
@options.literal
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    show_default="the number of CPUs for files; for requests, the number that is fastest",
    metavar="N",
    help="Files or objects read at the same time.",
)
@options.attempts
@options.limit_rate
@options.server
@sides.source_and_destination_options
@options.ca_bundle
@options.transport
@options.progress
@options.quiet
@click.option(
    "-v", "--verbose", is_flag=True, help="Print every file or object that differs, is missing, extra or unproven."
)
def verify(**settings: Any) -> None:
    """Check files against a manifest, or two sides against each other.

    With --in nothing is sent: each file is verified by its checksum or its etag; a file with only a size to compare is
    unproven. Two sides are compared by size, and by checksum or etag where both have one of the same kind. Files are
    hashed; other objects are read, up to --max-read. Prints what differs, is missing, extra or unproven.

    \b
    bulkpresign verify links.csv --in data/
    bulkpresign verify keys.csv --in data/ --failures again.csv && bulkpresign get again.csv --to data/
    bulkpresign verify s3://from/prefix/ s3://to/prefix/ --destination-profile other --differences found.csv
    bulkpresign verify s3://bucket/prefix/ data/

    Exit codes: 0 all verified; 1 some differ, are missing, extra or unproven; 2 bad input;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli import verify_runner

    if settings["folder"] is not None:
        verify_runner.verify_folder(**settings)
    verify_runner.verify_sides(**settings)
