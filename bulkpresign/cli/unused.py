"""Options that a verb has no use for in one of its forms. To ignore them would hide a mistake, so they are errors."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click
from click.core import ParameterSource


class Unused(NamedTuple):
    """Parameters by their names, and why they are of no use."""

    names: Sequence[str]
    why: str


_OF_THE_SERVER = ("region_name", "endpoint_url", "profile_name", "addressing_style")
_OF_SIGNING = (*_OF_THE_SERVER, "expires_in")
_OF_RENEWAL = ("renew_credentials", "renew_command", "renew_url")

#: For verbs that use links without signing them.
NOTHING_IS_SIGNED = Unused(
    _OF_SIGNING, "only for links that are signed here, and LINKS are signed already; --renew-credentials signs again"
)
#: For `get` when no source is a table.
NO_TABLE = Unused(("bucket", "from_format", *_OF_RENEWAL), "only for tables, and no source is one")
PUT_LINKS = (
    Unused(("content_type", "headers"), "only for links that are signed here: LINKS carry what sign put into them"),
    Unused(("part_size",), "only for a folder: LINKS have the parts that sign --part-size gave them"),
)
PUT_FOLDER = (Unused(("from_format", *_OF_RENEWAL), "only for LINKS: what a folder needs is signed here, again too"),)
ABORT_LINKS = (Unused(_OF_THE_SERVER, "only for s3://bucket/prefix/: LINKS lead to their server"),)
ABORT_LISTED = (Unused(("from_format",), "only for a table of LINKS"),)


def refuse(unused: Iterable[Unused]) -> None:
    """Raises UsageError for an option that the command line gives and that is of no use."""
    ctx = click.get_current_context()
    for names, why in unused:
        given = [param.opts[-1] for param in ctx.command.params if param.name in names and has_given([param.name])]
        if given:
            verb = "is" if len(given) == 1 else "are"
            raise click.UsageError(f"{' and '.join(given)} {verb} {why}. Leave it out.", ctx)


def has_given(names: Iterable[str | None]) -> bool:
    """True where the command line gives one of these."""
    ctx = click.get_current_context()
    return any(name and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)
