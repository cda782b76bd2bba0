"""Writes tables: the header and brackets of each format around encoded rows."""

from collections.abc import Sequence

from bulkpresign.errors import ParameterError
from bulkpresign.tables.delimited import csv_cell
from bulkpresign.tables.files import Output

_TEXT_FORMATS = ("csv", "jsonl", "json")
#: All formats that are written; `ParquetTable` is the other writer.
WRITTEN_FORMATS = (*_TEXT_FORMATS, "parquet")
#: Links can be a list of urls as well.
LINK_FORMATS = (*WRITTEN_FORMATS, "txt")
#: The formats of other tools, which `convert` alone writes.
CONVERTED_FORMATS = ("curl", "aria2", "rclone", "html")


class TableWriter:
    """Writes a table of a text format to `output`.

    Call `header` once, `rows` any number of times, `finish` once.
    """

    def __init__(self, output: Output, format: str) -> None:  # noqa: A002 - the option's name
        if format not in _TEXT_FORMATS:
            raise ParameterError(f"format {format!r} can't be written: use {', '.join(WRITTEN_FORMATS)}")
        self.format = format
        self._output = output
        self._separator = b"[\n"

    def header(self, columns: Sequence[str]) -> None:
        """Starts the table."""
        if self.format == "csv":
            self._output.write((",".join(map(csv_cell, columns)) + "\n").encode())

    def rows(self, encoded: bytes | memoryview) -> None:
        """Adds at least one row. `encoded` is whole lines, or items of a JSON list without a comma at the end."""
        if self.format == "json":
            self._output.write(self._separator)
            self._separator = b",\n"
        self._output.write(encoded)

    def finish(self) -> None:
        """Ends the table."""
        if self.format == "json":
            self._output.write(b"[]\n" if self._separator == b"[\n" else b"\n]\n")
