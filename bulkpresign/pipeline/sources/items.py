"""Links, objects and urls that a program passes: an iterable or async iterable of them, or of batches of them."""

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Self, TypeVar, cast

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.uploads import completes, upload_id_of
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.sources.given_rows import (
    GIVEN_ROWS,
    TAKEN,
    Item,
    Row,
    check_types,
    flat,
    named,
    object_of,
    rows_of,
)
from bulkpresign.pipeline.sources.iterables import IterableReader, as_they_come, in_batches, not_cancelled
from bulkpresign.pipeline.sources.selecting import Picker
from bulkpresign.source.filters import Filters, Selector, candidates_of
from bulkpresign.tasks import running_loop

T = TypeVar("T")

#: A list may have the names of files and S3 locations instead.
_Name = str | os.PathLike[str]
#: Items, single or in batches, in any iterable. An async iterable may wait between them.
Items = Link | ObjectRef | Iterable[_Name | Item | Sequence[Item]] | AsyncIterable[Item | Sequence[Item]]

#: Items of a plain iterable that are read at a time, and those of a list, which are here already.
_BATCH, _LIST_BATCH = 64, 1024


class ItemBatch(msgspec.Struct, frozen=True):
    """Some rows, and the number of each, from 1."""

    rows: list[Row]
    numbers: Sequence[int]

    def error(self, index: int, problem: str, column: str | None = None) -> ManifestError:
        """An error with the number of the row at an index."""
        return ManifestError(problem, file=GIVEN_ROWS, line=self.numbers[index], column=column)


