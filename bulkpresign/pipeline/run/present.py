"""The objects that are at the destination of a folder already, by a listing, which also checks the journal."""

from collections.abc import Sequence
from typing import Self

import anyio.to_thread

from bulkpresign.checksums import Verifier, descriptor_blocks, expected_digest
from bulkpresign.errors import MismatchError
from bulkpresign.ledger.listing_index import ListedObject, ListingIndex
from bulkpresign.ledger.record import Record
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.pipeline.run.completed import files_are_current
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.source.location import Location
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.uploads.body import OpenFile, opened

_INLINE_BYTES = 256 * 1024


class PresentObjects:
    """Tells which files of a folder are at their destination. Use as a context manager. Before the listing, none is."""

    def __init__(self, folder: Folder, part_size: int | None) -> None:
        self._folder, self._part_size = folder, part_size
        self._files_are_current = files_are_current(folder.root)
        self._listed: ListingIndex | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._listed is not None:
            self._listed.__exit__(*exc_info)

    @property
    def is_listed(self) -> bool:
        """True once the destination is listed: before, `find` finds nothing."""
        return self._listed is not None

    async def list_destination(self, lister: BucketLister, location: Location) -> bool:
        """Lists the destination, one request for a thousand objects. False where that is refused.

        Raises ListingError where it fails.
        """
        self._listed = await lister.index(location)
        return self.is_listed

    def are_current(self, found: Sequence[tuple[ObjectRef, Record]]) -> list[bool]:
        """True for each file that is unchanged since it was sent, and whose object is as it was stored."""
        current = self._files_are_current(found)
        if self._listed is None:
            return list(current)
        listed = self._listed.find([ref.key for ref, _ in found])
        return [
            is_current and _is_as_stored(listed.get(ref.key), recorded)
            for is_current, (ref, recorded) in zip(current, found, strict=True)
        ]

    def may_be_present(self, key: str) -> bool:
        """True for a key that the listing has."""
        return self._listed is not None and bool(self._listed.find([key]))

    async def find(self, link: Link, path: str) -> Outcome | None:
        """The outcome of a file whose very bytes are at its destination, by the etag there; else None."""
        listed = None if self._listed is None else self._listed.find([link.object.key]).get(link.object.key)
        if listed is None:
            return None
        with opened(self._folder, path) as file:
            if listed.size != file.size:
                return None
            if file.size <= _INLINE_BYTES:
                verified_by, part_size = self._compared(file, listed)
            else:
                verified_by, part_size = await anyio.to_thread.run_sync(self._compared, file, listed)
            if verified_by is None:
                return None
            evidence = file.evidence(listed.etag, part_size=part_size)
        return Outcome(link.object, "skipped", attempts=0, verified_by=verified_by, link=link, evidence=evidence)

    def _compared(self, file: OpenFile, listed: ListedObject) -> tuple[str | None, int]:
        """By what the bytes of a file are those of a listed object (None: they are not), and its part size."""
        expected = expected_digest(ObjectRef("", "", size=listed.size, etag=listed.etag), part_size=self._part_size)
        if expected.algorithm is None:
            return None, 0
        verifier = Verifier(expected)
        try:
            if verifier.verified(lambda: descriptor_blocks(file.descriptor)) == expected.name:
                return expected.name, verifier.part_size
        except (MismatchError, OSError):
            pass
        return None, 0


def _is_as_stored(listed: ListedObject | None, recorded: Record) -> bool:
    """True where a listed object is the one that was stored. A server that tells no etag is believed by the size."""
    if listed is None or listed.size != recorded.size:
        return False
    return not recorded.etag or not listed.etag or listed.etag == recorded.etag
