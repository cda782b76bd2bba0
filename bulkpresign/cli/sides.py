"""The options of verbs with two sides: the server and the credentials of each."""

import click

from bulkpresign.cli.options import Decorator, in_section, together

_of_server = in_section("Server")


def _side(name: str) -> Decorator:
    """The options of one side. Each replaces the one without the side's name."""

    def option(suffix: str, parameter: str, metavar: str, what: str) -> Decorator:
        return _of_server(
            f"--{name}-{suffix}",
            f"{name}_{parameter}",
            metavar=metavar,
            help=f"{what} of the {name}, instead of --{suffix}.",
        )

    return together(
        option("endpoint-url", "endpoint_url", "URL", "The url of the S3 server"),
        option("region", "region_name", "R", "The region"),
        option("profile", "profile_name", "P", "The profile"),
    )


#: For `sign --to`, whose other options are those of the source.
destination_options = _side("destination")
source_and_destination_options = together(_side("source"), _side("destination"))
maps = click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="OLD=NEW|s/REGEX/NEW/",
    help="Rewrite the paths of copies: a prefix, or what a regular expression matches. Repeatable, in this order.",
)
