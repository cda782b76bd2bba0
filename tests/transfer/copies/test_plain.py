"""Small copies as whole responses: the same outcomes and the same requests as by the general path."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import pytest

from bulkpresign.events import BytesMoved, Event
from bulkpresign.model import Link, ObjectRef, Outcome, utc_now
from bulkpresign.transfer import transfers
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies import plain
from bulkpresign.transfer.copies.proof import Copied
from bulkpresign.transfer.engine.jobs import Job, RenewableLink
from bulkpresign.transfer.spec import TransferSpec
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.support.events import outcomes_of
from tests.support.jobs import run_jobs
from tests.transfer.faults import FAULTS, faults_of_every_third

COPY_FAULTS = (*FAULTS, Fault(flip_request=True), Fault(412))
ERROR_IN_200 = Fault(200, body=b"<Error><Code>InternalError</Code></Error>")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Copied]:
    """The copies that were made by whole responses."""
    made: list[Copied] = []
    copy = plain.PlainCopies.copy

    async def noted(self: plain.PlainCopies, source: RenewableLink, target: RenewableLink) -> Any:
        copied = await copy(self, source, target)
        if isinstance(copied, Copied):
            made.append(copied)
        return copied

    monkeypatch.setattr(plain.PlainCopies, "copy", noted)
    return made


def bodies(count: int) -> dict[str, bytes]:
    sizes = random.Random(14)
    return {f"/from/{n}": b"%d," % n * sizes.choice([0, 1, 700, 20_000]) for n in range(count)}


def jobs(origin: FaultProxy, expires_at: datetime | None) -> list[Job]:
    made = []
    for name in [name for name in list(origin.objects) if name.startswith("/from/")]:  # late requests add to them
        key = name.removeprefix("/from/")
        get = Link("GET", f"{origin.url}{name}", {}, None, ObjectRef("b", key))
        put = Link("PUT", f"{origin.url}/to/{key}", {}, expires_at, ObjectRef("b", key))
        made.append(Job(RenewableLink(get), RenewableLink(put)))
    return made


async def copied(
    origin: FaultProxy,
    events: list[Event],
    coordinator: Coordinator,
    concurrency: int = 4,
    expires_at: datetime | None = None,
) -> None:
    """Copies all objects of a server. The PUT links expire at `expires_at`."""
    spec = TransferSpec(concurrency=concurrency, attempts=3)
    await run_jobs(spec, jobs(origin, expires_at), events.append, coordinator)


def outcomes(events: list[Event]) -> dict[str, Outcome]:
    ended = outcomes_of(events)
    assert len({outcome.object.key for outcome in ended}) == len(ended)
    return {outcome.object.key: outcome for outcome in ended}


def shown(outcome: Outcome) -> tuple[Any, ...]:
    # A server that closes after a fault can do so to the next request on its connection: attempts differ.
    return outcome.status, outcome.bytes, outcome.verified_by, outcome.code, outcome.evidence


def copies(origin: FaultProxy) -> dict[str, bytes]:
    return {name.removeprefix("/to/"): body for name, body in origin.objects.items() if name.startswith("/to/")}


@pytest.mark.parametrize("signs", [False, True], ids=["links", "signed just in time"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_whole_responses_and_the_general_path_end_alike(
    method: str, signs: bool, quick: list[Copied], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for uses_plain_jobs in (True, False):
        monkeypatch.setattr(transfers, "USES_PLAIN_JOBS", uses_plain_jobs)
        events: list[Event] = []
        with FaultProxy() as origin:

            async def sign(put: Link, headers: Mapping[str, str]) -> Link:
                return Link("PUT", put.url, {**headers, "x-amz-meta-by": "me"}, None, put.object)

            origin.objects = bodies(300)
            faults = (*COPY_FAULTS, ERROR_IN_200) if method == "PUT" else COPY_FAULTS
            origin.schedule = faults_of_every_third(method, faults)
            asyncio.run(copied(origin, events, Coordinator(sign_put=sign if signs else None), concurrency=1))
            assert all(body == origin.objects[f"/from/{key}"] for key, body in copies(origin).items())
            moved = sum(event.count for event in events if isinstance(event, BytesMoved))
            assert moved == sum(outcome.bytes for outcome in outcomes(events).values())
            ended = {key: shown(outcome) for key, outcome in outcomes(events).items()}
            results.append((ended, copies(origin)))
        assert (len(quick) >= 200) is uses_plain_jobs
        quick.clear()
    assert results[0] == results[1]
    statuses = Counter(outcome[0] for outcome in results[0][0].values())
    assert statuses["done"] > 250
    assert {"failed", "expired"} <= statuses.keys()


@pytest.mark.parametrize(
    ("faults", "methods", "status"),
    [
        ((Fault(404),), "GET", "failed"),
        ((None, Fault(403)), "GET PUT", "failed"),
        ((Fault(flip_answer=True),), "GET GET PUT", "done"),
        ((Fault(500),), "GET GET PUT", "done"),
        ((None, Fault(500)), "GET PUT GET PUT", "done"),
        ((None, Fault(flip_request=True)), "GET PUT GET PUT", "done"),
        ((expired(),), "GET", "expired"),
        ((None, expired()), "GET PUT", "expired"),
        ((Fault(no_length=True),), "GET PUT", "done"),
        ((Fault(split=True), Fault(split=True)), "GET PUT", "done"),
    ],
)
def test_nothing_is_asked_twice_where_the_answer_said_why(
    faults: tuple[Fault | None, ...], methods: str, status: str
) -> None:
    with FaultProxy() as origin:
        origin.objects = {"/from/0": b"x" * 1000}
        origin.faults.extend(faults)
        events: list[Event] = []
        asyncio.run(copied(origin, events, Coordinator()))
        assert [seen.method for seen in origin.seen] == methods.split()
        assert outcomes(events)["0"].status == status


def test_a_destination_that_stored_other_bytes_is_found(quick: list[Copied]) -> None:
    with FaultProxy() as origin:
        origin.objects = {"/from/0": b"x" * 1000}
        origin.schedule = lambda seen: Fault(flip_request=True) if seen.method == "PUT" else None
        events: list[Event] = []
        asyncio.run(copied(origin, events, Coordinator()))
        assert (outcomes(events)["0"].status, outcomes(events)["0"].code) == ("failed", "EtagMismatch")
        assert not quick


def test_slots_are_returned_where_a_link_expires_before_its_request_is_used() -> None:
    tomorrow = utc_now() + timedelta(days=1)
    with FaultProxy() as origin:
        origin.objects = bodies(100)
        origin.always = Fault(404, {"Date": format_datetime(tomorrow, usegmt=True)})
        events: list[Event] = []
        in_an_hour = utc_now() + timedelta(hours=1)
        asyncio.run(copied(origin, events, Coordinator(), concurrency=50, expires_at=in_an_hour))
        statuses = Counter(outcome.status for outcome in outcomes(events).values())
        assert statuses["expired"] > 90  # the first requests were sent before the server's time was known
        assert len(outcomes(events)) == 100


def test_every_object_has_an_outcome_wherever_the_run_is_cut_off() -> None:
    seed = random.Random(14)
    with FaultProxy() as origin:
        objects = bodies(500)
        for _ in range(10):
            origin.objects = dict(objects)
            events: list[Event] = []

            async def cut(events: list[Event] = events) -> None:
                with anyio.move_on_after(seed.uniform(0.01, 0.5)):
                    await copied(origin, events, Coordinator(), concurrency=16)

            asyncio.run(cut())
            there = copies(origin)
            assert all(body == objects[f"/from/{key}"] for key, body in there.items())
            ended = outcomes(events)
            assert {key for key, outcome in ended.items() if outcome.status == "done"} <= there.keys()
            assert {outcome.code for outcome in ended.values() if outcome.status != "done"} <= {"Interrupted"}
