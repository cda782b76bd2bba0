"""Links, objects and urls that a program passes: an iterable or async iterable of them, or of batches of them."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Any, Self, cast

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import completes, upload_id_of
from bulkpresign.model import Link, ObjectRef, without_query
from bulkpresign.pipeline.sources.given_links import is_link
from bulkpresign.pipeline.sources.selecting import Picker
from bulkpresign.source.filters import Filters, Selector, candidates_of
from bulkpresign.tables import Rows

#: One object: a link to it, the object itself, or the url of a link.
Item = Link | ObjectRef | str
#: A list may have the names of files and S3 locations instead.
_Name = str | os.PathLike[str]
#: Items, single or in batches, in any iterable. An async iterable may wait between them.
Items = Link | ObjectRef | Iterable[_Name | Item | Sequence[Item]] | AsyncIterable[Item | Sequence[Item]]
#: An object, or a link to it. `sign` signs an object, and signs an old link again.
Row = Link | ObjectRef

#: Items of a plain iterable that are read at a time, and those of a list, which are here already.
_BATCH, _LIST_BATCH = 64, 1024
_TAKEN = "a Link, an ObjectRef, the url of a link, or a list of these"


class ItemBatch(msgspec.Struct, frozen=True):
    """Some rows, and the number of each, from 1."""

    rows: list[Row]
    numbers: Sequence[int]

    def error(self, index: int, problem: str, column: str | None = None) -> ManifestError:
        """An error with the number of the row at an index."""
        return ManifestError(problem, file=GivenItems.file, line=self.numbers[index], column=column)


class GivenItems:
    """The rows of an iterable, in batches that are read on demand. Use as an async context manager.

    An async iterable is read in its own task, which ends with the block; an async generator is closed then. Its items
    are passed on as soon as they arrive. The items of a plain iterable are collected in batches of 64, those of a list
    in batches of 1,024. Errors name a row by its number.
    """

    file = "given rows"

    def __init__(self, items: Items, selector: Selector | None = None) -> None:
        """`selector` selects among the rows.

        Raises TypeError for a value that is neither an item nor iterable, and for a list with other values.
        """
        if isinstance(items, Link | ObjectRef):
            items = [items]
        if not isinstance(items, AsyncIterable | Iterable) or isinstance(items, bytes | bytearray | memoryview):
            raise TypeError(f"{_named(items)} is given; {_TAKEN}, or an iterable of these is taken")
        self._items = items
        self._selector = selector or Selector(Filters())
        self._count = 0
        self._first: ItemBatch | None = None
        #: True if the rows are here already, so that none has to be waited for.
        self.is_list = isinstance(items, Sequence)
        if isinstance(items, Sequence):
            _check_types(items)
        self._batches: AsyncIterator[list[Item]]
        self._reader: _Reader | None = None

    async def __aenter__(self) -> Self:
        """Waits for the first batch. Raises the iterable's own exception, and TypeError for a row of another type."""
        if isinstance(self._items, AsyncIterable):
            self._reader = _Reader(self._items)
            self._batches = self._reader.batches()
        else:
            self._batches = _in_batches(_not_cancelled(self._items), _LIST_BATCH if self.is_list else _BATCH)
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
        if self._reader is None:
            return
        problem = await self._reader.close()
        if problem is not None and error is None:
            raise problem

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
                yield from _flat(item)
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
        return ItemBatch(_rows(items, first), range(first, first + len(items)))


def are_items(source: object) -> bool:
    """True for a source of links, objects or urls; False for names of files, S3 locations or links.

    An empty sequence has no objects. It is not taken for names, of which there has to be one.
    """
    if isinstance(source, str | os.PathLike):
        return False
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview):
        return not source or not all(isinstance(one, str | os.PathLike) for one in source)
    return True


def object_of(row: Row) -> ObjectRef:
    """The object of a row."""
    return row.object if isinstance(row, Link) else row


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


def check_methods(rows: Sequence[Row], numbers: Sequence[int], method: str) -> None:
    """Raises ManifestError for a link of another method than `method`."""
    for number, row in zip(numbers, rows, strict=True):
        if isinstance(row, Link) and row.method != method:
            raise ManifestError(
                f"a {row.method} link where {method} links are needed",
                file=GivenItems.file,
                line=number,
                column="method",
            )


