"""Finished parts are recorded once their bytes are on the disk, and never before."""

import asyncio
from typing import Any, cast

import pytest

from bulkpresign.errors import StorageError
from bulkpresign.transfer.downloads.part_checkpoints import PartCheckpoints
from tests.scale.processes import wait_until


class Disk:
    """A temporary file on a disk that fails for some time."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    def sync(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageError("the disk fails", code="IoError")


def checkpoints(disk: Disk) -> tuple[PartCheckpoints, list[tuple[int, str]]]:
    recorded: list[tuple[int, str]] = []
    made = PartCheckpoints(cast("Any", disk), lambda number, proof: recorded.append((number, proof)))
    for number in (2, 1):
        made.add(number, f"proof {number}")
    return made, recorded


def test_parts_are_recorded_after_a_sync() -> None:
    made, recorded = checkpoints(Disk())
    assert recorded == []
    asyncio.run(made.close())
    assert recorded == [(2, "proof 2"), (1, "proof 1")]


def test_parts_of_a_sync_that_failed_are_recorded_after_the_next_one() -> None:
    made, recorded = checkpoints(Disk(failures=1))
    with pytest.raises(StorageError):
        asyncio.run(made.sync())
    made.add(3, "proof 3")
    assert recorded == []
    asyncio.run(made.close())
    assert recorded == [(2, "proof 2"), (1, "proof 1"), (3, "proof 3")]


def test_what_a_disk_does_not_take_is_not_recorded() -> None:
    """The attempt ends with its own error, and the next run fetches the parts again."""
    made, recorded = checkpoints(Disk(failures=2))
    asyncio.run(made.close())
    assert recorded == []


def test_one_sync_at_a_time_is_due_and_then_another_one() -> None:
    made, _ = checkpoints(Disk())
    assert made.is_due()
    assert not made.is_due(), "one is on its way"
    asyncio.run(made.sync())
    wait_until(made.is_due)
