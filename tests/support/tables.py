"""CSV files, written from rows and read back."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def table(file: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Writes the rows with a header of all their columns; a column that a row lacks is empty there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows of a file, by the names in its header."""
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))
