"""The options that several verbs share, each said once."""

from typing import Annotated

import typer

from bulkpresign.cli.units import duration, size
from bulkpresign.errors import ParameterError

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="s3://bucket/prefix/ (everything under it), s3://bucket/key, "
        "a table (.csv .jsonl .json .txt, each also .gz), or - for standard input.",
        show_default=False,
    ),
]
Output = Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where rows go; - is standard output.")]
Format = Annotated[
    str | None,
    typer.Option(metavar="csv|jsonl|json", help="The format of the output where its name does not tell."),
]
FromFormat = Annotated[
    str | None,
    typer.Option(metavar="csv|jsonl|json|txt", help="The format of a source whose name does not tell, such as -."),
]
Bucket = Annotated[str | None, typer.Option(metavar="B", help="The bucket of rows that name none.")]
ExpiresIn = Annotated[
    int,
    typer.Option(
        parser=duration,
        metavar="DURATION",
        help="How long links live: 30s, 15m, 12h, at most 7d; never longer than the credentials.",
        show_default="1h",
    ),
]
Region = Annotated[str | None, typer.Option("--region", metavar="R", help="Else from the environment or the profile.")]
EndpointUrl = Annotated[str | None, typer.Option(metavar="URL", help="Another S3 server than AWS.", show_default=False)]
Profile = Annotated[str | None, typer.Option(metavar="P", help="A profile of ~/.aws/config.", show_default=False)]
AddressingStyle = Annotated[
    str,
    typer.Option(
        metavar="auto|path|virtual",
        help="Where the bucket's name goes. `virtual` gives regional host names for AWS.",
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(min=1, help="Objects in flight. Memory is about 512 KiB for each, whatever the manifest's length."),
]
PartSize = Annotated[
    int,
    typer.Option(parser=size, metavar="SIZE", help="Larger objects move in parts of this size.", show_default="64MiB"),
]
PartConcurrency = Annotated[
    int,
    typer.Option(
        min=1, help="Parts in flight of each large object, at most. Memory is about 512 KiB for each of them."
    ),
]
Attempts = Annotated[int, typer.Option(min=1, help="How often a request is tried, where trying again can help.")]
Failures = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A manifest of what is not done, each row with its reason. It is valid input again.",
        show_default=False,
    ),
]
LimitRate = Annotated[
    int | None,
    typer.Option(parser=size, metavar="SIZE", help="Bytes a second, over the whole run.", show_default=False),
]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop after so many objects: for a trial.", show_default=False)
]
JournalFile = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="What was done, over runs: the next one goes on from there. Else it stands beside the folder.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what is left to do; send nothing.")]
RenewCredentials = Annotated[
    bool, typer.Option("--renew-credentials", help="Sign links again that run out, with own credentials.")
]
RenewCommand = Annotated[
    str | None,
    typer.Option(
        metavar="CMD",
        help="Gives fresh links for those that run out: rows as JSONL on its standard input and output.",
        show_default=False,
    ),
]
RenewUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="The same from a url, by POST of rows as JSONL.", show_default=False)
]
CaBundle = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Certificates to trust; else AWS_CA_BUNDLE or the system's.", show_default=False),
]
Progress = Annotated[
    str, typer.Option(metavar="auto|on|off|json", help="On standard error. auto: a bar on a terminal.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Name every failure and every retry.")]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="Signed into PUT links; stands in their rows. Repeatable."),
]
ContentType = Annotated[str | None, typer.Option(metavar="TYPE", help="Signed into PUT links.", show_default=False)]


def header_map(headers: list[str] | None, content_type: str | None = None) -> dict[str, str]:
    """`NAME: VALUE` lines as a mapping. Raises ParameterError for a line that is none."""
    found: dict[str, str] = {}
    for line in headers or []:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ParameterError(f"header {line!r} is not of the form 'NAME: VALUE'")
        found[name.strip()] = value.strip()
    if content_type is not None:
        found["Content-Type"] = content_type
    return found
