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
_SIGNING_OPTIONS = (*_SERVER_OPTIONS, "expires_in", "request_payer")
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
    Inapplicable(("checksum",), "only for a folder: LINKS have the checksums of sign --checksum"),
)
PUT_FOLDER = (
    Inapplicable(
        ("from_format", *_RENEWAL_OPTIONS), "only for LINKS: the links for a folder are signed and renewed here"
    ),
)
_OF_PLAN = ("plan", "expected_rate", "prices")
COPY_LINKS = (
    Inapplicable(
        ("maps", "headers", "if_exists", "recheck", "relay", "no_tags", "extra", *_OF_PLAN, "part_size", "certificate"),
        "only for s3://bucket/prefix/: LINKS say what is copied, and where to",
    ),
)
#: For `copy` without `--dry-run`, and without `--certificate`.
NOT_DRY = (Inapplicable(_OF_PLAN, "only for --dry-run"),)
COPY_WITHOUT_CERTIFICATE = (Inapplicable(("algorithm",), "only for --certificate"),)
_OF_SERVER = ("endpoint_url", "region_name", "profile_name")
_SIDE_OPTIONS = ("metadata", *(f"{side}_{name}" for side in ("source", "destination") for name in _OF_SERVER))
#: The options of `verify` that only some of its forms have.
_OF_FOLDER = ("folder", "failures", "journal", "accept_size")
_OF_DIFFERENCES = ("max_read", "differences")
_OF_CERTIFICATES = ("write_certificate", "algorithm", "certificate", "prove")
_OF_SIDES = ("literal", "attempts", "limit_rate", "ca_bundle", "transport", *_SERVER_OPTIONS, "request_payer")
_OF_TIMES = ("newer_than", "older_than")
_OF_NUMBERS = ("sample", "seed", "limit")
_NOT_FOLDER = Inapplicable(_OF_FOLDER, "only for the files of --in DIR; see --differences")
_WHOLE = Inapplicable(_OF_NUMBERS, "only for the files of --in DIR: others are compared whole")
VERIFY_FOLDER = (
    Inapplicable((*_OF_DIFFERENCES, *_OF_SIDES, *_SIDE_OPTIONS), "only for SOURCE DESTINATION: --in DIR sends nothing"),
    Inapplicable(_OF_CERTIFICATES, "not for --in DIR: name the folder as SOURCE"),
)
VERIFY_SIDES = (_NOT_FOLDER, _WHOLE, Inapplicable(_OF_CERTIFICATES, "only for certificates"))
_ONE_SIDE = Inapplicable(_SIDE_OPTIONS, "only for two sides")
_NO_EXECUTOR = Inapplicable(("executor",), "only for --in DIR and two sides")
WRITE_CERTIFICATE = (
    _NOT_FOLDER,
    _WHOLE,
    _ONE_SIDE,
    _NO_EXECUTOR,
    Inapplicable((*_OF_DIFFERENCES, "certificate", "prove"), "not for --write-certificate"),
)
VERIFY_CERTIFICATE = (
    _NOT_FOLDER,
    _WHOLE,
    _ONE_SIDE,
    _NO_EXECUTOR,
    Inapplicable(("write_certificate", "prove"), "not for a SOURCE with --certificate"),
    Inapplicable(("algorithm",), "only for --write-certificate: a certificate has its own"),
    Inapplicable(_OF_TIMES, "not for --certificate, which has no times"),
)
PROVE = (
    _NOT_FOLDER,
    _WHOLE,
    _NO_EXECUTOR,
    Inapplicable(
        (
            *("include", "exclude", "min_size", "max_size", *_OF_TIMES),
            *_OF_DIFFERENCES,
            *_OF_SIDES,
            *_SIDE_OPTIONS,
            "write_certificate",
            "algorithm",
            "bucket",
            "from_format",
            "concurrency",
        ),
        "not for --prove, which reads the certificate alone",
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
