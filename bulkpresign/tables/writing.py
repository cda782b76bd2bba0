"""Rows into files: the frame of each format (header, brackets, line ends) around rows that are already encoded."""

from collections.abc import Iterable, Sequence

from bulkpresign.errors import ParameterError
from bulkpresign.tables.delimited import csv_cell
from bulkpresign.tables.files import Output

WRITTEN_FORMATS = ("csv", "jsonl", "json")


class TableWriter:
    """Writes the frame of a table of one format to `output`; rows are lines of CSV or of JSON, without line ends.

    Call `header` once, `lines` any number of times, `finish` once.
    """

    def __init__(self, output: Output, format: str) -> None:  # noqa: A002 - the option's name
        if format not in WRITTEN_FORMATS:
            raise ParameterError(f"format {format!r} can't be written: use {', '.join(WRITTEN_FORMATS)}")
        self.format = format
        self._output = output
        self._separator = "[\n"

    def header(self, columns: Sequence[str]) -> None:
        """Begins the table."""
        if self.format == "csv":
            self._output.write((",".join(map(csv_cell, columns)) + "\n").encode())

    def lines(self, lines: Iterable[str]) -> None:
        """Adds rows."""
        if self.format != "json":
            self._output.write("".join([f"{line}\n" for line in lines]).encode())
        elif joined := ",\n".join(lines):
            self._output.write((self._separator + joined).encode())
            self._separator = ",\n"

    def finish(self) -> None:
        """Ends the table."""
        if self.format == "json":
            self._output.write(b"[]\n" if self._separator == "[\n" else b"\n]\n")
