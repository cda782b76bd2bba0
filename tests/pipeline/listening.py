"""Listeners that collect what a run reports."""

from bulkpresign.events import Event, Listener, ObjectFinished, ReadBackFailed
from bulkpresign.model import Outcome


def heard(outcomes: list[Outcome]) -> Listener:
    """A listener that appends each outcome."""

    def listen(event: Event) -> None:
        if isinstance(event, ObjectFinished):
            outcomes.append(event.outcome)

    return listen


def heard_unread(outcomes: list[Outcome]) -> Listener:
    """A listener that appends the outcome of each copy that can't be read for its certificate."""

    def listen(event: Event) -> None:
        if isinstance(event, ReadBackFailed):
            outcomes.append(event.outcome)

    return listen
