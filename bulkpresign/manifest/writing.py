"""Writes manifests of links, objects or upload forms, with their carried columns."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.rows import ENCODERS, Columns, link_columns, object_columns, post_columns
from bulkpresign.model import Link, ObjectRef, Post
from bulkpresign.tables.columnar import ParquetTable
from bulkpresign.tables.columns import KNOWN
from bulkpresign.tables.files import Output
from bulkpresign.tables.rows import MAX_COLUMNS
from bulkpresign.tables.writing import TableWriter

T = TypeVar("T", bound=Link | ObjectRef | Post)


class RowTable(Protocol):
    """A table that takes its rows by column. Call `header` once, `rows` any number of times, `finish` once."""

    format: str

    def header(self, columns: Sequence[str], /) -> None:
        """Starts the table."""
        ...

    def rows(self, columns: Columns, /) -> None:
        """Adds at least one row."""
        ...

    def finish(self) -> None:
        """Ends the table."""
        ...


class _TextTable:
    """A table of a text format."""

    def __init__(self, output: Output, format: str) -> None:  # noqa: A002 - the option's name
        self.format = format
        self._table = TableWriter(output, format)
        self.header, self.finish = self._table.header, self._table.finish

    def rows(self, columns: Columns, /) -> None:
        self._table.rows(ENCODERS[self.format](columns))


def row_table(output: Output, format: str) -> RowTable:  # noqa: A002 - the option's name
    """The table of a format. Raises ParameterError for one that can't be written."""
    return ParquetTable(output) if format == "parquet" else _TextTable(output, format)


class ManifestWriter(Generic[T]):
    """Writes rows of one type to `output`, a batch at a time.

    In CSV and Parquet, the header needs all carried columns: those of `carried` and of the first batch. A new column in
    a later row is a ManifestError. JSON can have new columns at any time.
    """

    def __init__(
        self,
        output: Output,
        file: str,
        format: str,  # noqa: A002 - the option's name
        columns_of: Callable[[Sequence[T]], Columns],
        carried: Sequence[str] = (),
    ) -> None:
        self._table = row_table(output, format)
        self._file = file
        self._columns_of = columns_of
        self._carried: list[str] = [name for name in carried if name not in KNOWN]
        self._has_header = False

    def write(self, batch: Sequence[T]) -> None:
        """Adds a batch of rows."""
        if not batch:
            return
        columns = self._columns_of(batch)
        extras = [_object_of(row).extra for row in batch]
        if any(extras):
            self._add_carried(extras)
        carried = self._carried_columns(extras, columns)
        self._write_header([*columns, *carried])
        self._table.rows(columns | carried)

    def finish(self) -> None:
        """Ends the manifest. It has a header even without rows."""
        self._write_header([*self._columns_of([]), *self._carried])
        self._table.finish()

    def _write_header(self, columns: Sequence[str]) -> None:
        if not self._has_header:
            self._table.header(columns)
            self._has_header = True

    def _add_carried(self, extras: Sequence[dict[str, Any] | None]) -> None:
        seen = dict.fromkeys(name for extra in extras if extra for name in extra)
        new = [name for name in seen if name not in self._carried]
        if new and self._has_header and self._table.format in {"csv", "parquet"}:
            raise ManifestError(
                f"column {new[0]} is new after the header was written: write jsonl instead", file=self._file
            )
        self._carried += new
        if len(self._carried) > MAX_COLUMNS:
            raise ManifestError(f"the rows have over {MAX_COLUMNS:,} carried columns", file=self._file)

    def _carried_columns(self, extras: Sequence[dict[str, Any] | None], own: Columns) -> Columns:
        names = [name for name in self._carried if name not in own]
        return {name: [(extra or {}).get(name) for extra in extras] for name in names}


def link_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[Link]:  # noqa: A002
    """Writes links."""
    return ManifestWriter(output, file, format, link_columns, carried)


def object_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[ObjectRef]:  # noqa: A002
    """Writes objects."""
    return ManifestWriter(output, file, format, object_columns, carried)


def post_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[Post]:  # noqa: A002
    """Writes upload forms."""
    return ManifestWriter(output, file, format, post_columns, carried)


def _object_of(row: Link | ObjectRef | Post) -> ObjectRef:
    return row if isinstance(row, ObjectRef) else row.object
