"""A listener that collects the outcomes of a run."""

from bulkpresign.events import Event, Listener, ObjectFinished
from bulkpresign.model import Outcome


def heard(outcomes: list[Outcome]) -> Listener:
    """A listener that appends each outcome."""

    def listen(event: Event) -> None:
        if isinstance(event, ObjectFinished):
            outcomes.append(event.outcome)

    return listen
