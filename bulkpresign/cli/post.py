"""`bulkpresign post`."""

from typing import Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import Verb
from bulkpresign.cli.units import size


@click.command(cls=Verb)
@options.sources
@options.output
@click.option("--max-size", type=size, default="5GiB", metavar="SIZE", help="The server refuses larger files.")
@click.option(
    "--content-type",
    metavar="TYPE",
    help="The server refuses other types; image/* allows all images, and the sender adds the field Content-Type.",
)
@click.option(
    "--success-status",
    type=click.Choice(("200", "201", "204")),
    help="The status of the response to an upload. With 204, S3's default, browsers show nothing; with 201 they show "
    "where the object is.",
)
@options.expires_in
@options.bucket
@options.output_format
@options.from_format
@options.literal
@filter_options.filters_without_sizes
@filter_options.limit
@options.server
@options.ca_bundle
@options.progress
@options.quiet
def post(output: str, progress: str, quiet: bool, **settings: Any) -> None:
    """Create upload forms for browsers and curl from a list of keys.

    A column content_type takes precedence over --content-type in its row. The other options are those of all forms.

    \b
    bulkpresign post keys.csv -o forms.json --max-size 100MiB --content-type 'image/*'
    bulkpresign post 's3://bucket/in/${filename}' -o form.csv --success-status 201
    bulkpresign convert form.csv -o upload.html
    """
    from bulkpresign.cli.runner import display, reporting_errors, run_verb, say_last
    from bulkpresign.cli.summary import early_end, no_rows
    from bulkpresign.ledger.counts import Counts
    from bulkpresign.pipeline.post import post as run
    from bulkpresign.text import counted

    maximum = settings.pop("max_size")  # not that of the filters
    status = settings.pop("success_status")
    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings, has_limit=True)
    counts = Counts("post")
    report = run_verb(
        run,
        [counts],
        shown=display(progress, counts, quiet=quiet),
        output=output,
        max_size=maximum,
        success_status=None if status is None else int(status),
        **settings,
    )
    text = f"post: {counted(report.done, 'form')}" + (f" in {output}" if output != "-" else "")
    notes = [] if report.done else [(f"{no_rows(settings['filters'])}: nothing to sign", "warning")]
    if report.done and report.may_end_early:
        notes.append((early_end("forms"), "warning"))
    say_last(text, notes, counts, quiet=quiet or not report.done, exit_code=0, forms=report.done)
