"""`bulkpresign abort`."""

from typing import TYPE_CHECKING, Any

import click

from bulkpresign.cli import options
from bulkpresign.cli.help import Argument, Verb
from bulkpresign.cli.units import duration

if TYPE_CHECKING:
    from bulkpresign.model import Report


@click.command(cls=Verb)
@click.argument(
    "what",
    cls=Argument,
    metavar="LINKS | s3://bucket/prefix/",
    help="A table of links from sign --part-size, or where uploads are open.",
)
@click.option(
    "--older-than",
    type=duration,
    metavar="DURATION",
    help="Leave younger ones alone: 30s, 15m, 12h, 7d. For LINKS since they were signed.",
)
@click.option("--dry-run", is_flag=True, help="End none; print them as CSV: bucket, key, upload_id, age in seconds.")
@options.from_format
@click.option("--concurrency", type=click.IntRange(min=1), default=32, metavar="N", help="Uploads ended at a time.")
@options.attempts
@options.server
@options.ca_bundle
@options.transport
@options.listeners
def abort(**settings: Any) -> None:
    """End multipart uploads that were opened and not finished.

    Until then S3 keeps, and bills, the parts that were sent. LINKS need no credentials. Objects that were completed
    stay as they are.

    \b
    bulkpresign abort uploads.csv
    bulkpresign abort s3://bucket/prefix/ --older-than 7d --dry-run

    Exit codes: 0 all ended; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli import unused
    from bulkpresign.cli.running import run_transfer
    from bulkpresign.pipeline.abort import abort as run

    unused.refuse(unused.ABORT_LISTED if settings["what"].startswith("s3://") else unused.ABORT_LINKS)
    run_transfer("abort", run, in_one_line=_summary, **settings)


def _summary(report: "Report") -> str:
    if report.planned is not None:
        return f"abort: {report.planned:,} to be ended"
    counts = {"gone before": report.skipped, "failed": report.failed, "expired": report.expired}
    return ", ".join([f"abort: {report.done:,} ended", *(f"{n:,} {name}" for name, n in counts.items() if n)])
