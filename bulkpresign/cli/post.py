"""`bulkpresign post`."""

from typing import Any

import click

from bulkpresign.cli import options
from bulkpresign.cli.help import Verb
from bulkpresign.cli.units import size


@click.command(cls=Verb)
@options.sources
@options.output
@click.option("--max-size", type=size, default="5GiB", metavar="SIZE", help="Larger bodies are refused.")
@click.option("--content-type", metavar="TYPE", help="Other types are refused; image/* allows a kind.")
@options.expires_in
@options.bucket
@options.output_format
@options.from_format
@options.literal
@options.server
@options.ca_bundle
@options.quiet
def post(output: str, quiet: bool, **settings: Any) -> None:
    """Turn a list of keys into a manifest of upload forms, for browsers and curl.

    \b
    bulkpresign post keys.csv -o forms.json --max-size 100MiB --content-type 'image/*'
    """
    from bulkpresign.cli.running import run_verb, say
    from bulkpresign.pipeline.post import post as run

    report = run_verb(run, output=output, **settings)
    if not report.done:
        say("warning: there were no rows: nothing to sign")
    elif not quiet:
        say(f"post: {report.done:,} forms" + (f" in {output}" if output != "-" else ""))
