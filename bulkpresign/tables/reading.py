"""Opens a table: chooses its format, and reads its rows in batches."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import PurePath

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.tables.columnar import read_orc, read_parquet
from bulkpresign.tables.columns import HEADERLESS
from bulkpresign.tables.delimited import CsvBlock, csv_blocks, read_csv, read_csv_of
from bulkpresign.tables.documents import read_json, read_jsonl
from bulkpresign.tables.files import WRITTEN_LOCALLY, check_local, is_packed, is_stream
from bulkpresign.tables.lines import read_text
from bulkpresign.tables.rows import Rows
from bulkpresign.tables.writing import CONVERTED_FORMATS, WRITTEN_FORMATS
from bulkpresign.text import unquoted

#: The manifests of S3 Batch Operations: CSV with url-encoded keys (docs: "Specifying a manifest").
BATCH_OPERATIONS = "batch"
FORMATS = ("csv", "jsonl", "json", "txt", "parquet", "orc", BATCH_OPERATIONS)
#: Other extensions of JSON lines.
_JSON_LINES = frozenset({"ndjson", "jsonlines"})
#: The lists in the JSON of `aws s3api list-objects-v2` and `list-object-versions`.
_LISTS = frozenset({"Contents", "Versions"})
_WORKBOOKS = frozenset({"xlsx", "xlsm", "xls", "ods"})
#: Other packed files, with the command that unpacks one into a pipe.
_OTHER_PACKED = {
    "zst": "zstdcat",
    "bz2": "bzcat",
    "xz": "xzcat",
    "lz4": "lz4cat",
    "br": "brotli -dc",
    "zip": "unzip -p",
    "7z": "7z e -so",
}


def table_format(file: str, given: str | None = None) -> str:
    """The format of a file: by its extension (without `.gz`), else `given`, else CSV.

    A `.csv` is a manifest of S3 Batch Operations if `given` says so.
    Raises ParameterError for an unsupported format, for the file of a spreadsheet, for Parquet and ORC in a gzip file,
    and for a file that is compressed in another way.
    """
    suffix = _suffix(file)
    if suffix in _WORKBOOKS:
        raise ParameterError(f"{file}: .{suffix} is not read or written: use CSV, which spreadsheets open and save")
    if suffix in _OTHER_PACKED:
        pipe = f"<({_OTHER_PACKED[suffix]} FILE)"
        raise ParameterError(f"{file}: .{suffix} is not read or written: use .gz, or a pipe to read it, as {pipe}")
    suffix = "jsonl" if suffix in _JSON_LINES else suffix
    if suffix in {"parquet", "orc"} and is_packed(file):
        raise ParameterError(f"{file}: {suffix} is compressed in itself, and not read or written as .gz")
    wanted = (given or "csv").lower()
    chosen = suffix if suffix in FORMATS and (suffix, wanted) != ("csv", BATCH_OPERATIONS) else wanted
    if chosen not in FORMATS:
        raise ParameterError(f"{file}: {chosen!r} is not one of the formats {', '.join(FORMATS)}")
    return chosen


def output_format(file: str, given: str | None = None, formats: Sequence[str] = WRITTEN_FORMATS) -> str:
    """The format in which a file is written, one of `formats`.

    Raises ParameterError as `table_format` does, for a format that is only read, for one that `convert` writes, for
    `.tsv`, and for a url.
    """
    check_local(file, WRITTEN_LOCALLY)
    if given is None and file.lower().endswith((".tsv", ".tsv.gz")):
        raise ParameterError(f"{file}: cells are written with commas between them, not with tabs: use .csv")
    wanted = given.lower() if given else _suffix(file)
    if wanted in CONVERTED_FORMATS:
        raise ParameterError(f"{file}: {wanted} is a format of convert: write .csv or .jsonl, then bulkpresign convert")
    chosen = table_format(file, given)
    if chosen not in formats:
        raise ParameterError(f"format {chosen!r} can't be written: use {', '.join(formats)}")
    return chosen


def _suffix(file: str) -> str:
    """The extension of a file without `.gz`, in lower case and without its dot; empty for none."""
    name = file[: -len(".gz")] if is_packed(file) else file
    return PurePath(name).suffix.removeprefix(".").lower()


class Table:
    """A table of objects or links. Iterating it gives batches of rows; a stream can be iterated only once.

    A stream (`is_stream`) can block until its writer sends data: read it in a thread.
    """

    def __init__(self, file: str, format: str | None = None) -> None:  # noqa: A002 - the option's name
        self.file = file
        #: True if the rows can be read only once: standard input, a pipe, a device.
        self.is_stream = is_stream(file)
        self.format = table_format(file, format)
        self._read = _READERS[self.format]
        self._opened: Iterator[Rows] | None = None
        self._columns: tuple[str, ...] | None = None

    def transform(self, change: Callable[[Iterator[Rows]], Iterator[Rows]]) -> None:
        """Sets a function that changes the batches of rows as they are read."""
        read = self._read
        self._read = lambda file: change(read(file))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the first batch. Reads that batch if necessary."""
        if self._columns is None:
            rows = self._read(self.file)
            first = list(islice(rows, 1))
            self._columns = first[0].columns if first else ()
            self._opened = chain(first, rows)
        return self._columns

    @property
    def is_links(self) -> bool:
        """True if the table has a column `url`, so that its rows are links."""
        return "url" in self.columns

    def blocks(self) -> Iterator[Rows | CsvBlock]:
        """The rows as they are in the file, before `transform`. Those of a CSV file are in blocks that are not split.

        A file that can be read only once gives rows, as iterating it does.
        """
        self._check_columns()
        return iter(self) if self.is_stream or self.format != "csv" else csv_blocks(self.file)

    def _check_columns(self) -> None:
        columns = self.columns
        if columns and not {"key", "url"}.intersection(columns):
            problem = f"there is no column key or url among {', '.join(columns)}: {_remedy(columns)}"
            raise ManifestError(problem, file=self.file, line=1)

    def __iter__(self) -> Iterator[Rows]:
        self._check_columns()
        opened, self._opened = self._opened, None
        if opened is None and self.is_stream:
            raise RuntimeError(f"{self.file} is a stream: its rows can be read only once")
        return opened if opened is not None else self._read(self.file)


def _remedy(columns: Sequence[str]) -> str:
    listed = next((name for name in columns if name in _LISTS), None)
    if listed:
        return f"take the list out of the object, with aws ... --query '{listed}' or jq '.{listed}[]'"
    return "give the column of the keys or links that name"


def _read_batch_operations(file: str) -> Iterator[Rows]:
    for rows in read_csv_of(file, HEADERLESS):
        keys = unquoted(rows.column("key") or ())
        if keys is None:
            row = next(row for row, cells in enumerate(rows.cells) if unquoted([cells[1]]) is None)
            raise rows.error(row, f"{rows.cells[row][1][:80]!r} is not a key in url-encoded UTF-8", "key")
        cells = [(bucket, key, version) for (bucket, _, version), key in zip(rows.cells, keys, strict=True)]
        yield Rows(file, rows.columns, cells, rows.lines)


_READERS: dict[str, Callable[[str], Iterator[Rows]]] = {
    "csv": read_csv,
    "json": read_json,
    "jsonl": read_jsonl,
    "txt": read_text,
    "parquet": read_parquet,
    "orc": read_orc,
    BATCH_OPERATIONS: _read_batch_operations,
}
