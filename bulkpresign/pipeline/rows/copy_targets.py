"""sign --to: the row of each object also has a PUT link for its copy, with the headers that the copy keeps.

An object that is larger than the part size has the rows of a multipart upload instead, which is opened here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import islice

from bulkpresign.checksums import expected_digest
from bulkpresign.errors import CredentialsError, ParameterError, RefusedError
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.limits import MAX_REQUEST_SIZE
from bulkpresign.manifest.copies import copy_rows, with_target
from bulkpresign.manifest.uploads import upload_id_of
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.rows.uploads import OpeningUploads, SigningUploads
from bulkpresign.pipeline.run.copies import Destination
from bulkpresign.pipeline.run.preflight import reserve_paths
from bulkpresign.pipeline.run.sides import Sides
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables.columns import DST_BUCKET, DST_HEADERS, DST_KEY, DST_URL
from bulkpresign.transfer.copies.head import kept_headers, whole_checksum_headers
from bulkpresign.transfer.copies.tags import TAGGING, has_tags

#: Reads the tags of an object, None where its server does not tell them. Raises TransferError.
ReadTags = Callable[[ObjectRef], Awaitable[str | None]]


async def copy_targets(
    stack: AsyncExitStack,
    destination: Destination,
    sides: Sides,
    opening: OpeningUploads | None,
    read_tags: ReadTags | None,
) -> "CopyTargets":
    """A CopyTargets for the destination, open until the `stack` ends.

    `opening` is for copies in parts, `read_tags` for those with the tags of their objects; None: there are none.
    """
    presigner = await sides.destination.get()
    uploads = None if opening is None else await stack.enter_async_context(opening(presigner))
    return CopyTargets(destination, presigner, stack.enter_context(PathIndex()), uploads, read_tags)


class CopyTargets:
    """Adds a PUT link for its copy to each object, and makes the rows of copies in parts."""

    def __init__(
        self,
        destination: Destination,
        presigner: Presigner,
        index: PathIndex,
        uploads: SigningUploads | None,
        read_tags: ReadTags | None,
    ) -> None:
        self._destination, self._presigner, self._index = destination, presigner, index
        self._read_tags = read_tags
        #: Opens the uploads of objects over the part size. None: each object has one PUT link.
        self.uploads = uploads

    async def __call__(self, ref: ObjectRef, headers: Mapping[str, str]) -> ObjectRef:
        """The object with the columns of the PUT link. `headers` are those of the response to a HEAD.

        Raises ManifestError for a key that two objects would have, and TransferError, among them RefusedError for an
        object that can't be stored, or whose headers can't be signed.
        """
        if problem := self._size_problem(ref.size):
            raise RefusedError(problem, code="TooLarge")
        reserve_paths(self._index, [(self._destination.placed(ref), ref.uri)])
        target = ObjectRef(self._destination.location.bucket, self._destination.key(ref))
        try:
            return with_target(ref, await self._signed(target, await self._kept(ref, headers)))
        except ParameterError as error:
            raise RefusedError(f"the link for its copy can't be signed: {error}", code="NotSigned") from error

    async def _kept(self, ref: ObjectRef, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with which the copy is stored, and the tags, if they are told."""
        kept = kept_headers(headers)
        if self._read_tags is not None and has_tags(headers):
            with suppress(RefusedError):
                if tags := await self._read_tags(ref):
                    kept[TAGGING] = tags
        return kept

    def _size_problem(self, size: int | None) -> str | None:
        if self.uploads is not None:
            return self.uploads.size_problem(size)
        return "over 5 GiB need an upload in parts: use --part-size" if (size or 0) > MAX_REQUEST_SIZE else None

    async def _signed(self, target: ObjectRef, headers: Mapping[str, str]) -> Link:
        try:
            return self._presigner.sign_put(target, headers)
        except CredentialsError:
            await self._presigner.prepare([target])
            return self._presigner.sign_put(target, headers)

    async def rows(self, links: Sequence[Link]) -> AsyncIterator[list[Link]]:
        """The rows of the copies of some objects, in order. Each object has the columns of its PUT link.

        Raises SigningError if the server does not create an upload.
        """
        if self.uploads is None:
            yield list(links)
            return
        left = iter(links)
        async for targets in self.uploads.rows([_put_link(link.object) for link in links], _unchanged):
            if upload_id_of(targets[0].object):
                yield copy_rows(next(left), targets)
            else:
                yield list(islice(left, len(targets)))


def _put_link(ref: ObjectRef) -> Link:
    """The PUT link in the columns of an object, for a copy of its size.

    It has the headers of an upload in parts, too, which is opened with them if the object is large.
    """
    extra = ref.extra or {}
    target = ObjectRef(extra[DST_BUCKET], extra[DST_KEY], size=ref.size)
    headers = {**extra[DST_HEADERS], **whole_checksum_headers(expected_digest(ref))}
    return Link("PUT", extra[DST_URL], headers, None, target)


def _unchanged(puts: Sequence[object]) -> list[Link]:
    return [put for put in puts if isinstance(put, Link)]
