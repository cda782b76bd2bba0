"""`bulkpresign demo`."""

import click
from click.exceptions import Exit

from bulkpresign.cli.help import Verb


@click.command(cls=Verb)
@click.option("--keep", is_flag=True, help="Leave the server running, and print its endpoint and variables.")
def demo(keep: bool) -> None:
    """Show all steps on an embedded S3 server.

    It needs no account, and sends requests only to this server.
    """
    from bulkpresign.cli import take_interrupts
    from bulkpresign.cli.runner import reporting_errors
    from bulkpresign.demo.tour import tour

    take_interrupts()
    with reporting_errors():
        raise Exit(tour(keep=keep))
