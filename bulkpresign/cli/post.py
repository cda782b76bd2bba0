"""`bulkpresign post`."""

from typing import Annotated

import typer

from bulkpresign.cli import options
from bulkpresign.cli.running import run_verb, say
from bulkpresign.cli.units import size


def post(
    source: options.Sources,
    output: options.Output = "-",
    max_size: Annotated[
        int, typer.Option(parser=size, metavar="SIZE", help="Larger bodies are refused.", show_default="5GiB")
    ] = 5 << 30,
    content_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Other types are refused; image/* allows a kind.")
    ] = None,
    expires_in: options.ExpiresIn = 3600,
    bucket: options.Bucket = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    from_format: options.FromFormat = None,
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    profile: options.Profile = None,
    addressing_style: options.AddressingStyle = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Turn a list of keys into a manifest of upload forms, for browsers and curl.

    \b
    bulkpresign post keys.csv -o forms.json --max-size 100MiB --content-type 'image/*'
    """
    from bulkpresign.pipeline.post import post as run

    report = run_verb(
        lambda listeners: run(
            source,
            output,
            bucket=bucket,
            expires_in=expires_in,
            max_size=max_size,
            content_type=content_type,
            format=format,
            from_format=from_format,
            region_name=region,
            endpoint_url=endpoint_url,
            profile_name=profile,
            addressing_style=addressing_style,
            listeners=listeners,
        )
    )
    if not report.done:
        say("warning: there were no rows: nothing to sign")
    elif not quiet:
        say(f"post: {report.done:,} forms" + (f" in {output}" if output != "-" else ""))
