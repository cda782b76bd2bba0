"""A run that ends early: every row that it was given is done, or in the failures file, whatever ended it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from msgspec import structs

import bulkpresign as bp
from tests.support.folders import write_all
from tests.support.tables import rows_of
from tests.support.uploads import PART

BODIES = {f"{number:02}": os.urandom(100 + number) for number in range(20)}
ROWS = 1100
#: The rows that a program is asked for, or the objects that are done, before the run ends: after it has begun.
AT = 400
#: Rows in each list that an iterable gives.
LIST = 150


class Early:
    """Ends a run, by `end` or once `at_done` objects are done."""

    def __init__(self, way: str, at_done: int | None = None) -> None:
        self._way, self._at_done = way, at_done
        self._is_over = False
        self._cancel: Callable[[], object]
        self.done: list[str] = []

    @property
    def listeners(self) -> list[bp.Listener]:
        return [self._count, self._listen]

    def _count(self, event: bp.Event) -> None:
        if isinstance(event, bp.ObjectFinished) and event.outcome.status == "done":
            self.done.append(event.outcome.object.file_path)

    def _listen(self, event: bp.Event) -> None:
        if len(self.done) == self._at_done:
            self.end()
        if self._is_over and self._way == "listener":
            raise LookupError("the dashboard is gone")

    def end(self) -> None:
        self._is_over = True
        if self._way != "listener":
            self._cancel()

    async def run(self, verb: Callable[[], Any]) -> None:
        """Runs a verb until it is ended."""
        if self._way == "anyio":
            with anyio.CancelScope() as scope:
                self._cancel = scope.cancel
                await verb()
            assert scope.cancelled_caught
            return
        task = asyncio.ensure_future(verb())
        self._cancel = task.cancel
        with pytest.raises((asyncio.CancelledError, LookupError)):
            await task


class Given:
    """Rows in one of the shapes of a program's iterables. Takes note of those that were given."""

    def __init__(self, rows: Sequence[Any], *, at: int | None = None, then: Callable[[], object] = bool) -> None:
        """`then` is called when row `at` is given."""
        self._rows, self._at, self._then = rows, at, then
        self.paths: list[str] = []

    def _give(self, row: Any) -> Any:
        self.paths.append(row.file_path if isinstance(row, bp.ObjectRef) else row.object.file_path)
        if len(self.paths) == self._at:
            self._then()
        return row

    def plain(self) -> Iterator[Any]:
        for row in self._rows:
            yield self._give(row)

    def lists(self) -> Iterator[Any]:
        for start in range(0, len(self._rows), LIST):
            yield [self._give(row) for row in self._rows[start : start + LIST]]

    async def waiting(self) -> AsyncIterator[Any]:
        for row in self._rows:
            await asyncio.sleep(0)
            yield self._give(row)

    async def waiting_lists(self) -> AsyncIterator[Any]:
        for start in range(0, len(self._rows), LIST):
            await asyncio.sleep(0)
            yield [self._give(row) for row in self._rows[start : start + LIST]]

    def in_shape(self, shape: str, presigner: bp.Presigner, method: Literal["GET", "PUT"] = "GET") -> Any:
        if shape == "list":
            return list(self.plain())
        shapes: dict[str, Callable[[], Any]] = {
            "generator": self.plain,
            "lists": self.lists,
            "async generator": self.waiting,
            "async lists": self.waiting_lists,
            "presigner.sign": lambda: presigner.sign(self.waiting(), method, batch_size=50),
        }
        return shapes[shape]()


SHAPES = ["generator", "lists", "async generator", "async lists"]
WAYS = ["cancel", "anyio", "listener"]


