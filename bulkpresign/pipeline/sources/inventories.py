"""Inventories as sources: their data files are found or fetched, and checked, before a row is used."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import anyio.to_thread
import msgspec

from bulkpresign.errors import ManifestError, OutputError, TransferError
from bulkpresign.http.connection import BodyCallback, Chunk
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.source.inventory import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    DataFile,
    Inventory,
    inventory_of,
    is_inventory,
    objects_of_inventory,
)
from bulkpresign.source.location import Location
from bulkpresign.tables import Rows, Table
from bulkpresign.tables.columnar import read_orc, read_parquet
from bulkpresign.tables.delimited import read_csv_of
from bulkpresign.tasks import run_workers

#: Data files that are fetched at a time.
_FETCHED_AT_ONCE = 8


class StoredFile(msgspec.Struct, frozen=True):
    """A data file, the name that messages show, and the local file with its bytes."""

    listed: DataFile
    name: str
    path: Path


class InventoryTable(Table):
    """The objects of an inventory: the latest versions, or all, without delete markers.

    Errors name the lines of the data files.
    """

    def __init__(
        self, file: str, manifest: bytes, find: Callable[[Inventory], Sequence[StoredFile]], *, all_versions: bool
    ) -> None:
        """`manifest` has the bytes of `file`. `find` returns the data files; it raises ManifestError for a missing one.

        Raises ManifestError for a manifest that is not valid.
        """
        super().__init__(file)
        self._inventory = inventory_of(file, manifest)
        if all_versions and not self._inventory.has_versions:
            raise ManifestError("all versions are wanted, and the inventory does not have them", file=file)
        self._all_versions = all_versions
        self._find = find
        self.format = "inventory"
        self._read = lambda _: self._rows()

    @cached_property
    def stored(self) -> Sequence[StoredFile]:
        """The data files. Raises ManifestError for one that is missing."""
        return self._find(self._inventory)

    def check_files(self) -> None:
        """Raises ManifestError for a data file that is missing or altered. Reads all of them: call it in a thread."""
        for file in self.stored:
            try:
                with file.path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "md5").hexdigest()
            except OSError as error:
                raise ManifestError(f"can't be read: {error.strerror}", file=file.name) from error
            if digest != file.listed.md5:
                problem = f"the file is altered: its md5 is {digest}, and {self.file} says {file.listed.md5}"
                raise ManifestError(problem, file=file.name)

    def _rows(self) -> Iterator[Rows]:
        inventory = self._inventory
        yield Rows(self.file, inventory.columns(all_versions=self._all_versions), [], ())
        for file in self.stored:
            try:
                for rows in _read(inventory, str(file.path)):
                    named = Rows(file.name, rows.columns, rows.cells, rows.lines)
                    yield objects_of_inventory(inventory, named, all_versions=self._all_versions)
            except ManifestError as error:
                raise ManifestError(error.problem, file=file.name, line=error.line, column=error.column) from error


def _read(inventory: Inventory, file: str) -> Iterator[Rows]:
    if inventory.format == "csv":
        return read_csv_of(file, inventory.fields)
    return (read_orc if inventory.format == "orc" else read_parquet)(file, inventory.used_fields)


def local_inventory(file: str, *, all_versions: bool) -> InventoryTable | None:
    """The inventory of a local manifest.json, None if the file is another one, or is not there."""
    path = Path(file)
    try:
        if path.name != MANIFEST_NAME or not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
            return None
        data = path.read_bytes()
    except (OSError, ValueError):  # the error is raised when the file is read as a table
        return None
    if not is_inventory(data):
        return None
    return InventoryTable(file, data, partial(_local_files, path), all_versions=all_versions)


def _local_files(manifest: Path, inventory: Inventory) -> list[StoredFile]:
    found = []
    for file in inventory.files:
        path = next((path for path in _places(manifest, file.key) if path.is_file()), None)
        if path is None:
            hint = "put it beside the manifest, into data/ there or beside that folder, or keep the folders of its key"
            raise ManifestError(f"data file {file.key!r} is missing: {hint}", file=os.fspath(manifest))
        found.append(StoredFile(file, os.fspath(path), path))
    return found


def _places(manifest: Path, key: str) -> Iterator[Path]:
    """The places of a data file: near the manifest, or under one of its folders if all have the names of the bucket."""
    name = PurePosixPath(key).name
    folder = manifest.parent
    yield from (folder / name, folder / "data" / name, folder.parent / "data" / name)
    if not key.startswith("/") and ".." not in PurePosixPath(key).parts:
        yield from (above / key for above in Path(os.path.abspath(manifest)).parents)  # noqa: PTH100 - links stay


async def remote_inventory(
    place: Location, lister: BucketLister, stack: AsyncExitStack, *, all_versions: bool
) -> InventoryTable | None:
    """The inventory of a manifest.json in a bucket, with checked data files; None if the object is another one.

    The data files are fetched into a temporary folder, which is deleted when the `stack` ends. Raises ManifestError for
    one that is missing or altered.
    """
    if place.key.rpartition("/")[2] != MANIFEST_NAME or place.pattern is not None:
        return None
    data = bytearray()

    def sink() -> BodyCallback:
        data.clear()

        def take(chunk: Chunk) -> bool:
            data.extend(chunk)
            return len(data) > MAX_MANIFEST_BYTES

        return take

    try:
        await lister.download(place.bucket, place.key, sink)
    except TransferError:  # without an object, or permission: the source is a key like any other
        return None
    if not is_inventory(bytes(data)):
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkpresign-inventory-")))
    find = partial(_fetched_files, place.bucket, folder)
    table = InventoryTable(place.uri, bytes(data), find, all_versions=all_versions)
    await _fetch(lister, place, table.stored)
    await check_files(table)
    table.is_stream = True  # the rows are checked as they are read
    return table


def _fetched_files(bucket: str, folder: Path, inventory: Inventory) -> list[StoredFile]:
    return [
        StoredFile(file, f"s3://{bucket}/{file.key}", folder / f"{number}-{PurePosixPath(file.key).name[-100:]}")
        for number, file in enumerate(inventory.files)
    ]


async def _fetch(lister: BucketLister, place: Location, files: Sequence[StoredFile]) -> None:
    waiting = iter(files)

    async def worker() -> None:
        for file in waiting:
            try:
                with file.path.open("wb") as stream:
                    await lister.download(place.bucket, file.listed.key, partial(_restarted, stream))
            except TransferError as error:
                raise ManifestError(f"the data file can't be read: {error}", file=file.name) from error
            except OSError as error:
                raise OutputError(f"{file.name} can't be stored: {error.strerror}; TMPDIR sets the folder") from error

    await run_workers(min(_FETCHED_AT_ONCE, len(files)), worker)


def _restarted(stream: BinaryIO) -> BodyCallback:
    """Writes the bytes of an attempt to a file, from its start."""
    stream.seek(0)
    stream.truncate()

    def take(chunk: Chunk) -> None:
        stream.write(chunk)

    return take


async def check_files(table: InventoryTable) -> None:
    """Raises ManifestError for a data file that is missing or altered."""
    await anyio.to_thread.run_sync(table.check_files, abandon_on_cancel=True)
