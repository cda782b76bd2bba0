"""Reads Parquet and ORC, and writes Parquet, through pyarrow, which the extra `parquet` installs.

A file is read a batch of rows at a time, from one row group or stripe after another. Its rows are numbered from 1, as
the lines of other tables. Times without a zone are UTC.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.tables.columns import column_name
from bulkpresign.tables.files import Output, is_stream
from bulkpresign.tables.rows import BATCH_ROWS, MAX_COLUMNS, Rows, json_text

#: Rows that are decoded at a time.
_DECODED_ROWS = 16 * BATCH_ROWS
#: Rows of a row group that is written. Links take about 1 KiB each.
_GROUP_ROWS = 1 << 14
_LONGEST_MESSAGE = 200
_SIZE = "size"


def read_parquet(file: str, fields: Sequence[str] | None = None) -> Iterator[Rows]:
    """The rows of a Parquet file in batches, first one without rows. `fields` are the columns to read, None: all."""
    parquet = _pyarrow(file, "parquet")
    with _errors(file, "Parquet"), parquet.ParquetFile(file) as opened:
        columns = _columns(file, opened.schema_arrow.names, fields)
        yield from _rows(file, columns, opened.iter_batches(_DECODED_ROWS, columns=list(columns)))


def read_orc(file: str, fields: Sequence[str] | None = None) -> Iterator[Rows]:
    """The rows of an ORC file in batches, first one without rows. `fields` are the columns to read, None: all."""
    orc = _pyarrow(file, "orc")
    with _errors(file, "ORC"):
        opened = orc.ORCFile(file)
        columns = _columns(file, opened.schema.names, fields)
        stripes = (opened.read_stripe(number, columns=list(columns)) for number in range(opened.nstripes))
        parts = (stripe.slice(at, _DECODED_ROWS) for stripe in stripes for at in range(0, len(stripe), _DECODED_ROWS))
        yield from _rows(file, columns, parts)


def _pyarrow(file: str, module: str) -> Any:
    if is_stream(file):
        raise ManifestError(f"{module} is not read from a stream, because its directory is at the end", file=file)
    try:
        return import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise ManifestError(_missing(error), file=file) from error


def _missing(error: ImportError) -> str:
    return f"Parquet and ORC need pyarrow ({error}): install bulkpresign with the extra parquet"


@contextmanager
def _errors(file: str, name: str) -> Iterator[None]:
    """Raises ManifestError for a file that can't be read."""
    try:
        yield
    except FileNotFoundError as error:
        raise ManifestError("no such file", file=file) from error
    except (OSError, ValueError, import_module("pyarrow").ArrowException) as error:
        problem = getattr(error, "strerror", None) or f"not a whole {name} file: {error}".splitlines()[0]
        raise ManifestError(problem[:_LONGEST_MESSAGE], file=file) from error


def _columns(file: str, names: Sequence[str], fields: Sequence[str] | None) -> dict[str, str]:
    """The columns to read, and their names in rows: ours for known ones. `fields` keep theirs."""
    if fields is not None and (missing := [name for name in fields if name not in names]):
        raise ManifestError("the file does not have this column", file=file, column=missing[0])
    if len(names) > MAX_COLUMNS:
        raise ManifestError(f"{len(names):,} columns; a table has at most {MAX_COLUMNS:,}", file=file)
    columns = {name: name for name in fields} if fields else {name: column_name(name.strip()) for name in names}
    given = list(columns.values())
    if len(names) != len(set(names)) or len(given) != len(set(given)):
        twice = next(name for name in given if given.count(name) > 1 or names.count(name) > 1)
        raise ManifestError("the file has this column twice", file=file, column=twice)
    return columns


def _rows(file: str, columns: Mapping[str, str], batches: Iterator[Any]) -> Iterator[Rows]:
    names, count = tuple(columns.values()), 0
    yield Rows(file, names, [], ())
    for batch in batches:
        cells = list(zip(*(_readable_cells(file, name, batch.column(name)) for name in columns), strict=True))
        for at in range(0, len(cells), BATCH_ROWS):
            some = cells[at : at + BATCH_ROWS]
            yield Rows(file, names, some, range(count + 1, count + len(some) + 1))
            count += len(some)


