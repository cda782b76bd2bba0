"""The sides of a comparison, each read into rows in the order of their paths."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from itertools import islice
from typing import cast

import anyio.lowlevel
import msgspec

from bulkpresign.aws import AwsSession
from bulkpresign.checksums import base64_of, expected_digest
from bulkpresign.errors import ListingError, ParameterError
from bulkpresign.events import Listener, RowsRead
from bulkpresign.http.response import etag_kind_of
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import whole_rows
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.rows.head import AddColumns, Heads, asking_heads
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.presigner import RunPresigner
from bulkpresign.pipeline.sources.given_rows import Row, object_of
from bulkpresign.pipeline.sources.items import Items, are_items
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.own_files import OwnFiles
from bulkpresign.pipeline.sources.renewals import ChecksumMode, by_signing
from bulkpresign.pipeline.sources.sources import Part, Source, Sources
from bulkpresign.pipeline.sources.table_rows import rows_of
from bulkpresign.pipeline.verification.entries import Entry, keyed, path_of
from bulkpresign.proof.certificate import CertificateReader, CertificateRow
from bulkpresign.proof.tree import FolderEntry, walk
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.filters import Filters, Selector, candidates_of
from bulkpresign.source.location import SCHEME
from bulkpresign.tables import Table
from bulkpresign.tables.columns import LAST_MODIFIED
from bulkpresign.tables.sorting import Keyed, KeySorter
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.disk.paths import path_problem
from bulkpresign.transfer.engine.jobs import RenewableLink

_BATCH = 512


class Endpoint(msgspec.Struct, frozen=True):
    """The server and the credentials of one side. None: as the AWS chain has it."""

    endpoint_url: str | None = None
    region_name: str | None = None
    profile_name: str | None = None
    addressing_style: str = "auto"
    request_payer: str | None = None
    session: AwsSession | None = None


class Side(ABC):
    """The rows of one side, in the bytewise order of their paths, each path once. Use `collect` first."""

    #: The side's name in messages.
    name = "the source"
    #: True if its rows are requested from a server.
    is_listed = False

    def __init__(self) -> None:
        self._rows = KeySorter(Entry)
        self._selector: Selector | None = None
        self._must_have_values = True

    def select(self, filters: Filters, *, must_have_values: bool = True) -> None:
        """Leaves out objects that don't pass the filters. Call it before `collect`.

        With `must_have_values`, `collect` raises ParameterError for an object without a size or time that a filter
        needs. Otherwise it passes.
        """
        self._selector, self._must_have_values = Selector(filters), must_have_values

    @property
    def tables(self) -> list[Table]:
        """The manifests that it is read from."""
        return []

    @property
    def left_out(self) -> int:
        """The number of files that are no data (see OwnFiles), once the rows are read."""
        return 0

    async def collect(self, stack: AsyncExitStack, emit: Listener) -> None:
        """Reads all rows into a temporary file, which is open until the `stack` ends. Raises InputError."""
        stack.enter_context(self._rows)
        async with aclosing(self._batches(stack, emit)) as batches:
            async for batch in batches:
                self._rows.add(self._marked(batch))
                emit(RowsRead(len(batch)))

    @property
    def _needs_times(self) -> bool:
        return self._selector is not None and self._selector.has_times

    def _marked(self, batch: list[Keyed[Entry]]) -> list[Keyed[Entry]]:
        """The rows of a batch, with those marked that don't pass the filters."""
        if self._selector is None:
            return batch

        def error(index: int, problem: str, _: str) -> ParameterError:
            return ParameterError(f"{batch[index][1].name}: {problem}")

        refs, paths = [entry.stored for _, entry in batch], [path_of(key) for key, _ in batch]
        kept = set(self._selector.kept(candidates_of(refs, paths, error if self._must_have_values else None)))
        return [
            row if index in kept else (row[0], msgspec.structs.replace(row[1], is_left_out=True))
            for index, row in enumerate(batch)
        ]

    @abstractmethod
    def _batches(self, stack: AsyncExitStack, emit: Listener) -> AsyncGenerator[list[Keyed[Entry]], None]: ...

    def __iter__(self) -> Iterator[Keyed[Entry]]:
        """All rows. Raises ParameterError for two with the same path."""
        last: tuple[bytes, Entry] | None = None
        for key, entry in self._rows:
            if last is not None and last[0] == key:
                raise ParameterError(f"{entry.name}: its path {path_of(key)!r} is the path of {last[1].name} as well")
            last = key, entry
            yield key, entry


