"""Hashes an object in order while its parts arrive in any order, for digests that can't be combined from parts."""

from collections.abc import Callable

import anyio
import anyio.to_thread

from bulkpresign.checksums import Verifier
from bulkpresign.transfer.downloads.ranges import RangePlan
from bulkpresign.transfer.downloads.sink import Sink

#: Parts are fetched at most so many bytes before the hash: they are then read back from memory, not from the disk.
MOST_AHEAD = 512 << 20
#: Bytes that are hashed in one call in a thread, if so many are there.
_STEP_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20


class OrderedHash:
    """Follows the parts of an object: hashes the bytes from its start, as far as all of them are in the file.

    It reads them back from the file, so what waits to be hashed takes no memory. Calls `on_progress` after each step,
    when more parts may be taken.
    """

    def __init__(self, plan: RangePlan, sink: Sink, on_progress: Callable[[], None]) -> None:
        self.verifier = Verifier(plan.expected)
        self._plan, self._sink, self._on_progress = plan, sink, on_progress
        plan.bound = MOST_AHEAD
        self._has_more = anyio.Event()
        self._is_closed = False

    def update(self) -> None:
        """Call it when bytes were written: hashing goes on where enough of them are there."""
        if not self._has_more.is_set() and self._is_due(self._plan.reach):
            self._has_more.set()

    def close(self) -> None:
        """Ends `run` early: the object will not be complete."""
        self._is_closed = True
        self._has_more.set()

    async def run(self) -> None:
        """Hashes to the end of the object, unless it is closed before. Raises StorageError."""
        plan, verifier = self._plan, self.verifier
        while verifier.bytes < plan.size and not self._is_closed:
            reach = plan.reach
            if self._is_due(reach):
                await anyio.to_thread.run_sync(self._hash, min(reach, verifier.bytes + _STEP_BYTES))
                plan.bound = verifier.bytes + MOST_AHEAD
                self._on_progress()
            else:
                self._has_more = anyio.Event()
                await self._has_more.wait()

    def _is_due(self, reach: int) -> bool:
        return reach >= min(self.verifier.bytes + _STEP_BYTES, self._plan.size)

    def _hash(self, end: int) -> None:
        verifier = self.verifier
        while verifier.bytes < end:
            verifier.update(self._sink.read_at(verifier.bytes, min(_BLOCK_BYTES, end - verifier.bytes)))
