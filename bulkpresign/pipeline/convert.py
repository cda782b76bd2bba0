"""convert: links for the tools of partners, or upload forms or links as a page for browsers."""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import PurePath

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.events import Listener, RowsRead, RunFinished, RunStarted, broadcast
from bulkpresign.manifest.forms import are_forms, posts_of
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.partners import LINK_LISTS
from bulkpresign.model import Link, Post, Report, utc_now
from bulkpresign.pipeline.rows.converted import PAGE, RowBatch, converted_writer
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
    where that is not known. `has_forms` is True where they are upload forms.
    """

    has_forms: bool = False

    expires_at: datetime | None = None


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

    Raises InputError, with the place of the row, for one that the tool can't use: a link of another method, a name that
    can't be that of a file or that two rows have, a part of an upload. Raises OutputError for a file that can't be
    written. Memory does not grow with the links, but for a page.
    """
    file, began = os.fspath(output), time.monotonic()
    kind = _written_format(file, format)
    sources = Sources(links, from_format=from_format, no_links=None, takes_items=True, filters=filters or Filters())
    report, tell = ConvertReport(verb="convert"), broadcast(listeners)
    async with AsyncExitStack() as stack:
        await sources.begin(stack)
        check_used(sources, None, from_format)
        if sources.need_credentials:
            raise ParameterError(_SIGN)
        tell(RunStarted("convert"))
        await sources.draw(None, None)
        stream = stack.enter_context(open_output(file))
        writer = converted_writer(stack, kind, stream, file, sources.columns)
        async for batch in _batches(sources, takes_forms=kind == PAGE):
            _count(report, writer.write(batch), len(batch.rows))
            tell(RowsRead(len(batch.rows)))
        writer.finish()
    report.seconds = time.monotonic() - began
    tell(RunFinished(report))
    return report


def _written_format(file: str, given: str | None) -> str:
    """The format of the output. Raises ParameterError where neither `given` nor the extension says which."""
    name = file[: -len(".gz")] if is_packed(file) else file
    extension = PurePath(name).suffix.removeprefix(".").lower()
    others = {*LINK_LISTS, PAGE}
    if given in others:
        return given
    if given is None and extension in others:
        return extension
    if given is None and extension not in LINK_FORMATS:
        raise ParameterError(f"{file}: no format is given, and the extension tells none: use {', '.join(FORMATS)}")
    if given is not None and given not in FORMATS:
        raise ParameterError(f"format {given!r} can't be written: use {', '.join(FORMATS)}")
    return output_format(file, given, LINK_FORMATS)


async def _batches(sources: Sources, *, takes_forms: bool) -> AsyncIterator[RowBatch]:
    """All rows. Raises InputError for one that is not valid, and for a table of forms where they are not taken."""
    if sources.items is not None:
        async for given in sources.items.batches():
            links = [row for row in given.rows if isinstance(row, Link)]
            if len(links) < len(given.rows):
                index = next(index for index, row in enumerate(given.rows) if not isinstance(row, Link))
                raise given.error(index, _SIGN)
            yield RowBatch(links, [f"{GIVEN_ROWS}:{number}" for number in given.numbers], given.error)
        return
    for table in sources.tables:
        has_forms = are_forms(table.columns)
        if has_forms and not takes_forms:
            raise ManifestError(f"upload forms are for browsers: --format {PAGE} makes a page of them", file=table.file)
        async for rows in sources.rows_in(table):
            places = [f"{rows.file}:{line}" for line in rows.lines]
            yield RowBatch(posts_of(rows) if has_forms else links_of(rows), places, rows.error)


def _count(report: ConvertReport, written: Sequence[Link | Post], given: int) -> None:
    """Adds some rows to the report."""
    now = utc_now()
    report.done += len(written)
    report.skipped += given - len(written)
    report.has_forms |= any(isinstance(row, Post) for row in written)
    for row in written:
        report.bytes += row.object.size or 0
        if row.expires_at is None:
            continue
        if row.expires_at <= now:
            report.expired += 1
        elif report.expires_at is None or row.expires_at < report.expires_at:
            report.expires_at = row.expires_at
