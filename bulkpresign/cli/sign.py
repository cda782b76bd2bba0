"""`bulkpresign sign`."""

from typing import Annotated

import typer

from bulkpresign.cli import options
from bulkpresign.cli.running import run_verb, say, say_left_open
from bulkpresign.cli.units import size

_Override = Annotated[
    str | None, typer.Option(metavar="VALUE", help="GET links: this response header.", show_default=False)
]


def sign(
    source: options.Sources,
    output: options.Output = "-",
    method: Annotated[str, typer.Option(metavar="GET|PUT|HEAD|DELETE", help="What the links allow.")] = "GET",
    expires_in: options.ExpiresIn = 3600,
    bucket: options.Bucket = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    from_format: options.FromFormat = None,
    filename: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="GET links: save under this name; {name} is the key's last segment."),
    ] = None,
    part_size: Annotated[
        int | None,
        typer.Option(
            parser=size,
            metavar="SIZE",
            help="PUT links: larger objects become multipart uploads with parts of this size (5MiB to 5GiB), "
            "which are opened here. Their sizes have to be known. Without it, rows of uploads are signed again.",
            show_default=False,
        ),
    ] = None,
    response_content_type: _Override = None,
    response_content_disposition: _Override = None,
    response_content_encoding: _Override = None,
    response_content_language: _Override = None,
    response_cache_control: _Override = None,
    response_expires: _Override = None,
    content_type: options.ContentType = None,
    header: options.Headers = None,
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    profile: options.Profile = None,
    addressing_style: options.AddressingStyle = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Turn a list of keys into a manifest of links.

    \b
    bulkpresign sign keys.csv -o links.csv --expires-in 12h
    bulkpresign sign s3://bucket/prefix/ -o links.jsonl.gz
    bulkpresign sign keys.txt --bucket B --method PUT --content-type image/png -o uploads.csv
    bulkpresign sign sizes.csv --bucket B --method PUT --part-size 64MiB -o uploads.csv
    cut -f1 keys.tsv | bulkpresign sign - --from-format txt --bucket B
    """
    from bulkpresign.pipeline.sign import sign as run

    overrides = {
        "response-content-type": response_content_type,
        "response-content-disposition": response_content_disposition,
        "response-content-encoding": response_content_encoding,
        "response-content-language": response_content_language,
        "response-cache-control": response_cache_control,
        "response-expires": response_expires,
    }
    report = run_verb(
        lambda listeners: run(
            source,
            output,
            bucket=bucket,
            method=method.upper(),
            expires_in=expires_in,
            format=format,
            from_format=from_format,
            headers=options.header_map(header, content_type),
            query={name: value for name, value in overrides.items() if value is not None},
            filename=filename,
            part_size=part_size,
            region_name=region,
            endpoint_url=endpoint_url,
            profile_name=profile,
            addressing_style=addressing_style,
            listeners=listeners,
        ),
        [say_left_open],
    )
    if not report.done:
        say("warning: there were no rows: nothing to sign")
    elif not quiet:
        count = report.uploads_opened
        opened = f", {count:,} upload{'s' if count > 1 else ''} opened" if count else ""
        say(f"sign: {report.done:,} links" + (f" in {output}" if output != "-" else "") + opened)
