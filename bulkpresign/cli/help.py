"""What click's `--help` lacks: arguments that are explained, and options in sections."""

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem


class FileName(click.types.StringParamType):
    """A text that the shell completes as the name of a file or folder."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Leaves it to the shell."""
        return [CompletionItem(incomplete, type="file")]


class Argument(click.Argument):
    """An argument with a help text, which the shell completes as a file; click's own take a text from 8.5 on."""

    def __init__(self, names: Sequence[str], *, help: str, **settings: Any) -> None:  # noqa: A002 - as in click.Option
        super().__init__(names, required=True, type=FileName(), **settings)
        self.help = help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:  # noqa: ARG002 - click's signature
        """Its name and its text, in two columns."""
        return self.human_readable_name, f"{self.help}  [required]"


class SectionedOption(click.Option):
    """An option that stands in a section of its own kind."""

    def __init__(self, names: Sequence[str], *, section: str, **settings: Any) -> None:
        super().__init__(names, **settings)
        self.section = section


class Verb(click.Command):
    """A command whose help has its arguments, its options, and then a section for each kind of option that has one."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes all sections, those of options in the order in which they first appear."""
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
        """Writes nothing: they have a section above. click before 8.5 does not call this."""
