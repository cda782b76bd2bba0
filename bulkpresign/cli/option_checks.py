"""Checks options that do not apply to the form in which a verb is called. They are errors, and not ignored."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import click
from click.core import ParameterSource


class Inapplicable(NamedTuple):
    """Parameter names that do not apply, and the reason."""

    names: Sequence[str]
    reason: str


_SERVER_OPTIONS = ("region_name", "endpoint_url", "profile_name", "addressing_style")
_SIGNING_OPTIONS = (*_SERVER_OPTIONS, "expires_in")
_RENEWAL_OPTIONS = ("renew_credentials", "renew_command", "renew_url")

#: For verbs that use links without signing them.
NOTHING_IS_SIGNED = Inapplicable(
    _SIGNING_OPTIONS,
    "only for links that are signed here, and LINKS are signed already; --renew-credentials signs again",
)
#: For `get` if no source is a table.
NO_TABLE = Inapplicable(("bucket", "from_format", *_RENEWAL_OPTIONS), "only for tables, and no source is one")
PUT_LINKS = (
    Inapplicable(
        ("content_type", "headers"), "only for links that are signed here: LINKS have the headers that sign signed"
    ),
    Inapplicable(("part_size",), "only for a folder: LINKS have the parts of sign --part-size"),
)
PUT_FOLDER = (
    Inapplicable(
        ("from_format", *_RENEWAL_OPTIONS), "only for LINKS: the links for a folder are signed and renewed here"
    ),
)
COPY_LINKS = (
    Inapplicable(
        ("maps", "if_exists", "relay", "extra", "part_size"),
        "only for s3://bucket/prefix/: LINKS say what is copied, and where to",
    ),
)
ABORT_LINKS = (Inapplicable(_SERVER_OPTIONS, "only for s3://bucket/prefix/: LINKS have the url of their server"),)
ABORT_LISTED = (Inapplicable(("from_format",), "only for a table of LINKS"),)


def check_applicable(inapplicable: Iterable[Inapplicable]) -> None:
    """Raises UsageError if the command line has an option that does not apply."""
    ctx = click.get_current_context()
    for names, reason in inapplicable:
        given = [param.opts[-1] for param in ctx.command.params if param.name in names and has_given([param.name])]
        if given:
            verb = "is" if len(given) == 1 else "are"
            raise click.UsageError(f"{' and '.join(given)} {verb} {reason}. Leave it out.", ctx)


def has_given(names: Iterable[str | None]) -> bool:
    """True if the command line has one of these options."""
    ctx = click.get_current_context()
    return any(name and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)
