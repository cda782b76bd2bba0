"""Finished parts of a ranged download, recorded once they are on the disk.

A power cut leaves zeros where bytes were not synced, so a part counts only after a sync.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from math import inf

import anyio
import anyio.to_thread

from bulkpresign.errors import StorageError
from bulkpresign.transfer.disk.temporary import TemporaryFile

#: The pause after a sync, as a multiple of its duration: syncs take a small share of the time.
_SYNC_PAUSE = 20


class PartCheckpoints:
    """The finished parts of one temporary file. `record` gets the number and the proof of each one that is synced."""

    def __init__(self, file: TemporaryFile, record: Callable[[int, str], None]) -> None:
        self._file, self._record = file, record
        self._unsynced: list[tuple[int, str]] = []
        self._sync_at = 0.0

    def add(self, number: int, proof: str) -> None:
        """Adds a part whose bytes are written."""
        self._unsynced.append((number, proof))

    def is_due(self) -> bool:
        """True where it is time for `sync`. The caller then calls it; until it has ended no other one is due."""
        if time.monotonic() < self._sync_at:
            return False
        self._sync_at = inf
        return True

    async def sync(self) -> None:
        """Waits until the parts are on the disk, and records them; several share one wait. Raises StorageError."""
        began = time.monotonic()
        finished, self._unsynced = self._unsynced, []
        try:
            await anyio.to_thread.run_sync(self._file.sync)
        except BaseException:
            self._unsynced = finished + self._unsynced
            raise
        finally:
            ended = time.monotonic()
            self._sync_at = ended + (ended - began) * _SYNC_PAUSE
        for number, proof in finished:
            self._record(number, proof)

    async def close(self) -> None:
        """Syncs and records what is left, also in a task that was cancelled.

        Where the disk fails the parts stay unrecorded, and the next run fetches them again.
        """
        if self._unsynced:
            with anyio.CancelScope(shield=True), suppress(StorageError):
                await self.sync()
