"""Keeps the rows of a multipart upload together: they are one object."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from bulkpresign.manifest.uploads import COMPLETES, upload_methods
from bulkpresign.tables.rows import Rows, joined


def in_whole_uploads(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows, in batches of which each has all rows of its uploads. An upload is held in memory."""
    held: Rows | None = None
    for batch in batches:
        rows = batch if held is None else joined(held, batch)
        start = _start_of_open_upload(rows)
        count = len(rows.cells)
        held = None if start == count else rows.some(range(start, count))
        if held is None:
            yield rows
        elif start:
            yield rows.some(range(start))
    if held is not None:
        yield held


def heads_of(rows: Rows) -> Sequence[int]:
    """For each row, the index of the row that stands for its object.

    That is the row itself, or the row that completes its upload: its size is that of the object.
    """
    count = len(rows.cells)
    if "upload_id" not in rows.columns:
        return range(count)
    ids, methods = _upload_ids(rows), upload_methods(rows)
    heads = list(range(count))
    for upload_id, some in groupby(range(count), ids.__getitem__):
        if upload_id:
            group = list(some)
            head = next((row for row in group if methods[row] == COMPLETES), group[0])
            heads[group[0] : group[-1] + 1] = [head] * len(group)
    return heads


def units_of(rows: Rows) -> list[Sequence[int]]:
    """The indexes of the rows of each object: one, or all those of an upload."""
    return [list(some) for _, some in groupby(range(len(rows.cells)), heads_of(rows).__getitem__)]


def _start_of_open_upload(rows: Rows) -> int:
    """The index of the first row of the upload that the last row belongs to; the number of rows if it has none."""
    ids = _upload_ids(rows)
    start = len(ids)
    while start and ids[-1] and ids[start - 1] == ids[-1]:
        start -= 1
    return start if ids and ids[-1] else len(rows.cells)


def _upload_ids(rows: Rows) -> Sequence[str]:
    return [str(cell or "") for cell in rows.column("upload_id") or ()]
