"""The destination of copies in a bucket: where each object goes, what is there already, and how its PUT is signed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import msgspec

from bulkpresign.errors import (
    CredentialsError,
    LinkExpiredError,
    ListingError,
    ParameterError,
    RefusedError,
    RegionError,
    SigningError,
)
from bulkpresign.ledger.listing_index import ListedObject, ListingIndex
from bulkpresign.ledger.record import Record
from bulkpresign.model import Link, ObjectRef, key_problem
from bulkpresign.pipeline.sources.links import Remote
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.key_map import KeyMap
from bulkpresign.source.location import Location
from bulkpresign.transfer.engine.jobs import Job, RenewableLink


class Destination:
    """A prefix of a bucket to which objects are copied.

    The key of a copy is the prefix and the object's path, which `key_map` rewrites.
    """

    def __init__(self, location: Location, key_map: KeyMap) -> None:
        self.location, self._key_map = location, key_map

    @property
    def rewrites(self) -> bool:
        """True if paths are rewritten, so that two of them can become one key."""
        return bool(self._key_map)

    def key(self, ref: ObjectRef) -> str:
        """The key of an object's copy. Raises ParameterError for one that S3 does not allow."""
        key = self.location.key + self._key_map(ref.file_path)
        if problem := key_problem(key):
            raise ParameterError(f"{ref.uri} can't be copied to {key[:80]!r}: {problem}")
        return key

    def placed(self, ref: ObjectRef) -> ObjectRef:
        """The same object, whose path is the key of its copy."""
        return msgspec.structs.replace(ref, path=self.key(ref))

    async def named(self, presigner: Presigner) -> str:
        """The destination's name in the journal, with its endpoint and the rules of its keys."""
        name = f"{self.location.uri} at {await endpoint_of_bucket(presigner, self.location.bucket)}"
        return f"{name}, mapped by {self._key_map}" if self._key_map else name

    async def jobs(self, links: AsyncIterator[list[Remote]]) -> AsyncIterator[Sequence[Job]]:
        """The jobs that copy objects. The PUT link of each is signed when the headers of its object are known."""
        bucket = self.location.bucket
        async for batch in links:
            yield [
                Job(link, RenewableLink(Link("PUT", "", {}, None, ObjectRef(bucket, self.key(link.object)))))
                for link in batch
                if isinstance(link, RenewableLink)
            ]


async def endpoint_of_bucket(presigner: Presigner, bucket: str) -> str:
    """The scheme and host of a bucket's links. Two endpoints can have a bucket of the same name."""
    await presigner.refresh([bucket])
    (url,) = presigner.url_batch(bucket, ["x"])
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class PresentCopies:
    """Tells which objects are at their destination already, by a listing. Use as a context manager.

    The listing is kept in a temporary file, because the sources and the destination may be listed in different orders:
    not every server lists in the order of keys, and `--map` changes it.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._stack = AsyncExitStack()
        self._listed: ListingIndex | None = None

    async def __aenter__(self) -> "PresentCopies":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def list_destination(self, lister: BucketLister) -> bool:
        """Lists the destination. False where that is refused."""
        listed, location = self._stack.enter_context(ListingIndex()), self._destination.location
        try:
            async for page in lister.objects(location.bucket, location.key):
                listed.add(page)
        except ListingError:  # not everyone who may write may list
            return False
        self._listed = listed
        return True

    def are_current(self, found: Sequence[tuple[ObjectRef, Record]]) -> Sequence[bool]:
        """True for each recorded object whose copy is as it was stored, as far as that is known."""
        if self._listed is None:
            return [True] * len(found)
        listed = self._find([ref for ref, _ in found])
        return [
            it is not None and it.size == record.size and (not it.etag or record.etag in {None, "", it.etag})
            for it, (_, record) in zip(listed, found, strict=True)
        ]

    def are_present(self, refs: Sequence[ObjectRef]) -> Sequence[bool]:
        """True for each object whose copy has its size and its etag."""
        if self._listed is None:
            return [False] * len(refs)
        return [
            it is not None and bool(it.etag) and (it.size, it.etag) == (ref.size, ref.etag)
            for it, ref in zip(self._find(refs), refs, strict=True)
        ]

    def _find(self, refs: Sequence[ObjectRef]) -> list[ListedObject | None]:
        assert self._listed is not None  # noqa: S101 - the callers checked it
        keys = [self._destination.key(ref) for ref in refs]
        found = self._listed.find(keys)
        return [found.get(key) for key in keys]


class PutSigner:
    """Signs the PUT links of copies with headers of their objects."""

    def __init__(self, presigner: Presigner) -> None:
        self._presigner = presigner

    async def __call__(self, put: Link, headers: Mapping[str, str]) -> Link:
        """The link. Raises LinkExpiredError where credentials ended, RefusedError for a header that can't be sent."""
        ref = put.object
        try:
            try:
                return self._presigner.sign_batch([ref], "PUT", headers=headers)[0]
            except (CredentialsError, RegionError):
                await self._presigner.prepare([ref])
                return self._presigner.sign_batch([ref], "PUT", headers=headers)[0]
        except CredentialsError as error:
            raise LinkExpiredError(f"the copy to {ref.uri} can't be signed: {error}", code="RenewalFailed") from error
        except (ParameterError, SigningError, RegionError) as error:
            raise RefusedError(f"the copy can't be signed: {error}", code="NotSigned") from error
