"""The listeners of a run. One that raises ends the run; what the run has to count is counted all the same."""

from asyncio import CancelledError
from collections.abc import Sequence

import anyio

from bulkpresign.events import Event, Listener, ObjectFinished, ObjectsFinished, check_listeners, error_of_listener


class RunListeners:
    """Passes events to all listeners, and keeps the first exception that one of them raises.

    Events come from the middle of the work on an object. An exception there would be taken for that object's, and
    outcomes that are told together with it would be lost. So it is kept, and the run raises it. The listener hears no
    more; the others do.

    Outcomes come many at a time. Those listeners that take them so hear of all of them; then the others hear of each,
    one after another.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        """Raises TypeError for a listener that is none."""
        check_listeners(listeners)
        self._of_batches = [listener for listener in listeners if _takes_batches(listener)]
        self._of_each = [listener for listener in listeners if not _takes_batches(listener)]
        self._error: Exception | None = None
        self._has_failed = anyio.Event()

    def __call__(self, event: Event) -> None:
        """Passes one event on, in the order of the listeners."""
        self._tell(self._of_batches, event)
        if not isinstance(event, ObjectsFinished):
            self._tell(self._of_each, event)
        elif self._of_each:
            for outcome in event.outcomes:
                self._tell(self._of_each, ObjectFinished(outcome))

    def _tell(self, listeners: list[Listener], event: Event) -> None:
        for listener in tuple(listeners):
            try:
                listener(event)
            except (Exception, CancelledError) as error:  # noqa: BLE001 - raised again by the run
                listeners[:] = [other for other in listeners if other is not listener]
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


def _takes_batches(listener: Listener) -> bool:
    return bool(getattr(listener, "takes_batches", False))
