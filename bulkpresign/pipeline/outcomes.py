"""get_outcomes, put_outcomes, copy_outcomes: the same as get, put and copy, and each object's outcome as it ends."""

from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Any, ParamSpec, cast

from bulkpresign.events import Event, check_listeners, outcomes_in
from bulkpresign.model import Outcome, Report
from bulkpresign.pipeline.copy import copy
from bulkpresign.pipeline.get import get
from bulkpresign.pipeline.put import put
from bulkpresign.pipeline.run.outcomes import OutcomeListener, RunResults

P = ParamSpec("P")


class _Listener(OutcomeListener):
    """Passes outcomes on."""

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        for outcome in outcomes_in(event):
            self.queue.put(outcome)


class Outcomes(RunResults[Outcome]):
    """The outcomes of a run, in the order in which its objects end; an async iterator and an async context.

        async with bp.get_outcomes(links, to="data/") as outcomes:
            async for outcome in outcomes:
                print(outcome.object.uri, outcome.status)
        print(outcomes.report.done)

    Objects that an earlier run completed come as `skipped`. A failed object is an outcome, too. A consumer that is slow
    slows the run: at most `concurrency + 256` outcomes wait. Leaving the loop ends the run: what is done is in the
    journal, no file has its final name before it is whole and verified, and no `.part` file is left, except that of an
    earlier run. `async with`, or `aclose()`, waits until the run has ended; without it that is soon after the loop.
    Raises at the end of the loop what `get`, `put` and `copy` raise.
    """

    def __init__(self, verb: str, run: Callable[[OutcomeListener], Awaitable[Report]]) -> None:
        super().__init__(verb, lambda queue: _Listener(queue, verb), run)


def _outcomes_of(verb: Callable[P, Awaitable[Report]], name: str) -> Callable[P, Outcomes]:
    parameters = signature(verb)
    begin = cast("Callable[..., Awaitable[Report]]", verb)

    def outcomes(*args: P.args, **kwargs: P.kwargs) -> Outcomes:
        try:
            parameters.bind(*args, **kwargs)
        except TypeError as error:  # here, and not in the first step of the loop
            raise TypeError(f"{name}_outcomes() {error}") from None
        settings: dict[str, Any] = dict(kwargs)
        listeners = settings.pop("listeners", ())
        check_listeners(listeners)

        def run(listener: OutcomeListener) -> Awaitable[Report]:
            return begin(*args, **settings, listeners=[*listeners, listener])

        return Outcomes(name, run)

    outcomes.__name__ = outcomes.__qualname__ = f"{name}_outcomes"
    outcomes.__signature__ = parameters.replace(return_annotation=Outcomes)  # type: ignore[attr-defined]
    outcomes.__doc__ = (
        f"The same as `{name}`, and gives each object's Outcome as it ends; see `Outcomes`.\n\n"
        f"Takes what `{name}` takes, and raises what it raises, at the end of the loop."
    )
    return outcomes


get_outcomes = _outcomes_of(get, "get")
put_outcomes = _outcomes_of(put, "put")
copy_outcomes = _outcomes_of(copy, "copy")
