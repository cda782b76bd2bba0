"""`bulkpresign sign`."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from bulkpresign.cli import filter_options, link_options, options, sides
from bulkpresign.cli.help import Verb
from bulkpresign.cli.units import count, size
from bulkpresign.errors import BreakerError

if TYPE_CHECKING:
    from bulkpresign.events import Listener


@click.command(cls=Verb)
@options.sources
@options.output
@click.option(
    "--method",
    type=str.upper,
    metavar="GET|PUT|HEAD|DELETE",
    help="The method of the links. Default: GET, or the method of each row of LINKS.",
)
@options.expires_in
@options.bucket
@options.output_format
@options.from_format
@options.literal
@options.all_versions
@click.option(
    "--head",
    is_flag=True,
    help="Send a HEAD request for every object: its row then has size, etag, checksum, content type, last_modified and "
    "part_size. A missing object has no link, and the exit code is 1.",
)
@click.option(
    "--to",
    metavar="s3://bucket/prefix/",
    help="Add a PUT link for a copy of each object to its row, for bulkpresign copy, with the headers and tags that it "
    "keeps. Objects over 5GiB need --part-size. Sends a HEAD request for every object, as --head.",
)
@sides.maps
@click.option("--no-tags", is_flag=True, help="With --to: sign copies without the tags of their objects.")
@click.option(
    "--concurrency",
    type=count,
    metavar="N",
    help="With --head: exactly N requests in flight. Default: as many as are fastest.",
)
@click.option(
    "--failures",
    metavar="FILE",
    help="With --head: write a manifest of objects without a link, with reasons. It is a valid input.",
)
@click.option(
    "--part-size",
    type=size,
    metavar="SIZE",
    help="PUT links, and copies with --to: larger objects become multipart uploads with parts of this size (5MiB to "
    "5GiB), which are created here. The sizes of PUT links must be known. Without this option, the rows of uploads are "
    "signed again.",
)
@options.signing_executor
@options.server
@sides.destination_options
@options.ca_bundle
@options.listeners
@filter_options.filters
@filter_options.limit
@link_options.link_settings
def sign(output: str, headers: Sequence[str], progress: str, quiet: bool, verbose: int, **settings: Any) -> None:
    """Create a manifest of links from a list of keys.

    LINKS are signed again: each row keeps its method, headers and response overrides unless an option overrides them.

    \b
    bulkpresign sign keys.csv -o links.csv --expires-in 12h
    bulkpresign sign s3://bucket/prefix/ -o links.jsonl.gz
    bulkpresign sign 's3://bucket/2026/*.parquet' -o links.csv --head --failures missing.csv
    bulkpresign sign links.csv -o fresh.csv
    bulkpresign sign s3://bucket/prefix/ -o urls.txt --filename '{name}'
    bulkpresign sign s3://from/ -o copies.csv --to s3://to/ --part-size 64MiB
    bulkpresign sign keys.txt --bucket B --method PUT --content-type image/png -o uploads.csv
    bulkpresign sign keys.txt --bucket B --method PUT --checksum crc64nvme --from data/ -o uploads.csv
    bulkpresign sign sizes.csv --bucket B --method PUT --part-size 64MiB -o uploads.csv
    bulkpresign sign s3://bucket/prefix/ -o links.csv --include '*.csv' --newer-than 7d
    bulkpresign sign keys.csv -o links.csv --executor processes
    cut -f1 keys.tsv | bulkpresign sign - --from-format txt --bucket B
    """
    from bulkpresign.cli.debug_log import debug_log
    from bulkpresign.cli.ending import exit_code
    from bulkpresign.cli.messages import say_left_open, say_retry
    from bulkpresign.cli.runner import display, reporting_errors, run_verb, say_last
    from bulkpresign.cli.summary import NAMED_FAILURES, Failures, archived, early_end, no_rows
    from bulkpresign.ledger.counts import Counts
    from bulkpresign.pipeline.sign import sign as run

    with reporting_errors():
        settings["options"] = link_options.pop_link_options(settings)
        settings["filters"] = filter_options.pop_filters(settings, has_limit=True)
        settings["headers"] = options.header_map(headers)
    settings["tags"] = not settings.pop("no_tags")
    counts, unsigned = Counts("sign"), Failures(at_once=bool(verbose))
    listeners: list[Listener] = [counts, unsigned, say_left_open, *([say_retry] if verbose else [])]
    shown = display(progress, counts, quiet=quiet)
    try:
        with debug_log() if verbose > 1 else nullcontext():
            report = run_verb(run, listeners, shown=shown, output=output, **settings)
    finally:
        ended = sys.exc_info()[1]
        unsigned.say_rest(1 if ended is not None and isinstance(ended.__cause__, BreakerError) else NAMED_FAILURES)
    is_empty = not (report.done or report.failed)
    notes = [(f"{no_rows(settings['filters'])}: nothing to sign", "warning")] if is_empty else []
    if report.done and report.may_end_early:
        notes.append((early_end("links"), "warning"))
    if report.first_repeated is not None:
        notes.append((_repeated(report.repeated_paths, *report.first_repeated), "warning"))
    if report.archived and not quiet:
        notes.append((archived(report), "info"))
    found = {"links": report.done, "uploads_opened": report.uploads_opened, "missing": report.missing}
    code = exit_code(report)
    say_last(_summary(report, output), notes, counts, quiet=quiet or is_empty, exit_code=code, **found)
    raise Exit(code)


def _repeated(count: int, first: str, second: str) -> str:
    rows = f"{count:,} {'row has' if count == 1 else 'rows have'} the path of an earlier row"
    remedy = "get refuses such a manifest; sign each source to a manifest of its own"
    return f"{rows}, as {second} has that of {first}: {remedy}"


def _summary(report: Any, output: str) -> str:
    from bulkpresign.text import counted

    counts = [counted(report.done, "link") + (f" in {output}" if output != "-" else "")]
    if report.uploads_opened:
        counts.append(f"{counted(report.uploads_opened, 'upload')} opened")
    if report.missing:
        counts.append(f"{report.missing:,} missing")
    if others := report.failed - report.missing:
        counts.append(f"{others:,} failed")
    return f"sign: {', '.join(counts)}"
