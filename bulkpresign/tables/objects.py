"""Converts rows into objects. A batch is checked as a whole; single rows are checked only to find an error."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any

from bulkpresign.checksums import checksum_problem, in_base64
from bulkpresign.model import ObjectRef, bucket_problem, key_problem, keys_are_plain
from bulkpresign.tables.columns import ARCHIVED_CLASSES, KNOWN, LISTED_CLASS, NUMBER_COLUMNS
from bulkpresign.tables.rows import Rows, mapping_of_text

#: The columns with the storage class of an object, ours and those of other tools.
_CLASS_COLUMNS = (LISTED_CLASS, "storage_class", "StorageClass")
_SIZE_DIGITS = 19
_NO_SIZE = 10 ** (_SIZE_DIGITS - 1)
#: A whole number as pandas writes it in a column that has no value in another row.
_WHOLE = re.compile(r"(\d{1,18})\.0\Z", re.ASCII)
#: Up to here, a float is exact.
_EXACT = 1 << 53


def objects_of(rows: Rows, bucket: str | None = None) -> list[ObjectRef]:
    """The objects of some rows. `bucket` is used for rows without one. Raises ManifestError with file and line."""
    if not rows.cells:
        return []
    buckets, keys = located_keys(rows)
    if keys is None:
        hint = "; a url alone can't be signed" if "url" in rows.columns else ""
        raise rows.error(0, f"the column is missing{hint}", "key")
    if not keys_are_plain(keys):
        complain(rows, "key", keys, key_problem)
    return refs_of(rows, _checked_buckets(rows, buckets, bucket), keys, texts_of(rows, "path"))


def located_keys(rows: Rows) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """The columns `bucket` and `key`, None if the table does not have them.

    Without a column `bucket`, a key may be a whole uri, `s3://bucket/key`: s5cmd lists objects so.
    """
    buckets, keys = text_column(rows, "bucket"), text_column(rows, "key")
    if buckets is not None or keys is None or "s3://" not in "\n".join(keys):
        return buckets, keys
    found = [
        mapping_of_text(rows.file, line, key) if key.startswith("s3://") else {"key": key}
        for line, key in zip(rows.lines, keys, strict=True)
    ]
    return [each.get("bucket", "") for each in found], [each["key"] for each in found]


def refs_of(rows: Rows, buckets: Iterable[str], keys: Iterable[str], paths: Iterable[str | None]) -> list[ObjectRef]:
    """One object per row, with all known columns of the table."""
    etags = [etag and etag.strip('"') for etag in texts_of(rows, "etag")] if "etag" in rows.columns else repeat(None)
    return list(
        map(
            ObjectRef,
            buckets,
            keys,
            texts_of(rows, "version_id"),
            sizes_of(rows),
            etags,
            _checksums(rows),
            texts_of(rows, "content_type"),
            paths,
            carried_of(rows),
            _are_archived(rows),
        )
    )


def _are_archived(rows: Rows) -> Iterable[bool]:
    """Whether each object is listed in a storage class from which it has to be restored."""
    name = next((name for name in _CLASS_COLUMNS if name in rows.columns), None)
    if name is None:
        return repeat(False)
    return [str(cell) in ARCHIVED_CLASSES for cell in rows.column(name) or ()]


def _checksums(rows: Rows) -> Iterable[str | None]:
    cells = text_column(rows, "checksum")
    if cells is None:
        return repeat(None)
    found = [in_base64(cell) if cell and not cell.endswith("=") else cell for cell in cells]
    complain(rows, "checksum", found, lambda cell: checksum_problem(cell) if cell else None)
    return [cell or None for cell in found]


def sizes_of(rows: Rows) -> Iterable[int | None]:
    """The column `size` in bytes."""
    cells = rows.column("size")
    if cells is None:
        return repeat(None)
    if set(map(type, cells)) == {str} and _are_sizes(cells):
        return map(int, cells)
    return [_size(rows, row, cell) for row, cell in enumerate(cells)]


def known_sizes(rows: Rows) -> Sequence[int | None]:
    """The column `size` in bytes, None for every row if the table does not have it."""
    return [None] * len(rows.cells) if "size" not in rows.columns else list(sizes_of(rows))


def carried_of(rows: Rows) -> Iterable[dict[str, Any] | None]:
    """The unknown columns of each row, by name."""
    carried = [(index, name) for index, name in enumerate(rows.columns) if name not in KNOWN]
    if not carried:
        return repeat(None)
    found = [{name: row[index] for index, name in carried if row[index] != ""} or None for row in rows.cells]
    for name in NUMBER_COLUMNS.intersection(rows.columns):
        for row in found:
            if row and name in row:
                row[name] = _without_point(row[name])
    return found


def text_column(rows: Rows, name: str) -> Sequence[str] | None:
    """A column's cells, or None. Raises ManifestError for a cell that is not text, which JSON can have."""
    cells = rows.column(name)
    if cells is not None and set(map(type, cells)) - {str}:
        row, cell = next((row, cell) for row, cell in enumerate(cells) if type(cell) is not str)
        raise rows.error(row, f"text is expected, not {cell!r}", name)
    return cells


def texts_of(rows: Rows, name: str) -> Iterable[str | None]:
    """A column's cells, None for empty cells and if the table does not have the column."""
    cells = text_column(rows, name)
    return repeat(None) if cells is None else [cell or None for cell in cells]


def complain(rows: Rows, name: str, cells: Sequence[str], problem_of: Callable[[str], str | None]) -> None:
    """Raises ManifestError for the first cell with a problem."""
    for row, cell in enumerate(cells):
        if problem := problem_of(cell):
            raise rows.error(row, problem, name)


def _checked_buckets(rows: Rows, buckets: Sequence[str] | None, default: str | None) -> Iterable[str]:
    buckets = buckets or [""] * len(rows.cells)
    if default:
        buckets = [bucket or default for bucket in buckets]
    problems = {bucket: problem for bucket in set(buckets) if (problem := bucket_problem(bucket))}
    if "" in problems:
        named = [name for name in rows.columns if name.lower().endswith("url") and name != "url"]
        hint = f", or give column {named[0]} the name url if it has the links" if named else ""
        problems[""] = f"the row has no bucket; name one with --bucket{hint}"
    if problems:
        complain(rows, "bucket", buckets, problems.get)
    return buckets


def _are_sizes(cells: Sequence[str]) -> bool:
    """True if every cell is a size. Checking the whole column takes a third of the time of checking each cell."""
    joined = "".join(cells)
    return joined.isascii() and joined.isdecimal() and "" not in cells and max(map(len, cells)) < _SIZE_DIGITS


def _size(rows: Rows, row: int, cell: Any) -> int | None:
    if cell == "":
        return None
    cell = _without_point(cell)
    if isinstance(cell, int) and not isinstance(cell, bool) and 0 <= cell < _NO_SIZE:
        return cell
    if isinstance(cell, str) and cell.isascii() and cell.isdecimal() and len(cell) < _SIZE_DIGITS:
        return int(cell)
    raise rows.error(row, f"{str(cell)[:40]!r} is not a number of bytes", "size")


def _without_point(cell: Any) -> Any:
    """`12.0` as 12, in text and as a number. Any other cell is not changed."""
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < _EXACT else cell
    found = _WHOLE.match(cell) if isinstance(cell, str) else None
    return found[1] if found else cell
