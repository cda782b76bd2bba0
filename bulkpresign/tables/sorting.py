"""Sorts any number of rows by their keys, in constant memory."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Self, TypeVar

import msgspec

from bulkpresign.errors import OutputError
from bulkpresign.tables.temporary import temporary_database

T = TypeVar("T")
#: A key in bytes, and the row's value.
Keyed = tuple[bytes, T]

#: Rows that are written at a time.
_BATCH = 1000


class KeySorter(Generic[T]):
    """Takes rows in any order, and gives them in the bytewise order of their keys, any number of times.

    Rows with the same key come in the order in which they were added. They are in a temporary file; rows that are added
    in order are not sorted again. Use as a context manager. All methods raise OutputError if the file can't be used.
    """

    def __init__(self, kind: type[T]) -> None:
        """`kind` is the type of the values, one that msgspec encodes. What it can't encode in them becomes text."""
        self._encode = msgspec.msgpack.Encoder(enc_hook=str).encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._database: sqlite3.Connection
        self._last, self._is_ordered = b"", True
        self._count = 0
        self._waiting: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> Self:
        self._database = temporary_database()
        self._database.execute("CREATE TABLE rows (key BLOB, value BLOB)")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Sequence[Keyed[T]]) -> None:
        """Adds some rows."""
        for key, _ in rows if self._is_ordered else ():
            self._is_ordered = self._is_ordered and self._last <= key
            self._last = key
        self._waiting += [(key, self._encode(value)) for key, value in rows]
        self._count += len(rows)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        with _file_errors():
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
            self._database.execute("COMMIT")

    def __iter__(self) -> Iterator[Keyed[T]]:
        self._flush()
        order = "rowid" if self._is_ordered else "key, rowid"
        with _file_errors():
            for key, value in self._database.execute(f"SELECT key, value FROM rows ORDER BY {order}"):  # noqa: S608
                yield key, self._decode(value)


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"the temporary file of rows can't be used: {error}; TMPDIR sets its folder") from error
