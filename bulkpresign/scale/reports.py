"""Reports of batches that have not ended: what must not be lost with a worker, such as finished parts of an object.

Processes of this machine send them beside their answers. Other executors give one answer alone.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from bulkpresign.events import Event, PartFinished, ResumePointChanged
from bulkpresign.ledger.identity import identity
from bulkpresign.model import Checkpoint
from bulkpresign.transfer.engine.jobs import Job

#: Seconds between two reports.
_INTERVAL = 1.0


class Reporter:
    """Sends the events of a worker. `send` takes encoded ones; None: they wait for the end of the batch."""

    def __init__(self) -> None:
        self.send: Callable[[bytes], object] | None = None
        self._sent_at = time.monotonic()

    def report(self, events: list[Event]) -> None:
        """Sends events, and clears them, unless it is too early."""
        now = time.monotonic()
        if self.send is not None and now - self._sent_at >= _INTERVAL:
            self._sent_at = now
            self.send(msgspec.msgpack.encode(events))
            events.clear()


#: The reporter of this process.
reporter = Reporter()
_events = msgspec.msgpack.Decoder(list[Event])


def decode_events(data: bytes) -> list[Event]:
    """The events of a report."""
    return _events.decode(data)


class Checkpoints:
    """The checkpoints of objects, as the workers of a run reported them."""

    def __init__(self) -> None:
        self._found: dict[str, Checkpoint] = {}

    def note(self, event: Event) -> None:
        """Takes an event."""
        if isinstance(event, ResumePointChanged):
            self._found[identity(event.link)] = Checkpoint(event.point)
        elif isinstance(event, PartFinished) and (before := self._found.get(identity(event.link))) is not None:
            parts = {**before.parts, event.number: event.proof}
            self._found[identity(event.link)] = Checkpoint(before.point, parts)

    def added_to(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs of a lost worker, with what it reported of them."""
        return [msgspec.structs.replace(job, checkpoint=found) if (found := self._of(job)) else job for job in jobs]

    def forget(self, jobs: Sequence[Job]) -> None:
        """Forgets what was reported of jobs that have ended."""
        for job in jobs if self._found else ():
            self._found.pop(identity(job.link), None)

    def _of(self, job: Job) -> Checkpoint | None:
        return self._found.get(identity(job.link)) if self._found else None
