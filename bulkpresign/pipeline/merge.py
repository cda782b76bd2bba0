"""merge: one journal of several, such as those of workers that each moved a part of a manifest."""

import os
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from bulkpresign.errors import ParameterError
from bulkpresign.ledger.merge import merge_journals
from bulkpresign.ledger.report import JournalReport, read_report


async def merge(journals: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> JournalReport:
    """Merges journals of one verb and destination into the new journal `output`. Returns its report.

    An object that several journals have keeps its best record. Raises JournalError for a file that is not a journal, is
    in use or given twice, for one of another verb or destination, and if two journals disagree about an object: its
    size, etag or checksum, or its unfinished parts. Raises OutputError if `output` exists or can't be written.
    """
    return await anyio.to_thread.run_sync(merged, journals, output)


def merged(journals: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> JournalReport:
    """The same, for callers without an event loop."""
    if isinstance(journals, str):  # a sequence of names, each of one letter
        raise ParameterError("journals is a list of journals, not one")
    if not journals:
        raise ParameterError("no journal to merge")
    if not os.fspath(output):
        raise ParameterError("--output is empty: name a file")
    merge_journals([Path(journal) for journal in journals], Path(output))
    return read_report(output)
