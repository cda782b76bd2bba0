"""The links of a run's sources: read from tables, passed by a program, or signed just before use."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby

import anyio.lowlevel

from bulkpresign.errors import ParameterError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper, upload_id_of
from bulkpresign.model import Link, Method, ObjectRef, Upload
from bulkpresign.pipeline.sources.given_rows import Row, check_methods
from bulkpresign.pipeline.sources.items import GivenItems
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.renewals import ChecksumMode, by_signing
from bulkpresign.pipeline.sources.sources import Found, Sources
from bulkpresign.pipeline.sources.table_rows import checked_links, grouped_puts, rows_of_objects
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import Rows, Table
from bulkpresign.transfer.engine.jobs import MultipartUpload, Renew, RenewableLink

#: Objects signed at a time, just before use: twice as many as before if those were used within so many seconds, else
#: the least. So a link is still new when it is used.
_LEAST, _MOST, _SOON = 64, 1024, 0.1
#: The remote side of a job.
Remote = RenewableLink | MultipartUpload


async def links_of_sources(
    sources: Sources,
    presigner: Presigner | None,
    method: Method,
    *,
    renew: Renew | None,
    lister: BucketLister | None = None,
    streamed: Callable[[Sequence[ObjectRef]], None] = lambda _: None,
    checksum_mode: ChecksumMode | None = None,
    own: Callable[[], Awaitable[Presigner]] | None = None,
) -> AsyncIterator[list[Remote]]:
    """All links, in batches. Objects are signed when they are read, and again when their links expire.

    `renew` renews the links that are read from the sources. `lister` lists the sources in
    buckets. `streamed` is called with every batch of a source that
    can't be read twice, because such a source is not checked in advance. `checksum_mode` sets the header by which links
    that are signed here request checksums. `own` returns a presigner for objects that a program passes without links.
    """
    if sources.items is not None:
        given = _GivenLinks(sources.items, method, renew, own, checksum_mode)
        async for batch in given.batches():
            streamed([remote.object for remote in batch])
            yield batch
        return
    signer = None if presigner is None else _Signer(presigner, method, checksum_mode)
    for part in sources.parts:
        if isinstance(part, Table) and part.is_links:
            rows = sources.rows_in(part)
            batches = _upload_links(part, rows, renew) if method == "PUT" else _table_links(part, rows, method, renew)
        else:
            assert signer is not None  # noqa: S101 - a source of objects needs credentials
            batches = _signed_links(sources.found_in(part, lister, method), signer)
        async for batch in batches:
            if not isinstance(part, Table) or part.is_stream:
                streamed([remote.object for remote in batch])
            yield batch


async def _table_links(
    table: Table, batches: AsyncIterator[Rows], method: Method, renew: Renew | None
) -> AsyncIterator[list[Remote]]:
    async for batch in batches:
        rows = rows_of_objects(batch)
        yield [RenewableLink(link, renew) for link in checked_links(table, links_of(rows), rows.lines, method)]


async def _upload_links(table: Table, batches: AsyncIterator[Rows], renew: Renew | None) -> AsyncIterator[list[Remote]]:
    """The single PUT links and the multipart uploads of a table."""
    grouper = UploadGrouper(table.file)
    async for rows in batches:
        yield [_upload(found, renew) for found, _ in grouped_puts(grouper, table, rows)]
    if rest := [_upload(found, renew) for found, _ in grouper.end()]:
        yield rest


async def _signed_links(objects: AsyncIterator[Found], signer: "_Signer") -> AsyncIterator[list[Remote]]:
    async for found in objects:
        async for batch in signer.links_of(found.refs):
            yield batch


class _Signer:
    """Signs objects in batches, just before use. A batch is larger if the one before was used soon."""

    def __init__(self, presigner: Presigner, method: Method, checksum_mode: ChecksumMode | None) -> None:
        self._presigner, self._method, self._checksum_mode = presigner, method, checksum_mode
        self._renew = by_signing(presigner, checksum_mode)
        self._count = _LEAST

    async def links_of(self, refs: Sequence[ObjectRef]) -> AsyncIterator[list[Remote]]:
        """The links of some objects."""
        mode, at = self._checksum_mode, 0
        while some := refs[at : at + self._count]:
            await self._presigner.prepare(some)
            links = self._presigner.sign_batch(some, self._method, headers=mode.headers if mode else None)
            signed_at = time.monotonic()
            yield [RenewableLink(link, self._renew) for link in links]
            is_slow = time.monotonic() - signed_at > _SOON
            at += len(some)
            self._count = _LEAST if is_slow else min(2 * self._count, _MOST)
            await anyio.lowlevel.checkpoint()


class _GivenLinks:
    """The links of the rows that a program passes, in order."""

    def __init__(
        self,
        items: GivenItems,
        method: Method,
        renew: Renew | None,
        own: Callable[[], Awaitable[Presigner]] | None,
        checksum_mode: ChecksumMode | None,
    ) -> None:
        self._items, self._method, self._renew = items, method, renew
        self._own, self._checksum_mode = own, checksum_mode
        self._signer: _Signer | None = None
        self._grouper = UploadGrouper(items.file)

    async def batches(self) -> AsyncIterator[list[Remote]]:
        """All links. Objects are signed when they are read."""
        async for batch in self._items.batches():
            for is_object, some in groupby(zip(batch.numbers, batch.rows, strict=True), _is_object):
                numbers, rows = zip(*some, strict=True)
                if is_object:
                    async for signed in self._signed([row for row in rows if isinstance(row, ObjectRef)], numbers[0]):
                        yield signed
                else:
                    yield self._links([row for row in rows if isinstance(row, Link)], numbers)
        if rest := [_upload(found, self._renew) for found, _ in self._items.end(self._grouper.end())]:
            yield rest

    def _links(self, links: Sequence[Link], numbers: Sequence[int]) -> list[Remote]:
        if self._method == "PUT" and (self._grouper.is_open or any(upload_id_of(link.object) for link in links)):
            alone = [
                (number, link) for number, link in zip(numbers, links, strict=True) if not upload_id_of(link.object)
            ]
            check_methods([link for _, link in alone], [number for number, _ in alone], self._method)
            return [_upload(found, self._renew) for found, _ in self._grouper.add(links, numbers)]
        check_methods(links, numbers, self._method)
        return [RenewableLink(link, self._renew) for link in links]

    async def _signed(self, refs: Sequence[ObjectRef], first: int) -> AsyncIterator[list[Remote]]:
        if self._own is None:
            hint = f'sign them: presigner.sign(objects, method="{self._method}")'
            raise ParameterError(f"{self._items.file}:{first}: an ObjectRef where links are needed: {hint}")
        presigner = await self._own()
        if self._signer is None:
            self._signer = _Signer(presigner, self._method, self._checksum_mode)
        async for batch in self._signer.links_of(refs):
            yield batch


def _is_object(row: tuple[int, Row]) -> bool:
    return isinstance(row[1], ObjectRef)


def _upload(found: Link | Upload, renew: Renew | None) -> Remote:
    return RenewableLink(found, renew) if isinstance(found, Link) else MultipartUpload(found, renew)
