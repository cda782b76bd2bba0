"""convert: links as other tools take them, and links or upload forms as a page for browsers."""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import PurePath

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.events import Listener, RowsRead, RunFinished, RunStarted, broadcast
from bulkpresign.manifest.forms import are_forms, posts_of
from bulkpresign.manifest.link_lists import LINK_LISTS
from bulkpresign.manifest.links import links_of
from bulkpresign.model import Link, Post, Report, utc_now
from bulkpresign.pipeline.rows.converted import PAGE, FormsPage, R, RowBatch, RowWriter, writer_of_links
from bulkpresign.pipeline.sources.given_rows import GIVEN_ROWS
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.sources import Source, Sources, check_used
from bulkpresign.source.filters import Filters
from bulkpresign.tables import open_output
from bulkpresign.tables.files import is_packed
from bulkpresign.tables.reading import output_format
from bulkpresign.tables.writing import LINK_FORMATS

#: All formats that links are converted to.
FORMATS = (*LINK_LISTS, PAGE, *LINK_FORMATS)
_SIGN = "convert takes links: make them with bulkpresign sign"


class ConvertReport(Report, kw_only=True):
    """The counts of one run: `done` links were written, of which `expired` have expired.

    `skipped` are those of empty objects that mark folders. `expires_at` is when the first of the others expires, None
    where that is not known. `has_forms` is True where they are upload forms. `same_files` are the places of the first
    two rows of a list whose files are one on a disk that ignores case or the Unicode form of names, as on macOS and
    Windows.
    """

    expires_at: datetime | None = None
    has_forms: bool = False
    same_files: tuple[str, str] | None = None


async def convert(
    links: Source | Items,
    output: str | os.PathLike[str] = "-",
    *,
    format: str | None = None,  # noqa: A002 - the option's name
    from_format: str | None = None,
    filters: Filters | None = None,
    listeners: Sequence[Listener] = (),
) -> ConvertReport:
    """Writes links in a format of other tools to `output` (`-`: standard output), whole or not at all. Sends nothing.

    `links` is a table of links, or a sequence of these; or `Link`s and urls in any iterable or async iterable, as for
    `get`. `format` is `curl` (a config file, for GET and PUT links), `aria2` (an input file), `rclone` (a list for
    `copyurl --urls`), `html` (a page with links, or with the forms of `post`, at most 10,000), or one of ours: `csv`,
    `jsonl`, `json`, `parquet` or `txt`. Without it, the extension of `output` says which. The names of files are the
    paths of the rows. `filters` select among the rows.

    Raises InputError, with the place of the row, for one that the tool can't use: a link of another method than the
    others, a name that can't be that of a file or that two rows have, a part of an upload, and for `html` and `txt` a
    key with a segment `.` or `..`, which browsers drop. Raises OutputError for a file that can't be written. Memory
    does not grow with the links, but for a page.
    """
    file, began = os.fspath(output), time.monotonic()
    kind = _written_format(file, format)
    sources = Sources(links, from_format=from_format, no_links=None, takes_items=True, filters=filters or Filters())
    report, tell = ConvertReport(verb="convert"), broadcast(listeners)
    async with AsyncExitStack() as stack:
        await sources.begin(stack)
        check_used(sources, None, from_format)
        report.has_forms = _has_forms(sources, kind)
        tell(RunStarted("convert"))
        await sources.draw(None, None)
        stream = stack.enter_context(open_output(file))
        if report.has_forms:
            await _write(_forms(sources), FormsPage(stream), report, tell)
        else:

            def note_same_files(first: str, second: str) -> None:
                report.same_files = first, second

            writer = writer_of_links(stack, kind, stream, file, sources.columns, on_same_files=note_same_files)
            await _write(_links(sources), writer, report, tell)
    report.seconds = time.monotonic() - began
    tell(RunFinished(report))
    return report


def _written_format(file: str, given: str | None) -> str:
    """The format of the output: that which is `given`, else that of the extension. Raises ParameterError."""
    name = file[: -len(".gz")] if is_packed(file) else file
    chosen = given or PurePath(name).suffix.removeprefix(".").lower()
    if chosen in {*LINK_LISTS, PAGE}:
        return chosen
    if chosen not in FORMATS:
        problem = f"the format {given!r} can't be written" if given else f"{file}: its extension names no format"
        raise ParameterError(f"{problem}: use --format, with one of {', '.join(FORMATS)}")
    return output_format(file, given, LINK_FORMATS)


def _has_forms(sources: Sources, kind: str) -> bool:
    """True for tables of upload forms. Raises InputError for what can't be converted to this format."""
    if sources.need_credentials:
        raise ParameterError(_SIGN)
    forms = [table.file for table in sources.tables if are_forms(table.columns)]
    if forms and kind != PAGE:
        raise ManifestError(f"upload forms are for browsers: --format {PAGE} makes a page of them", file=forms[0])
    if forms and len(forms) < len(sources.tables):
        raise ParameterError("links and upload forms do not go to the same page: convert them apart")
    return bool(forms)


async def _links(sources: Sources) -> AsyncIterator[RowBatch[Link]]:
    """All links. Raises InputError for one that is not valid."""
    if sources.items is not None:
        async for given in sources.items.batches():
            links = [row for row in given.rows if isinstance(row, Link)]
            if len(links) < len(given.rows):
                index = next(index for index, row in enumerate(given.rows) if not isinstance(row, Link))
                raise given.error(index, _SIGN)
            yield RowBatch(links, [f"{GIVEN_ROWS}:{number}" for number in given.numbers], given.error)
        return
    for table in sources.tables:
        async for rows in sources.rows_in(table):
            yield RowBatch(links_of(rows), [f"{rows.file}:{line}" for line in rows.lines], rows.error)


async def _forms(sources: Sources) -> AsyncIterator[RowBatch[Post]]:
    """All upload forms. Raises InputError for one that is not valid."""
    for table in sources.tables:
        async for rows in sources.rows_in(table):
            yield RowBatch(posts_of(rows), [f"{rows.file}:{line}" for line in rows.lines], rows.error)


async def _write(
    batches: AsyncIterator[RowBatch[R]], writer: RowWriter[R], report: ConvertReport, tell: Listener
) -> None:
    async for batch in batches:
        written = writer.write(batch)
        report.done += len(written)
        report.skipped += len(batch.rows) - len(written)
        report.bytes += sum(row.object.size or 0 for row in written)
        _note_expiry(report, [row.expires_at for row in written if row.expires_at is not None])
        tell(RowsRead(len(batch.rows)))
    writer.finish()


def _note_expiry(report: ConvertReport, moments: Sequence[datetime]) -> None:
    now = utc_now()
    valid = [moment for moment in moments if moment > now]
    report.expired += len(moments) - len(valid)
    if valid:
        report.expires_at = min([*valid, report.expires_at or valid[0]])
