"""Outcomes and retries among the events of a run."""

from collections.abc import Iterable

from bulkpresign.events import Event, Listener, ObjectFinished, ObjectRetried, ObjectsFinished
from bulkpresign.model import Outcome


def outcomes_of(events: Iterable[Event]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for event in events:
        if isinstance(event, ObjectsFinished):
            outcomes += event.outcomes
        elif isinstance(event, ObjectFinished):
            outcomes.append(event.outcome)
    return outcomes


def retries_of(events: Iterable[Event]) -> list[ObjectRetried]:
    return [event for event in events if isinstance(event, ObjectRetried)]


def heard(outcomes: list[Outcome]) -> Listener:
    """A listener that appends each outcome."""
    return lambda event: outcomes.extend(outcomes_of([event]))
