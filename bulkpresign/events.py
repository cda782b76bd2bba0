"""What happened in a run, as data. Stages emit events; the ledger and the progress display listen.

That an event is no instance of another class takes Python longer to say than that it is one; who hears most events
asks for the frequent kinds first, or compares types.
"""

from collections.abc import Callable, Sequence

import msgspec

from bulkpresign.model import Link, ObjectRef, Outcome, Report, ResumePoint


class RunStarted(msgspec.Struct, frozen=True, gc=False):
    """A run began. Totals are None where the source is a stream."""

    verb: str
    objects: int | None = None
    bytes: int | None = None


class BytesMoved(msgspec.Struct, frozen=True, gc=False):
    """`count` bytes went through. Negative: what a failed attempt had moved is taken back."""

    count: int


class BytesResumed(msgspec.Struct, frozen=True, gc=False):
    """`count` bytes of an object were there already, from an earlier run. They are not moved and have no speed.

    Emitted once for an object. Negative: these bytes are discarded, and the object is moved from its start.
    """

    count: int


class RowsRead(msgspec.Struct, frozen=True, gc=False):
    """`count` rows of the input were read and checked; nothing is sent yet."""

    count: int


class ObjectRetried(msgspec.Struct, frozen=True, gc=False):
    """An attempt failed and another follows after `delay` seconds."""

    object: ObjectRef
    attempt: int
    delay: float
    code: str
    message: str


class ObjectFinished(msgspec.Struct, frozen=True, gc=False):
    """An object has its outcome."""

    outcome: Outcome


class ObjectsSkipped(msgspec.Struct, frozen=True, gc=False):
    """`count` objects need nothing: the journal has them as done. `bytes` is the sum of their known sizes."""

    count: int
    bytes: int = 0


class ObjectsSigned(msgspec.Struct, frozen=True, gc=False):
    """`count` links or upload forms were signed and written."""

    count: int


class ResumePointChanged(msgspec.Struct, frozen=True, gc=False):
    """The bytes that are about to be moved belong to `point`. What was recorded of the object before is forgotten."""

    link: Link
    point: ResumePoint


class PartFinished(msgspec.Struct, frozen=True, gc=False):
    """A part is stored where a later run finds it. `proof` is its checksum, or its etag."""

    link: Link
    number: int
    proof: str


class UploadLeftOpen(msgspec.Struct, frozen=True, gc=False):
    """A multipart upload was opened in vain and could not be ended: it keeps what was sent until someone ends it."""

    object: ObjectRef
    upload_id: str


class RunFinished(msgspec.Struct, frozen=True, gc=False):
    """A run ended, whole or not."""

    report: Report


Event = (
    RunStarted
    | RowsRead
    | BytesMoved
    | BytesResumed
    | ObjectRetried
    | ObjectFinished
    | ObjectsSkipped
    | ObjectsSigned
    | ResumePointChanged
    | PartFinished
    | UploadLeftOpen
    | RunFinished
)
Listener = Callable[[Event], None]


def broadcast(listeners: Sequence[Listener]) -> Listener:
    """One listener for several: it tells them all, in their order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell
