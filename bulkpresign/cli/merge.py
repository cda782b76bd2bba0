"""`bulkpresign merge`."""

import click

from bulkpresign.cli.help import Argument, FileName, Verb
from bulkpresign.text import counted


@click.command(cls=Verb)
@click.argument("journals", cls=Argument, nargs=-1, metavar="JOURNAL...", help="Journals of one verb and destination.")
@click.option("-o", "--output", required=True, type=FileName(allow_dash=False), metavar="FILE", help="The new journal.")
def merge(journals: tuple[str, ...], output: str) -> None:
    """Merge the journals of several workers into one.

    An object that several journals have keeps its best record: done, else skipped, else the latest. Journals that
    disagree about the size, etag or checksum of an object are refused. report, verify and the next run take the merged
    journal.

    \b
    bulkpresign get part-1.csv --to data/ --journal 1.journal    # and part-2.csv with 2.journal, elsewhere
    bulkpresign merge 1.journal 2.journal -o data.journal
    bulkpresign report data.journal
    """
    from bulkpresign.cli import take_interrupts
    from bulkpresign.cli.messages import say
    from bulkpresign.cli.runner import allow_open_files, reporting_errors
    from bulkpresign.pipeline.merge import merged

    take_interrupts()
    allow_open_files()  # all journals are locked
    with reporting_errors():
        found = merged(journals, output)
    counts = ", ".join(f"{getattr(found, name):,} {name}" for name in ("done", "skipped", "failed", "expired"))
    say(f"merge: {counted(found.objects, 'object')} ({counts}) of {counted(len(journals), 'journal')} in {output}")
