"""Manifests out: links, objects or upload forms, with the columns that their rows carried."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.rows import ENCODERS, Columns, link_columns, object_columns, post_columns
from bulkpresign.model import Link, ObjectRef, Post
from bulkpresign.tables.columns import KNOWN
from bulkpresign.tables.files import Output
from bulkpresign.tables.rows import MAX_COLUMNS
from bulkpresign.tables.writing import TableWriter

T = TypeVar("T", bound=Link | ObjectRef | Post)


class ManifestWriter(Generic[T]):
    """Writes one kind of row to `output`, a batch at a time.

    CSV has to name its carried columns in the header, so they are those of the first batch, and of `carried` before
    those; a later row that brings another one is an error that names it. JSON takes them as they come.
    """

    def __init__(
        self,
        output: Output,
        file: str,
        format: str,  # noqa: A002 - the option's name
        columns_of: Callable[[Sequence[T]], Columns],
        carried: Sequence[str] = (),
    ) -> None:
        self._table = TableWriter(output, format)
        self._file = file
        self._encode = ENCODERS[format]
        self._columns_of = columns_of
        self._carried: list[str] = [name for name in carried if name not in KNOWN]
        self._begun = False

    def write(self, batch: Sequence[T]) -> None:
        """Adds a batch of rows."""
        if not batch:
            return
        columns = self._columns_of(batch)
        extras = [_object_of(row).extra for row in batch]
        if any(extras):
            self._learn(extras)
        taken = self._carried_columns(extras, columns)
        self._begin([*columns, *taken])
        self._table.rows(self._encode(columns | taken))

    def finish(self) -> None:
        """Ends the manifest; one without rows still has its header."""
        self._begin([*self._columns_of([]), *self._carried])
        self._table.finish()

    def _begin(self, columns: Sequence[str]) -> None:
        if not self._begun:
            self._table.header(columns)
            self._begun = True

    def _learn(self, extras: Sequence[dict[str, Any] | None]) -> None:
        seen = dict.fromkeys(name for extra in extras if extra for name in extra)
        new = [name for name in seen if name not in self._carried]
        if new and self._begun and self._table.format == "csv":
            raise ManifestError(
                f"column {new[0]} turns up after the header was written: write jsonl instead", file=self._file
            )
        self._carried += new
        if len(self._carried) > MAX_COLUMNS:
            raise ManifestError(f"over {MAX_COLUMNS:,} columns are carried from the rows", file=self._file)

    def _carried_columns(self, extras: Sequence[dict[str, Any] | None], own: Columns) -> Columns:
        names = [name for name in self._carried if name not in own]
        return {name: [(extra or {}).get(name) for extra in extras] for name in names}


def link_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[Link]:  # noqa: A002
    """Writes links."""
    return ManifestWriter(output, file, format, link_columns, carried)


def object_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[ObjectRef]:  # noqa: A002
    """Writes objects."""
    return ManifestWriter(output, file, format, object_columns, carried)


def post_writer(output: Output, file: str, format: str, carried: Sequence[str] = ()) -> ManifestWriter[Post]:  # noqa: A002
    """Writes upload forms."""
    return ManifestWriter(output, file, format, post_columns, carried)


def _object_of(row: Link | ObjectRef | Post) -> ObjectRef:
    return row if isinstance(row, ObjectRef) else row.object
