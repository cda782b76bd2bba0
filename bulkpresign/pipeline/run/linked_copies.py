"""Copies without credentials: rows with a GET link of an object, and a link, or those of an upload, for its copy."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

import msgspec

from bulkpresign.manifest.copies import CopyGrouper, LinkedCopy
from bulkpresign.manifest.links import links_of
from bulkpresign.model import Link, ObjectRef, without_query
from bulkpresign.pipeline.sources.given_rows import check_methods
from bulkpresign.pipeline.sources.items import GivenItems, ItemBatch
from bulkpresign.pipeline.sources.sources import Sources
from bulkpresign.pipeline.sources.table_rows import checked_links
from bulkpresign.tables import Table
from bulkpresign.tables.columns import DST_URL
from bulkpresign.transfer.engine.jobs import Job, MultipartUpload, Renew, RenewableLink

#: Takes the paths of objects whose rows can't be read twice.
Reserve = Callable[[Sequence[ObjectRef]], None]


def placed(ref: ObjectRef) -> ObjectRef:
    """The same object, whose path is the address of its copy."""
    return msgspec.structs.replace(ref, path=without_query((ref.extra or {})[DST_URL]))


def located_copies(table: Table) -> Iterator[list[tuple[ObjectRef, Link, str]]]:
    """The copies in a table of links: the object, its GET link, and the location of its first row (`links.csv:2`).

    Raises ManifestError for rows that are not valid.
    """
    grouper = CopyGrouper(table.file)
    for rows in table:
        links = checked_links(table, links_of(rows), rows.lines, "GET")
        yield [_located(table, copy, line) for copy, line in grouper.add(links, rows.lines)]
    yield [_located(table, copy, line) for copy, line in grouper.end()]


def _located(table: Table, copy: LinkedCopy, line: int) -> tuple[ObjectRef, Link, str]:
    return copy.source.object, copy.source, f"{table.file}:{line}"


class LinkedCopies:
    """The jobs of rows. `renew_source` renews their GET links, `renew_target` the links of their copies.

    `reserve` is called with the objects of sources that can't be read twice, whose path is the address of the copy.
    """

    def __init__(
        self, sources: Sources, renew_source: Renew | None, renew_target: Renew | None, reserve: Reserve
    ) -> None:
        self._sources, self._reserve = sources, reserve
        self._renew_source, self._renew_target = renew_source, renew_target

    async def jobs(self) -> AsyncIterator[Sequence[Job]]:
        """All jobs, in batches. Raises ManifestError for rows that are not valid."""
        if self._sources.items is not None:
            async for batch in self._of_items(self._sources.items):
                yield batch
            return
        for table in self._sources.tables:
            async for batch in self._of_table(table):
                yield batch

    async def _of_table(self, table: Table) -> AsyncIterator[Sequence[Job]]:
        grouper = CopyGrouper(table.file)
        async for rows in self._sources.rows_in(table):
            links = checked_links(table, links_of(rows), rows.lines, "GET")
            yield self._batch(grouper.add(links, rows.lines), is_new=table.is_stream)
        yield self._batch(grouper.end(), is_new=table.is_stream)

    async def _of_items(self, items: GivenItems) -> AsyncIterator[Sequence[Job]]:
        grouper = CopyGrouper(items.file)
        async for batch in items.batches():
            yield self._batch(grouper.add(_links_of(batch), batch.numbers), is_new=True)
        yield self._batch(items.end(grouper.end()), is_new=True)

    def _batch(self, found: Iterable[tuple[LinkedCopy, int]], *, is_new: bool) -> list[Job]:
        jobs = [self._job(copy) for copy, _ in found]
        if is_new:
            self._reserve([placed(job.object) for job in jobs])
        return jobs

    def _job(self, copy: LinkedCopy) -> Job:
        source, target = RenewableLink(copy.source, self._renew_source), copy.target
        if isinstance(target, Link):
            return Job(source, RenewableLink(target, self._renew_target))
        return Job(source, MultipartUpload(target, self._renew_target))


def _links_of(batch: ItemBatch) -> list[Link]:
    """The GET links of rows that a program passes. Raises ManifestError for any other."""
    check_methods(batch.rows, batch.numbers, "GET")
    links = [row for row in batch.rows if isinstance(row, Link)]
    if len(links) < len(batch.rows):
        index = next(index for index, row in enumerate(batch.rows) if isinstance(row, ObjectRef))
        raise batch.error(index, "an ObjectRef where links are needed: make them with sign --to s3://bucket/prefix/")
    return links
