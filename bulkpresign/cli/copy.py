"""`bulkpresign copy`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from bulkpresign.cli import options
from bulkpresign.cli.help import Argument, Verb
from bulkpresign.cli.sides import source_and_destination_options


@click.command(cls=Verb)
@click.argument(
    "what",
    cls=Argument,
    nargs=-1,
    metavar="SOURCE... s3://bucket/prefix/",
    help="Sources as for get, and the prefix that their objects are copied to.",
)
@options.bucket
@options.from_format
@options.literal
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="OLD=NEW|s/REGEX/NEW/",
    help="Rewrite the paths of copies: a prefix, or what a regular expression matches. Repeatable, in this order.",
)
@click.option(
    "--if-exists", default="replace", metavar="replace|keep|fail", help="What to do with an existing copy that differs."
)
@click.option(
    "--relay", is_flag=True, help="Read and write each byte here, even if both sides are one server that could copy."
)
@options.bounds
@options.records
@options.renewal
@options.expires_in
@options.server
@source_and_destination_options
@options.ca_bundle
@options.transport
@options.listeners
def copy(what: Sequence[str], **settings: Any) -> None:
    """Copy from bucket to bucket, with nothing on disk.

    The key of a copy is the prefix and the object's path: its key after the source's prefix. Copies keep content type,
    metadata and other headers of their objects. What is there already, with the same size and etag, is skipped.

    \b
    bulkpresign copy s3://from/prefix/ s3://to/prefix/
    bulkpresign copy s3://from/ s3://to/ --source-profile old --destination-endpoint-url https://s3.example.com
    bulkpresign copy keys.csv s3://to/ --map raw/=2026/raw/ --failures failed.csv

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli.runner import run_transfer
    from bulkpresign.pipeline.copy import copy as run

    if len(what) < 2 or not what[-1].startswith("s3://"):
        raise click.BadParameter("use: copy SOURCE... s3://bucket/prefix/")
    run_transfer("copy", partial(run, list(what[:-1]), what[-1]), **settings)
