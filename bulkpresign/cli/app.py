"""All verbs under one name. A verb's module is imported when it is called, or listed in `--help`."""

from importlib import import_module
from typing import Any

import click
from click.exceptions import Exit

from bulkpresign import __version__

VERBS = ("sign", "post", "get", "put", "abort", "verify", "report", "demo")


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names, in the order of a job."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """The command that the module of this name has under its own name."""
        if cmd_name not in VERBS:
            return None
        verb: click.Command = getattr(import_module(f"bulkpresign.cli.{cmd_name}"), cmd_name)
        return verb

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a verb. Ctrl-C before a verb has its own handler is 130 as after; click would make it 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Exit(130) from None


@click.group(
    cls=_Verbs,
    epilog="Try it without an account: bulkpresign demo",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.version_option(__version__, message="bulkpresign %(version)s", help="Print the version and exit.")
def app() -> None:
    """Bulk work with presigned S3 URLs: lists of keys become links, links move the bytes."""
