"""The parts of an upload: where their bytes come from, and which of them are stored."""

from typing import Protocol

from bulkpresign.events import Listener, PartFinished, ResumePointChanged
from bulkpresign.model import Checkpoint, Link, ResumePoint, Upload, UploadPart

#: The header that asks for a checksum of an upload in parts.
CHECKSUM_ALGORITHM = "x-amz-checksum-algorithm"


def full_object_headers(algorithm: str) -> dict[str, str]:
    """The headers with which the server computes a checksum of all bytes of an object in parts, by one of COMBINABLE.

    Source: docs "Checking object integrity": only CRCs are of the full object where it is uploaded in parts.
    """
    return {CHECKSUM_ALGORITHM: algorithm.upper(), "x-amz-checksum-type": "FULL_OBJECT"}


class PartSource(Protocol):
    """The bytes of an upload in parts: those of a file, or of an object elsewhere."""

    def note(self, number: int) -> str:
        """A text to record with a part that is stored: by it a later run tells whether the part can still be used."""

    def is_current(self, number: int, note: str) -> bool:
        """True where a part that an earlier run stored has the bytes that the source has now.

        Then the source keeps the digest that the note has.
        """

    def forget(self) -> None:
        """Discards the digests of all parts: other parts are stored instead, whose sizes may differ."""

    async def md5(self, part: UploadPart) -> str | None:
        """The md5 of a part's bytes in hex, None where it is not known."""

    def checksum(self, number: int) -> str | None:
        """The checksum with which a part was stored, as `algorithm:base64`; None: it was stored without one."""

    async def store(self, link: Link, part: UploadPart) -> str | None:
        """Stores a part through its link, in one attempt. Gives its etag. Raises TransferError."""

    def check_unchanged(self) -> None:
        """Raises TransferError where the source changed since the upload began."""


class PartProgress:
    """The uploaded parts of one object: read from the journal, and reported to it by events.

    `link` represents the object in the journal.
    """

    def __init__(self, link: Link, checkpoint: Checkpoint | None, source: PartSource, emit: Listener) -> None:
        self._link, self._emit, self._source = link, emit, source
        self.point = checkpoint.point if checkpoint is not None else None
        #: Etags by part number, without those of parts whose bytes have changed since.
        self.etags: dict[int, str] = {}
        for number, proof in checkpoint.parts.items() if checkpoint is not None else ():
            etag, _, note = proof.partition(" ")
            if source.is_current(number, note):
                self.etags[number] = etag

    @property
    def is_open(self) -> bool:
        """True where an earlier run opened an upload."""
        return self.point is not None and self.point.part_size > 0

    def begin(self, upload: Upload) -> None:
        """Records which upload is open, before anything of it is sent."""
        point = ResumePoint(upload.upload_id, upload.object.size or 0, upload.parts[0].size)
        if point != self.point:
            self.reset(point)

    def reset(self, point: ResumePoint) -> None:
        """Discards the recorded parts; later parts belong to `point`."""
        self.point, self.etags = point, {}
        self._source.forget()
        self._emit(ResumePointChanged(self._link, point))

    def finish(self, number: int, etag: str) -> None:
        """Records that a part is stored."""
        self._emit(PartFinished(self._link, number, f"{etag} {self._source.note(number)}"))
