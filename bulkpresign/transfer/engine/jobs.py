"""The unit of work: one object, from a source to a target."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bulkpresign.model import Checkpoint, Evidence, Link, ObjectRef, Upload

#: Returns a fresh link for each link, None for one that can't be renewed. Raises LinkExpiredError if none can be.
Renew = Callable[[Sequence[Link]], Awaitable[Sequence[Link | None]]]


class RenewableLink(msgspec.Struct, gc=False, tag=True):
    """A link, and the function that renews it (None: it can't be renewed).

    `link` is the current link: a renewal replaces it.
    """

    link: Link
    renew: Renew | None = None

    @property
    def object(self) -> ObjectRef:
        """The object that the link is for."""
        return self.link.object


class MultipartUpload(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An object that is uploaded in parts. `renew` renews each link of the upload when it expires."""

    upload: Upload
    renew: Renew | None = None

    @property
    def link(self) -> Link:
        """The link that completes the upload. It represents the object."""
        return self.upload.complete

    @property
    def object(self) -> ObjectRef:
        """The object that the upload creates."""
        return self.upload.object


class LocalFile(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A file below the folder of the run. `path` has `/` between its segments."""

    path: str


class Memory(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The memory of the calling program, which receives the object's bytes."""


class Digest(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The digest of the object's bytes, which are kept nowhere. `algorithm` is one of `checksums.ALGORITHMS`."""

    algorithm: str


class Nothing(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A source or target without bytes: the job is the request itself."""


#: The only values of these two types.
IN_MEMORY, NOTHING = Memory(), Nothing()


class Job(msgspec.Struct, frozen=True, gc=False):
    """One object to move.

    `checkpoint` is the state that an earlier run left of an unfinished object. `evidence` is the state of the object
    and its file when an earlier run finished it.
    """

    source: RenewableLink | LocalFile | Nothing
    target: RenewableLink | MultipartUpload | LocalFile | Memory | Digest | Nothing
    checkpoint: Checkpoint | None = None
    evidence: Evidence | None = None

    @property
    def link(self) -> Link:
        """The link that represents the object in outcomes and in the journal."""
        source, target = self.source, self.target
        if type(source) is RenewableLink:  # asked several times for each object of a download
            return source.link
        assert isinstance(target, RenewableLink | MultipartUpload)  # noqa: S101 - one side is remote
        return target.link

    @property
    def object(self) -> ObjectRef:
        """The object to move."""
        return self.link.object

    @property
    def upload(self) -> Upload | None:
        """The multipart upload, None if the target is something else."""
        return self.target.upload if isinstance(self.target, MultipartUpload) else None

    @property
    def renewable(self) -> RenewableLink | None:
        """The first of `renewables`; None if there are none, as for a multipart upload."""
        return next(iter(self.renewables), None)

    @property
    def renewables(self) -> list[RenewableLink]:
        """The links that can be renewed while the job waits, together with others: of a copy, those of both sides."""
        return [side for side in (self.source, self.target) if isinstance(side, RenewableLink)]
