"""Writes manifests of links, objects or upload forms, with their carried columns."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.rows import ENCODERS, Columns, link_columns, object_columns, post_columns
from bulkpresign.model import Link, ObjectRef, Post
from bulkpresign.tables.columnar import ParquetTable
from bulkpresign.tables.columns import KNOWN, column_name
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


class TextTable:
    """A table of a text format. `encoded` adds whole rows that were encoded elsewhere."""

    def __init__(self, output: Output, format: str) -> None:  # noqa: A002 - the option's name
        self.format = format
        self._table = TableWriter(output, format)
        self.header, self.encoded, self.finish = self._table.header, self._table.rows, self._table.finish

    def rows(self, columns: Columns, /) -> None:
        """Adds at least one row."""
        self._table.rows(ENCODERS[self.format](columns))


def row_table(output: Output, format: str) -> RowTable:  # noqa: A002 - the option's name
    """The table of a format. Raises ParameterError for one that can't be written."""
    return ParquetTable(output) if format == "parquet" else TextTable(output, format)


class UrlList:
    """The urls of GET links, one a line, for tools that read no more than that."""

    format = "txt"

    def __init__(self, output: Output) -> None:
        self._output = output

    def header(self, _columns: Sequence[str], /) -> None:
        """Does nothing: a list has no header."""

    def rows(self, columns: Columns, /) -> None:
        """Adds at least one url. Raises ParameterError for a link that is more than its url."""
        for name, method, headers in zip(columns["path"], columns["method"], columns["headers"], strict=True):
            if method != "GET" or headers:
                what = f"its method is {method}" if method != "GET" else f"it has headers, {', '.join(headers)}"
                raise ParameterError(
                    f"{name}: a list of urls can't hold this link, because {what}. Write .csv or .jsonl"
                )
        self._output.write("".join(f"{url}\n" for url in columns["url"]).encode())

    def finish(self) -> None:
        """Does nothing: a list has no end."""


class _RowsInMemory:
    """Rows of a text format, as bytes. It has no header."""

    def __init__(self, format: str) -> None:  # noqa: A002 - the option's name
        self.format = format
        self._batches: list[bytes] = []

    def header(self, _columns: Sequence[str], /) -> None:
        """Does nothing: another process writes it."""

    def rows(self, columns: Columns, /) -> None:
        self._batches.append(ENCODERS[self.format](columns))

    def finish(self) -> None:
        """Does nothing, likewise."""

    @property
    def encoded(self) -> bytes:
        return (b",\n" if self.format == "json" else b"").join(self._batches)


class Layout(msgspec.Struct, frozen=True, array_like=True):
    """The carried columns of a manifest so far, and whether its header is written, so that CSV can have no others."""

    carried: Sequence[str] = ()
    has_header: bool = False


class ManifestWriter(Generic[T]):
    """Writes rows of one type to a table, a batch at a time. `file` is its name, for errors.

    In CSV and Parquet, the header needs all carried columns: those of the `layout` and of the first batch. A new column
    in a later row is a ManifestError. JSON can have new columns at any time.
    """

    def __init__(
        self,
        table: RowTable,
        file: str,
        columns_of: Callable[[Sequence[T]], Columns],
        layout: Layout,
    ) -> None:
        self._table = table
        self.file, self.format = file, table.format
        self._columns_of = columns_of
        self._carried: list[str] = [name for name in layout.carried if name not in KNOWN]
        self._has_header = layout.has_header

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

    @property
    def layout(self) -> Layout:
        """The layout after the rows so far."""
        return Layout(tuple(self._carried), self._has_header)

    def add(self, encoded: bytes | memoryview, layout: Layout) -> None:
        """Adds rows that `encoded_links` encoded, starting from the layout that this manifest has now."""
        assert isinstance(self._table, TextTable)  # noqa: S101 - others are not encoded
        self._carried = list(layout.carried)
        self._write_header([*self._columns_of([]), *self._carried])
        self._table.encoded(encoded)

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
        new = [name for name in seen if name not in self._carried and column_name(name) not in KNOWN]
        if new and self._has_header and self.format in {"csv", "parquet"}:
            raise ManifestError(
                f"column {new[0]} is new after the header was written: write jsonl instead", file=self.file
            )
        self._carried += new
        if len(self._carried) > MAX_COLUMNS:
            raise ManifestError(f"the rows have over {MAX_COLUMNS:,} carried columns", file=self.file)

    def _carried_columns(self, extras: Sequence[dict[str, Any] | None], own: Columns) -> Columns:
        names = [name for name in self._carried if name not in own]
        return {name: [(extra or {}).get(name) for extra in extras] for name in names}


def link_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[Link]:  # noqa: A002
    """Writes links. In `txt`, a list of urls."""
    table = UrlList(output) if format == "txt" else row_table(output, format)
    return ManifestWriter(table, file, link_columns, Layout(carried))


def object_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[ObjectRef]:  # noqa: A002
    """Writes objects."""
    return ManifestWriter(row_table(output, format), file, object_columns, Layout(carried))


def post_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[Post]:  # noqa: A002
    """Writes upload forms."""
    return ManifestWriter(row_table(output, format), file, post_columns, Layout(carried))


def encoded_links(
    batches: Iterable[Sequence[Link]],
    file: str,
    format: str,  # noqa: A002
    layout: Layout,
) -> tuple[bytes, Layout]:
    """Rows of links for a manifest that another process writes, and the layout after them; see `ManifestWriter.add`."""
    table = _RowsInMemory(format)
    writer = ManifestWriter(table, file, link_columns, layout)
    for batch in batches:
        writer.write(batch)
    return table.encoded, writer.layout


def _object_of(row: Link | ObjectRef | Post) -> ObjectRef:
    return row if isinstance(row, ObjectRef) else row.object
