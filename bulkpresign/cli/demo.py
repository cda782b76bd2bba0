"""`bulkpresign demo`."""

from typing import Annotated

import typer


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running, and print its endpoint and variables.")
    ] = False,
) -> None:
    """Show all of it on an embedded S3 server; needs no account and sends nothing elsewhere."""
    from bulkpresign.demo.tour import tour

    raise typer.Exit(tour(keep=keep))