class FolderSide(Side):
    """The files below a folder."""

    def __init__(self, folder: Folder) -> None:
        """Raises ParameterError for a folder that is missing."""
        super().__init__()
        folder.require()
        self.folder = folder
        self._own = OwnFiles(folder.root)

    @property
    def left_out(self) -> int:
        """See Side."""
        return self._own.count

    def select(self, filters: Filters, *, must_have_values: bool = False) -> None:  # noqa: ARG002 - as above
        """See Side. A file without a size or time passes: its comparison reports it."""
        super().select(filters, must_have_values=False)

    async def _batches(self, _: AsyncExitStack, __: Listener) -> AsyncGenerator[list[Keyed[Entry]], None]:
        entries = walk(self.folder.root)
        while batch := list(islice(entries, _BATCH)):
            paths = [(entry, os.fsdecode(entry.path)) for entry in batch]
            yield [self._row(entry, path) for entry, path in paths if not self._own.leaves_out(path)]
            await anyio.lowlevel.checkpoint()

    def _row(self, entry: FolderEntry, path: str) -> Keyed[Entry]:
        file = self.folder.file(path)
        if problem := entry.problem or path_problem(path):
            raise ListingError(f"{file} can't be read: {problem}")
        size, modified = _file_state(file)
        extra = {LAST_MODIFIED: modified} if self._needs_times else None
        return keyed(ObjectRef("", "", size=size, path=path, extra=extra), is_file=True)


class CertificateSide(Side):
    """The rows of a certificate. Their bytes can't be read: they have their digests."""

    name = "the certificate"

    def __init__(self, reader: CertificateReader) -> None:
        super().__init__()
        self._reader = reader

    async def _batches(self, _: AsyncExitStack, __: Listener) -> AsyncGenerator[list[Keyed[Entry]], None]:
        algorithm, rows = self._reader.certificate.algorithm, self._reader.rows()
        while batch := list(islice(rows, _BATCH)):
            yield [_certificate_row(row, algorithm) for row in batch]
            await anyio.lowlevel.checkpoint()


class ObjectSide(Side):
    """Objects in buckets, and rows of manifests. Those without a link are signed when they are read."""

    def __init__(self, sources: Sources, endpoint: Endpoint, config: TransferConfig, ca_bundle: str | None) -> None:
        super().__init__()
        self._sources, self._config = sources, config
        self.endpoint = endpoint
        self.is_listed = sources.has_locations
        self._ca_bundle = ca_bundle
        self._own = RunPresigner(None, **msgspec.structs.asdict(endpoint), ca_bundle=ca_bundle)
        #: The checksum header of the links that are signed here.
        self.checksum_mode: ChecksumMode | None = None

    async def presigner(self) -> Presigner | None:
        """The one that signs for rows without links; None where all rows are links."""
        return await self._own.get_if(self._sources.need_credentials)

    @property
    def tables(self) -> list[Table]:
        """The manifests that it is read from."""
        return self._sources.tables

    async def _batches(self, stack: AsyncExitStack, emit: Listener) -> AsyncGenerator[list[Keyed[Entry]], None]:
        sources, config = self._sources, self._config
        await sources.begin(stack)
        await stack.enter_async_context(self._own)
        signing = await self._own.get_if(sources.has_locations)
        lister = await sources.lister(stack, signing, emit, attempts=config.attempts, transport=config.transport)
        if sources.items is not None:
            async for given in sources.items.batches():
                yield [_given_row(row) for row in given.rows]
        for part in sources.parts:
            rows = self._links_in(part) if isinstance(part, Table) and part.is_links else self._objects_in(part, lister)
            async for batch in rows:
                yield batch

    async def _links_in(self, table: Table) -> AsyncGenerator[list[Keyed[Entry]], None]:
        async for rows in rows_of(table):
            whole = whole_rows(rows)
            links = zip(links_of(whole), whole.lines, strict=True)
            yield [keyed(link.object, f"{whole.file}:{line}", _readable(link)) for link, line in links]

    async def _objects_in(self, part: Part, lister: BucketLister | None) -> AsyncGenerator[list[Keyed[Entry]], None]:
        async for found in self._sources.found_in(part, lister, "GET", must_exist=True):
            if found.rows is None and self._needs_times:
                yield list(map(keyed, found.refs))
            elif found.rows is None:  # no `last_modified`, which nothing compares
                yield [keyed(msgspec.structs.replace(ref, extra=None)) for ref in found.refs]
            else:
                lines = zip(found.refs, found.rows.lines, strict=True)
                yield [keyed(ref, f"{found.rows.file}:{line}") for ref, line in lines]

    async def ask_heads(
        self,
        batches: AsyncIterator[list[ObjectRef]],
        take: Callable[[list[ObjectRef]], object],
        emit: Listener,
        adding: Callable[[Heads], AddColumns] | None = None,
    ) -> None:
        """Sends a HEAD request for each object. `take` gets those that are there, with what the responses tell.

        `adding` makes the function that adds more to them, and may send requests for that. Raises BreakerError if all
        requests fail in the same way.
        """
        presigner, config = await self._own.get(), self._config

        async def prepared() -> AsyncIterator[list[ObjectRef]]:
            async for refs in batches:
                await presigner.prepare(refs)
                yield refs

        async def taken(rows: Sequence[Row]) -> None:
            take(list(map(object_of, rows)))

        options = LinkOptions()
        async with asking_heads(
            presigner, config.concurrency, options, self._ca_bundle, emit, transport=config.transport
        ) as heads:
            if adding is None:
                heads.add_columns = _with_etag_of_bytes
            else:
                heads.add_columns, heads.asks_part_sizes = adding(heads), False
            await heads.run(prepared(), taken)

    async def links(self, entries: Sequence[tuple[Entry, str]]) -> list[RenewableLink]:
        """The links to some entries, each with its path. Raises CredentialsError where there are no credentials."""
        signed = iter(await self._signed([entry.ref(path) for entry, path in entries if entry.link is None]))
        return [
            next(signed)
            if entry.link is None
            else RenewableLink(msgspec.structs.replace(entry.link, object=entry.ref(path)))
            for entry, path in entries
        ]

    async def _signed(self, refs: Sequence[ObjectRef]) -> list[RenewableLink]:
        if not refs:
            return []
        presigner, mode = await self._own.get(), self.checksum_mode
        await presigner.prepare(refs)
        links = presigner.sign_batch(refs, headers=None if mode is None else mode.headers)
        renew = by_signing(presigner, mode)
        return [RenewableLink(link, renew) for link in links]


