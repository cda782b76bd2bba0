"""`bulkpresign verify`."""

from typing import Any

import click

from bulkpresign.cli import filter_options, options, sides
from bulkpresign.cli.help import Argument, FileName, Verb
from bulkpresign.cli.units import size

_of_files = options.in_section("Files of a folder (--in)")
_of_sides = options.in_section("SOURCE and DESTINATION, or a certificate")


@click.command(cls=Verb)
@click.argument(
    "source",
    cls=Argument,
    nargs=-1,
    required=False,
    metavar="SOURCE...",
    help="With --in: tables of objects or links, which may have expired; - for standard input. With a certificate: "
    "s3://bucket/prefix/, a folder, or tables. Otherwise two sides, each one of these.",
)
@_of_files(
    "--in",
    "folder",
    type=FileName(allow_dash=False),
    metavar="DIR",
    help="The folder with the files of the tables. Sends nothing.",
)
@_of_files(
    "--failures",
    type=FileName(),
    metavar="FILE",
    help="Write a manifest of files that differ, are missing or unproven, with reasons: a valid input of get.",
)
@_of_files(
    "--journal",
    type=FileName(allow_dash=False),
    metavar="FILE",
    help="The journal of the download. Default: DIR.journal, if it exists.",
)
@_of_files(
    "--accept-size",
    is_flag=True,
    help="Accept files of which only the size can be verified.",
)
@_of_sides(
    "--max-read",
    type=size,
    show_default="10GiB; no limit for a certificate",
    metavar="SIZE",
    help="The most bytes that are read to compare objects without a checksum or etag of the same kind. Objects "
    "beyond that are unproven.",
)
@_of_sides(
    "--metadata",
    is_flag=True,
    help="Compare what copies keep beside the bytes as well: content type, caching headers, metadata and tags. Asks "
    "for each object on both sides.",
)
@_of_sides(
    "--differences",
    type=FileName(),
    metavar="FILE",
    help="Write a manifest of objects that differ, are missing, extra or unproven: columns difference and reason.",
)
@_of_sides(
    "--write-certificate",
    type=FileName(),
    metavar="FILE",
    help="Read every object once, and write a certificate of their keys, sizes and digests. .gz compresses.",
)
@_of_sides(
    "--algorithm",
    default="sha256",
    metavar="ALGORITHM",
    help="The algorithm of the digests that --write-certificate computes: sha256 crc64nvme crc32c crc32 sha1 md5.",
)
@_of_sides(
    "--certificate",
    type=FileName(),
    metavar="FILE",
    help="Compare SOURCE with this certificate.",
)
@_of_sides(
    "--prove",
    metavar="KEY",
    help="Print the proof that the row with this key belongs to --certificate, as JSON. Needs no SOURCE.",
)
@filter_options.filters
@filter_options.limit
@options.bucket
@options.from_format
@options.literal
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    show_default="the number of CPUs for files; for requests, the number that is fastest",
    metavar="N",
    help="Files or objects read at the same time.",
)
@click.option(
    "--executor",
    metavar="processes[:N]|dask:ADDRESS",
    help="Hash the files of --in, or read the objects of two sides, in N processes of this machine (default: one for "
    "each core), or on a Dask cluster. They hold no credentials.",
)
@options.attempts
@options.limit_rate
@options.server
@options.request_payer
@sides.source_and_destination_options
@options.ca_bundle
@options.transport
@options.progress
@options.quiet
@click.option(
    "-v", "--verbose", is_flag=True, help="Print every file or object that differs, is missing, extra or unproven."
)
def verify(**settings: Any) -> None:
    """Check files, buckets and certificates against each other.

    With --in nothing is sent: each file is verified by its checksum or its etag; a file with only a size to compare is
    unproven; filters select the rows. Two sides are compared by size, and by checksum or etag where both have one of
    the same kind. Files are hashed. For others, servers are asked for checksums by HEAD requests; where these do not
    tell either, objects are read, up to --max-read. Filters by size and time apply to the object of SOURCE, or of the
    certificate, and to objects that only the other side has. Prints what differs, is missing, extra or unproven.

    \b
    bulkpresign verify links.csv --in data/
    bulkpresign verify keys.csv --in data/ --failures again.csv && bulkpresign get again.csv --to data/
    bulkpresign verify s3://from/prefix/ s3://to/prefix/ --destination-profile other --differences found.csv
    bulkpresign verify s3://bucket/prefix/ data/
    bulkpresign verify s3://bucket/prefix/ --write-certificate certificate.jsonl.gz
    bulkpresign verify s3://bucket/prefix/ --certificate certificate.jsonl.gz
    bulkpresign verify --certificate certificate.jsonl.gz --prove 2026/report.pdf

    Exit codes: 0 all verified; 1 some differ, are missing, extra or unproven; 2 bad input;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli import verify_runner

    if settings["folder"] is not None:
        verify_runner.verify_folder(**settings)
    if settings["prove"] is not None:
        verify_runner.prove(**settings)
    if settings["write_certificate"] is not None:
        verify_runner.write_certificate(**settings)
    if settings["certificate"] is not None:
        verify_runner.verify_certificate(**settings)
    verify_runner.verify_sides(**settings)
