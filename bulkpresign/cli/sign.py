"""`bulkpresign sign`."""

from typing import Annotated

import typer

from bulkpresign.cli import carrying, options
from bulkpresign.cli.running import reporting_errors, run_verb, say, say_left_open
from bulkpresign.cli.units import size


def sign(
    source: options.Sources,
    output: options.Output = "-",
    method: Annotated[str, typer.Option(metavar="GET|PUT|HEAD|DELETE", help="What the links allow.")] = "GET",
    expires_in: options.ExpiresIn = 3600,
    bucket: options.Bucket = None,
    format: options.Format = None,  # noqa: A002 - the option's name
    from_format: options.FromFormat = None,
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
    region: options.Region = None,
    endpoint_url: options.EndpointUrl = None,
    profile: options.Profile = None,
    addressing_style: options.AddressingStyle = "auto",
    quiet: options.Quiet = False,
    filename: carrying.Filename = None,
    response_content_type: carrying.Override = None,
    response_content_disposition: carrying.Override = None,
    response_content_encoding: carrying.Override = None,
    response_content_language: carrying.Override = None,
    response_cache_control: carrying.Override = None,
    response_expires: carrying.Override = None,
    request_payer: carrying.RequestPayer = False,
    content_type: carrying.ContentType = None,
    cache_control: carrying.HeaderValue = None,
    content_disposition: carrying.HeaderValue = None,
    content_encoding: carrying.HeaderValue = None,
    header: carrying.Header = None,
    metadata: carrying.Metadata = None,
    storage_class: carrying.StorageClass = None,
    tagging: carrying.Tagging = None,
    acl: carrying.Acl = None,
    sse: carrying.Sse = None,
    sse_kms_key_id: carrying.SseKmsKeyId = None,
    sse_customer_key: carrying.SseCustomerKey = None,
    if_none_match: carrying.IfNoneMatch = False,
    checksum: carrying.Checksum = None,
    from_folder: carrying.From = None,
) -> None:
    """Turn a list of keys into a manifest of links.

    \b
    bulkpresign sign keys.csv -o links.csv --expires-in 12h
    bulkpresign sign s3://bucket/prefix/ -o links.jsonl.gz
    bulkpresign sign keys.txt --bucket B --method PUT --content-type image/png -o uploads.csv
    bulkpresign sign keys.txt --bucket B --method PUT --checksum crc64nvme --from data/ -o uploads.csv
    bulkpresign sign sizes.csv --bucket B --method PUT --part-size 64MiB -o uploads.csv
    cut -f1 keys.tsv | bulkpresign sign - --from-format txt --bucket B
    """
    from bulkpresign.pipeline.sign import sign as run
    from bulkpresign.signing.options import LinkOptions

    with reporting_errors():
        carried = LinkOptions(
            filename=filename,
            response_content_type=response_content_type,
            response_content_disposition=response_content_disposition,
            response_content_encoding=response_content_encoding,
            response_content_language=response_content_language,
            response_cache_control=response_cache_control,
            response_expires=response_expires,
            request_payer="requester" if request_payer else None,
            content_type=content_type,
            cache_control=cache_control,
            content_disposition=content_disposition,
            content_encoding=content_encoding,
            metadata=carrying.metadata_map(metadata),
            storage_class=storage_class,
            tagging=tagging,
            acl=acl,
            sse=sse,
            sse_kms_key_id=sse_kms_key_id,
            sse_customer_key=carrying.customer_key_of(sse_customer_key),
            if_none_match="*" if if_none_match else None,
        )
        headers = options.header_map(header)
    report = run_verb(
        lambda listeners: run(
            source,
            output,
            bucket=bucket,
            method=method.upper(),
            expires_in=expires_in,
            format=format,
            from_format=from_format,
            headers=headers,
            options=carried,
            part_size=part_size,
            checksum=checksum,
            folder=from_folder,
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
