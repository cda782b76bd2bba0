"""The rows of a table as runs take them: from streams without blocking, links checked, uploads whole."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

import anyio.lowlevel
import anyio.to_thread

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper, upload_id_of, whole_rows
from bulkpresign.model import Link, ObjectRef, Upload
from bulkpresign.tables import Rows, Table
from bulkpresign.tables.columns import DST_METHOD

T = TypeVar("T")


async def rows_of(table: Table) -> AsyncIterator[Rows]:
    """The rows of a table. A stream is read in a thread: it may block, and signals must still be handled."""
    if table.is_stream:
        batches = iter(table)
        while (rows := await in_thread(next, batches, None)) is not None:
            yield rows
        return
    for rows in table:
        yield rows
        await anyio.lowlevel.checkpoint()


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Calls a function that may block, in a thread that a signal does not wait for."""
    return await anyio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)


def rows_of_objects(rows: Rows) -> Rows:
    """One row for each object. The copies of `sign --to` in parts have several, each with the same GET link."""
    return whole_rows(rows) if DST_METHOD in rows.columns else rows


def located_puts(table: Table) -> Iterator[list[tuple[ObjectRef, Link | None, str]]]:
    """The single links and complete uploads of a table of PUT links: see `Sources.located`."""
    grouper = UploadGrouper(table.file)
    for rows in table:
        yield [_located_put(table, found, line) for found, line in grouped_puts(grouper, table, rows)]
    yield [_located_put(table, found, line) for found, line in grouper.end()]


def _located_put(table: Table, found: Link | Upload, line: int) -> tuple[ObjectRef, Link | None, str]:
    return found.object, found if isinstance(found, Link) else found.complete, f"{table.file}:{line}"


def grouped_puts(grouper: UploadGrouper, table: Table, rows: Rows) -> Iterator[tuple[Link | Upload, int]]:
    """The single links and complete uploads in some rows of a table of PUT links, each with its first line."""
    links = links_of(rows)
    if "upload_id" not in rows.columns and not grouper.is_open:
        yield from zip(checked_links(table, links, rows.lines, "PUT"), rows.lines, strict=True)
        return
    alone = [(link, line) for link, line in zip(links, rows.lines, strict=True) if not upload_id_of(link.object)]
    checked_links(table, [link for link, _ in alone], [line for _, line in alone], "PUT")
    yield from grouper.add(links, rows.lines)


def checked_links(table: Table, links: list[Link], lines: Sequence[int], method: str) -> list[Link]:
    """Returns the links unchanged. Raises ManifestError for a link of another method: a GET link can't upload."""
    for link, line in zip(links, lines, strict=True):
        if link.method != method:
            raise ManifestError(
                f"a {link.method} link where {method} links are needed", file=table.file, line=line, column="method"
            )
    return links
