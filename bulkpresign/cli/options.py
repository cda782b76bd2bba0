"""The options that several verbs share. Their names are those of the pipeline's parameters."""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import click

from bulkpresign.cli.help import Argument, FileName, SectionedOption
from bulkpresign.cli.units import auto_or, count, duration, size
from bulkpresign.errors import ParameterError

Function = Callable[..., None]
Decorator = Callable[[Function], Function]


def together(*options: Decorator) -> Decorator:
    """One decorator for several options, in the order of `--help`."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _renew_url(context: click.Context, _: click.Parameter, given: str | None) -> str | None:
    """The url of the option, of a file, or of the environment. All users of a machine can see a command line."""
    if given is None and not (context.params.get("renew_command") or context.params.get("renew_credentials")):
        given = os.environ.get("BULKPRESIGN_RENEW_URL") or None
    if given is None or not given.startswith("@"):
        return given
    file = given[1:]
    try:
        lines = Path(file).read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        from bulkpresign.model import without_query

        named = without_query(file)  # it may be the url, given in place of its file
        raise click.BadParameter(f"{named} can't be read: {reason}") from error
    if len(lines) != 1:
        raise click.BadParameter(f"{file} does not hold one line with a url")
    return lines[0]


def in_section(section: str) -> Callable[..., Decorator]:
    """Returns a function that creates options in one section of the help."""
    return partial(click.option, cls=SectionedOption, section=section)


_of_transfer = in_section("Transfer")
_of_records = in_section("Records")
_of_renewal = in_section("Renewal")
_of_server = in_section("Server")
_of_messages = in_section("Messages")

_SOURCES = (
    "s3://bucket/prefix/ (everything under it), s3://bucket/key, 's3://bucket/a/*.csv' (a pattern of keys: "
    "* and ? match no /, ** does; a path is the key after the last / before the wildcard), "
    "a table (.csv .jsonl .ndjson .json .txt, each also .gz; .parquet .orc), the manifest.json of an S3 Inventory "
    "(local or s3://), "
)
sources = click.argument(
    "source", cls=Argument, nargs=-1, metavar="SOURCE...", help=f"{_SOURCES}or - for standard input."
)
linked_sources = click.argument(
    "source",
    cls=Argument,
    nargs=-1,
    metavar="SOURCE...",
    help=f"{_SOURCES}a link (https://...), or - for standard input.",
)
literal = click.option(
    "--literal",
    is_flag=True,
    help="In keys of s3:// sources, * ? [ are no wildcards, and manifest.json is the object, not an inventory.",
)
all_versions = click.option(
    "--all-versions",
    is_flag=True,
    help="Every version of the objects of s3:// sources and inventories, except delete markers. Paths have the id: "
    "report.ID.pdf.",
)
bucket = click.option("--bucket", metavar="B", help="The bucket of rows without one.")
from_format = click.option(
    "--from-format",
    metavar="csv|jsonl|json|txt|parquet|orc|batch",
    help="The format of a source without a known extension, such as -. batch: manifests of S3 Batch Operations.",
)
output = click.option(
    "-o", "--output", default="-", type=FileName(), metavar="FILE", help="The file for the rows; - is standard output."
)
output_format = click.option(
    "--format",
    metavar="csv|jsonl|json|parquet",
    help="The format of an output without a known extension. sign: also txt, a list of urls.",
)
expires_in = click.option(
    "--expires-in",
    type=duration,
    default="1h",
    metavar="DURATION",
    help="The lifetime of links: 30s, 15m, 12h, at most 7d; never longer than that of the credentials.",
)
attempts = _of_transfer(
    "--attempts",
    type=click.IntRange(min=1),
    default=5,
    metavar="N",
    help="Attempts per request, for errors that a retry can fix.",
)
concurrency = _of_transfer(
    "--concurrency",
    type=auto_or(count),
    default="auto",
    metavar="auto|N",
    help="Objects in flight. auto finds the number that is fastest. N is exactly this number.",
)
ca_bundle = _of_server(
    "--ca-bundle",
    type=FileName(allow_dash=False),
    metavar="FILE",
    help="Certificates to trust. Default: AWS_CA_BUNDLE or the system's.",
)
transport = _of_server(
    "--transport",
    default="auto",
    metavar="auto|lean|aiohttp",
    help="The HTTP client: our own (lean) or aiohttp; auto is lean, and aiohttp through a proxy.",
)
limit_rate = _of_transfer(
    "--limit-rate", type=size, metavar="SIZE", help="The most bytes per second, for the whole run."
)
progress = _of_messages(
    "--progress",
    default="auto",
    metavar="auto|on|off|json",
    help="Progress on standard error. auto: a bar on a terminal, else a line per minute. json: JSON objects.",
)
quiet = _of_messages("-q", "--quiet", is_flag=True, help="Print only errors.")

#: The limits of a run.
bounds = together(
    concurrency,
    _of_transfer(
        "--part-size",
        type=auto_or(size),
        default="auto",
        metavar="auto|SIZE",
        help="Larger objects are moved in parts of this size. auto: 8MiB to 64MiB, by the size of the object.",
    ),
    _of_transfer(
        "--part-concurrency",
        type=auto_or(count),
        default="auto",
        metavar="auto|N",
        help="Parts in flight of each large object. N is exactly this number.",
    ),
    _of_transfer(
        "--max-concurrency",
        type=click.IntRange(min=1),
        default=1024,
        metavar="N",
        help="The most requests in flight with auto. Memory: at most 512 KiB each.",
    ),
    attempts,
    limit_rate,
    _of_transfer("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after this number of objects."),
)
executor = _of_transfer(
    "--executor",
    metavar="processes[:N]|dask:ADDRESS",
    help="Move the objects in N processes of this machine (default: one for each core; more are no faster), or on a "
    "Dask cluster.",
)
signing_executor = _of_transfer(
    "--executor",
    metavar="processes[:N]|dask:ADDRESS",
    help="Sign the rows of tables in N processes of this machine (default: a process for each core), or on a Dask "
    "cluster. They get signing keys that are valid for a day, and not your secret key.",
)
#: The files that a run writes, for people and for the next run.
records = together(
    _of_records(
        "--failures",
        type=FileName(),
        metavar="FILE",
        help="Write a manifest of the objects that are not done, with reasons. It is a valid input.",
    ),
    _of_records(
        "--journal",
        type=FileName(allow_dash=False),
        metavar="FILE",
        help="The record of what is done, with which the next run continues. Default: beside the folder; for a copy "
        "BUCKET.copy.journal, in the current folder.",
    ),
    _of_records(
        "--dry-run", is_flag=True, help="Check everything and print what would be done; send nothing but listings."
    ),
)
#: The sources of fresh links.
renewal = together(
    _of_renewal("--renew-credentials", is_flag=True, help="Sign expired links again, with your own credentials."),
    _of_renewal(
        "--renew-command",
        metavar="CMD",
        help="A command that returns fresh links for expired ones: rows as JSONL on its standard input and output.",
    ),
    _of_renewal(
        "--renew-url",
        metavar="URL|@FILE",
        callback=_renew_url,
        help="The same from a url, by POST of rows as JSONL. Put a url with a token in FILE or BULKPRESIGN_RENEW_URL.",
    ),
)
#: The server, and the credentials.
server = together(
    _of_server(
        "--region",
        "region_name",
        metavar="R",
        help="Default: AWS_REGION or the profile's. auto: the region of each bucket is looked up.",
    ),
    _of_server("--endpoint-url", metavar="URL", help="The url of an S3 server other than AWS."),
    _of_server("--profile", "profile_name", metavar="P", help="A profile of ~/.aws/config."),
    _of_server(
        "--addressing-style",
        default="auto",
        metavar="auto|path|virtual",
        help="The bucket in the path, or as part of the host name. With AWS, virtual uses regional host names.",
    ),
)
request_payer = _of_server(
    "--request-payer", flag_value="requester", help="The signer pays for what is read, as the bucket of a source wants."
)
#: The messages of a run.
listeners = together(
    progress,
    quiet,
    _of_messages(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Print every failure and every retry; -vv: every request, too.",
    ),
)


def header_map(headers: Iterable[str], content_type: str | None = None) -> dict[str, str]:
    """Parses `NAME: VALUE` lines. Raises ParameterError for an invalid line, and for a name that is given twice."""
    given = [*headers, *([] if content_type is None else [f"Content-Type: {content_type}"])]
    found: dict[str, str] = {}
    for line in given:
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not name:
            raise ParameterError(f"header {line!r} is not of the form 'NAME: VALUE'")
        if name.lower() in map(str.lower, found):
            raise ParameterError(f"header {name} is given twice")
        found[name] = value
    return found
