"""The unit of work: one object, from a source to a target."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bulkpresign.model import Checkpoint, Evidence, Link, ObjectRef, Upload

#: Gives for each link a fresh one for the same object, or None where there is none. Raises LinkExpiredError where it
#: can't give any.
Renew = Callable[[Sequence[Link]], Awaitable[Sequence[Link | None]]]


class RenewableLink(msgspec.Struct, gc=False):
    """A link, and the function that gives fresh ones for it (None: it can't be renewed).

    `link` is the current one: a renewal replaces it.
    """

    link: Link
    renew: Renew | None = None

    @property
    def object(self) -> ObjectRef:
        """The object that the link is for."""
        return self.link.object


class MultipartUpload(msgspec.Struct, frozen=True, gc=False):
    """An object that is uploaded in parts. All links of the upload are renewed by `renew`, each when it expires."""

    upload: Upload
    renew: Renew | None = None

    @property
    def link(self) -> Link:
        """The link that completes the upload, which stands for the object."""
        return self.upload.complete

    @property
    def object(self) -> ObjectRef:
        """The object that the parts become."""
        return self.upload.object


class LocalFile(msgspec.Struct, frozen=True, gc=False):
    """A file below the run's folder; `path` has `/` between segments."""

    path: str


class Memory(msgspec.Struct, frozen=True, gc=False):
    """The program that runs the transfer: it takes the object's bytes."""


class Nothing(msgspec.Struct, frozen=True, gc=False):
    """No bytes: the request itself is the work."""


#: The only values that these two need.
IN_MEMORY, NOTHING = Memory(), Nothing()


class Job(msgspec.Struct, frozen=True, gc=False):
    """One object to move.

    `checkpoint` is what an earlier run left of it; `evidence` how the object and its file were when a run was done.
    """

    source: RenewableLink | LocalFile | Nothing
    target: RenewableLink | MultipartUpload | LocalFile | Memory | Nothing
    checkpoint: Checkpoint | None = None
    evidence: Evidence | None = None

    @property
    def link(self) -> Link:
        """The link that stands for the object, in outcomes and in the journal."""
        remote = self.source if isinstance(self.source, RenewableLink) else self.target
        assert isinstance(remote, RenewableLink | MultipartUpload)  # noqa: S101 - one side is remote
        return remote.link

    @property
    def object(self) -> ObjectRef:
        """The object."""
        return self.link.object

    @property
    def upload(self) -> Upload | None:
        """The multipart upload, where the target is one."""
        return self.target.upload if isinstance(self.target, MultipartUpload) else None

    @property
    def renewable(self) -> RenewableLink | None:
        """The link that is renewed with others of its kind while the job waits. A multipart upload has many."""
        for side in (self.source, self.target):
            if isinstance(side, RenewableLink):
                return side
        return None
