"""Reads objects through links for their digests alone."""

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import msgspec

from bulkpresign.events import Event, Listener, ObjectFinished, RunFinished, RunStarted
from bulkpresign.model import Outcome
from bulkpresign.pipeline.run.batches import Batches
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.part_sizes import ask_part_size
from bulkpresign.pipeline.run.run import Run
from bulkpresign.pipeline.sources.renewals import ChecksumMode
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.spec import TransferSpec


class ReadPlan(msgspec.Struct):
    """The objects that have to be read, and the bytes that are requested for that, of all sides.

    `over_limit` objects are not read, because the limit does not allow it. `asked` objects were asked for by HEAD,
    because their listing does not tell enough.
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
    presigner: Presigner | None = None,
    checksum_mode: ChecksumMode | None = None,
) -> None:
    """Runs jobs with a Digest as their target. `take` gets their outcomes, `emit` the other events.

    `presigner` asks for the sizes of the parts of objects. `checksum_mode` is that of the links. Raises BreakerError
    where all objects fail in the same way.
    """

    def listen(event: Event) -> None:
        if isinstance(event, ObjectFinished):
            take(event.outcome)
        elif not isinstance(event, RunStarted | RunFinished):
            emit(event)

    def coordinator(context: TransferContext) -> Coordinator:
        ask = None if presigner is None else partial(ask_part_size, presigner, context.http)
        refuse = None if checksum_mode is None else checksum_mode.refuse
        return Coordinator(ask_part_size=ask, refuse_checksum_mode=refuse)

    async with Run("verify", config=config, ca_bundle=ca_bundle, listeners=[listen], executor=executor) as run:
        await run.transfer(jobs, TransferSpec(), coordinator)
