"""`--help` in sections, for a verb with many options: those of one panel stand together, without rich's frames."""

from typing import Any

from typer.core import TyperCommand


class SectionedCommand(TyperCommand):
    """A command whose help has a section for each panel of its options, those without one first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments, the options, and then the sections in the order in which they first appear.

        Both parameters are click's, which typer brings in a place of its own.
        """
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                panel = getattr(param, "rich_help_panel", None)
                default = "Arguments" if param.param_type_name == "argument" else "Options"
                sections.setdefault(panel or default, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
