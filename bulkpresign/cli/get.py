"""`bulkpresign get`."""

from typing import TYPE_CHECKING, Annotated, cast

import typer

from bulkpresign.cli import options
from bulkpresign.cli.running import run_transfer

if TYPE_CHECKING:
    from bulkpresign.transfer.getting import IfExists


def get(
    source: options.Sources,
    to: Annotated[
        str,
        typer.Option("--to", metavar="DIR", help="The folder; made with its parents.", show_default=False),
    ],
    bucket: options.Bucket = None,
    from_format: options.FromFormat = None,
    concurrency: options.Concurrency = 64,
    part_size: options.PartSize = 64 << 20,
    part_concurrency: options.PartConcurrency = 8,
    attempts: options.Attempts = 5,
    limit_rate: options.LimitRate = None,
    limit: options.Limit = None,
    if_exists: Annotated[
        str, typer.Option(metavar="replace|keep|fail", help="What becomes of a file that differs.")
    ] = "replace",
    failures: options.Failures = None,
    journal: options.JournalFile = None,
    dry_run: options.DryRun = False,
    renew_credentials: options.RenewCredentials = False,
    renew_command: options.RenewCommand = None,
    renew_url: options.RenewUrl = None,
    ca_bundle: options.CaBundle = None,
    progress: options.Progress = "auto",
    expires_in: options.ExpiresIn = 3600,
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    profile: options.Profile = None,
    addressing_style: options.AddressingStyle = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Download through links, which needs no credentials, or from a source that is signed just in time.

    What is there already and matches is skipped. A file appears under its name when it is whole and verified.

    \b
    bulkpresign get links.csv --to data/
    bulkpresign get s3://bucket/prefix/ --to data/ --concurrency 128 --failures failed.csv

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired; 130 interrupted.
    """
    from bulkpresign.pipeline.get import get as run

    run_transfer(
        "get",
        lambda listeners: run(
            source,
            to,
            bucket=bucket,
            concurrency=concurrency,
            part_size=part_size,
            part_concurrency=part_concurrency,
            attempts=attempts,
            limit_rate=limit_rate,
            limit=limit,
            if_exists=cast("IfExists", if_exists),
            failures=failures,
            journal=journal,
            dry_run=dry_run,
            renew_credentials=renew_credentials,
            renew_command=renew_command,
            renew_url=renew_url,
            ca_bundle=ca_bundle,
            expires_in=expires_in,
            from_format=from_format,
            region_name=region,
            endpoint_url=endpoint_url,
            profile_name=profile,
            addressing_style=addressing_style,
            listeners=listeners,
        ),
        progress_mode=progress,
        quiet=quiet,
        verbose=verbose,
    )
