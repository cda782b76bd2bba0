"""Signs the rows of multipart uploads again, for the same uploads."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import groupby

from bulkpresign.errors import SigningError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper
from bulkpresign.model import Link, Upload
from bulkpresign.pipeline.sources.renewals import signed_again
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import Rows

#: Signs links again. Each link comes with its line in the table.
SignAgain = Callable[[Sequence[tuple[Link, int]]], list[Link]]


async def resigned_rows(
    file: str, batches: AsyncIterator[Rows], presigner: Presigner, singles: SignAgain
) -> AsyncIterator[list[Link]]:
    """Signs the rows of a table of links, the file `file`, again.

    Rows of an upload are for the same upload: its parts can still be used.

    `singles` signs the rows that belong to no upload. Raises ManifestError for rows that are not a valid upload,
    SigningError for a row of an upload that can't be signed.
    """
    gathering = UploadGrouper(file)
    async for rows in batches:
        async for links in _resigned_rows(gathering.add(links_of(rows), rows.lines), presigner, singles):
            yield links
    async for links in _resigned_rows(gathering.end(), presigner, singles):
        yield links


async def _resigned_rows(
    gathered: Iterable[tuple[Link | Upload, int]], presigner: Presigner, singles: SignAgain
) -> AsyncIterator[list[Link]]:
    await presigner.refresh()
    for is_single, some in groupby(gathered, lambda found: isinstance(found[0], Link)):
        if not is_single:
            for upload, _ in some:
                links = upload.links if isinstance(upload, Upload) else []
                yield [await _resigned(presigner, link) for link in links]
            continue
        alone = [(link, line) for link, line in some if isinstance(link, Link)]
        await presigner.prepare([link.object for link, _ in alone])
        yield singles(alone)


async def _resigned(presigner: Presigner, link: Link) -> Link:
    fresh_link = await signed_again(presigner, link)
    if fresh_link is None:
        raise SigningError(f"{link.object.uri}: this row of an upload can't be signed again")
    return fresh_link
