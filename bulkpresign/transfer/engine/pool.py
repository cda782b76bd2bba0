"""Workers whose number follows the limiter."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.abc

from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.engine.limiter import RequestLimiter

#: Workers that a run begins with. More only begin while slots for requests are free, so large objects, whose parts fill
#: the slots, are not opened by the hundred.
INITIAL_WORKERS = 64


#: Moves one object after another, as long as the function says so. Returns True where no object is left.
Worker = Callable[[Callable[[], bool]], Coroutine[Any, Any, bool]]


class WorkerPool:
    """Runs at most `most` workers; with `is_fixed`, exactly as many."""

    def __init__(self, limiter: RequestLimiter, most: int, worker: Worker, *, is_fixed: bool = False) -> None:
        self._limiter, self._worker = limiter, worker
        self._most, self._is_fixed = most, is_fixed
        self._count = 0
        self._has_ended = False
        self._group: anyio.abc.TaskGroup

    async def run(self) -> None:
        """Runs until no object is left. The first error ends all workers, and is raised."""
        with self._limiter.watched(self._grow), ungrouped():
            async with anyio.create_task_group() as offers:
                offers.start_soon(self._limiter.offer_slots)
                async with anyio.create_task_group() as self._group:
                    self._start(self._most if self._is_fixed else min(self._most, INITIAL_WORKERS))
                offers.cancel_scope.cancel()

    def _grow(self) -> None:
        """Starts workers for slots that are free."""
        if not (self._is_fixed or self._has_ended or self._group.cancel_scope.cancel_called):
            self._start(min(self._most - self._count, self._limiter.free))

    def _start(self, count: int) -> None:
        for _ in range(count):
            self._count += 1
            self._group.start_soon(self._work)

    async def _work(self) -> None:
        try:
            self._has_ended |= await self._worker(self._is_needed)
        finally:
            self._count -= 1

    def _is_needed(self) -> bool:
        """False where fewer workers would do: the one that asks should return."""
        return self._is_fixed or self._count <= self._limiter.controller.limit
