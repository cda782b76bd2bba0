"""The sources of a run: tables, listings, single keys and links. They are read a batch at a time."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import groupby
from typing import Any, cast

import anyio.lowlevel
import anyio.to_thread
import msgspec

from bulkpresign.errors import InputError, ParameterError
from bulkpresign.events import Listener
from bulkpresign.http.client import Transport
from bulkpresign.manifest.copies import without_copies
from bulkpresign.manifest.groups import units_of
from bulkpresign.manifest.links import links_of, methods_of
from bulkpresign.manifest.uploads import whole_rows
from bulkpresign.model import Link, ObjectRef, plain
from bulkpresign.pipeline.sources.given_links import GivenLinks, is_link, no_link
from bulkpresign.pipeline.sources.given_rows import named
from bulkpresign.pipeline.sources.inventories import InventoryTable, check_files, local_inventory, remote_inventory
from bulkpresign.pipeline.sources.items import GivenItems, Items, are_items
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.locations import located
from bulkpresign.pipeline.sources.selecting import DrawnTable, Quota, selected_rows
from bulkpresign.pipeline.sources.table_rows import checked_links, in_thread, located_puts, rows_of, rows_of_objects
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import check_options
from bulkpresign.source.filters import Filters, Sample, Selector, candidates_of
from bulkpresign.source.location import SCHEME, Location
from bulkpresign.tables import Rows, Table, objects_of
from bulkpresign.tables.columns import DST_COLUMNS, LAST_MODIFIED, LISTED_CLASS
from bulkpresign.tables.delimited import CsvBlock
from bulkpresign.tables.files import STDIN
from bulkpresign.tables.lines import SIGNED_URL

Source = str | os.PathLike[str]
#: The error for an object of this size in bytes (None: unknown), or None.
SizeProblem = Callable[[int | None], str | None]
#: Yields the same batches of rows, if need be without some columns, or raises ManifestError for one of them.
RowCheck = Callable[[Iterator[Rows]], Iterator[Rows]]


class Found(msgspec.Struct, frozen=True):
    """Some objects of one source, and their rows if the source is a table."""

    refs: list[ObjectRef]
    rows: Rows | None = None

    def error(self, index: int, problem: str, column: str | None = None) -> InputError:
        """An error that names object `index` (from 0) by its row, or by its uri if it has no row."""
        if self.rows is not None:
            return self.rows.error(index, problem, column)
        return ParameterError(f"{self.refs[index].uri}: {problem}")


class Drawn(msgspec.Struct, frozen=True):
    """The objects of a location that were drawn as a sample."""

    refs: list[ObjectRef]


#: A single source.
Part = Table | Location | Drawn


class Sources:
    """The sources of one run, in the given order. Opening them reads only the first rows of each table."""

    def __init__(
        self,
        sources: Source | Items,
        *,
        bucket: str | None = None,
        from_format: str | None = None,
        literal: bool = False,
        all_versions: bool = False,
        no_links: str | None = "only get takes a link by itself; give a table with a column url",
        takes_items: bool = False,
        refuses_copies: bool = False,
        filters: Filters | None = None,
        check: RowCheck | None = None,
    ) -> None:
        """With `literal`, a key of `s3://` is not a pattern. With `all_versions`, each version is listed.

        `no_links` is the hint in the error for a link that is given as a source; None: such links are accepted. With
        `takes_items`, any iterable of links, objects and urls is accepted; see `GivenItems`. `filters` select among the
        objects of all sources. With `refuses_copies`, the rows of copies are errors: see `without_copies`.
        `check` raises ManifestError for the rows of tables that the verb does not take.
        """
        #: The bucket of rows without one.
        self.bucket = plain(bucket)
        #: The items that a program passes, None if the sources are files, S3 locations or links.
        self.items: GivenItems | None = None
        #: True if the links of copies that a program passes are errors, too.
        self.refuses_copies = refuses_copies
        self._all_versions, self._literal = all_versions, literal
        self._filters, self._is_filtered = filters or Filters(), filters is not None
        self._selector = Selector(self._filters)
        self._quota = Quota(self._filters.limit)
        if takes_items and are_items(sources):
            self.items = GivenItems(cast("Items", sources), self._selector)
            self._parts = list[Part]()
            return
        names = _names(sources)
        self._parts = list(_parts(names, from_format, no_links, literal, all_versions))
        if self._is_filtered:
            for table in self.tables:
                table.transform(partial(selected_rows, self._selector))
        if refuses_copies:  # after the filters: rows that they leave out are not signed
            for table in self.tables:
                table.transform(without_copies)
        if check is not None:
            for table in self.tables:
                table.transform(check)
        if literal and not self.has_locations:
            raise ParameterError("literal is for keys of s3:// sources, and there is none")
        if all_versions and not (self.has_locations or any(isinstance(part, InventoryTable) for part in self._parts)):
            raise ParameterError("all-versions is for s3:// sources, and there is none")

    async def begin(self, stack: AsyncExitStack | None = None) -> None:
        """Waits for the first rows of each source that can be read only once; they show if it has links.

        Checks the data files of local inventories.

        The items that a program passes are read until the `stack` ends.
        """
        if self.items is not None and stack is not None:
            await stack.enter_async_context(self.items)
        for table in self.tables:
            if isinstance(table, InventoryTable):
                await check_files(table)
            if table.is_stream:
                await in_thread(lambda table: table.columns, table)

    async def lister(
        self,
        stack: AsyncExitStack,
        presigner: Presigner | None,
        emit: Listener,
        *,
        attempts: int = 5,
        transport: Transport = "auto",
        request_payer: str | None = None,
    ) -> BucketLister | None:
        """The lister of the sources in buckets, open until the `stack` ends. None if there are none.

        Fetches the inventories among them, which are tables from then on, and checks their data files.
        """
        if presigner is None or not self.has_locations:
            return None
        lister = BucketLister(
            presigner,
            emit,
            attempts=attempts,
            transport=transport,
            all_versions=self._all_versions,
            request_payer=request_payer,
        )
        await stack.enter_async_context(lister)
        if not self._literal:
            self._parts = [await self._fetched(part, lister, stack) for part in self._parts]
        return lister

    async def _fetched(self, part: Part, lister: BucketLister, stack: AsyncExitStack) -> Part:
        if not isinstance(part, Location):
            return part
        table = await remote_inventory(part, lister, stack, all_versions=self._all_versions)
        if table is not None and self._is_filtered:
            table.transform(partial(selected_rows, self._selector))
        return table or part

    @property
    def tables(self) -> list[Table]:
        """The sources that are tables."""
        return [part for part in self._parts if isinstance(part, Table)]

    @property
    def columns(self) -> list[str]:
        """The columns in the first rows of all tables, and the columns of listings. Reads those rows."""
        if self.items is not None:
            return self.items.carried
        listed = [LAST_MODIFIED] if self.has_locations else []
        found = dict.fromkeys([*(name for table in self.tables for name in table.columns), *listed])
        return [name for name in found if name != LISTED_CLASS]

    @property
    def has_locations(self) -> bool:
        """True if one source is a listing or a key of a bucket."""
        return any(not isinstance(part, Table) for part in self._parts)

    @property
    def have_relative_paths(self) -> bool:
        """True if several sources are in buckets: paths leave out their prefixes, so that two may be one."""
        return sum(not isinstance(part, Table) for part in self._parts) > 1

    @property
    def has_links(self) -> bool:
        """True if one source is a table of links."""
        if self.items is not None:
            return self.items.has_links
        return any(table.is_links for table in self.tables)

    @property
    def need_credentials(self) -> bool:
        """True if one source is a listing, a key, or a table of objects."""
        if self.items is not None:
            return self.items.need_credentials
        return any(not (isinstance(part, Table) and part.is_links) for part in self._parts)

    @property
    def are_files(self) -> bool:
        """True if all sources are tables that can be read twice: completely before the first request, and again."""
        return self.items is None and all(isinstance(part, Table) and not part.is_stream for part in self._parts)

    async def objects(self, lister: BucketLister | None, method: str = "GET") -> AsyncIterator[list[ObjectRef]]:
        """All objects, to be signed for links of `method`. `lister` lists the sources in buckets."""
        for part in self._parts:
            async for found in self.found_in(part, lister, method):
                yield found.refs

    @property
    def takes_some(self) -> bool:
        """True if a number of objects is used, so that the totals of the sources are not those of the run."""
        return (self._filters.limit, self._filters.sample) != (None, None)

    async def draw(self, lister: BucketLister | None, method: str | None, *, must_exist: bool = False) -> None:
        """Draws the sample, if the filters have one: reads all sources, and replaces them by the objects drawn."""
        if self._filters.sample is None or self.items is not None:
            return
        sample = Sample[tuple[int, Any]](self._filters.sample, self._filters.seed)
        for number, part in enumerate(self._parts):
            if isinstance(part, Table):
                async for rows in rows_of(part):
                    sample.add((number, rows.some(unit)) for unit in units_of(rows))
            else:
                async for found in self.found_in(part, lister, method, must_exist=must_exist):
                    sample.add((number, ref) for ref in found.refs)
        drawn: list[list[Any]] = [[] for _ in self._parts]
        for number, unit in sample.drawn():
            drawn[number].append(unit)
        self._parts = [
            DrawnTable(part, some) if isinstance(part, Table) else Drawn(some)
            for part, some in zip(self._parts, drawn, strict=True)
        ]

    async def rows_in(self, table: Table) -> AsyncIterator[Rows]:
        """The rows of a table, up to the limit of the filters."""
        if not self._quota.is_used_up():
            async for rows in rows_of(table):
                yield self._quota.of_rows(rows)
                if self._quota.is_used_up():
                    return

    async def blocks_in(self, table: Table) -> AsyncIterator[Rows | CsvBlock]:
        """The same rows; those of a file of objects are not split where nothing of them has to be known here."""
        if self._is_filtered or table.is_links:
            async for rows in self.rows_in(table):
                yield rows
            return
        for block in table.blocks():
            yield block
            await anyio.lowlevel.checkpoint()

    @property
    def parts(self) -> list[Part]:
        """The single sources, for `found_in`."""
        return list(self._parts)

    async def check_sizes(self, size_problem: SizeProblem) -> None:
        """Reads every table that can be read twice. Raises ManifestError for the first size that is not valid."""
        for table in self.tables:
            if not table.is_stream:
                for rows in table:
                    self._refs(whole_rows(rows), "PUT", size_problem)
                    await anyio.lowlevel.checkpoint()

    async def found_in(
        self,
        part: Part,
        lister: BucketLister | None,
        method: str | None,
        size_problem: SizeProblem | None = None,
        *,
        must_exist: bool = False,
    ) -> AsyncIterator[Found]:
        """The objects of one source with their rows, so that an error can name the row.

        `method` None: each row has its own. Raises ManifestError if `size_problem` returns an error for a row; with
        `must_exist`, ListingError for a key without an object.
        """
        if isinstance(part, Table):
            own = method or (None if part.is_links else "GET")
            async for rows in self.rows_in(part):
                whole = whole_rows(rows)
                yield Found(self._refs(whole, own, size_problem), whole)
            return
        if isinstance(part, Drawn):
            yield Found(part.refs)
            return
        assert lister is not None  # noqa: S101 - there is one for sources in buckets
        pages = located(part, lister, method, must_exist=must_exist)
        while not self._quota.is_used_up() and (page := await anext(pages, None)) is not None:
            yield Found(list(self._quota.of(self._kept(part, page))))

    def _kept(self, location: Location, refs: list[ObjectRef]) -> list[ObjectRef]:
        """The objects of a page that pass the filters. Globs are compared with their keys after the prefix."""
        start = len(location.base)
        found = self._selector.kept(candidates_of(refs, [ref.key[start:] for ref in refs], Found(refs).error))
        return [refs[index] for index in found]

    def _refs(self, rows: Rows, method: str | None, size_problem: SizeProblem | None = None) -> list[ObjectRef]:
        refs = objects_of(rows, self.bucket)
        check_options(rows, method or methods_of(rows))
        if size_problem is not None:
            for row, ref in enumerate(refs):
                if problem := size_problem(ref.size):
                    raise rows.error(row, problem, "size")
        return refs

    def located(self, table: Table, method: str) -> Iterator[list[tuple[ObjectRef, Link | None, str]]]:
        """The checked rows of a table: the object, its link if it has one, and its location (`keys.csv:3`).

        An upload has one entry: the link that completes it, with the location of its first row.
        """
        if method == "PUT" and table.is_links:
            yield from located_puts(table)
            return
        for rows in map(rows_of_objects, table):
            locations = [f"{table.file}:{line}" for line in rows.lines]
            if table.is_links:
                links = checked_links(table, links_of(rows), rows.lines, method)
                yield [(link.object, link, location) for link, location in zip(links, locations, strict=True)]
            else:
                _check_no_links(rows)
                refs = self._refs(rows, method)
                yield [(ref, None, location) for ref, location in zip(refs, locations, strict=True)]


def _check_no_links(rows: Rows) -> None:
    """Raises ManifestError for links in a column that is not `url`: their holder would be asked for credentials."""
    for name, cell in zip(rows.columns, rows.cells[0] if rows.cells else (), strict=False):
        if name not in DST_COLUMNS and isinstance(cell, str) and SIGNED_URL.match(cell):
            raise rows.error(0, "it holds links, which are in a column url: give the column that name", name)


def are_links(sources: Sequence[str], from_format: str | None) -> bool:
    """True if all sources are files with links, so that nothing needs to be signed.

    False for a stream, which can't be read twice, and for a source that can't be read, which is an error later.
    """
    try:
        found = Sources(sources, from_format=from_format)
        return found.are_files and not found.need_credentials
    except InputError:
        return False


def check_used(sources: Sources, bucket: str | None, from_format: str | None) -> None:
    """Raises ParameterError for a setting of tables if no source is a table."""
    for name, value in (("bucket", bucket), ("from_format", from_format)):
        if value is not None and not sources.tables:
            raise ParameterError(f"{name.replace('_', '-')} is for the rows of tables, and no source is a table")


def _names(sources: object) -> list[str]:
    """The names of sources. Raises TypeError for another value, ParameterError for no name, or standard input twice."""
    is_one = isinstance(sources, str | os.PathLike) or not isinstance(sources, Iterable)
    given = [sources] if is_one else list(cast("Iterable[object]", sources))
    for source in given:
        if not isinstance(source, str | os.PathLike):
            raise TypeError(f"{named(source)} is given; a source is the name of a table, or s3://bucket/prefix/")
    names = [os.fspath(cast("Source", source)) for source in given]
    if not names:
        raise ParameterError("no source is given")
    if "" in names:
        raise ParameterError("the name of a source is empty: name a table, or s3://bucket/prefix/; - is standard input")
    if names.count(STDIN) > 1:
        raise ParameterError("standard input is given twice as a source")
    return names


def _parts(
    given: Iterable[str], from_format: str | None, no_links: str | None, literal: bool, all_versions: bool
) -> Iterator[Part]:
    """The sources. Consecutive links are one source."""
    for are_links, some in groupby(given, is_link):
        if not are_links:
            for source in some:
                if source.startswith(SCHEME):
                    yield Location.parse(source, literal=literal)
                else:
                    yield local_inventory(source, all_versions=all_versions) or Table(source, from_format)
        elif no_links is not None:
            raise no_link(next(some), no_links)
        else:
            yield GivenLinks(list(some))
