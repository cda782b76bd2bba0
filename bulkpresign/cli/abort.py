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
    help="A table of links from sign --part-size, or a prefix with open uploads.",
)
@click.option(
    "--older-than",
    type=duration,
    metavar="DURATION",
    help="Only uploads older than this: 30s, 15m, 12h, 7d. For LINKS, the age since they were signed.",
)
@click.option(
    "--dry-run", is_flag=True, help="Abort nothing; print the uploads as CSV: bucket, key, upload_id, age in seconds."
)
@options.from_format
@options.concurrency
@options.attempts
@options.server
@options.ca_bundle
@options.transport
@options.listeners
def abort(**settings: Any) -> None:
    """Abort multipart uploads that were created and not completed.

    Until then, S3 stores the parts that were sent, and bills them. LINKS need no credentials. Completed objects are not
    changed.

    \b
    bulkpresign abort uploads.csv
    bulkpresign abort s3://bucket/prefix/ --older-than 7d --dry-run

    Exit codes: 0 all aborted; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli import option_checks
    from bulkpresign.cli.runner import run_transfer
    from bulkpresign.pipeline.abort import abort as run

    option_checks.check_applicable(
        option_checks.ABORT_LISTED if settings["what"].startswith("s3://") else option_checks.ABORT_LINKS
    )
    run_transfer("abort", run, in_one_line=_summary, **settings)


def _summary(report: "Report") -> str:
    if report.planned is not None:
        return f"abort: {report.planned:,} to be ended"
    counts = {"gone before": report.skipped, "failed": report.failed, "expired": report.expired}
    return ", ".join([f"abort: {report.done:,} ended", *(f"{n:,} {name}" for name, n in counts.items() if n)])
