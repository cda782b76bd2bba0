"""The destination of copies in a bucket: where each object goes, and what is there already."""

import os
from collections.abc import AsyncIterator, Sequence
from typing import Self

import msgspec

from bulkpresign.checksums import expected_digest
from bulkpresign.errors import OutputError, ParameterError, RefusedError, TransferError
from bulkpresign.http.client import HttpClient
from bulkpresign.ledger.listing_index import ListedObject, ListingIndex
from bulkpresign.ledger.record import Record
from bulkpresign.manifest.writing import object_writer
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome, key_problem
from bulkpresign.pipeline.run.completed import tells_no_bytes
from bulkpresign.pipeline.run.presigner import endpoint_of_bucket
from bulkpresign.pipeline.sources.links import Remote
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.key_map import KeyMap
from bulkpresign.source.location import Location
from bulkpresign.tables import open_output
from bulkpresign.tables.reading import output_format
from bulkpresign.transfer.downloads.existing import IfExists
from bulkpresign.transfer.engine.jobs import Job, Renew, RenewableLink
from bulkpresign.transfer.engine.retries import numbered


class Destination:
    """A prefix of a bucket to which objects are copied.

    The key of a copy is the prefix and the object's path, which `key_map` rewrites.
    """

    def __init__(self, location: Location, key_map: KeyMap) -> None:
        self.location, self._key_map = location, key_map
        #: True where a copy of an object to its own key would only lose what copies don't keep.
        self.refuses_own_keys = False

    @property
    def rewrites(self) -> bool:
        """True if paths are rewritten, so that two of them can become one key."""
        return bool(self._key_map)

    def key(self, ref: ObjectRef) -> str:
        """The key of an object's copy. Raises ParameterError for one that S3 does not allow, or that is its own."""
        key = self.location.key + self.path(ref)
        if problem := key_problem(key):
            raise ParameterError(f"{ref.uri} can't be copied to {key[:80]!r}: {problem}")
        is_own = self.refuses_own_keys and (ref.bucket, ref.key) == (self.location.bucket, key)
        if is_own and ref.version_id is None:
            raise ParameterError(f"{ref.uri} would be copied to itself: give another destination, or --map")
        return key

    def path(self, ref: ObjectRef) -> str:
        """The path of an object's copy below the prefix."""
        return self._key_map(ref.file_path)

    def uri(self, ref: ObjectRef) -> str:
        """The copy's name for messages."""
        return f"s3://{self.location.bucket}/{self.key(ref)}"

    def placed(self, ref: ObjectRef) -> ObjectRef:
        """The same object, whose path is the key of its copy."""
        return msgspec.structs.replace(ref, path=self.key(ref))

    async def named(self, presigner: Presigner) -> str:
        """The destination's name in the journal, with its endpoint and the rules of its keys."""
        name = f"{self.location.uri} at {await endpoint_of_bucket(presigner, self.location.bucket)}"
        return f"{name}, mapped by {self._key_map}" if self._key_map else name

    async def jobs(
        self, links: AsyncIterator[list[Remote]], present: "PresentCopies", renew: Renew
    ) -> AsyncIterator[Sequence[Job]]:
        """The jobs that copy objects, whose keys are marked as `present` or to come.

        The PUT link of each is signed when the headers of its object are known. `renew` renews the links of uploads in
        parts, which may take longer than links live.
        """
        bucket = self.location.bucket
        async for batch in links:
            sources = [link for link in batch if isinstance(link, RenewableLink)]
            keys = [self.key(link.object) for link in sources]
            present.mark(keys)
            targets = [RenewableLink(Link("PUT", "", {}, None, ObjectRef(bucket, key)), renew) for key in keys]
            yield list(map(Job, sources, targets))


def prefix_of(destination: str) -> Location:
    """The location of `s3://bucket/prefix/`. Raises ParameterError for anything else."""
    location = Location.parse(destination)
    if not location.is_prefix:
        raise ParameterError(f"{destination} is a key; objects are copied to a prefix, which ends in /")
    return location


