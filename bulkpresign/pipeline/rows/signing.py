"""Signs the objects of the sources of `sign`, or signs their old links again, a batch at a time."""

from collections.abc import AsyncIterator, Sequence

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import old_links
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.rows.hash_files import HashedSource
from bulkpresign.pipeline.rows.resigned_uploads import resigned_rows
from bulkpresign.pipeline.rows.uploads import SigningUploads
from bulkpresign.pipeline.sources.given_rows import Row
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.sources import Found, Part, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import Rules
from bulkpresign.tables import Table


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

    async def links(self, part: Part) -> AsyncIterator[list[Link]]:
        """The rows of all objects of a source: one each, except for objects that are, or become, multipart uploads."""
        if isinstance(part, Table) and self.signs_uploads_again(part):
            rows = self._sources.rows_in(part)
            again = resigned_rows(part.file, rows, self._presigner, lambda some: self._signed_alone(part, some))
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
        for part in self._sources.parts:
            async for items in self._items(part):
                yield items

    async def _items(self, part: Part) -> AsyncIterator[Sequence[Row]]:
        method = self._rules.method
        problem = self._uploads.size_problem if self._uploads else None
        must_exist = not self._rules.head
        async for found in self._sources.found_in(part, self._lister, method, problem, must_exist=must_exist):
            refs = await self._hashed(found) if self._hashed else found.refs
            await self._presigner.prepare(refs)
            yield self._old_links(found, refs) if isinstance(part, Table) and part.is_links else refs

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