class _Reader:
    """Reads an async iterable in one task, so that the task that opens its resources also closes them."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Any](0)
        self._is_closing = False
        self._task = asyncio.create_task(self._read(items))

    async def _read(self, items: AsyncIterable[Any]) -> None:
        iterator = aiter(items)
        with self._send:
            try:
                async for item in iterator:
                    await self._send.send(item)
            except anyio.BrokenResourceError:
                if not self._is_left:
                    raise  # the iterable's own
            finally:
                self._is_closing = True
                if (close := getattr(iterator, "aclose", None)) is not None:
                    await close()

    @property
    def _is_left(self) -> bool:
        """True where nobody takes items any more."""
        return not self._send.statistics().open_receive_streams

    async def batches(self) -> AsyncIterator[list[Item]]:
        """The items as they arrive. Raises what the iterable raises."""
        async with self._receive:
            async for item in self._receive:
                yield list(_flat(item))
            await asyncio.wait([self._task])
            if self._task.cancelled():
                raise _cancelled()
            self._task.result()

    async def close(self) -> BaseException | None:
        """Ends the reading, and waits until the iterable is closed. Returns the exception of that, if there was one.

        The task is cancelled once at most, and never while it closes the iterable, whose cleanup may wait. A generator
        that ends by itself at this moment can't be told from one that waits for its next row: it is cancelled.
        """
        self._receive.close()
        had_ended = self._task.done()
        if not self._is_closing:
            self._task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self._task])
        problem = None if self._task.cancelled() else self._task.exception()
        return None if had_ended else problem  # an earlier exception is raised by `batches`


def _cancelled() -> ManifestError:
    """The error for an iterable that raises CancelledError, such as that of a task it waits for.

    Passed on as it is, it would end a task of the run, or of the caller, without a trace.
    """
    return ManifestError("the iterable ended with CancelledError", file=GivenItems.file)


def _not_cancelled(items: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from items
    except asyncio.CancelledError as error:
        raise _cancelled() from error


async def _in_batches(items: Iterable[Any], count: int) -> AsyncIterator[list[Item]]:
    """The items of a plain iterable in batches of `count`. A batch in the iterable is passed on unchanged.

    Raises what the iterable raises, after the items that came before.
    """
    batch: list[Item] = []
    try:
        for item in items:
            if isinstance(item, Link | ObjectRef | str):
                batch.append(item)
            else:
                if batch:
                    yield batch
                yield list(_flat(item))
                batch = []
            if len(batch) == count:
                yield batch
                batch = []
                await anyio.lowlevel.checkpoint()
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _flat(item: Any) -> Iterator[Item]:
    if isinstance(item, list | tuple):
        yield from item
    else:
        yield item


def _check_types(items: Sequence[Any]) -> None:
    number = 0
    for item in items:
        for one in _flat(item):
            number += 1
            _check_type(one, number)


def _check_type(item: object, number: int) -> None:
    if not isinstance(item, Link | ObjectRef | str):
        raise TypeError(f"row {number} is {_named(item)}; {_TAKEN} is taken")


def _check_fields(row: Row, number: int) -> None:
    """Raises TypeError for a field of another type, which would fail later, and without its place."""
    ref = object_of(row)
    texts = {"bucket": ref.bucket, "key": ref.key, "path": ref.file_path}
    if isinstance(row, Link):
        texts["url"] = row.url
        if row.expires_at is not None and row.expires_at.tzinfo is None:
            raise ParameterError(f"{GivenItems.file}:{number}: expires_at of {row.expires_at} has no time zone")
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TypeError(f"row {number}: {name} is {_named(value)}, not a str")
    if not isinstance(ref.size, int | None):
        raise TypeError(f"row {number}: size is {_named(ref.size)}, not an int")


def _rows(items: Sequence[Item], first: int) -> list[Row]:
    """The items as rows: a url becomes a link, and a link without a path or an expiry takes those of its url."""
    numbered = list(enumerate(items, first))
    for number, item in numbered:
        _check_type(item, number)
        if not isinstance(item, str):
            _check_fields(item, number)
    urls = {number: url for number, item in numbered if (url := _url_to_read(item)) is not None}
    links = dict(zip(urls, _links_of(urls), strict=True))
    return [_completed(item, links.get(number)) for number, item in numbered]


def _url_to_read(item: Item) -> str | None:
    """The url that tells what an item lacks, or None."""
    if isinstance(item, str):
        return item
    if isinstance(item, ObjectRef) or (item.object.file_path and item.expires_at is not None):
        return None
    return item.url


def _links_of(urls: Mapping[int, str]) -> list[Link]:
    """The links of urls, by the numbers of their rows."""
    for number, url in urls.items():
        if not is_link(url):
            shown = without_query(url)[:80]
            raise ParameterError(
                f"{GivenItems.file}:{number}: {shown!r} is not a url; pass files and s3:// alone, or in a list of names"
            )
    return links_of(Rows(GivenItems.file, ("url",), [[url] for url in urls.values()], list(urls)))


def _completed(item: Item, of_url: Link | None) -> Row:
    if isinstance(item, str):
        assert of_url is not None  # noqa: S101 - its url was read
        return of_url
    if of_url is None or isinstance(item, ObjectRef):
        return item
    ref = item.object
    if not ref.file_path:
        ref = msgspec.structs.replace(ref, path=of_url.object.path)
    return msgspec.structs.replace(item, object=ref, expires_at=item.expires_at or of_url.expires_at)


def _named(value: object) -> str:
    """The type of a value, for a message. The value itself is not shown, because it can have a signature."""
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
