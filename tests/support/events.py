"""Outcomes and retries among the events of a run."""

from collections.abc import Iterable

from bulkpresign.events import Event, Listener, ObjectRetried, outcomes_in
from bulkpresign.model import Outcome


def outcomes_of(events: Iterable[Event]) -> list[Outcome]:
    return [outcome for event in events for outcome in outcomes_in(event)]


def retries_of(events: Iterable[Event]) -> list[ObjectRetried]:
    return [event for event in events if isinstance(event, ObjectRetried)]


def heard(outcomes: list[Outcome]) -> Listener:
    """A listener that appends each outcome."""
    return lambda event: outcomes.extend(outcomes_of([event]))
