"""`bulkpresign put`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from bulkpresign.cli import options
from bulkpresign.cli.help import Argument, FileName, Verb


@click.command(cls=Verb)
@click.argument(
    "what",
    cls=Argument,
    nargs=-1,
    metavar="LINKS... | DIR s3://bucket/prefix/",
    help="Tables of PUT links, or a folder and where it goes.",
)
@click.option("--from", "source", type=FileName(), metavar="DIR", help="The folder with the files that LINKS name.")
@options.from_format
@options.bounds
@options.records
@options.renewal
@options.expires_in
@click.option("--content-type", metavar="TYPE", help="Signed into PUT links.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Signed into PUT links; stands in their rows. Repeatable.",
)
@options.server
@options.ca_bundle
@options.transport
@options.listeners
def put(
    what: Sequence[str], source: str | None, headers: Sequence[str], content_type: str | None, **settings: Any
) -> None:
    """Upload through PUT links, or a folder with own credentials.

    LINKS need no credentials. Large files of a folder go up in parts; LINKS have their parts from sign --part-size.
    Parts that are up already are kept over runs.

    \b
    bulkpresign put uploads.csv --from data/
    bulkpresign put uploads.csv --from data/ --part-concurrency 16 --failures failed.csv
    bulkpresign put data/ s3://bucket/prefix/ --part-size 256MiB

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    to_bucket = len(what) == 2 and what[1].startswith("s3://")
    if (source is None) != to_bucket or (source or "").startswith("s3://"):
        raise click.BadParameter("use: put LINKS --from DIR, or: put DIR s3://bucket/prefix/")

    from bulkpresign.cli import unused
    from bulkpresign.cli.running import reporting_errors, run_transfer
    from bulkpresign.pipeline import put as pipeline

    if source is not None:
        unused.refuse((*unused.PUT_LINKS, *([] if settings["renew_credentials"] else [unused.NOTHING_IS_SIGNED])))
        del settings["part_size"]  # it has a default, which is that of a folder
        run_transfer("put", partial(pipeline.put, what, source), **settings)
    unused.refuse(unused.PUT_FOLDER)
    with reporting_errors():
        signed = options.header_map(headers, content_type)
    run_transfer("put", partial(pipeline.put, *what, headers=signed), **settings)
