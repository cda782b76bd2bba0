"""Signs the rows of multipart uploads again, for the same uploads."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import groupby

from bulkpresign.errors import SigningError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper, check_upload_row, upload_id_of
from bulkpresign.model import Link, Upload
from bulkpresign.pipeline.sources.renewals import signed_again
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import Rows, Table

#: Signs links again. Each link comes with its line in the table.
SignAgain = Callable[[Sequence[tuple[Link, int]]], list[Link]]
#: A link that belongs to no upload, with its line, or links of one upload.
_Found = tuple[Link, int] | list[Link]


async def resigned_rows(
    table: Table, batches: AsyncIterator[Rows], presigner: Presigner, singles: SignAgain
) -> AsyncIterator[list[Link]]:
    """Signs the rows of a table of links, which come in `batches`, again.

    Rows of an upload are for the same upload: its parts can still be used. A file must have all rows of an upload. A
    stream may have some of them: as a renewal command, `sign` gets those that have expired.

    `singles` signs the rows that belong to no upload. Raises ManifestError for rows that are not a valid upload,
    SigningError for a row of an upload that can't be signed.
    """
    async for found in _single_rows(table, batches) if table.is_stream else _whole_uploads(table, batches):
        async for links in _resigned_rows(found, presigner, singles):
            yield links


async def _whole_uploads(table: Table, batches: AsyncIterator[Rows]) -> AsyncIterator[Iterator[_Found]]:
    grouper = UploadGrouper(table.file)
    async for rows in batches:
        yield _ungrouped(grouper.add(links_of(rows), rows.lines))
    yield _ungrouped(grouper.end())


def _ungrouped(grouped: Iterable[tuple[Link | Upload, int]]) -> Iterator[_Found]:
    return ((found, line) if isinstance(found, Link) else found.links for found, line in grouped)


async def _single_rows(table: Table, batches: AsyncIterator[Rows]) -> AsyncIterator[Iterator[_Found]]:
    async for rows in batches:
        yield (_single_row(table, link, line) for link, line in zip(links_of(rows), rows.lines, strict=True))


def _single_row(table: Table, link: Link, line: int) -> _Found:
    if not upload_id_of(link.object):
        return link, line
    check_upload_row(table.file, link, line)
    return [link]


async def _resigned_rows(
    found: Iterable[_Found], presigner: Presigner, singles: SignAgain
) -> AsyncIterator[list[Link]]:
    await presigner.refresh()
    for is_single, some in groupby(found, lambda each: isinstance(each, tuple)):
        if not is_single:
            for links in (each for each in some if isinstance(each, list)):
                yield [await _resigned(presigner, link) for link in links]
            continue
        alone = [each for each in some if isinstance(each, tuple)]
        await presigner.prepare([link.object for link, _ in alone])
        yield singles(alone)


async def _resigned(presigner: Presigner, link: Link) -> Link:
    fresh_link = await signed_again(presigner, link)
    if fresh_link is None:
        raise SigningError(f"{link.object.uri}: this row of an upload can't be signed again")
    return fresh_link
