"""What happened in a run, as data. Stages emit events; the ledger and the progress display listen."""

from collections.abc import Callable

import msgspec

from bulkpresign.model import ObjectRef, Outcome, Report


class RunStarted(msgspec.Struct, frozen=True, gc=False):
    """A run began. Totals are None where the source is a stream."""

    verb: str
    objects: int | None = None
    bytes: int | None = None


class BytesMoved(msgspec.Struct, frozen=True, gc=False):
    """`count` bytes went through. Negative: what a failed attempt had moved is taken back."""

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
    """`count` objects need nothing: the journal knows them to be done."""

    count: int


class RunFinished(msgspec.Struct, frozen=True, gc=False):
    """A run ended, whole or not."""

    report: Report


Event = RunStarted | BytesMoved | ObjectRetried | ObjectFinished | ObjectsSkipped | RunFinished
Listener = Callable[[Event], None]
