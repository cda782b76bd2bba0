"""Reads objects through links for their digests alone."""

from collections.abc import Callable
from concurrent.futures import Executor

import msgspec

from bulkpresign.events import Event, Listener, ObjectFinished, RunFinished, RunStarted
from bulkpresign.model import Outcome
from bulkpresign.pipeline.run.batches import Batches
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.run import Run
from bulkpresign.transfer.spec import TransferSpec


class ReadPlan(msgspec.Struct):
    """The objects that have to be read, and the bytes that are requested for that, of all sides.

    `over_limit` objects are not read, because the limit does not allow it. `asked` is the number of HEAD requests for
    objects whose listing does not tell enough.
    """

    objects: int = 0
    bytes: int = 0
    over_limit: int = 0
    asked: int = 0


async def read_digests(
    jobs: Batches,
    take: Callable[[Outcome], object],
    emit: Listener,
    config: TransferConfig,
    ca_bundle: str | None,
    *,
    executor: str | Executor | None = None,
) -> None:
    """Runs jobs with a Digest as their target. `take` gets their outcomes, `emit` the other events.

    Raises BreakerError where all objects fail in the same way.
    """

    def listen(event: Event) -> None:
        if isinstance(event, ObjectFinished):
            take(event.outcome)
        elif not isinstance(event, RunStarted | RunFinished):
            emit(event)

    async with Run("verify", config=config, ca_bundle=ca_bundle, listeners=[listen], executor=executor) as run:
        await run.transfer(jobs, TransferSpec())
