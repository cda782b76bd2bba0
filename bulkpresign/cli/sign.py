"""`bulkpresign sign`."""

from collections.abc import Sequence
from typing import Any

import click

from bulkpresign.cli import carrying, options
from bulkpresign.cli.help import Verb
from bulkpresign.cli.units import size


@click.command(cls=Verb)
@options.sources
@options.output
@click.option("--method", type=str.upper, default="GET", metavar="GET|PUT|HEAD|DELETE", help="What the links allow.")
@options.expires_in
@options.bucket
@options.output_format
@options.from_format
@click.option(
    "--part-size",
    type=size,
    metavar="SIZE",
    help="PUT links: larger objects become multipart uploads with parts of this size (5MiB to 5GiB), "
    "which are opened here. Their sizes have to be known. Without it, rows of uploads are signed again.",
)
@options.server
@options.progress
@options.quiet
@carrying.carried
def sign(output: str, headers: Sequence[str], progress: str, quiet: bool, **settings: Any) -> None:
    """Turn a list of keys into a manifest of links.

    \b
    bulkpresign sign keys.csv -o links.csv --expires-in 12h
    bulkpresign sign s3://bucket/prefix/ -o links.jsonl.gz
    bulkpresign sign keys.txt --bucket B --method PUT --content-type image/png -o uploads.csv
    bulkpresign sign keys.txt --bucket B --method PUT --checksum crc64nvme --from data/ -o uploads.csv
    bulkpresign sign sizes.csv --bucket B --method PUT --part-size 64MiB -o uploads.csv
    cut -f1 keys.tsv | bulkpresign sign - --from-format txt --bucket B
    """
    from bulkpresign.cli.running import display, reporting_errors, run_verb, say_last
    from bulkpresign.cli.saying import say_left_open
    from bulkpresign.ledger.counts import Counts
    from bulkpresign.pipeline.sign import sign as run
    from bulkpresign.text import counted

    with reporting_errors():
        settings["options"] = carrying.take_link_options(settings)
        settings["headers"] = options.header_map(headers)
    counts = Counts("sign")
    shown = display(progress, counts, quiet=quiet)
    report = run_verb(run, [counts, say_left_open], shown=shown, output=output, **settings)
    opened = f", {counted(report.uploads_opened, 'upload')} opened" if report.uploads_opened else ""
    text = f"sign: {counted(report.done, 'link')}" + (f" in {output}" if output != "-" else "") + opened
    notes = [] if report.done else [("there were no rows: nothing to sign", "warning")]
    found = {"links": report.done, "uploads_opened": report.uploads_opened}
    say_last(text, notes, counts, quiet=quiet or not report.done, exit_code=0, **found)
