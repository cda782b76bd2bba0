"""All verbs under one name. Importing this is all that `--help` needs; a verb imports its pipeline when it runs."""

from typing import Annotated

import typer

from bulkpresign import __version__
from bulkpresign.cli import abort, demo, get, post, put, report, sign, verify
from bulkpresign.cli.help import SectionedCommand

app = typer.Typer(
    name="bulkpresign",
    help="Bulk work with presigned S3 URLs: lists of keys become links, links move the bytes.",
    epilog="Try it without an account: bulkpresign demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bulkpresign {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Bulk work with presigned S3 URLs: lists of keys become links, links move the bytes."""


app.command(cls=SectionedCommand)(sign.sign)
for verb in (post.post, get.get, put.put, abort.abort, verify.verify, report.report, demo.demo):
    app.command()(verb)
