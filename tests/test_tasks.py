"""Groups of tasks that end with one error, as a single call would."""

import asyncio

import anyio
import pytest

from bulkpresign.errors import OutputError
from bulkpresign.tasks import first_error, run_workers, ungrouped


def test_the_first_error_of_nested_groups_is_raised() -> None:
    first = OutputError("first")
    inner = ExceptionGroup("", [first, OutputError("second")])
    assert first_error(ExceptionGroup("", [inner, OutputError("third")])) is first
    with pytest.raises(OutputError, match="first"), ungrouped():
        raise inner


def test_workers_share_their_work_and_the_first_error_ends_them() -> None:
    waiting, done = list(range(100)), []

    async def worker() -> None:
        while waiting:
            number = waiting.pop(0)
            await anyio.lowlevel.checkpoint()
            if number == 6:
                raise OutputError("six")
            done.append(number)

    with pytest.raises(OutputError, match="six"):
        asyncio.run(run_workers(3, worker))
    assert done[:5] == [0, 1, 2, 3, 4]
    assert waiting


def test_an_error_in_the_block_itself_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError), ungrouped():
        raise KeyError
