"""`bulkpresign copy`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bulkpresign.cli import filter_options, options, sides
from bulkpresign.cli.help import Argument, FileName, Verb
from bulkpresign.cli.units import size

if TYPE_CHECKING:
    from bulkpresign.model import Report
    from bulkpresign.pipeline.verification.digests import ReadPlan

_of_plan = options.in_section("Plan")


@click.command(cls=Verb)
@click.argument(
    "what",
    cls=Argument,
    nargs=-1,
    metavar="SOURCE... s3://bucket/prefix/ | LINKS...",
    help="Sources as for get, and the prefix that their objects are copied to; or tables of links that sign --to made, "
    "in which an object in parts has several rows.",
)
@options.bucket
@options.from_format
@options.literal
@sides.maps
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Signed into the copies beside the headers of their objects, such as 'x-amz-storage-class: STANDARD_IA', "
    "x-amz-acl or x-amz-tagging. Repeatable.",
)
@click.option(
    "--if-exists",
    default="replace",
    metavar="replace|keep|fail",
    help="What becomes of an object at the destination that differs: replace it, keep it (skipped; keep compares "
    "nothing), or fail for it.",
)
@click.option(
    "--recheck",
    is_flag=True,
    help="Ask the source again about each object that was done before, where a list tells neither etag nor checksum.",
)
@click.option(
    "--relay", is_flag=True, help="Read and write each byte here, even if both sides are one server that could copy."
)
@click.option(
    "--no-tags", is_flag=True, help="Copy objects without their tags, which takes no rights to tags. Implies --relay."
)
@_of_plan(
    "--plan",
    type=FileName(),
    metavar="FILE",
    help="With --dry-run: write a manifest of the objects that would be copied. It is a valid input, without --map.",
)
@click.option(
    "--extra",
    type=FileName(),
    metavar="FILE",
    help="Write a manifest of the objects at the destination that no source has. They are not touched.",
)
@_of_plan(
    "--expected-rate",
    type=size,
    metavar="SIZE",
    help="With --dry-run: the bytes per second for which the duration is computed. Default: --limit-rate, or else the "
    "rate of the earlier runs in the journal.",
)
@_of_plan(
    "--price",
    "prices",
    multiple=True,
    metavar="KIND=AMOUNT",
    help="With --dry-run: print the cost, by the price of 1,000 requests (get, head, put, post, copy, list) and that "
    "of the bytes that leave the source's server (gb or gib). Repeatable; KIND may be several: put,list=0.005.",
)
@click.option(
    "--certificate",
    type=FileName(),
    metavar="FILE",
    help="Write a certificate of all copies: their keys, sizes and digests, computed as the bytes pass. Copies in "
    "parts or by the server, those of which only the size could be verified, and objects that are there already, are "
    "read once from the destination, at the end: what --if-exists keep leaves has the digest of its own bytes. If a "
    "copy can't be read, no certificate is written, the exit code is 1, and the same command completes it.",
)
@click.option(
    "--algorithm",
    default="sha256",
    metavar="ALGORITHM",
    help="The algorithm of the digests in --certificate: sha256 crc64nvme crc32c crc32 sha1 md5.",
)
@filter_options.filters
@options.bounds
@options.records
@options.executor
@options.renewal
@options.expires_in
@options.server
@options.request_payer
@sides.source_and_destination_options
@options.ca_bundle
@options.transport
@options.listeners
def copy(
    what: Sequence[str],
    headers: Sequence[str],
    expected_rate: int | None,
    prices: Sequence[str],
    *,
    no_tags: bool,
    **settings: Any,
) -> None:
    """Copy from bucket to bucket, with nothing on disk.

    The key of a copy is the prefix and the object's path: its key after the source's prefix. Copies keep content type,
    caching headers, metadata, tags and checksums; --header sets other tags, an ACL or a storage class for all of them.
    Only the latest version of an object is copied. An object that was uploaded in parts is copied in the same parts.
    LINKS need no credentials.

    Copies that exist already, with the size and etag of their object, are skipped, and so are those that the journal
    has as done. The same command continues a run, or copies what changed since; verify then compares both sides.

    \b
    bulkpresign copy s3://from/prefix/ s3://to/prefix/
    bulkpresign copy s3://from/ s3://to/ --source-profile old --destination-endpoint-url https://s3.example.com
    bulkpresign copy s3://from/ s3://to/ --dry-run --expected-rate 200MiB --price get=0.0004 --price gb=0.09
    bulkpresign copy s3://from/ s3://to/ --certificate certificate.jsonl.gz
    bulkpresign copy links.csv
    bulkpresign copy keys.csv s3://to/ --map raw/=2026/raw/ --failures failed.csv

    Exit codes: 0 all done; 1 some failed; 2 nothing was sent; 3 links had expired;
    130 interrupted; 143 terminated; 129 hung up.
    """
    from bulkpresign.cli import option_checks
    from bulkpresign.cli.plan import plan_lines
    from bulkpresign.cli.prices import prices_of
    from bulkpresign.cli.runner import reporting_errors, run_transfer
    from bulkpresign.pipeline.copy import copy as run

    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings)
        settings["headers"] = options.header_map(headers)
    to_bucket = len(what) > 1 and what[-1].startswith("s3://")
    if not to_bucket and any(one.startswith("s3://") for one in what):
        raise click.UsageError(
            "use: copy SOURCE... s3://bucket/prefix/, or: copy LINKS...; for a folder: get SOURCE... --to DIR"
        )
    if not to_bucket:
        option_checks.check_applicable(option_checks.COPY_LINKS)
    if not settings["dry_run"]:
        option_checks.check_applicable(option_checks.NOT_DRY)
    if settings["certificate"] is None:
        option_checks.check_applicable(option_checks.COPY_WITHOUT_CERTIFICATE)
    sources, destination = (what[:-1], what[-1]) if to_bucket else (what, None)
    of_plan = partial(plan_lines, rate=expected_rate or settings["limit_rate"], prices=prices_of(prices))
    copying = partial(run, list(sources), destination, tags=not no_tags, announce=_say_reading)
    run_transfer("copy", copying, more_lines=partial(_lines, of_plan, extra=settings["extra"]), **settings)


def _lines(of_plan: "Callable[[Report], Iterable[str]]", report: "Report", extra: str | None) -> Iterator[str]:
    """The lines after the summary: the plan of a dry run, and how many objects are in the file `extra`."""
    from bulkpresign.text import counted

    yield from of_plan(report)
    if report.extra is not None:
        yield f"extra: {counted(report.extra, 'object')} in {extra}"


def _say_reading(plan: "ReadPlan") -> None:
    """Prints what is read for a certificate, before the first byte."""
    from bulkpresign.cli.messages import say
    from bulkpresign.text import counted, show_bytes

    are = "is" if plan.objects == 1 else "are"
    say(f"{counted(plan.objects, 'object')} of {show_bytes(plan.bytes)} {are} read once for the certificate")
