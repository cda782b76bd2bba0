"""`bulkpresign get`."""

from typing import Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import FileName, Verb
from bulkpresign.cli.units import size


@click.command(cls=Verb)
@options.linked_sources
@click.option(
    "--to",
    required=True,
    type=FileName(allow_dash=False),
    metavar="DIR",
    help="The folder for the files; created with its parents.",
)
@options.bucket
@options.from_format
@options.literal
@options.all_versions
@options.bounds
@options.executor
@click.option(
    "--if-exists", default="replace", metavar="replace|keep|fail", help="What to do with an existing file that differs."
)
@click.option("--max-object-size", type=size, metavar="SIZE", help="Refuse objects over this size.")
@click.option("--recheck", is_flag=True, help="Ask the server again about each object that was done before.")
@click.option("--fsync", is_flag=True, help="Wait for the disk before an object counts as done.")
@options.records
@filter_options.filters
@options.renewal
@options.expires_in
@options.server
@options.request_payer
@options.ca_bundle
@options.transport
@options.listeners
def get(**settings: Any) -> None:
    """Download through links, or from a bucket with own credentials.

    LINKS need no credentials; any other source is signed just before use. Files that exist and match are skipped.
    A file appears under its name when it is complete and verified.

    \b
    bulkpresign get links.csv --to data/
    bulkpresign get 'https://bucket.s3.amazonaws.com/key?X-Amz-...' --to data/
    bulkpresign get s3://bucket/prefix/ --to data/ --concurrency 128 --failures failed.csv
    bulkpresign get 's3://bucket/2026/*.parquet' --to data/

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli import option_checks
    from bulkpresign.cli.runner import reporting_errors, run_transfer
    from bulkpresign.pipeline.get import get as run
    from bulkpresign.pipeline.sources.sources import are_links

    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings)
    sources = settings["source"]
    if all(source.startswith("s3://") for source in sources):
        option_checks.check_applicable([option_checks.NO_TABLE])
    elif (
        option_checks.has_given(option_checks.NOTHING_IS_SIGNED.names)
        and not settings["renew_credentials"]
        and are_links(sources, settings["from_format"])
    ):
        option_checks.check_applicable([option_checks.NOTHING_IS_SIGNED])
    run_transfer("get", run, **settings)
