"""The listeners of a run. One that raises ends the run; what the run has to count is counted all the same."""

from asyncio import CancelledError
from collections.abc import Sequence

import anyio

from bulkpresign.events import (
    Event,
    Listener,
    ObjectFinished,
    ObjectsFinished,
    check_listeners,
    error_of_listener,
)


class RunListeners:
    """Passes events to all listeners, and keeps the first exception that one of them raises.

    Events come from the middle of the work on an object. An exception there would be taken for that object's, and
    outcomes that are told together with it would be lost. So it is kept, and the run raises it. The listener hears no
    more; the others do.

    Outcomes come many at a time. Listeners that don't say that they take them so (`takes_batches`) hear of each object.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        """Raises TypeError for a listener that is none."""
        check_listeners(listeners)
        self._listeners = [one if getattr(one, "takes_batches", False) else _of_each(one) for one in listeners]
        self._error: Exception | None = None
        self._has_failed = anyio.Event()

    def __call__(self, event: Event) -> None:
        """Passes one event on, in the order of the listeners."""
        for listener in self._listeners:
            try:
                listener(event)
            except (Exception, CancelledError) as error:  # noqa: BLE001 - raised again by the run
                self._listeners = [other for other in self._listeners if other is not listener]
                self._error = self._error or error_of_listener(error)
                self._has_failed.set()

    async def watch(self) -> None:
        """Waits for a listener that raises, and raises its exception."""
        await self._has_failed.wait()
        self.check()

    def check(self) -> None:
        """Raises the exception of a listener, if there was one."""
        if self._error is not None:
            raise self._error


def _of_each(listener: Listener) -> Listener:
    """A listener that passes on outcomes one by one."""

    def tell(event: Event) -> None:
        if isinstance(event, ObjectsFinished):
            for outcome in event.outcomes:
                listener(ObjectFinished(outcome))
        else:
            listener(event)

    return tell
