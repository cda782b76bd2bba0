"""The number of workers."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from bulkpresign.errors import OutputError
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.pool import WorkerPool


def test_no_worker_begins_in_a_pool_that_ends() -> None:
    """The workers that an error ends give their slots back, which are free then. A cancelled group ends nobody new."""
    begun = 0
    limiter = RequestLimiter(ConcurrencyController(initial=4, minimum=4))

    async def worker(_: Callable[[], bool]) -> bool:
        nonlocal begun
        begun += 1
        if begun == 2:
            raise OutputError("the disk is full")
        try:
            await anyio.sleep_forever()
        finally:
            limiter.controller.limit += 1
            limiter.wake()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
        return True

    with pytest.raises(OutputError):
        asyncio.run(asyncio.wait_for(WorkerPool(limiter, 2, worker).run(), 10))
    assert begun == 2
