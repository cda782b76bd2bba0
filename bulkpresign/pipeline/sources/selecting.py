"""Applies filters to sources: to the rows of tables, to objects, and to rows that a program passes."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
from typing import Generic, TypeVar

from bulkpresign.manifest.groups import heads_of, in_whole_uploads, units_of
from bulkpresign.manifest.links import names_of
from bulkpresign.model import ObjectRef
from bulkpresign.source.filters import Candidates, Filters, Sample, Selector
from bulkpresign.tables import Rows, Table
from bulkpresign.tables.columns import LAST_MODIFIED
from bulkpresign.tables.objects import known_sizes
from bulkpresign.tables.rows import BATCH_ROWS

T = TypeVar("T")


def selected_rows(selector: Selector, batches: Iterator[Rows]) -> Iterator[Rows]:
    """The rows of the objects that pass, in batches with all rows of an upload.

    Raises ManifestError for a row without a value that a filter needs.
    """
    for rows in in_whole_uploads(batches):
        heads = heads_of(rows)
        indexes = list(dict.fromkeys(heads))
        objects = rows if len(indexes) == len(heads) else rows.some(indexes)
        kept = selector.kept(_candidates(objects))
        if len(kept) == len(indexes):
            yield rows
        else:
            passed = {indexes[index] for index in kept}
            yield rows.some(row for row, head in enumerate(heads) if head in passed)


def _candidates(rows: Rows) -> Candidates:
    unknown = [None] * len(rows.cells)
    return Candidates(
        names_of(rows) if rows.cells else (),
        lambda: known_sizes(rows),
        lambda: rows.column(LAST_MODIFIED) or unknown,
        rows.error,
    )


class Quota:
    """The number of objects that may still be used, None for any number."""

    def __init__(self, left: int | None) -> None:
        self._left = left

    def is_used_up(self) -> bool:
        """True if no more objects may be used."""
        return self._left == 0

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """The first of these items, up to the number, which is reduced by theirs."""
        if self._left is None:
            return items
        some = items[: self._left]
        self._left -= len(some)
        return some

    def of_rows(self, rows: Rows) -> Rows:
        """The same, for the rows of objects. Rows of one upload are one object."""
        return rows if self._left is None else rows.some(chain.from_iterable(self.of(units_of(rows))))


class Picker(Generic[T]):
    """Applies the number of objects in filters: a limit as objects come, a sample when all have come."""

    def __init__(self, filters: Filters) -> None:
        self._quota = Quota(filters.limit)
        self._sample = None if filters.sample is None else Sample[T](filters.sample, filters.seed)

    def is_used_up(self) -> bool:
        """True if no more objects are used."""
        return self._quota.is_used_up()

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Those of the next items that are used at once: none if a sample is drawn."""
        if self._sample is None:
            return self._quota.of(items)
        self._sample.add(items)
        return ()

    def rest(self) -> Sequence[T]:
        """Those that are used after all have come: the sample."""
        return () if self._sample is None else self._sample.drawn()


def selected_files(root: Path, batches: Iterator[list[ObjectRef]], filters: Filters) -> Iterator[Sequence[ObjectRef]]:
    """The objects of local files that pass the filters. A file without a size or time passes: its upload reports it."""
    selector, picker = Selector(filters), Picker[ObjectRef](filters)
    for refs in batches:
        found = selector.kept(_local_candidates(root, refs))
        yield picker.of([refs[index] for index in found])
        if picker.is_used_up():
            return
    yield picker.rest()


def _local_candidates(root: Path, refs: Sequence[ObjectRef]) -> Candidates:
    names = [ref.file_path for ref in refs]
    return Candidates(
        names, lambda: [ref.size for ref in refs], lambda: [_modified(root / name) for name in names], None
    )


def _modified(file: Path) -> str | None:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat()
    except (OSError, ValueError, OverflowError):  # deleted, or a time that no calendar has
        return None


class DrawnTable(Table):
    """The rows of a table that were drawn as a sample, in memory."""

    def __init__(self, table: Table, drawn: Sequence[Rows]) -> None:
        super().__init__(table.file)
        self.is_stream, self.format = table.is_stream, table.format
        header = Rows(table.file, table.columns, [], ())
        self._read = lambda _: chain((header,), _in_batches(drawn))


def _in_batches(drawn: Sequence[Rows]) -> Iterator[Rows]:
    for (file, columns), some in groupby(drawn, lambda rows: (rows.file, rows.columns)):
        numbered = [pair for rows in some for pair in zip(rows.cells, rows.lines, strict=True)]
        for at in range(0, len(numbered), BATCH_ROWS):
            batch = numbered[at : at + BATCH_ROWS]
            yield Rows(file, columns, [cells for cells, _ in batch], [line for _, line in batch])
