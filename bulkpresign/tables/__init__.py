"""Reads and writes tables: CSV, JSON, JSONL and text, also gzipped. Every error names file, line and column."""

from bulkpresign.tables.columns import LINK_COLUMNS, OBJECT_COLUMNS
from bulkpresign.tables.files import Output, open_output
from bulkpresign.tables.objects import objects_of
from bulkpresign.tables.reading import Table
from bulkpresign.tables.rows import Rows
from bulkpresign.tables.writing import TableWriter

__all__ = ["LINK_COLUMNS", "OBJECT_COLUMNS", "Output", "Rows", "Table", "TableWriter", "objects_of", "open_output"]
