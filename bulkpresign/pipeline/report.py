"""report: what runs did, from their journals, as data or as an HTML page."""

import os
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from bulkpresign.errors import ParameterError
from bulkpresign.ledger.figures import read_figures
from bulkpresign.ledger.page.page import page_of
from bulkpresign.ledger.report import JournalReport, journals_of, read_report
from bulkpresign.pipeline.sources.named_files import check_no_journal
from bulkpresign.tables import open_output


async def report(run: str | os.PathLike[str], *, html: str | os.PathLike[str] | None = None) -> list[JournalReport]:
    """The reports of the journals of `run`: a journal, or the folder of a run, which may have several.

    `html` names a file for a page with charts and tables of all of them. It needs no other file, no script and no
    network. Memory does not grow with the journals. Raises JournalError for a file that is not a journal, and
    OutputError if the page can't be written.
    """
    return await anyio.to_thread.run_sync(_report, run, html)


def _report(run: str | os.PathLike[str], html: str | os.PathLike[str] | None) -> list[JournalReport]:
    journals = journals_of(run)
    return [read_report(file) for file in journals] if html is None else write_page(journals, html)


def write_page(journals: Sequence[Path], html: str | os.PathLike[str]) -> list[JournalReport]:
    """Writes the page of journals, and returns their reports."""
    name = os.fspath(html)
    if not name:
        raise ParameterError("--html is empty: name a file")
    check_no_journal("--html", name)
    found = [(file.name, read_figures(file)) for file in journals]
    with open_output(name) as output:
        output.write(page_of(found).encode())
    return [figures.report for _, figures in found]
