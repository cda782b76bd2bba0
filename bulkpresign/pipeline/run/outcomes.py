"""Outcomes, and results of other kinds, on their way from a run to the program that consumes them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from bulkpresign.events import Event
from bulkpresign.ledger.tally import Tally
from bulkpresign.model import Outcome, Report
from bulkpresign.pipeline.run.streams import ResultQueue, ResultStream
from bulkpresign.transfer.engine.jobs import Job

T = TypeVar("T")

#: Outcomes that may wait to be consumed, besides one for each object in flight.
_WAITING = 256


class OutcomeListener:
    """A listener that puts results into a queue, so that a slow consumer slows the run.

    It receives every object, also those that an earlier run completed; other listeners receive their number. `waiting`
    results may wait, besides one for each object in flight (None: 256).
    """

    takes_batches = True

    def __init__(self, queue: ResultQueue[Any], verb: str, waiting: int | None = None) -> None:
        self.queue = queue
        self.tally = Tally(verb)
        self.waiting = _WAITING if waiting is None else waiting

    def __call__(self, event: Event) -> None:
        """Counts an event."""
        self.tally(event)

    def is_left(self) -> bool:
        """True where the program has left the run."""
        return self.queue.is_stopped

    async def skip(self, jobs: Sequence[Job]) -> None:
        """Passes on objects that need nothing."""
        for job in jobs:
            await self.queue.reserve()
            self.queue.put(Outcome(job.object, "skipped", attempts=0, link=job.link))


class RunResults(ResultStream[T, Report], Generic[T]):
    """The results of a run as they come, and its report."""

    def __init__(
        self,
        verb: str,
        listen: Callable[[ResultQueue[T]], OutcomeListener],
        run: Callable[[OutcomeListener], Awaitable[Report]],
        *,
        check: Callable[[T], T] | None = None,
    ) -> None:
        """`listen` makes the listener of a queue, and `run` runs with it. `check` may raise instead of a result."""
        self._verb = verb
        self._listeners = listeners = list[OutcomeListener]()

        def start(queue: ResultQueue[T]) -> Awaitable[Report]:  # holds no `self`, whose deletion ends the run
            listeners.append(listen(queue))
            return run(listeners[0])

        super().__init__(start, check=check)

    @property
    def report(self) -> Report:
        """The counts so far; those of the whole run once the loop has ended."""
        if self._work.result is not None:
            return self._work.result
        return self._listeners[0].tally.report if self._listeners else Report(verb=self._verb)
