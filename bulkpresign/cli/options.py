"""The options that several verbs share, each said once, by the name that the functions of the pipeline have for it."""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import click

from bulkpresign.cli.help import Argument, FileName, SectionedOption
from bulkpresign.cli.units import duration, size
from bulkpresign.errors import ParameterError

Function = Callable[..., None]
Decorator = Callable[[Function], Function]


def together(*options: Decorator) -> Decorator:
    """One decorator for several options, which `--help` has in this order."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _renew_url(context: click.Context, _: click.Parameter, given: str | None) -> str | None:
    """The url as it was given, in a file, or in the environment: a command line is seen by every user of a machine."""
    if given is None and not (context.params.get("renew_command") or context.params.get("renew_credentials")):
        given = os.environ.get("BULKPRESIGN_RENEW_URL") or None
    if given is None or not given.startswith("@"):
        return given
    try:
        lines = Path(given[1:]).read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise click.BadParameter(f"{given[1:]} can't be read: {reason}") from error
    if len(lines) != 1:
        raise click.BadParameter(f"{given[1:]} does not hold one line with a url")
    return lines[0]


def _in(section: str) -> Callable[..., Decorator]:
    """Makes options that stand in one section of the help."""
    return partial(click.option, cls=SectionedOption, section=section)


_of_transfer = _in("Transfer")
_of_records = _in("Records")
_of_renewal = _in("Renewal")
_of_server = _in("Server")
_of_messages = _in("Messages")

_SOURCES = (
    "s3://bucket/prefix/ (everything under it), s3://bucket/key, 's3://bucket/a/*.csv' (a pattern over a listing: "
    "* and ? match no /, ** does; a path is the key after the last / before the pattern), "
    "a table (.csv .jsonl .json .txt, each also .gz), "
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
literal = click.option("--literal", is_flag=True, help="Keys of s3:// sources hold * ? or [ themselves: no pattern.")
bucket = click.option("--bucket", metavar="B", help="The bucket of rows that name none.")
from_format = click.option(
    "--from-format",
    metavar="csv|jsonl|json|txt",
    help="The format of a source whose name does not tell, such as -.",
)
output = click.option(
    "-o", "--output", default="-", type=FileName(), metavar="FILE", help="Where rows go; - is standard output."
)
output_format = click.option(
    "--format",
    metavar="csv|jsonl|json",
    help="The format of the output where its name does not tell.",
)
expires_in = click.option(
    "--expires-in",
    type=duration,
    default="1h",
    metavar="DURATION",
    help="How long links live: 30s, 15m, 12h, at most 7d; never longer than the credentials.",
)
attempts = _of_transfer(
    "--attempts",
    type=click.IntRange(min=1),
    default=5,
    metavar="N",
    help="How often a request is tried, where trying again can help.",
)
ca_bundle = _of_server(
    "--ca-bundle", type=FileName(), metavar="FILE", help="Certificates to trust; else AWS_CA_BUNDLE or the system's."
)
transport = _of_server(
    "--transport",
    default="auto",
    metavar="auto|lean|aiohttp",
    help="The HTTP client: our own (lean) or aiohttp; auto is lean, and aiohttp through a proxy.",
)
progress = _of_messages(
    "--progress",
    default="auto",
    metavar="auto|on|off|json",
    help="On standard error. auto: a bar on a terminal, else a line a minute. json: every line is a JSON object.",
)
quiet = _of_messages("-q", "--quiet", is_flag=True, help="Say nothing but errors.")

#: How much of a run is in flight, and where it ends.
bounds = together(
    _of_transfer(
        "--concurrency",
        type=click.IntRange(min=1),
        default=64,
        metavar="N",
        help="Objects in flight. Memory is at most concurrency x part-concurrency x 512 KiB.",
    ),
    _of_transfer(
        "--part-size",
        type=size,
        default="64MiB",
        metavar="SIZE",
        help="Larger objects move in parts of this size.",
    ),
    _of_transfer(
        "--part-concurrency",
        type=click.IntRange(min=1),
        default=8,
        metavar="N",
        help="Parts in flight of each large object, at most: as many as are measured to pay.",
    ),
    attempts,
    _of_transfer("--limit-rate", type=size, metavar="SIZE", help="Bytes a second, over the whole run."),
    _of_transfer("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many objects: for a trial."),
)
#: What a run leaves behind, for people and for the next run.
records = together(
    _of_records(
        "--failures",
        type=FileName(),
        metavar="FILE",
        help="A manifest of what is not done, each row with its reason. It is valid input again.",
    ),
    _of_records(
        "--journal",
        type=FileName(),
        metavar="FILE",
        help="What was done, over runs: the next one goes on from there. Else it stands beside the folder.",
    ),
    _of_records("--dry-run", is_flag=True, help="Check everything and say what is left to do; send nothing."),
)
#: Where fresh links come from.
renewal = together(
    _of_renewal("--renew-credentials", is_flag=True, help="Sign links again that run out, with own credentials."),
    _of_renewal(
        "--renew-command",
        metavar="CMD",
        help="Gives fresh links for those that run out: rows as JSONL on its standard input and output.",
    ),
    _of_renewal(
        "--renew-url",
        metavar="URL|@FILE",
        callback=_renew_url,
        help="The same from a url, by POST of rows as JSONL. A url with a token: in FILE, or in BULKPRESIGN_RENEW_URL.",
    ),
)
#: Which server, and who asks it.
server = together(
    _of_server(
        "--region",
        "region_name",
        metavar="R",
        help="Else from the environment or the profile. auto: each bucket is asked for its own.",
    ),
    _of_server("--endpoint-url", metavar="URL", help="Another S3 server than AWS."),
    _of_server("--profile", "profile_name", metavar="P", help="A profile of ~/.aws/config."),
    _of_server(
        "--addressing-style",
        default="auto",
        metavar="auto|path|virtual",
        help="Where the bucket's name goes. `virtual` gives regional host names for AWS.",
    ),
)
#: What a run says of itself.
listeners = together(
    progress,
    quiet,
    _of_messages(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Name every failure and every retry; -vv: every request, too.",
    ),
)


def header_map(headers: Iterable[str], content_type: str | None = None) -> dict[str, str]:
    """`NAME: VALUE` lines as a mapping. Raises ParameterError for a line that is none, and for a name given twice."""
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
