"""Extensions of click's `--help`: arguments with a description, and options in sections."""

import os
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem


class FileName(click.types.StringParamType):
    """A text argument that the shell completes as a file name.

    A `~/` at its start is the home folder, as in the shell, which leaves it alone in quotes and in `--to=~/data`, as
    systemd does. A folder of this name is `./~/`. Without `allow_dash`, `-` is refused: it is no standard stream.
    """

    def __init__(self, *, allow_dash: bool = True) -> None:
        self._allow_dash = allow_dash

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, with the home folder in place of `~/`."""
        given = str(super().convert(value, param, ctx))
        if given == "-" and not self._allow_dash:
            self.fail("- is no standard stream here; a file of this name is ./-", param, ctx)
        return os.path.expanduser(given) if given.startswith("~/") else given  # noqa: PTH111 - pathlib is slow to import

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Leaves the completion to the shell."""
        return [CompletionItem(incomplete, type="file")]


class Argument(click.Argument):
    """An argument with a help text, completed as a file name. click supports the text only since 8.5."""

    def __init__(self, names: Sequence[str], *, help: str, required: bool = True, **settings: Any) -> None:  # noqa: A002 - as in click.Option
        super().__init__(names, required=required, type=FileName(), **settings)
        self.help = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:  # noqa: ARG002 - click's signature
        """The name and the help text of the argument."""
        return self.human_readable_name, f"{self.help}{'  [required]' if self.required else ''}"


class SectionedOption(click.Option):
    """An option in a named section of the help."""

    def __init__(self, names: Sequence[str], *, section: str, **settings: Any) -> None:
        super().__init__(names, **settings)
        self.section = section


class Verb(click.Command):
    """A command whose help has sections: arguments, options, then the named sections."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, but names our option in place of one of another tool."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from bulkpresign.cli.habits import advice_for

            ours = {name for param in self.params for name in param.opts}
            if advice := advice_for(error.option_name, ours):
                problem = f"No such option {error.option_name!r}: {advice}."
                raise click.NoSuchOption(error.option_name, problem, ctx=ctx) from error
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes all sections. Named sections come in the order of their first option."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                default = "Arguments" if isinstance(param, click.Argument) else "Options"
                sections.setdefault(getattr(param, "section", default), []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes nothing: the arguments have their own section. click before 8.5 does not call this."""
