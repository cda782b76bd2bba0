"""`bulkpresign put`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import Argument, FileName, Verb


@click.command(cls=Verb)
@click.argument(
    "what",
    cls=Argument,
    nargs=-1,
    metavar="LINKS... | DIR s3://bucket/prefix/",
    help="Tables of PUT links, or a folder and its destination.",
)
@click.option(
    "--from", "source", type=FileName(allow_dash=False), metavar="DIR", help="The folder with the files of LINKS."
)
@options.from_format
@options.bounds
@options.executor
@options.records
@filter_options.filters
@options.renewal
@options.expires_in
@click.option("--content-type", metavar="TYPE", help="Signed into PUT links.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Signed into PUT links, and written to their rows. Repeatable.",
)
@click.option(
    "--checksum",
    type=click.Choice(("crc64nvme", "crc32c", "crc32")),
    help="Send each file of DIR with its checksum: the server compares and keeps it.",
)
@options.server
@options.ca_bundle
@options.transport
@options.listeners
def put(
    what: Sequence[str], source: str | None, headers: Sequence[str], content_type: str | None, **settings: Any
) -> None:
    """Upload through PUT links, or a folder with own credentials.

    LINKS need no credentials. Large files of a folder are uploaded in parts; LINKS have parts with sign --part-size.
    Parts that are uploaded are not sent again by a later run.

    \b
    bulkpresign put uploads.csv --from data/
    bulkpresign put uploads.csv --from data/ --part-concurrency 16 --failures failed.csv
    bulkpresign put data/ s3://bucket/prefix/ --part-size 256MiB

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    to_bucket = len(what) == 2 and what[1].startswith("s3://")
    if (source is None) != to_bucket or (source or "").startswith("s3://"):
        downloads = "; get downloads: get s3://bucket/prefix/ --to DIR" if what and what[0].startswith("s3://") else ""
        raise click.UsageError(f"use: put LINKS... --from DIR, or: put DIR s3://bucket/prefix/{downloads}")

    from bulkpresign.cli import option_checks
    from bulkpresign.cli.runner import reporting_errors, run_transfer
    from bulkpresign.pipeline import put as pipeline

    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings)
    if source is not None:
        option_checks.check_applicable(
            (*option_checks.PUT_LINKS, *([] if settings["renew_credentials"] else [option_checks.NOTHING_IS_SIGNED]))
        )
        del settings["part_size"]  # its default is for folders
        run_transfer("put", partial(pipeline.put, what, source), **settings)
    option_checks.check_applicable(option_checks.PUT_FOLDER)
    with reporting_errors():
        signed = options.header_map(headers, content_type)
    run_transfer("put", partial(pipeline.put, *what, headers=signed), **settings)