class GivenItems:
    """The rows of an iterable, in batches that are read on demand. Use as an async context manager.

    An async iterable is read in its own task, if asyncio runs, which ends with the block; an async generator is closed
    then. Its items are passed on as soon as they arrive. The items of a plain iterable are collected in batches of 64,
    those of a list in batches of 1,024. Errors name a row by its number.
    """

    file = GIVEN_ROWS

    def __init__(self, items: Items, selector: Selector | None = None) -> None:
        """`selector` selects among the rows.

        Raises TypeError for a value that is neither an item nor iterable, and for a list with other values.
        """
        if isinstance(items, Link | ObjectRef):
            items = [items]
        is_iterable = isinstance(items, AsyncIterable | Iterable)
        # A mapping and a DataFrame would give the names of their columns.
        if not is_iterable or isinstance(items, bytes | bytearray | memoryview | Mapping) or hasattr(items, "columns"):
            raise TypeError(f"{named(items)} is given; {TAKEN}, or an iterable of these is taken")
        self._items = items
        self._selector = selector or Selector(Filters())
        self._count = 0
        self._first: ItemBatch | None = None
        #: True if the rows are here already, so that none has to be waited for.
        self.is_list = isinstance(items, Sequence)
        #: True where no more rows are read from the iterable.
        self.is_left = False
        if isinstance(items, Sequence):
            check_types(items)
        self._batches: AsyncIterator[list[Item]]
        self._reader: IterableReader | None = None

    async def __aenter__(self) -> Self:
        """Waits for the first batch. Raises the iterable's own exception, and TypeError for a row of another type."""
        if isinstance(self._items, AsyncIterable) and running_loop() is None:
            self._batches = as_they_come(self._items)
        elif isinstance(self._items, AsyncIterable):
            self._reader = IterableReader(self._items)
            self._batches = self._reader.batches()
        else:
            count = _LIST_BATCH if self.is_list else _BATCH
            self._batches = in_batches(not_cancelled(self._items), count, lambda: self.is_left)
        try:
            self._first = await self._next()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes an async generator, and raises what its cleanup raises where there is no other error."""
        problem = await self._closed()
        if problem is not None and error is None:
            raise problem

    async def close(self) -> None:
        """Closes an async generator, and reads no more of a plain one. `batches` ends after the rows that are here."""
        await self._closed()

    def end(self, last: Iterator[T]) -> Iterator[T]:
        """The uploads that the last rows complete. Raises ManifestError for one that is incomplete.

        Where no more rows are read, an incomplete one is left out: the rows that it lacks were not given.
        """
        try:
            yield from last
        except ManifestError:
            if not self.is_left:
                raise

    async def _closed(self) -> BaseException | None:
        self.is_left = True
        return None if self._reader is None else await self._reader.close()

    @property
    def has_links(self) -> bool:
        """True if the first batch, or any row of a list, has a link."""
        return any(isinstance(row, Link | str) for row in self._seen())

    @property
    def need_credentials(self) -> bool:
        """True if the first batch, or any row of a list, has an object without a link."""
        return any(isinstance(row, ObjectRef) for row in self._seen())

    @property
    def carried(self) -> list[str]:
        """The names in `extra` of the objects in the first batch."""
        rows = self._first.rows if self._first else []
        return list(dict.fromkeys(name for row in rows for name in (object_of(row).extra or {})))

    def _seen(self) -> Iterator[Item]:
        if self.is_list:
            for item in cast("Sequence[Item | Sequence[Item]]", self._items):
                yield from flat(item)
        elif self._first is not None:
            yield from self._first.rows

    async def batches(self) -> AsyncIterator[ItemBatch]:
        """All rows that the filters select, each upload in one batch.

        Raises TypeError for a row of another type, ParameterError for a string that is not a url, and ManifestError for
        a row without a value that a filter needs.
        """
        if self._selector.filters == Filters():
            async for batch in self._all():
                yield batch
            return
        picker = Picker[list[_Numbered]](self._selector.filters)
        async for units in _units(self._all()):
            yield _batch_of(picker.of(self._kept(units)))
            if picker.is_used_up():
                return
        yield _batch_of(picker.rest())

    def _kept(self, units: Sequence["list[_Numbered]"]) -> list["list[_Numbered]"]:
        heads = _batch_of([[_head(unit)] for unit in units])
        refs = [object_of(row) for row in heads.rows]
        found = self._selector.kept(candidates_of(refs, [ref.file_path for ref in refs], heads.error))
        return [units[index] for index in found]

    async def _all(self) -> AsyncIterator[ItemBatch]:
        batch, self._first = self._first, None
        while batch is not None:
            yield batch
            batch = await self._next()

    async def _next(self) -> ItemBatch | None:
        items = await anext(self._batches, None)
        if items is None:
            return None
        first = self._count + 1
        self._count += len(items)
        return ItemBatch(rows_of(items, first), range(first, first + len(items)))


def are_items(source: object) -> bool:
    """True for a source of links, objects or urls; False for names of files, S3 locations or links.

    An empty sequence has no objects. It is not taken for names, of which there has to be one.
    """
    if isinstance(source, str | os.PathLike):
        return False
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview):
        return not source or not all(isinstance(one, str | os.PathLike) for one in source)
    return True


#: The number of a row, and the row.
_Numbered = tuple[int, Row]


async def _units(batches: AsyncIterator[ItemBatch]) -> AsyncIterator[list[list[_Numbered]]]:
    """The rows of each object: one, or all those of a multipart upload."""
    held: list[_Numbered] = []
    async for batch in batches:
        rows = [*held, *zip(batch.numbers, batch.rows, strict=True)]
        units = [unit for _, some in groupby(rows, _upload_of) for unit in _unit(list(some))]
        held = units.pop() if units and upload_id_of(object_of(units[-1][0][1])) else []
        yield units
    if held:
        yield [held]


def _upload_of(row: _Numbered) -> str:
    return upload_id_of(object_of(row[1]))


def _unit(rows: list[_Numbered]) -> list[list[_Numbered]]:
    return [rows] if _upload_of(rows[0]) else [[row] for row in rows]


def _head(unit: list[_Numbered]) -> _Numbered:
    """The row that completes an upload, which has the size of the object; else the first row."""
    return next((row for row in unit if isinstance(row[1], Link) and completes(row[1])), unit[0])


def _batch_of(units: Sequence[list[_Numbered]]) -> ItemBatch:
    return ItemBatch([row for unit in units for _, row in unit], [number for unit in units for number, _ in unit])
