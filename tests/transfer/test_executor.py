"""The seam to other executors: a specification and jobs go in as data, events and outcomes come out as data."""

import asyncio
import pickle
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.events import BytesMoved, Event
from bulkpresign.model import Link, ObjectRef, utc_now
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.engine.jobs import IN_MEMORY, NOTHING, Job, LocalFile, RenewableLink
from bulkpresign.transfer.spec import TransferSpec
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.support.events import outcomes_of
from tests.support.folders import files
from tests.support.jobs import run_jobs


def link_to(url: str, method: str = "GET") -> Link:
    return Link(method, url, {}, None, ObjectRef("b", url.rpartition("/")[2]))


def run(spec: TransferSpec, jobs: list[Job], coordinator: Coordinator | None = None) -> list[Event]:
    """The events of a batch, which a worker process gets and gives as bytes."""
    spec = msgspec.json.decode(msgspec.json.encode(spec), type=TransferSpec)
    jobs = pickle.loads(pickle.dumps(jobs))
    events: list[Event] = []
    asyncio.run(run_jobs(spec, jobs, events.append, coordinator or Coordinator()))
    return [msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) for event in events]


def test_a_batch_goes_both_ways_with_nothing_but_data(tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"sent")
    with FaultProxy() as origin:
        origin.objects["/down"] = b"fetched"
        jobs = [
            Job(RenewableLink(link_to(f"{origin.url}/down")), LocalFile("down")),
            Job(LocalFile("up"), RenewableLink(link_to(f"{origin.url}/up", "PUT"))),
            Job(NOTHING, RenewableLink(link_to(f"{origin.url}/ended", "DELETE"))),
        ]
        origin.schedule = lambda seen: Fault(204) if seen.method == "DELETE" else None
        events = run(TransferSpec(folder=str(tmp_path), concurrency=1), jobs)
    ended = sorted((outcome.object.key, outcome.status) for outcome in outcomes_of(events))
    assert ended == [("down", "done"), ("ended", "done"), ("up", "done")]
    assert sum(event.count for event in events if isinstance(event, BytesMoved)) == len(b"fetched" + b"sent")
    assert files(tmp_path) == {"up": b"sent", "down": b"fetched"}


def test_an_expired_link_comes_back_as_an_outcome_for_the_coordinator_to_renew(tmp_path: Path) -> None:
    with FaultProxy() as origin:
        origin.objects["/a"] = b"a"
        origin.always = expired()
        old = Link("GET", f"{origin.url}/a", {}, utc_now() - timedelta(hours=1), ObjectRef("b", "a"))
        events = run(TransferSpec(folder=str(tmp_path)), [Job(RenewableLink(old), LocalFile("a"))])
    (outcome,) = outcomes_of(events)
    assert outcome.status == "expired"
    assert outcome.link == old


def test_bytes_for_the_caller_go_to_the_coordinator() -> None:
    received: list[tuple[str, bytes]] = []
    coordinator = Coordinator(receive=lambda link, data: received.append((link.object.key, data)))
    with FaultProxy() as origin:
        origin.objects["/a"] = b"bytes"
        job = Job(RenewableLink(link_to(f"{origin.url}/a")), IN_MEMORY)
        events = run(TransferSpec(max_object_size=10), [job], coordinator)
    assert [outcome.status for outcome in outcomes_of(events)] == ["done"]
    assert received == [("a", b"bytes")]


def test_a_local_file_needs_a_folder() -> None:
    job = Job(RenewableLink(link_to("http://127.0.0.1:1/a")), LocalFile("a"))
    with pytest.raises(ParameterError, match="names no folder"):
        run(TransferSpec(), [job])