def _readable_cells(file: str, name: str, column: Any) -> list[Any]:
    """The cells of a column.

    Raises ManifestError for bytes that are no text, and for a date after the year 9999, such as a database's infinity.
    """
    try:
        return _cells(column)
    except UnicodeDecodeError as error:
        byte, kind = error.object[error.start], column.type
        problem = f"byte 0x{byte:02x} is not UTF-8, and a column of type {kind} is read as text"
        raise ManifestError(f"{problem}: write the file without this column", file=file, column=name) from error
    except OverflowError as error:
        raise ManifestError(f"a value can't be read: {error}", file=file, column=name) from error


def _cells(column: Any) -> list[Any]:
    """The cells of a column. Times are text, as in S3's listings; a missing value is `""`."""
    types, kind = import_module("pyarrow").types, column.type
    if types.is_timestamp(kind):
        column = _as_text(column)
    values = column.to_pylist()
    if types.is_map(kind):
        values = [value if value is None else dict(value) for value in values]
    elif types.is_binary(kind) or types.is_large_binary(kind):
        values = [value if value is None else value.decode() for value in values]
    elif types.is_date(kind) or types.is_decimal(kind):
        values = [value if value is None else str(value) for value in values]
    return ["" if value is None else value for value in values] if column.null_count else values


def _as_text(column: Any) -> Any:
    """Times as RFC 3339 in UTC, to the second."""
    pyarrow, compute = import_module("pyarrow"), import_module("pyarrow.compute")
    seconds = column.cast(pyarrow.timestamp("s", column.type.tz), safe=False).cast(pyarrow.int64())
    return compute.strftime(seconds.cast(pyarrow.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ")


class ParquetTable:
    """Writes a table in Parquet to `output`. `size` is a number, all other columns are text, also as JSON.

    Call `header` once, `rows` any number of times, `finish` once.
    """

    format = "parquet"

    def __init__(self, output: Output) -> None:
        """Raises ParameterError without pyarrow."""
        try:
            self._pyarrow, self._parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError as error:
            raise ParameterError(_missing(error)) from error
        self._sink = _Sink(output)
        self._writer: Any = None
        self._batches: list[Any] = []

    def header(self, columns: Sequence[str]) -> None:
        """Starts the table."""
        types = [self._pyarrow.int64() if name == _SIZE else self._pyarrow.string() for name in columns]
        self._schema = self._pyarrow.schema(list(zip(columns, types, strict=True)))
        with self._sink.opened():
            self._writer = self._parquet.ParquetWriter(self._sink, self._schema)

    def rows(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Adds rows by column. A column that is left out has no values."""
        count = len(next(iter(columns.values())))
        arrays = [
            self._pyarrow.array(values if field.name == _SIZE else list(map(_text, values)), field.type)
            for field in self._schema
            for values in [columns.get(field.name) or [None] * count]
        ]
        self._batches.append(self._pyarrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        if sum(map(len, self._batches)) >= _GROUP_ROWS:
            self._write()

    def finish(self) -> None:
        """Ends the table."""
        self._write()
        with self._sink.opened():
            self._writer.close()

    def _write(self) -> None:
        """Writes a row group."""
        if self._batches:
            with self._sink.opened():
                self._writer.write_table(self._pyarrow.Table.from_batches(self._batches))
            self._batches = []


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)


class _Sink(io.RawIOBase):
    """The file that pyarrow writes to. Bytes go to `output` while it is `opened`.

    pyarrow ends a file also when its writer is deleted, after an error: those bytes are dropped.
    """

    def __init__(self, output: Output) -> None:
        self._output, self._is_opened, self._length = output, False, 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Passes bytes on within the block."""
        self._is_opened = True
        try:
            yield
        finally:
            self._is_opened = False

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The number of bytes so far."""
        return self._length

    def write(self, data: Any) -> int:
        """Takes bytes."""
        if self._is_opened:
            self._output.write(bytes(data))
        self._length += len(data)
        return len(data)
