"""The command `bulkpresign` with all verbs. A verb's module is imported when it is called, or for `--help`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click
from click.exceptions import Exit

from bulkpresign import __version__

VERBS = ("sign", "post", "convert", "get", "put", "copy", "split", "abort", "verify", "report", "merge", "demo")
#: Verbs of other tools, and the verbs here that do the same.
_ALIASES = {
    **dict.fromkeys(("download", "fetch"), ("get",)),
    **dict.fromkeys(("upload",), ("put",)),
    **dict.fromkeys(("presign", "signurl", "share", "link"), ("sign",)),
    **dict.fromkeys(("check", "diff", "compare", "cmp"), ("verify",)),
    **dict.fromkeys(("export", "transform"), ("convert",)),
    **dict.fromkeys(("cp", "sync", "mirror", "rsync", "mv"), ("get", "put", "copy")),
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of the verbs, in the usual order of use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """The command of a verb: the function of the same name in the module of the same name."""
        if cmd_name == "help":
            return _help
        if cmd_name not in VERBS:
            return None
        verb: click.Command = getattr(import_module(f"bulkpresign.cli.{cmd_name}"), cmd_name)
        return verb

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, but says where an option of a verb belongs, which some tools want before it."""
        verb = next((word for word in args if word in VERBS), None)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if verb is None:
                raise
            name = error.option_name
            problem = f"No such option {name!r} before the verb: write it behind, as in bulkpresign {verb} {name}"
            raise click.NoSuchOption(name, problem, ctx=ctx) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The called verb. Raises UsageError with similar verbs if it is unknown."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise click.UsageError(_unknown(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a verb. Ctrl-C before the verb has its own handler gives exit code 130; click would give 1."""
        try:
            with _working_directory():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Exit(130) from None


@contextmanager
def _working_directory() -> Iterator[None]:
    """Prints an error and exits where a verb needs the working directory, and it was deleted."""
    try:
        yield
    except* FileNotFoundError:
        if _has_working_directory():
            raise
        from bulkpresign.cli.messages import say

        say("the working directory was deleted: change to another one", "error")
        raise Exit(2) from None


def _has_working_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is slow to import
    except FileNotFoundError:
        return False
    return True


def _unknown(verb: str) -> str:
    from bulkpresign.model import without_query

    typed = verb.lower()
    meant = [name for name in VERBS if sorted(name) == sorted(typed) or (len(typed) > 1 and name.startswith(typed))]
    near = get_close_matches(typed, [*VERBS, "help", *_ALIASES], n=1)
    meant = meant or [ours for name in near for ours in _ALIASES.get(name, (name,))]
    then = f"did you mean {' or '.join(meant)}?" if meant else f"use one of {', '.join(VERBS)}."
    return f"There is no verb {without_query(verb)!r}: {then}"


@click.group(
    cls=_Verbs,
    epilog="A verb's options: bulkpresign help get. Without an account: bulkpresign demo",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.version_option(__version__, message="bulkpresign %(version)s", help="Print the version and exit.")
def app() -> None:
    """Bulk work with presigned S3 URLs: lists of keys become links, links move the bytes."""


@click.command("help", add_help_option=False)
@click.argument("verb", required=False)
@click.pass_context
def _help(ctx: click.Context, verb: str | None) -> None:
    """Show the help of a verb, or of all verbs."""
    group = ctx.find_root()
    if verb is None or verb == "help":
        click.echo(group.get_help())
        return
    command = app.get_command(group, verb)
    if command is None:
        raise click.UsageError(_unknown(verb), group)
    click.echo(command.get_help(click.Context(command, parent=group, info_name=verb)))
