"""`bulkpresign abort`."""

from typing import Annotated

import typer

from bulkpresign.cli import options
from bulkpresign.cli.running import run_transfer
from bulkpresign.cli.units import duration
from bulkpresign.model import Report


def abort(
    what: Annotated[
        str,
        typer.Argument(
            metavar="LINKS | s3://bucket/prefix/",
            help="A table of links from sign --part-size, or where uploads are open.",
            show_default=False,
        ),
    ],
    older_than: Annotated[
        int | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="Leave younger ones alone: 30s, 15m, 12h, 7d. For LINKS since they were signed.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="End none; print them as CSV: bucket, key, upload_id, age in seconds.")
    ] = False,
    from_format: options.FromFormat = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Uploads ended at a time.")] = 32,
    attempts: options.Attempts = 5,
    ca_bundle: options.CaBundle = None,
    progress: options.Progress = "auto",
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    profile: options.Profile = None,
    addressing_style: options.AddressingStyle = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """End multipart uploads that were opened and not finished; S3 keeps, and bills, what was sent of them until then.

    LINKS need no credentials. Objects that were completed stay as they are.

    \b
    bulkpresign abort uploads.csv
    bulkpresign abort s3://bucket/prefix/ --older-than 7d --dry-run

    Exit codes: 0 all ended; 1 some failed; 2 nothing was sent; 3 links had expired; 130 interrupted.
    """
    from bulkpresign.pipeline.abort import abort as run

    run_transfer(
        "abort",
        lambda listeners: run(
            what,
            older_than=older_than,
            dry_run=dry_run,
            concurrency=concurrency,
            attempts=attempts,
            ca_bundle=ca_bundle,
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
        in_one_line=_summary,
    )


def _summary(report: Report) -> str:
    if report.planned is not None:
        return f"abort: {report.planned:,} to be ended"
    counts = {"gone before": report.skipped, "failed": report.failed, "expired": report.expired}
    return ", ".join([f"abort: {report.done:,} ended", *(f"{n:,} {name}" for name, n in counts.items() if n)])
