"""The events of a run. The stages emit events; the ledger and the progress display listen to them.

In Python, a failing `isinstance` is slower than a succeeding one. Listeners test for the frequent events first, or
compare types.
"""

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction

import msgspec

from bulkpresign.model import Link, ObjectRef, Outcome, Report, ResumePoint


class RunStarted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A run started. The totals are None if the source is a stream."""

    verb: str
    objects: int | None = None
    bytes: int | None = None


class BytesMoved(msgspec.Struct, frozen=True, gc=False, tag=True):
    """`count` bytes were moved. A failed attempt subtracts its bytes with a negative count."""

    count: int


class BytesResumed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """`count` bytes of an object exist from an earlier run. They are not moved and do not count in rates.

    Emitted once for an object. A negative count discards these bytes: the object is moved from its start.
    """

    count: int


class RowsRead(msgspec.Struct, frozen=True, gc=False, tag=True):
    """`count` rows of the input were read and checked. No request was sent yet."""

    count: int


class ObjectRetried(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An attempt failed. The next one starts after `delay` seconds."""

    object: ObjectRef
    attempt: int
    delay: float
    code: str
    message: str


class ObjectFinished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """An object has its outcome."""

    outcome: Outcome


class ObjectsFinished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Objects have their outcomes: many small objects of a transfer at a time.

    Listeners with a true attribute `takes_batches` receive it, the others an ObjectFinished for each object. What does
    not transfer, such as `verify`, emits ObjectFinished alone; `outcomes_in` reads both.
    """

    outcomes: Sequence[Outcome]


class ReadBackFailed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A copy could not be read for its certificate. `outcome` is that of the read; the copy has its own."""

    outcome: Outcome


class TagsDropped(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A copy may lack the tags of its object: it was sent without, or its server may have ignored them."""

    object: ObjectRef


class ObjectsSkipped(msgspec.Struct, frozen=True, gc=False, tag=True):
    """`count` objects were skipped, because they are done in the journal. `bytes` is the sum of their known sizes."""

    count: int
    bytes: int = 0


class SourceEnded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The source of a run has no more objects. `objects` are those to move, without those that were skipped before.

    `bytes` is the sum of their sizes, None if one is unknown.
    """

    objects: int
    bytes: int | None


class ObjectsSigned(msgspec.Struct, frozen=True, gc=False, tag=True):
    """`count` links or upload forms were signed and written."""

    count: int


class ResumePointChanged(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The bytes that are about to be moved belong to `point`. Earlier records of the object are discarded."""

    link: Link
    point: ResumePoint


class PartFinished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A part is stored where a later run finds it. `proof` is its checksum, or its etag."""

    link: Link
    number: int
    proof: str


class LoadMeasured(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The load of a run now: requests that are allowed and in flight, and what bounds the run.

    `bound_by` is one of `latency`, `connection`, `capacity`, `throttled`, `cpu`, `disk`, `rate limit`, `requests`;
    `latency` is in seconds, None until a response came.
    """

    limit: int
    in_flight: int
    bound_by: str
    latency: float | None


class UploadLeftOpen(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A multipart upload was created, not completed, and could not be aborted. The server stores its parts."""

    object: ObjectRef
    upload_id: str


class RunFinished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A run ended, completely or early."""

    report: Report


Event = (
    RunStarted
    | RowsRead
    | BytesMoved
    | BytesResumed
    | ObjectRetried
    | ObjectFinished
    | ObjectsFinished
    | ReadBackFailed
    | TagsDropped
    | ObjectsSkipped
    | SourceEnded
    | ObjectsSigned
    | ResumePointChanged
    | PartFinished
    | LoadMeasured
    | UploadLeftOpen
    | RunFinished
)
Listener = Callable[[Event], None]


def outcomes_in(event: Event) -> Sequence[Outcome]:
    """The outcomes that an event tells, of one object or of many; none for other events."""
    if isinstance(event, ObjectsFinished):
        return event.outcomes
    return [event.outcome] if isinstance(event, ObjectFinished) else ()


def check_listeners(listeners: Sequence[Listener]) -> None:
    """Raises TypeError for a listener that can't be called, and for a coroutine function, which nothing would await.

    Also for one listener that is not in a list, and for a generator, which could be read only once.
    """
    if callable(listeners):
        raise TypeError("listeners is a list of functions, not one")
    if not isinstance(listeners, Sequence):
        raise TypeError(f"listeners is a list of functions, not {type(listeners).__name__}")
    for listener in listeners:
        if not callable(listener):
            raise TypeError(f"a listener is a function that is called with each event, not {type(listener).__name__}")
        if iscoroutinefunction(listener) or iscoroutinefunction(type(listener).__call__):
            raise TypeError("a listener is a coroutine function, which nothing awaits: take a plain function")


def broadcast(listeners: Sequence[Listener]) -> Listener:
    """A listener that forwards each event to several listeners, in order. Raises TypeError for one that is none."""
    check_listeners(listeners)

    def tell(event: Event) -> None:
        try:
            for listener in listeners:
                listener(event)
        except (CancelledError, StopAsyncIteration) as error:
            raise error_of_listener(error) from error

    return tell


def error_of_listener(error: Exception | CancelledError) -> Exception:
    """The error that a run raises for one of a listener.

    A listener may ask a future that was cancelled. Passed on as it is, its CancelledError would end a task of the run
    without a trace, and StopAsyncIteration would end the caller's loop.
    """
    if not isinstance(error, CancelledError | StopAsyncIteration):
        return error
    raised = RuntimeError(f"a listener raised {type(error).__name__}")
    raised.__cause__ = error
    return raised
