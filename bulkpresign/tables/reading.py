"""A table by its name: which format it has, and its rows in batches."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import PurePath

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.tables.delimited import read_csv
from bulkpresign.tables.documents import read_json, read_jsonl
from bulkpresign.tables.files import is_packed, is_stream, line_blocks, not_empty
from bulkpresign.tables.rows import Rows, batched, mapping_of_text, rows_of_mappings

FORMATS = ("csv", "jsonl", "json", "txt")


def table_format(file: str, given: str | None = None) -> str:
    """The format of a file: by its extension (`.gz` apart), else the given one, else CSV.

    Raises ParameterError for a format that can't be read or written, and for a name that says Parquet.
    """
    name = file[: -len(".gz")] if is_packed(file) else file
    suffix = PurePath(name).suffix.removeprefix(".").lower()
    if suffix == "parquet":
        raise ParameterError(f"{file}: parquet is none of the formats {', '.join(FORMATS)}")
    chosen = suffix if suffix in FORMATS else (given or "csv").lower()
    if chosen not in FORMATS:
        raise ParameterError(f"{file}: {chosen!r} is none of the formats {', '.join(FORMATS)}")
    return chosen


class Table:
    """A table of objects or links. Iterating gives batches of rows; a file can be iterated again, a stream only once.

    Opening and reading a stream, which `is_stream` tells, can wait for whoever writes it: use a thread.
    """

    def __init__(self, file: str, format: str | None = None) -> None:  # noqa: A002 - the option's name
        self.file = file
        #: True where the rows can be read only once: standard input, a pipe, a device.
        self.is_stream = is_stream(file)
        self._read = _READERS[table_format(file, format)]
        self._begun: Iterator[Rows] | None = None
        self._columns: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the first rows; reads those."""
        if self._columns is None:
            rows = self._read(self.file)
            first = list(islice(rows, 1))
            self._columns = first[0].columns if first else ()
            self._begun = chain(first, rows)
        return self._columns

    @property
    def is_links(self) -> bool:
        """True where the rows are links; a table of objects has no column `url`."""
        return "url" in self.columns

    def __iter__(self) -> Iterator[Rows]:
        columns, begun = self.columns, self._begun
        if columns and not {"key", "url"}.intersection(columns):
            raise ManifestError(f"no column key or url among {', '.join(columns)}", file=self.file, line=1)
        self._begun = None
        if begun is None and self.is_stream:
            raise RuntimeError(f"{self.file} is a stream: its rows can be read once")
        return begun if begun is not None else self._read(self.file)


def _read_text(file: str) -> Iterator[Rows]:
    """A key, an `s3://` uri or a link a line; blank lines are passed over."""
    for lines, texts in batched((number, text, len(text)) for number, text in enumerate(_text_lines(file), 1) if text):
        mappings = [mapping_of_text(file, line, text) for line, text in zip(lines, texts, strict=True)]
        yield rows_of_mappings(file, mappings, lines)


def _text_lines(file: str) -> Iterator[str]:
    for block in not_empty(file, line_blocks(file)):
        for line in block.removesuffix("\n").split("\n"):
            yield line.removesuffix("\r")


_READERS: dict[str, Callable[[str], Iterator[Rows]]] = {
    "csv": read_csv,
    "json": read_json,
    "jsonl": read_jsonl,
    "txt": _read_text,
}
