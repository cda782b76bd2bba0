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
@options.quiet
@carrying.carried
def sign(output: str, headers: Sequence[str], quiet: bool, **settings: Any) -> None:
    """Turn a list of keys into a manifest of links.

    \b
    bulkpresign sign keys.csv -o links.csv --expires-in 12h
    bulkpresign sign s3://bucket/prefix/ -o links.jsonl.gz
    bulkpresign sign keys.txt --bucket B --method PUT --content-type image/png -o uploads.csv
    bulkpresign sign keys.txt --bucket B --method PUT --checksum crc64nvme --from data/ -o uploads.csv
    bulkpresign sign sizes.csv --bucket B --method PUT --part-size 64MiB -o uploads.csv
    cut -f1 keys.tsv | bulkpresign sign - --from-format txt --bucket B
    """
    from bulkpresign.cli.running import reporting_errors, run_verb, say, say_left_open
    from bulkpresign.pipeline.sign import sign as run

    with reporting_errors():
        settings["options"] = carrying.take_link_options(settings)
        settings["headers"] = options.header_map(headers)
    report = run_verb(run, [say_left_open], output=output, **settings)
    if not report.done:
        say("warning: there were no rows: nothing to sign")
    elif not quiet:
        count = report.uploads_opened
        opened = f", {count:,} upload{'s' if count > 1 else ''} opened" if count else ""
        say(f"sign: {report.done:,} links" + (f" in {output}" if output != "-" else "") + opened)
