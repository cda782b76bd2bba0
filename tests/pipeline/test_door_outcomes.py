"""Outcomes as they come: bounded, ended where the loop is left, with the report at the end."""

import asyncio
import inspect
import itertools
import os
import pydoc
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

import bulkpresign as bp
from tests.conftest import Boto
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.servers.server import S3Server
from tests.support.folders import files
from tests.support.iterables import waiting_rows

BODIES = {f"{number}": os.urandom(100 + number) for number in range(40)}
Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


def on_uvloop(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return anyio.run(main, backend_options={"use_uvloop": True})


def on_asyncio(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


@pytest.fixture(params=[on_asyncio, on_uvloop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on each of the loops."""
    if request.param is on_uvloop and sys.platform == "win32":
        pytest.skip("there is no uvloop here")
    found: Run = request.param
    return found


def others() -> set["asyncio.Task[Any]"]:
    """All tasks but this one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def settled() -> None:
    """Waits until no task but this one is left."""
    while others():
        await asyncio.sleep(0.005)


def test_every_object_has_its_outcome(run: Run, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def main() -> None:
        gone = bp.ObjectRef(refs[0].bucket, "gone")
        outcomes = bp.get_outcomes([*refs, gone], to=tmp_path / "data")
        found = [outcome async for outcome in outcomes]
        assert {outcome.object.key for outcome in found} == {*BODIES, "gone"}
        assert {outcome.object.key for outcome in found if outcome.status == "failed"} == {"gone"}
        assert (outcomes.report.done, outcomes.report.failed) == (len(BODIES), 1)
        async with bp.get_outcomes(refs, to=tmp_path / "data") as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["skipped"] * len(BODIES)
        assert (outcomes.report.done, outcomes.report.skipped) == (0, len(BODIES))
        assert not others()

    run(main)
    assert files(tmp_path / "data") == BODIES


def test_a_table_that_is_done_gives_outcomes_as_well(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def main() -> None:
        await bp.sign(f"s3://{refs[0].bucket}/", tmp_path / "links.csv")
        for status in ("done", "skipped"):
            outcomes = bp.get_outcomes(tmp_path / "links.csv", to=tmp_path / "data")
            assert [outcome.status async for outcome in outcomes] == [status] * len(BODIES)

    asyncio.run(main())


def test_put_outcomes(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    for key, body in BODIES.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / key).write_bytes(body)

    async def main() -> None:
        async with bp.Presigner() as presigner:
            links = presigner.sign(refs, method="PUT")
            outcomes = bp.put_outcomes(links, source=tmp_path / "in")
            assert {outcome.status async for outcome in outcomes} == {"done"}
            outcomes = bp.put_outcomes(tmp_path / "in", f"s3://{refs[0].bucket}/up/", presigner=presigner)
            assert {outcome.status async for outcome in outcomes} == {"done"}
        assert outcomes.report.done == len(BODIES)

    asyncio.run(main())


@pytest.mark.parametrize("way", ["break", "error", "cancel"])
def test_leaving_the_loop_ends_the_run(run: Run, way: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """Nothing goes on, though the iterator is still held; what was done is whole and in the journal."""

    async def loop(outcomes: bp.Outcomes) -> None:
        async for outcome in outcomes:
            assert outcome.status == "done"
            if way == "break":
                break
            if way == "error":
                raise LookupError("of the caller's")
            taken.set()

    taken = asyncio.Event()
    first = f"/{refs[0].bucket}/{refs[0].key}?"

    async def main() -> None:
        with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
            proxy.schedule = lambda seen: None if seen.target.startswith(first) else Fault(hold_after=10)
            outcomes = bp.get_outcomes(refs, to=tmp_path / "data", endpoint_url=proxy.url, concurrency=4)
            task = asyncio.create_task(loop(outcomes))
            if way == "cancel":
                await taken.wait()
                await asyncio.sleep(0.01)
                task.cancel()
            assert isinstance(
                (await asyncio.gather(task, return_exceptions=True))[0],
                {"break": type(None), "error": LookupError, "cancel": asyncio.CancelledError}[way],
            )
            await settled()
            assert outcomes.report.done == 1
            assert len(files(tmp_path / "data")) == 1
        report = await bp.get(refs, to=tmp_path / "data", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        assert report.done + report.skipped == len(BODIES)

    run(main)
    assert files(tmp_path / "data") == BODIES


@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
@pytest.mark.parametrize("parts", [4, 1])
def test_nothing_is_left_of_a_large_object(
    run: Run, parts: int, begun: bool, refs: list[bp.ObjectRef], boto: Boto, seaweedfs: S3Server, tmp_path: Path
) -> None:
    """Some of it comes, and then nothing more. Only the bytes of an earlier run stay, for the next one."""
    large = bp.ObjectRef(refs[0].bucket, "large")
    boto(seaweedfs).put_object(Bucket=large.bucket, Key=large.key, Body=bytes(4 << 20))
    settings: dict[str, Any] = {"to": tmp_path / "data", "part_size": (4 << 20) // parts, "part_concurrency": 1}

    def only_a_part(fault: Fault) -> Callable[[Seen], Fault | None]:
        seen = itertools.count(1)
        return lambda request: fault if "/large" in request.target and next(seen) >= parts - 1 else None

    async def main() -> None:
        with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
            settings["endpoint_url"] = proxy.url
            if begun:
                proxy.schedule = only_a_part(Fault(cut_after=3 << 18))
                assert (await bp.get([large], attempts=1, **settings)).failed == 1
                assert len(files(tmp_path / "data")) == 1
            proxy.schedule = only_a_part(Fault(hold_after=3 << 18))
            async with bp.get_outcomes([large, refs[0]], **settings) as outcomes:
                async for _ in outcomes:
                    while sum(map(len, files(tmp_path / "data").values())) < 1 << 19:
                        await asyncio.sleep(0.01)
                    await asyncio.sleep(0.2)
                    break

    run(main)
    assert len(files(tmp_path / "data")) == (2 if begun else 1)


def test_with_waits_until_the_run_has_ended(run: Run, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def main() -> None:
        async with bp.get_outcomes(refs, to=tmp_path / "data", concurrency=2) as outcomes:
            async for _ in outcomes:
                break
        assert not others()
        assert [outcome async for outcome in outcomes] == []
        never = bp.get_outcomes(refs, to=tmp_path / "none")
        await never.aclose()
        assert [outcome async for outcome in never] == []
        assert not (tmp_path / "none").exists()

    run(main)


def test_with_waits_for_a_run_that_is_ending(run: Run, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """The loop is left, and the run is still closing what it reads when the block ends."""
    closed: list[bool] = []

    async def main() -> None:
        async with bp.get_outcomes(waiting_rows(refs, closed, 0.2), to=tmp_path / "data") as outcomes:
            async for _ in outcomes:
                break
            await asyncio.sleep(0.05)
        assert not others()
        assert closed

    run(main)


@pytest.mark.parametrize("verb", ["get_outcomes", "get"])
def test_a_second_cancellation_waits_for_the_end_as_well(
    run: Run, verb: str, refs: list[bp.ObjectRef], tmp_path: Path
) -> None:
    """The run went on in its own task, with its journal locked, or the cleanup of its input did."""
    closed: list[bool] = []
    rows = waiting_rows(refs, closed, 0.3)

    async def work() -> None:
        if verb == "get":
            await bp.get(rows, to=tmp_path / "data")
            return
        async with bp.get_outcomes(rows, to=tmp_path / "data") as outcomes:
            async for _ in outcomes:
                pass

    async def main() -> None:
        task = asyncio.create_task(work())
        while len(files(tmp_path / "data")) < len(BODIES):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed
        assert not others()
        assert (await bp.get(refs, to=tmp_path / "data")).objects == len(BODIES)

    run(main)


@pytest.mark.parametrize("begin", [lambda outcomes: outcomes, aiter])
def test_dropping_the_iterator_ends_the_run(
    run: Run, begin: Callable[[Any], Any], refs: list[bp.ObjectRef], tmp_path: Path
) -> None:
    async def main() -> None:
        outcomes = begin(bp.get_outcomes(refs, to=tmp_path / "data", concurrency=2, limit_rate=1000))
        assert (await anext(outcomes)).status == "done"
        assert others()
        del outcomes
        await settled()
        assert len(files(tmp_path / "data")) < len(BODIES)

    run(main)


def test_a_consumer_that_is_slow_slows_the_run(
    refs: list[bp.ObjectRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkpresign.pipeline.run.outcomes._WAITING", 3)

    async def main() -> None:
        with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
            outcomes = bp.get_outcomes(refs, to=tmp_path / "data", endpoint_url=proxy.url, concurrency=2)
            taken = 0
            async for _ in outcomes:
                taken += 1
                await asyncio.sleep(0.02)
                assert proxy.count <= taken + 2 + 3
            assert taken == len(BODIES)
            # the same where all of them are done, and nothing is sent
            async with bp.get_outcomes(refs, to=tmp_path / "data", endpoint_url=proxy.url, concurrency=2) as outcomes:
                async for outcome in outcomes:
                    assert outcome.status == "skipped"
                    break

    asyncio.run(main())


def test_what_ends_a_run_is_raised_at_the_end_of_the_loop(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def main() -> None:
        outcomes = bp.get_outcomes([*refs[:2], refs[0]], to=tmp_path / "data")
        with pytest.raises(bp.ManifestError, match="is the path of"):
            _ = [outcome async for outcome in outcomes]
        with pytest.raises(TypeError, match="row 1 is an int"):
            async for _ in bp.get_outcomes(iter([1]), to=tmp_path / "data"):  # type: ignore[arg-type]
                pass
        with pytest.raises(bp.ParameterError, match="concurrency of 0 is not at least 1"):
            await anext(bp.get_outcomes(refs, to=tmp_path, concurrency=0))
        await settled()

    asyncio.run(main())


@pytest.mark.parametrize("way", ["timeout", "break", "other task"])
def test_a_loop_does_not_end_normally_where_results_are_missing(
    run: Run, way: str, refs: list[bp.ObjectRef], tmp_path: Path
) -> None:
    """A step with a timeout, `break`, and another task that fails end the run. Later loops raise that."""

    async def main() -> None:
        outcomes = bp.get_outcomes(waiting_rows(refs, [], 0), to=tmp_path / "data")
        if way == "timeout":
            steps = aiter(outcomes)
            with pytest.raises(TimeoutError):
                while True:
                    await asyncio.wait_for(anext(steps), 0.5)
        elif way == "break":
            async for _ in outcomes:
                break
        else:
            failed = await asyncio.gather(fail(outcomes), taken(outcomes), return_exceptions=True)
            assert [type(error) for error in failed] == [LookupError, bp.BulkpresignError]
            return
        for _ in range(2):  # as where a step is tried again
            with pytest.raises(bp.BulkpresignError, match="before its last result, because a loop over it was left"):
                await taken(outcomes)
        await outcomes.aclose()
        assert await taken(outcomes) == 0

    async def fail(outcomes: bp.Outcomes) -> None:
        async for _ in outcomes:
            raise LookupError("of the caller's")

    async def taken(outcomes: bp.Outcomes) -> int:
        return len([outcome async for outcome in outcomes])

    run(main)


def test_results_are_not_taken_in_another_event_loop(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """It would wait for ever: the run does not go on there."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    outcomes = bp.get_outcomes(refs, to=tmp_path, concurrency=1)
    try:
        assert loops[0].run_until_complete(anext(outcomes)).status == "done"
        with pytest.raises(RuntimeError, match="a run goes on in the event loop that began it"):
            loops[1].run_until_complete(asyncio.wait_for(take_all(outcomes), 5))
        assert len(loops[0].run_until_complete(take_all(outcomes))) == len(refs) - 1
    finally:
        for loop in loops:
            loop.close()


async def take_all(outcomes: AsyncIterator[Any]) -> list[Any]:
    return [await anext(outcomes) for _ in range(len(BODIES) - 1)]


OUTCOMES: list[tuple[Callable[..., bp.Outcomes], Callable[..., Any]]] = [
    (bp.get_outcomes, bp.get),
    (bp.put_outcomes, bp.put),
    (bp.copy_outcomes, bp.copy),
]


@pytest.mark.parametrize(("outcomes", "verb"), OUTCOMES)
def test_a_keyword_that_does_not_exist_is_an_error_of_the_call(
    outcomes: Callable[..., bp.Outcomes], verb: Callable[..., Any]
) -> None:
    """As for the verb itself. The loop waited for ever."""
    name = f"{verb.__name__}_outcomes"
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'concurency'"):
        outcomes("s3://a/", "s3://b/", concurency=4)
    with pytest.raises(TypeError, match=rf"{name}\(\) missing a required argument: "):
        outcomes()
    with pytest.raises(TypeError, match=rf"{name}\(\) too many positional arguments"):
        outcomes(*["s3://a/"] * 9)


@pytest.mark.parametrize(("outcomes", "verb"), OUTCOMES)
def test_help_shows_the_parameters(outcomes: Callable[..., bp.Outcomes], verb: Callable[..., Any]) -> None:
    assert inspect.signature(outcomes).parameters == inspect.signature(verb).parameters
    shown = pydoc.plain(pydoc.render_doc(outcomes))
    assert "concurrency: int | None = None" in shown
    assert "-> bulkpresign.pipeline.outcomes.Outcomes" in shown
