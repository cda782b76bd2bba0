"""Signs the objects of the sources of `sign`, or signs their old links again, a batch at a time."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.copies import NOT_SIGNED_AGAIN
from bulkpresign.manifest.links import old_links
from bulkpresign.manifest.uploads import upload_id_of
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.rows.hash_files import HashedSource
from bulkpresign.pipeline.rows.resigned_uploads import resigned_rows
from bulkpresign.pipeline.rows.uploads import SigningUploads
from bulkpresign.pipeline.sources.given_rows import Row, object_of
from bulkpresign.pipeline.sources.items import GivenItems, ItemBatch
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.sources import Found, Part, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import Rules
from bulkpresign.tables import Table
from bulkpresign.tables.columns import DST_URL


class RowSigner:
    """Signs the rows of all sources by the `rules`.

    `lister` lists the sources in buckets. `hashed` adds the checksums of local files. `uploads` creates a multipart
    upload for each large object. With `keeps_uploads`, rows of uploads are signed again for the same uploads.
    """

    def __init__(
        self,
        sources: Sources,
        lister: BucketLister | None,
        presigner: Presigner,
        rules: Rules,
        *,
        hashed: HashedSource | None,
        uploads: SigningUploads | None,
        keeps_uploads: bool,
    ) -> None:
        self._sources, self._lister, self._presigner, self._rules = sources, lister, presigner, rules
        self._hashed, self._uploads, self._keeps_uploads = hashed, uploads, keeps_uploads

    def signs_uploads_again(self, table: Table) -> bool:
        """True if rows of uploads in this table are signed again for the same uploads."""
        return self._keeps_uploads and has_uploads(table)

    async def links(self, part: Part | GivenItems) -> AsyncIterator[list[Link]]:
        """The rows of all objects of a source: one each, except for objects that are, or become, multipart uploads."""
        if isinstance(part, Table) and self.signs_uploads_again(part):
            rows = self._sources.rows_in(part)
            again = resigned_rows(part, rows, self._presigner, lambda some: self._signed_alone(part, some))
            async for links in again:
                yield links
            return
        async for items in self._items(part):
            if self._uploads is None:
                yield self._signed(items)
                continue
            async for links in self._uploads.rows(items, self._signed):
                yield links

    async def items(self) -> AsyncIterator[Sequence[Row]]:
        """The objects or old links of all sources. Regions and credentials are loaded before each batch is returned."""
        for part in self.parts:
            async for items in self._items(part):
                yield items

    @property
    def parts(self) -> Sequence[Part | GivenItems]:
        """The single sources, or what a program passes."""
        return self._sources.parts if self._sources.items is None else [self._sources.items]

    async def _items(self, part: Part | GivenItems) -> AsyncIterator[Sequence[Row]]:
        if isinstance(part, GivenItems):
            async for batch in part.batches():
                yield await self._given(batch)
            return
        method = self._rules.method
        problem = self._uploads.size_problem if self._uploads else None
        must_exist = not self._rules.head
        async for found in self._sources.found_in(part, self._lister, method, problem, must_exist=must_exist):
            refs = await self._hashed(found.refs, found.error) if self._hashed else found.refs
            await self._presigner.prepare(refs)
            yield self._old_links(found, refs) if isinstance(part, Table) and part.is_links else refs

    async def _given(self, batch: ItemBatch) -> list[Row]:
        """The rows that a program passes, checked one by one: links can be of any method, and beside objects."""
        for index, row in enumerate(batch.rows):
            self._check_given(batch, index, row)
        refs = [object_of(row) for row in batch.rows]
        if self._hashed:
            refs = await self._hashed(refs, batch.error)
        await self._presigner.prepare(refs)
        return [
            msgspec.structs.replace(row, object=ref) if isinstance(row, Link) else ref
            for row, ref in zip(batch.rows, refs, strict=True)
        ]

    def _check_given(self, batch: ItemBatch, index: int, row: Row) -> None:
        ref, own = object_of(row), row.method if isinstance(row, Link) else "GET"
        for column in ("bucket", "key"):
            if not getattr(ref, column):
                raise batch.error(index, "the row has none, so it can't be signed", column)
        if upload_id_of(ref):
            raise batch.error(index, "the links of an upload in parts are signed again in a manifest", "upload_id")
        if self._sources.refuses_copies and isinstance(row, Link) and (ref.extra or {}).get(DST_URL):
            raise batch.error(index, NOT_SIGNED_AGAIN, DST_URL)
        if self._rules.method is None and (problem := self._rules.problem(own)):
            raise batch.error(index, problem, "method")
        if self._uploads and (problem := self._uploads.size_problem(ref.size)):
            raise batch.error(index, problem, "size")

    def _old_links(self, found: Found, refs: Sequence[ObjectRef]) -> list[Link]:
        assert found.rows is not None  # noqa: S101 - the source is a table
        links = old_links(found.rows, refs)
        self._rules.check_rows(found.rows, links)
        return links

    async def links_of(self, items: Sequence[Row]) -> list[Link]:
        """The links of some objects that `items` gave, or fresh ones for their old links, in order."""
        await self._presigner.refresh()
        return self._signed(items)

    def _signed(self, items: Sequence[Row]) -> list[Link]:
        return self._rules.signed(self._presigner, items)

    def _signed_alone(self, table: Table, links: Sequence[tuple[Link, int]]) -> list[Link]:
        """Signs the rows that belong to no upload."""
        for link, line in links:
            if self._rules.method is None and (problem := self._rules.problem(link.method)):
                raise ManifestError(problem, file=table.file, line=line, column="method")
            for column in ("bucket", "key"):
                if not getattr(link.object, column):
                    raise ManifestError(
                        "the row has none: it can't be signed again", file=table.file, line=line, column=column
                    )
        return self._signed([link for link, _ in links])


def has_uploads(table: Table) -> bool:
    """True for a table of links with rows of multipart uploads."""
    return table.is_links and "upload_id" in table.columns
