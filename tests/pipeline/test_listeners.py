"""A listener that raises ends the run with its exception; no object is blamed for it, and none goes missing."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from tests.support.folders import files, names_in
from tests.support.tables import rows_of

BODIES = {f"{number:02}": os.urandom(100 + number) for number in range(60)}


def failing_at(kind: type[bp.Event], number: int) -> Callable[[bp.Event], None]:
    """A listener that raises when it hears of the nth event of a kind, and must hear of no more."""
    left = number

    def listen(event: bp.Event) -> None:
        nonlocal left
        assert left, "it hears of an event after it raised"
        left -= isinstance(event, kind)
        if not left:
            raise LookupError("the dashboard is gone")

    return listen


class Batches:
    """A listener of many outcomes at a time, that raises when it hears of the nth batch."""

    takes_batches = True

    def __init__(self, fails_at: int = 0) -> None:
        self.heard: list[Sequence[bp.Outcome]] = []
        self._fails_at = fails_at

    def __call__(self, event: bp.Event) -> None:
        assert not isinstance(event, bp.ObjectFinished)
        if isinstance(event, bp.ObjectsFinished):
            self.heard.append(event.outcomes)
            if len(self.heard) == self._fails_at:
                raise LookupError("the dashboard is gone")


async def all_of(reading: bp.Reading[bytes]) -> int:
    return len([pair async for pair in reading])


@pytest.mark.parametrize("number", [1, 5, len(BODIES)])
def test_what_it_raises_ends_the_run(number: int, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    heard: list[bp.Event] = []
    listeners = [failing_at(bp.ObjectFinished, number), heard.append]
    failures = tmp_path / "failures.csv"
    with pytest.raises(LookupError, match="the dashboard is gone"):
        asyncio.run(bp.get([refs], to=tmp_path / "data", listeners=listeners, concurrency=4, failures=failures))
    finished = [event.outcome for event in heard if isinstance(event, bp.ObjectFinished)]
    counts = Counter(outcome.code for outcome in finished)
    assert set(counts) <= {None, "Interrupted"}
    assert counts[None] >= number - 1
    last = heard[-1]
    assert isinstance(last, bp.RunFinished)
    assert (last.report.done, last.report.failed) == (counts[None], counts["Interrupted"])
    done = {outcome.object.key for outcome in finished if outcome.status == "done"}
    assert done == files(tmp_path / "data").keys()
    assert done | {row["key"] for row in rows_of(failures)} == BODIES.keys()
    report = asyncio.run(bp.get(refs, to=tmp_path / "data"))
    assert (report.done, report.skipped) == (len(BODIES) - len(done), len(done))


def test_listeners_hear_of_each_object_or_of_many_at_a_time(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    heard: list[bp.Event] = []
    failing, batches = Batches(fails_at=1), Batches()
    with pytest.raises(LookupError, match="the dashboard is gone"):
        asyncio.run(bp.get(refs, to=tmp_path, listeners=[heard.append, failing, batches]))
    together = [outcome for batch in batches.heard for outcome in batch]
    assert [event.outcome for event in heard if isinstance(event, bp.ObjectFinished)] == together
    assert not any(isinstance(event, bp.ObjectsFinished) for event in heard)
    assert {outcome.object.key for outcome in together if outcome.status == "done"} == files(tmp_path).keys()
    assert len(failing.heard) == 1
    assert max(map(len, batches.heard)) > 1


def test_a_consumer_gets_what_was_done(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    found = []

    async def main() -> None:
        async for outcome in bp.get_outcomes(refs, to=tmp_path, listeners=[failing_at(bp.ObjectFinished, 30)]):
            found.append(outcome)  # noqa: PERF401 - the loop raises

    with pytest.raises(LookupError, match="the dashboard is gone"):
        asyncio.run(main())
    assert {outcome.object.key for outcome in found if outcome.status == "done"} == files(tmp_path).keys()


@pytest.mark.parametrize("error", [asyncio.CancelledError, StopAsyncIteration])
@pytest.mark.parametrize(
    "verb",
    [
        lambda refs, to, listen: bp.get(refs, to=to, listeners=[listen]),
        lambda refs, to, listen: all_of(bp.read(refs, listeners=[listen])),
        lambda refs, to, listen: bp.verify(refs, to, listeners=[listen]),
        lambda refs, to, listen: bp.compare(f"s3://{refs[0].bucket}/", to, listeners=[listen]),
    ],
    ids=["get", "read", "verify", "compare"],
)
def test_no_error_of_a_listener_is_taken_for_the_end(
    verb: Callable[..., Awaitable[object]], error: type[BaseException], refs: list[bp.ObjectRef], tmp_path: Path
) -> None:
    """As where it asks a future that was cancelled: the run ended as if all objects were done."""

    def listen(event: bp.Event) -> None:
        if isinstance(event, bp.ObjectFinished):
            raise error

    async def main() -> None:
        await verb(refs, tmp_path / "data", listen)

    (tmp_path / "data").mkdir()
    with pytest.raises(RuntimeError, match=f"a listener raised {error.__name__}"):
        asyncio.run(main())


@pytest.mark.parametrize("kind", [bp.RunStarted, bp.RunFinished])
def test_it_may_raise_at_the_ends_of_a_run(kind: type[bp.Event], refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="the dashboard is gone"):
        asyncio.run(bp.get(refs, to=tmp_path / "data", listeners=[failing_at(kind, 1)]))
    if kind is bp.RunFinished:
        assert files(tmp_path / "data") == BODIES
        with pytest.raises(LookupError):
            asyncio.run(bp.get(refs, to=tmp_path / "none", listeners=[failing_at(kind, 1)], dry_run=True))


def test_what_is_no_listener(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def listen(event: bp.Event) -> None:
        raise AssertionError

    class Listens:
        async def __call__(self, event: bp.Event) -> None:
            raise AssertionError

    async def begin(verb: Callable[[Any], Awaitable[object]], listener: object) -> None:
        await verb(listener)

    verbs: list[Callable[[Any], Awaitable[object]]] = [
        lambda listener: bp.get(refs, to=tmp_path / "data", listeners=[listener]),
        lambda listener: bp.sign(f"s3://{refs[0].bucket}/", tmp_path / "links.csv", listeners=[listener]),
        lambda listener: bp.verify(refs, tmp_path, listeners=[listener]),
        lambda listener: anext(bp.read(refs, listeners=[listener])),
    ]
    for verb in verbs:
        for nothing_awaits in (listen, Listens()):
            with pytest.raises(TypeError, match="coroutine function, which nothing awaits"):
                asyncio.run(begin(verb, nothing_awaits))
        with pytest.raises(TypeError, match="called with each event, not NoneType"):
            asyncio.run(begin(verb, None))
    assert names_in(tmp_path) == []


def test_what_is_no_list_of_listeners(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """A generator was used up by the check, and then none of its listeners was called."""

    async def begin(verb: Callable[[Any], Awaitable[object]], listeners: object) -> None:
        await verb(listeners)

    there, to = f"s3://{refs[0].bucket}/", f"s3://{refs[0].bucket}/copies/"
    verbs: list[Callable[[Any], Awaitable[object]]] = [
        lambda listeners: bp.get(refs, to=tmp_path / "data", listeners=listeners),
        lambda listeners: anext(bp.get_outcomes(refs, to=tmp_path / "data", listeners=listeners)),
        lambda listeners: anext(bp.read(refs, listeners=listeners)),
        lambda listeners: bp.sign(there, tmp_path / "links.csv", listeners=listeners),
        lambda listeners: bp.copy(there, to, certificate=tmp_path / "certificate", listeners=listeners),
        lambda listeners: bp.verify(refs, tmp_path, listeners=listeners),
        lambda listeners: bp.compare(there, tmp_path, listeners=listeners),
    ]
    for verb in verbs:
        with pytest.raises(TypeError, match="listeners is a list of functions, not generator"):
            asyncio.run(begin(verb, (listen for listen in [print])))
        with pytest.raises(TypeError, match="listeners is a list of functions, not NoneType"):
            asyncio.run(begin(verb, None))
    assert names_in(tmp_path) == []