def side_of(
    given: Source | Items,
    endpoint: Endpoint,
    config: TransferConfig,
    *,
    bucket: str | None = None,
    from_format: str | None = None,
    literal: bool = False,
    ca_bundle: str | None = None,
) -> Side:
    """The side of a folder, or of locations, manifests, links and objects. Raises InputError."""
    names = [] if are_items(given) else _names(cast("Source | Sequence[Source]", given))
    folders = [name for name in names if os.path.isdir(name)]  # noqa: PTH112 - Path raises for a name that is too long
    if folders and len(names) > 1:
        raise ParameterError(f"{folders[0]} is a folder, which can't be one of several sources")
    if folders:
        return FolderSide(Folder(folders[0]))
    sources = Sources(
        given,
        bucket=bucket,
        from_format=from_format,
        literal=literal and any(name.startswith(SCHEME) for name in names),
        no_links=None,
        takes_items=True,
    )
    return ObjectSide(sources, endpoint, config, ca_bundle)


def _names(given: Source | Sequence[Source]) -> list[str]:
    return [os.fspath(name) for name in ([given] if isinstance(given, str | os.PathLike) else given)]


def _given_row(row: Row) -> Keyed[Entry]:
    ref = object_of(row)
    return keyed(ref, link=_readable(row) if isinstance(row, Link) else None)


def _certificate_row(row: CertificateRow, algorithm: str) -> Keyed[Entry]:
    return keyed(ObjectRef("", "", size=row.size, checksum=f"{algorithm}:{base64_of(row.digest)}", path=row.key))


def _readable(link: Link) -> Link | None:
    """The link if it gets the object's bytes."""
    return link if link.method == "GET" else None


async def _with_etag_of_bytes(ref: ObjectRef, headers: Mapping[str, str]) -> ObjectRef:
    """The object, without its etag if that is not computed from the bytes, by the response to a HEAD."""
    expected = expected_digest(ObjectRef("", "", etag=ref.etag), headers=etag_kind_of(headers))
    return ref if expected.algorithm is not None else msgspec.structs.replace(ref, etag=None)


def _file_state(file: str) -> tuple[int | None, str | None]:
    """The size and the time of a file, None for anything else, which is an error when it is read."""
    try:
        found = os.stat(file)  # noqa: PTH116 - a name need not be UTF-8
        modified = datetime.fromtimestamp(found.st_mtime, UTC).isoformat()
    except (OSError, ValueError, OverflowError):  # also a time that no calendar has
        return None, None
    return (found.st_size, modified) if stat.S_ISREG(found.st_mode) else (None, None)