def many(refs: Sequence[bp.ObjectRef]) -> list[bp.ObjectRef]:
    """Objects with paths of their own."""
    return [bp.ObjectRef(refs[n % len(refs)].bucket, refs[n % len(refs)].key, path=f"{n:04}") for n in range(ROWS)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("moment", ["given", "done"])
@pytest.mark.parametrize(
    ("shape", "kind"), [*product(["list", *SHAPES], ["object", "link"]), ("presigner.sign", "object")]
)
def test_each_row_is_done_or_a_failure(
    shape: str, kind: str, moment: str, way: str, refs: list[bp.ObjectRef], tmp_path: Path
) -> None:
    """An iterable can't give again those that the run has read, so none may be lost in it."""
    by_done = moment == "done" or shape == "list"
    failures, early = tmp_path / "failures.csv", Early(way, 10 if by_done else None)

    async def main() -> list[str]:
        async with bp.Presigner() as presigner:
            rows: Sequence[Any] = many(refs) if kind == "object" else presigner.sign_batch(many(refs))
            given = Given(rows, at=None if by_done else AT, then=early.end)
            source = given.in_shape(shape, presigner)
            await early.run(
                lambda: bp.get(
                    source,
                    to=tmp_path / "data",
                    failures=failures,
                    listeners=early.listeners,
                    concurrency=4,
                    presigner=presigner,
                )
            )
            return given.paths

    paths = asyncio.run(main())
    failed = rows_of(failures)
    assert sorted(early.done + [row["path"] for row in failed]) == paths
    assert {row["reason"].partition(":")[0] for row in failed} == {"Interrupted"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ["list", "async generator", "presigner.sign"])
@pytest.mark.parametrize("verb", ["put", "copy"])
def test_each_row_of_the_other_verbs(verb: str, shape: str, way: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    failures, early = tmp_path / "failures.csv", Early(way, 10)
    rows = many(refs) if verb == "copy" else [structs.replace(ref, key=f"in/{ref.path}") for ref in many(refs)]

    async def main() -> list[str]:
        async with bp.Presigner() as presigner:
            are_links = verb == "put" and shape != "presigner.sign"
            given = Given(presigner.sign_batch(rows, "PUT") if are_links else rows)
            source = given.in_shape(shape, presigner, "PUT" if verb == "put" else "GET")
            settings: dict[str, Any] = {"failures": failures, "listeners": early.listeners, "concurrency": 4}
            if verb == "put":
                await early.run(lambda: bp.put(source, tmp_path / "in", **settings))
            else:
                to = f"s3://{rows[0].bucket}/copies/"
                await early.run(lambda: bp.copy(source, to, journal=tmp_path / "journal", **settings))
            return given.paths

    (tmp_path / "in").mkdir()
    for row in rows:
        (tmp_path / "in" / row.file_path).write_bytes(b"a")
    paths = asyncio.run(main())
    assert sorted(early.done + [row["path"] for row in rows_of(failures)]) == paths


@pytest.mark.parametrize("shape", ["list", *SHAPES])
def test_each_row_is_a_failure_where_the_run_is_broken(shape: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with bp.Presigner() as presigner:
            links = presigner.sign_batch(many(refs))
            given = Given([structs.replace(link, url=link.url.replace("Signature=", "Signature=0")) for link in links])
            with pytest.raises(bp.BreakerError):
                await bp.get(given.in_shape(shape, presigner), to=tmp_path / "data", failures=tmp_path / "failures.csv")
            return given.paths

    paths = asyncio.run(main())
    assert sorted(row["path"] for row in rows_of(tmp_path / "failures.csv")) == paths


def test_an_upload_of_which_rows_are_missing_is_no_error_then(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """The run ended before the iterable gave the other rows: that is not its mistake, and not the reason of the end."""
    early = Early("cancel")
    large = bp.ObjectRef(refs[0].bucket, "large", size=2 * PART)

    async def rows(presigner: bp.Presigner) -> AsyncIterator[bp.Link]:
        for link in presigner.sign_batch(refs, "PUT"):
            yield link
        yield presigner.sign_upload(large, "id", PART).links[0]
        early.end()
        await asyncio.Event().wait()

    async def main() -> None:
        async with bp.Presigner() as presigner:
            source = rows(presigner)
            settings: dict[str, Any] = {"failures": tmp_path / "failures.csv", "listeners": early.listeners}
            await early.run(lambda: bp.put(source, tmp_path / "in", **settings))

    write_all(tmp_path / "in", BODIES)
    asyncio.run(main())
    assert sorted(early.done + [row["path"] for row in rows_of(tmp_path / "failures.csv")]) == list(BODIES)


def test_a_row_that_a_generator_gives_after_its_cancellation(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    early = Early("cancel", 2)
    closed = []

    async def rows() -> AsyncIterator[bp.ObjectRef]:
        try:
            for ref in refs[:2]:
                yield ref
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            for ref in refs[2:]:
                yield ref
        finally:
            closed.append(True)

    async def main() -> None:
        source, failures = rows(), tmp_path / "failures.csv"
        await early.run(lambda: bp.get(source, tmp_path / "data", failures=failures, listeners=early.listeners))

    asyncio.run(main())
    assert [row["key"] for row in rows_of(tmp_path / "failures.csv")] == ["02"]
    assert (sorted(early.done), closed) == (["00", "01"], [True])


@pytest.mark.parametrize("shape", ["list", *SHAPES, "presigner.sign"])
def test_each_row_of_a_loop_that_is_left(shape: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    early = Early("none")

    async def main() -> list[str]:
        async with bp.Presigner() as presigner:
            given = Given(many(refs))
            settings: dict[str, Any] = {"failures": tmp_path / "failures.csv", "listeners": early.listeners}
            source = given.in_shape(shape, presigner)
            async with bp.get_outcomes(source, to=tmp_path / "data", presigner=presigner, **settings) as outcomes:
                async for _ in outcomes:
                    if len(early.done) >= 10:
                        break
            return given.paths

    paths = asyncio.run(main())
    assert sorted(early.done + [row["path"] for row in rows_of(tmp_path / "failures.csv")]) == paths
