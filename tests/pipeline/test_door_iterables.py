"""Iterables as programs have them: they clean up, they fail in the middle, they are cancelled, they are empty."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from tests.support.folders import files
from tests.support.iterables import waiting_rows
from tests.support.tables import rows_of

BODIES = {f"{number:02}": os.urandom(100 + number) for number in range(70)}


@pytest.mark.parametrize("way", ["limit", "break", "cancel", "error"])
def test_the_cleanup_of_a_generator_is_not_interrupted(way: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """However the run ends, the generator closes its connection to the end, though that waits."""
    closed: list[bool] = []

    async def main() -> None:
        rows = waiting_rows(refs, closed, 0.05)
        if way == "limit":
            await bp.get(rows, to=tmp_path, limit=5)
            return
        async with bp.get_outcomes(rows, to=tmp_path) as outcomes:
            async for _ in outcomes:
                if way == "break":
                    break
                if way == "error":
                    raise LookupError("of the caller's")
                asyncio.current_task().cancel()  # type: ignore[union-attr]
                await asyncio.sleep(1)

    raised = {"cancel": asyncio.CancelledError, "error": LookupError}.get(way)
    with pytest.raises(raised) if raised else nullcontext():
        asyncio.run(main())
    assert closed == [True]


def test_what_the_cleanup_of_a_generator_raises(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def rows() -> AsyncIterator[bp.ObjectRef]:
        try:
            for ref in refs:
                yield ref
        finally:
            raise LookupError("the database is gone")

    for limit in (5, None):
        with pytest.raises(LookupError, match="the database is gone"):
            asyncio.run(bp.get(rows(), to=tmp_path, limit=limit))


def test_a_cancellation_in_the_input_is_not_its_end(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """A generator that waits for a task which somebody cancels raises CancelledError, and has not given all rows."""

    async def waiting() -> AsyncIterator[bp.ObjectRef]:
        for ref in refs:
            yield ref
        raise asyncio.CancelledError

    def plain() -> Iterator[bp.ObjectRef]:
        yield from refs
        raise asyncio.CancelledError

    for source in (waiting(), plain()):
        with pytest.raises(bp.ManifestError, match="given rows: the iterable ended with CancelledError"):
            asyncio.run(bp.get(source, to=tmp_path))


@pytest.mark.parametrize("shape", ["generator", "async generator", "async lists"])
def test_rows_before_an_error_are_done_or_written(shape: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """The iterable has given them, and can't give them again."""

    def plain() -> Iterator[bp.ObjectRef]:
        yield from refs
        raise LookupError("the database is gone")

    async def waiting() -> AsyncIterator[Any]:
        for number, ref in enumerate(refs):
            if shape == "async generator":
                yield ref
            elif number % 10 == 0:
                yield refs[number : number + 10]
        raise LookupError("the database is gone")

    source: Any = plain() if shape == "generator" else waiting()
    with pytest.raises(LookupError, match="the database is gone"):
        asyncio.run(bp.get(source, to=tmp_path / "data", failures=tmp_path / "failed.csv"))
    failed = {row["key"] for row in rows_of(tmp_path / "failed.csv")}
    assert files(tmp_path / "data").keys() | failed == BODIES.keys()


def test_no_rows(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """An empty list is no error, like an iterable that gives nothing: there may be nothing to do."""
    empty: list[Any] = [[], (), [[]]]
    for rows in empty:
        assert asyncio.run(bp.get(rows, to=tmp_path / "data")).objects == 0
        assert asyncio.run(bp.put(rows, source=tmp_path)).objects == 0
        assert asyncio.run(bp.verify(rows, tmp_path / "data")).is_good

    async def read() -> list[Any]:
        return [pair async for pair in bp.read([])]

    assert asyncio.run(read()) == []
