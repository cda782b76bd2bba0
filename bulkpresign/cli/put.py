"""`bulkpresign put`."""

from collections.abc import Awaitable, Sequence
from typing import Annotated

import typer

from bulkpresign.cli import options
from bulkpresign.cli.running import run_transfer
from bulkpresign.events import Listener
from bulkpresign.model import Report


def put(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="LINKS... | DIR s3://bucket/prefix/",
            help="Tables of PUT links, or a folder and where it goes.",
        ),
    ],
    source: Annotated[
        str | None, typer.Option("--from", metavar="DIR", help="The folder with the files that LINKS name.")
    ] = None,
    from_format: options.FromFormat = None,
    concurrency: options.Concurrency = 64,
    part_size: options.PartSize = 64 << 20,
    part_concurrency: options.PartConcurrency = 8,
    attempts: options.Attempts = 5,
    limit_rate: options.LimitRate = None,
    limit: options.Limit = None,
    failures: options.Failures = None,
    journal: options.JournalFile = None,
    dry_run: options.DryRun = False,
    renew_credentials: options.RenewCredentials = False,
    renew_command: options.RenewCommand = None,
    renew_url: options.RenewUrl = None,
    ca_bundle: options.CaBundle = None,
    progress: options.Progress = "auto",
    expires_in: options.ExpiresIn = 3600,
    content_type: options.ContentType = None,
    header: options.Headers = None,
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    profile: options.Profile = None,
    addressing_style: options.AddressingStyle = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Upload through PUT links, which needs no credentials, or a folder with own ones.

    Large files of a folder go up in parts; LINKS have their parts from sign --part-size. Parts that are up already are
    kept over runs.

    \b
    bulkpresign put uploads.csv --from data/
    bulkpresign put uploads.csv --from data/ --part-concurrency 16 --failures failed.csv
    bulkpresign put data/ s3://bucket/prefix/ --part-size 256MiB

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired; 130 interrupted.
    """

    def run(listeners: Sequence[Listener]) -> Awaitable[Report]:
        from bulkpresign.pipeline.put import put as put_links
        from bulkpresign.pipeline.put import put_folder

        if source is not None:
            return put_links(
                what,
                source,
                concurrency=concurrency,
                part_size=part_size,
                part_concurrency=part_concurrency,
                attempts=attempts,
                limit_rate=limit_rate,
                limit=limit,
                failures=failures,
                journal=journal,
                dry_run=dry_run,
                ca_bundle=ca_bundle,
                renew_credentials=renew_credentials,
                renew_command=renew_command,
                renew_url=renew_url,
                expires_in=expires_in,
                from_format=from_format,
                region_name=region,
                endpoint_url=endpoint_url,
                profile_name=profile,
                addressing_style=addressing_style,
                listeners=listeners,
            )
        return put_folder(
            what[0],
            what[1],
            concurrency=concurrency,
            part_size=part_size,
            part_concurrency=part_concurrency,
            attempts=attempts,
            limit_rate=limit_rate,
            limit=limit,
            failures=failures,
            journal=journal,
            dry_run=dry_run,
            ca_bundle=ca_bundle,
            expires_in=expires_in,
            headers=options.header_map(header, content_type),
            region_name=region,
            endpoint_url=endpoint_url,
            profile_name=profile,
            addressing_style=addressing_style,
            listeners=listeners,
        )

    to_bucket = len(what) == 2 and what[1].startswith("s3://")
    if (source is None) != to_bucket:
        raise typer.BadParameter("use: put LINKS --from DIR, or: put DIR s3://bucket/prefix/")
    run_transfer("put", run, progress_mode=progress, quiet=quiet, verbose=verbose)