class PresentCopies:
    """Tells which objects are at their destination already, by a listing. Use as a context manager.

    `if_exists` says what becomes of a copy that differs: it is replaced, kept, or an error. `extra` is the file for
    objects that are at the destination alone (None: no file); they are not touched. With `rechecks`, a recorded object
    whose row does not tell that it is unchanged is not current: `find` asks its source.

    The listing is kept in a temporary file, because the sources and the destination may be listed in different orders:
    not every server lists in the order of keys, and `--map` changes it.
    """

    def __init__(
        self,
        destination: Destination,
        if_exists: IfExists,
        extra: str | os.PathLike[str] | None,
        *,
        rechecks: bool = False,
    ) -> None:
        self._destination, self._if_exists, self._extra = destination, if_exists, extra
        self._rechecks = rechecks
        self._listed: ListingIndex | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._listed is not None:
            self._listed.__exit__(*exc_info)

    async def list_destination(self, lister: BucketLister) -> bool:
        """Lists the destination. False where that is refused. Raises ListingError where it fails.

        Without the listing, everything would be copied again, over what others wrote there.
        """
        self._listed = await lister.index(self._destination.location)
        return self.is_listed

    @property
    def is_listed(self) -> bool:
        """True if the destination is listed."""
        return self._listed is not None

    def listed(self, key: str) -> ListedObject | None:
        """The listed object of a key, None where there is none."""
        if self._listed is None or self._listed.is_empty:
            return None
        return self._listed.find([key]).get(key)

    def mark(self, keys: Sequence[str]) -> None:
        """Takes note of keys that are those of copies."""
        if self._listed is not None and self._extra is not None:
            self._listed.mark(keys)

    def write_extra(self) -> int | None:
        """Writes the objects that no source has to their file, as a manifest. Raises OutputError.

        Returns their number, None where there is no such file.
        """
        if self._extra is None:
            return None
        bucket, name = self._destination.location.bucket, os.fspath(self._extra)
        if self._listed is None:
            raise OutputError(f"{name} can't be written: the destination can't be listed", file=name)
        count = 0
        with open_output(name) as stream:
            writer = object_writer(stream, name, output_format(name))
            for batch in self._listed.unmarked():
                writer.write([ObjectRef(bucket, key, size=it.size, etag=it.etag or None) for key, it in batch])
                count += len(batch)
            writer.finish()
        return count

    def are_current(self, found: Sequence[tuple[ObjectRef, Record]]) -> Sequence[bool]:
        """True for each recorded object whose copy is as it was stored, as far as that is known."""
        is_known = [not (self._rechecks and tells_no_bytes(ref)) for ref, _ in found]
        if self._listed is None:
            return is_known
        listed = self._find([ref for ref, _ in found])
        return [
            known and it is not None and it.size == record.size and (not it.etag or record.etag in {None, "", it.etag})
            for known, it, (_, record) in zip(is_known, listed, found, strict=True)
        ]

    async def find(self, link: Link, path: str, http: HttpClient | None = None) -> Outcome | None:  # noqa: ARG002
        """The outcome of an object that needs no copy: see Coordinator. `link` is that of the source.

        The source is asked by `http` where the row does not tell which bytes the object has. Raises RefusedError for a
        copy that differs and may not be replaced.
        """
        if self._listed is None or self._listed.is_empty:
            return None
        ref = link.object
        (listed,) = self._find([ref])
        if listed is None:
            return None
        evidence = Evidence(listed.size, 0, 0, listed.etag)
        if self._if_exists == "keep":
            message = "there is an object of that key"
            return Outcome(ref, "skipped", attempts=0, message=message, link=link, evidence=evidence)
        if listed.etag and http is not None and tells_no_bytes(ref):
            ref = await _asked(http, link, listed)
        if listed.etag and (listed.size, listed.etag) == (ref.size, ref.etag):
            verified_by = expected_digest(ref).name
            return Outcome(ref, "skipped", attempts=0, verified_by=verified_by, link=link, evidence=evidence)
        if self._if_exists == "fail":
            raise numbered(RefusedError(f"{self._destination.uri(ref)} exists, and is another one", code="Exists"), 0)
        return None

    def _find(self, refs: Sequence[ObjectRef]) -> list[ListedObject | None]:
        assert self._listed is not None  # noqa: S101 - the callers checked it
        keys = [self._destination.key(ref) for ref in refs]
        found = self._listed.find(keys)
        return [found.get(key) for key in keys]


async def _asked(http: HttpClient, link: Link, listed: ListedObject) -> ObjectRef:
    """The object of a GET link, with the size and etag that its server tells: those of the listed copy, or others.

    Where that fails, the object is as it was: its copy finds out why.
    """
    ref = link.object
    try:
        async with http.request(link, {"If-None-Match": f'"{listed.etag}"'}) as response:
            if response.status == 304:
                return msgspec.structs.replace(ref, size=listed.size, etag=listed.etag)
            if response.status == 200:
                return msgspec.structs.replace(ref, size=response.length, etag=response.etag)
    except TransferError:
        pass
    return ref
