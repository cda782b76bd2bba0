"""Small objects as plain jobs: the same files and outcomes as one by one, whatever happens on the way."""

import asyncio
import os
import random
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

import bulkpresign as bp
from bulkpresign.errors import OutputError
from bulkpresign.events import BytesMoved, Event, ObjectsFinished
from bulkpresign.http import clock, pool
from bulkpresign.model import utc_now
from bulkpresign.transfer import transfers
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.downloads.plain import PlainDownload, PlainDownloads
from bulkpresign.transfer.downloads.plain_reads import PlainRead
from bulkpresign.transfer.engine.jobs import IN_MEMORY, Digest, Job, LocalFile, Memory, RenewableLink
from bulkpresign.transfer.engine.plain_jobs import PlainJobRunner, StoreSteps
from bulkpresign.transfer.spec import TransferSpec
from bulkpresign.transfer.uploads.plain import PlainUpload
from tests.servers.proxy import Fault, FaultProxy
from tests.support.checksums import composite_etag
from tests.support.events import outcomes_of
from tests.support.folders import files
from tests.support.jobs import run_jobs
from tests.transfer.faults import faults_of_every_third

COUNT = 1500


def bodies(count: int = COUNT) -> dict[str, bytes]:
    """Objects of which no two are the same; some are empty."""
    return {f"/d{number % 7}/{number}": b"%d," % number * (number % 900) for number in range(count)}


def links_to(
    origin: FaultProxy, sized: bool = True, headers: Mapping[str, str] = MappingProxyType({})
) -> list[bp.Link]:
    return [
        bp.Link(
            "GET",
            f"{origin.url}{name}?X-Amz-Signature=secret",
            headers,
            None,
            bp.ObjectRef("b", name[1:], size=len(body) if sized else None, path=name[1:]),
        )
        for name, body in origin.objects.items()
    ]


def put_links(origin: FaultProxy, names: list[str]) -> list[bp.Link]:
    url = f"{origin.url}{{}}?X-Amz-Signature=secret".format
    return [bp.Link("PUT", url(name), {}, None, bp.ObjectRef("b", name[1:], path=name[1:])) for name in names]


def with_sha256(link: bp.Link, body: bytes) -> bp.Link:
    checksum = b64encode(sha256(body).digest()).decode()
    return bp.Link("PUT", link.url, {"x-amz-checksum-sha256": checksum}, None, link.object)


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    for name, body in contents.items():
        file = folder / name[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that plain jobs have stored."""
    keys: list[str] = []

    def spying(store: Callable[..., StoreSteps]) -> Callable[..., StoreSteps]:
        def spy(*arguments: object) -> StoreSteps:
            outcome = yield from store(*arguments)
            if outcome is not None:
                keys.append(outcome.object.key)
            return outcome

        return spy

    for kind in (PlainDownload, PlainUpload, PlainRead):
        monkeypatch.setattr(kind, "store", spying(kind.store))
    return keys


async def sent(links: list[bp.Link], source: Path, events: list[Event]) -> bp.Report:
    journal = f"{source}.put.journal"
    return await bp.put(links, source=source, journal=journal, listeners=[events.append], concurrency=16)


async def got(links: list[bp.Link], to: Path, events: list[Event], **options: object) -> bp.Report:
    return await bp.get(links, to=to, journal=f"{to}.journal", listeners=[events.append], concurrency=16, **options)  # type: ignore[arg-type]


def outcomes(events: list[Event]) -> dict[str, tuple[object, ...]]:
    ended = outcomes_of(events)
    assert len({outcome.object.key for outcome in ended}) == len(ended)
    return {
        each.object.key: (each.status, each.code, each.bytes, each.attempts, each.verified_by, each.evidence is None)
        for each in ended
    }


def test_all_small_objects_go_as_plain_jobs(tmp_path: Path, stored: list[str]) -> None:
    with FaultProxy() as origin:
        origin.objects = bodies(200)
        report = asyncio.run(got(links_to(origin), tmp_path / "to", []))
        assert report.done == 200
        assert files(tmp_path / "to") == {name[1:]: body for name, body in origin.objects.items()}
        assert len(stored) >= 190  # empty ones are not
        assert origin.opened <= 16


@pytest.mark.parametrize("uses_plain_jobs", [True, False])
def test_requests_have_the_headers_of_their_links(
    uses_plain_jobs: bool, tmp_path: Path, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links that are signed just in time ask for checksums."""
    monkeypatch.setattr(transfers, "USES_PLAIN_JOBS", uses_plain_jobs)
    headers = {"x-amz-checksum-mode": "ENABLED", "user-agent": "ours"}
    with FaultProxy() as origin:
        origin.objects = bodies(50)
        links = links_to(origin, headers=headers)
        report = asyncio.run(got([*links[:25], *links_to(origin)[25:]], tmp_path / "to", []))
        assert report.done == 50
        assert (len(stored) > 40) is uses_plain_jobs
        for request in origin.seen:
            has_own = int(request.target.partition("?")[0].rpartition("/")[2]) >= 25
            assert request.header("x-amz-checksum-mode") == (None if has_own else "ENABLED")
            assert (request.header("user-agent") == "ours") is not has_own
            assert request.header("accept-encoding") == "identity"


@pytest.mark.parametrize("step", ["prepare", "store"])
def test_what_nobody_expects_is_the_outcome_of_one_object(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = PlainDownloads if step == "prepare" else PlainDownload
    work = getattr(kind, step)

    def broken(self: Any, *arguments: Any) -> Any:
        job = arguments[0] if step == "prepare" else self.job
        if job.object.key == "d0/7":
            raise ZeroDivisionError
        return work(self, *arguments)

    monkeypatch.setattr(kind, step, broken)
    events: list[Event] = []
    with FaultProxy() as origin:
        origin.objects = bodies(50)
        report = asyncio.run(got(links_to(origin), tmp_path / "to", events))
    assert report.done + report.failed == 50
    outcome = outcomes(events)["d0/7"]
    assert outcome[:2] == (("done", None) if step == "prepare" else ("failed", "Internal"))
    assert report.failed == (step == "store")


@pytest.mark.parametrize("verb", ["get", "put"])
def test_links_that_are_over_by_the_servers_time_are_not_sent_once_it_is_known(
    verb: str, tmp_path: Path, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock here is hours behind."""
    real = datetime.now(UTC)
    monkeypatch.setattr(clock, "utc_now", lambda: utc_now() - timedelta(hours=3))
    names = {f"/{number}": b"1" for number in range(9)}
    write_files(tmp_path / "from", names)
    with FaultProxy(answer_headers={"Date": format_datetime(real, usegmt=True)}) as origin:
        origin.objects = dict(names)
        made = put_links(origin, list(names)) if verb == "put" else links_to(origin)
        hours = [1, *[-1] * 8]
        links = [replace(link, expires_at=real + timedelta(hours=n)) for link, n in zip(made, hours, strict=True)]
        if verb == "put":
            report = asyncio.run(bp.put(links, tmp_path / "from", concurrency=1))
        else:
            report = asyncio.run(bp.get(links, tmp_path / "to", concurrency=1))
        assert (report.done + report.expired, origin.count, len(stored)) == (9, report.done, report.done)
        assert report.done <= 2  # the second request may be on its way before the first response


def test_all_small_files_go_up_as_plain_jobs(tmp_path: Path, stored: list[str]) -> None:
    contents = bodies(200)
    write_files(tmp_path / "from", contents)
    (tmp_path / "from/large").write_bytes(bytes(1 << 20))
    with FaultProxy() as origin:
        report = asyncio.run(sent(put_links(origin, [*contents, "/large"]), tmp_path / "from", []))
        assert report.done == 201
        assert origin.objects == contents | {"/large": bytes(1 << 20)}
        assert len(stored) == 200


def test_files_whose_checksum_is_signed_go_up_as_plain_jobs_unless_they_have_another(
    tmp_path: Path, stored: list[str]
) -> None:
    contents, other = bodies(50), "/d0/7"
    write_files(tmp_path / "from", contents | {other: b"altered"})
    events: list[Event] = []
    with FaultProxy() as origin:
        origin.repeats_checksums = True
        links = [with_sha256(link, contents[f"/{link.object.key}"]) for link in put_links(origin, [*contents])]
        report = asyncio.run(sent(links, tmp_path / "from", events))
        assert origin.objects.keys() - {other} == contents.keys() - {other}
    assert (report.done, report.failed, len(stored)) == (49, 1, 49)
    ended = outcomes(events)
    assert ended.pop(other[1:])[:2] == ("failed", "ChecksumSigned")
    assert {each[4] for each in ended.values()} == {"sha256"}


def test_a_file_that_shrinks_before_it_is_read_goes_up_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, pread, times = tmp_path / "from/a", os.pread, iter(range(2))
    write_files(tmp_path / "from", {"/a": b"1" * 1000})

    def shrinking(descriptor: int, count: int, offset: int) -> bytes:
        if next(times, 1) == 0:
            os.truncate(file, 10)
        return pread(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", shrinking)
    with FaultProxy() as origin:
        report = asyncio.run(sent(put_links(origin, ["/a"]), tmp_path / "from", []))
        assert (report.done, report.bytes, origin.count, origin.objects) == (1, 10, 1, {"/a": b"1" * 10})


def opened() -> list[Path]:
    """The files that this process has open."""
    return [descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir()]


def test_files_are_closed_whatever_became_of_them(tmp_path: Path, stored: list[str]) -> None:
    """Those of plain jobs, and those that turn out not to be plain as they are opened."""
    contents = bodies(40) | {f"/large/{number}": bytes(300_000 + number) for number in range(4)}
    write_files(tmp_path / "from", contents)
    (tmp_path / "from/folder").mkdir()
    with FaultProxy() as origin:
        origin.schedule = lambda seen: Fault(403) if seen.target.startswith("/d3/") else None
        links = put_links(origin, [*contents, "/folder", "/nothing"])
        links[:8] = [with_sha256(link, b"another") for link in links[:8]]
        report = asyncio.run(sent(links, tmp_path / "from", []))
        assert not [file for file in opened() if file.is_relative_to(tmp_path / "from") and file.is_file()]
    assert (report.done, report.failed, len(stored)) == (31, 15, 27)


@pytest.mark.parametrize("sized", [True, False])
def test_plain_jobs_and_single_ones_end_alike(
    sized: bool, tmp_path: Path, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for uses_plain_jobs in (True, False):
        monkeypatch.setattr(transfers, "USES_PLAIN_JOBS", uses_plain_jobs)
        events: list[Event] = []
        with FaultProxy() as origin:
            origin.objects = bodies(400)
            origin.schedule = faults_of_every_third("GET")
            to = tmp_path / f"{uses_plain_jobs}"
            report = asyncio.run(got(links_to(origin, sized), to, events))
            assert report.done + report.failed + report.expired == 400
            results.append((outcomes(events), files(to)))
        assert bool(stored) is uses_plain_jobs
        stored.clear()
    assert results[0] == results[1]


@pytest.mark.parametrize("target", [IN_MEMORY, Digest("sha256")])
def test_reads_as_plain_jobs_and_single_ones_end_alike(
    target: Memory | Digest, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for uses_plain_jobs in (True, False):
        monkeypatch.setattr(transfers, "USES_PLAIN_JOBS", uses_plain_jobs)
        events: list[Event] = []
        received: dict[str, bytes] = {}
        with FaultProxy() as origin:
            origin.objects = bodies(400)
            origin.schedule = faults_of_every_third("GET")
            jobs = [Job(RenewableLink(link), target) for link in links_to(origin, sized=False)]
            spec = TransferSpec(max_object_size=1 << 20, concurrency=16)
            coordinator = Coordinator(receive=lambda link, data, into=received: into.update({link.object.key: data}))  # type: ignore[misc]
            asyncio.run(run_jobs(spec, jobs, events.append, coordinator))
            done = outcomes_of(events)
            found = {outcome.object.key: (outcome.object.size, outcome.object.checksum) for outcome in done}
            assert {f"/{key}": data for key, data in received.items()}.items() <= origin.objects.items()
            moved = sum(event.count for event in events if isinstance(event, BytesMoved))
            assert moved >= sum(outcome.bytes for outcome in done)
        results.append((outcomes(events), received, found))
        assert bool(stored) is uses_plain_jobs
        stored.clear()
    assert results[0] == results[1]
    ended, received, found = results[0]
    whole = {key for key, outcome in ended.items() if outcome[0] == "done"}
    assert len(whole) > 300
    if target is IN_MEMORY:
        assert whole == set(received)
    else:
        digests = {name[1:]: sha256(body).digest() for name, body in bodies(400).items()}
        assert all(found[key] == (len(bodies(400)[f"/{key}"]), checksum_of(digests[key])) for key in whole)


@pytest.mark.parametrize("target", [IN_MEMORY, Digest("sha256")])
@pytest.mark.parametrize("size", [900, 300_000])
def test_reads_of_another_object_than_that_of_the_row_fail(size: int, target: Memory | Digest) -> None:
    """The etag of a row is of parts: bytes that it proves are those of its object, others are not."""
    events: list[Event] = []
    received: dict[str, bytes] = {}
    with FaultProxy() as origin:
        origin.objects = {"/same": b"1" * size, "/other": b"2" * size}
        etag = composite_etag(origin.objects["/same"], size)
        links = [replace(link, object=replace(link.object, etag=etag)) for link in links_to(origin)]
        jobs = [Job(RenewableLink(link), target) for link in links]
        coordinator = Coordinator(receive=lambda link, data: received.update({link.object.key: data}))
        asyncio.run(run_jobs(TransferSpec(max_object_size=1 << 20, concurrency=1), jobs, events.append, coordinator))
        assert origin.count == 2
    ended = {each.object.key: (each.status, each.code, each.verified_by) for each in outcomes_of(events)}
    assert ended == {"same": ("done", None, "md5-parts"), "other": ("failed", "ObjectChanged", None)}
    assert received.keys() == ({"same"} if target is IN_MEMORY else set())


def checksum_of(digest: bytes) -> str:
    return f"sha256:{b64encode(digest).decode()}"


def test_uploads_as_plain_jobs_and_single_ones_end_alike(
    tmp_path: Path, stored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = bodies(400)
    results = []
    for uses_plain_jobs in (True, False):
        monkeypatch.setattr(transfers, "USES_PLAIN_JOBS", uses_plain_jobs)
        events: list[Event] = []
        folder = tmp_path / f"{uses_plain_jobs}"
        write_files(folder, contents)
        with FaultProxy() as origin:
            origin.schedule = faults_of_every_third("PUT")
            report = asyncio.run(sent(put_links(origin, list(contents)), folder, events))
            assert report.done + report.failed + report.expired == 400
            # A server that closes after a fault can do so to the next request on its connection: attempts differ.
            ended = {key: (*each[:3], *each[4:]) for key, each in outcomes(events).items()}
            results.append((ended, dict(origin.objects)))
        assert bool(stored) is uses_plain_jobs
        stored.clear()
    assert results[0] == results[1]


def test_no_byte_of_one_object_lands_in_another_wherever_the_run_is_cut_off(tmp_path: Path) -> None:
    seed = random.Random(13)
    with FaultProxy() as origin:
        origin.objects = bodies()
        wanted = {name[1:]: body for name, body in origin.objects.items()}
        links = links_to(origin, sized=False)
        for turn in range(12):
            origin.always = Fault(split=True) if turn % 4 == 3 else None
            to, events = tmp_path / f"{turn}", list[Event]()

            async def cut(to: Path = to, events: list[Event] = events) -> None:
                with anyio.move_on_after(seed.uniform(0.01, 0.6)):
                    await got(links, to, events)

            asyncio.run(cut())
            there = files(to) if to.exists() else {}
            whole = {name: body for name, body in there.items() if not name.endswith(".part")}
            assert all(body == wanted[name] for name, body in whole.items())
            done = {key for key, outcome in outcomes(events).items() if outcome[0] == "done"}
            assert done <= set(whole)


def downloads(origin: FaultProxy) -> list[Job]:
    return [Job(RenewableLink(link), LocalFile(link.object.file_path)) for link in links_to(origin)]


def test_outcomes_are_told_while_another_response_is_late(tmp_path: Path) -> None:
    late = "/d0/0"
    with FaultProxy() as origin:
        origin.objects = {late: b"late"} | {name: body for name, body in bodies(20).items() if body}
        origin.schedule = lambda seen: Fault(delay=1.0) if seen.target.startswith(late + "?") else None
        events: list[Event] = []
        spec = TransferSpec(folder=str(tmp_path), concurrency=2)
        asyncio.run(run_jobs(spec, downloads(origin), events.append, Coordinator()))
        moved = [event.count for event in events if isinstance(event, BytesMoved)]
        assert len(moved) > 1
        assert moved[-1] == len(b"late")
        assert sum(moved) == sum(map(len, origin.objects.values()))


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 64), (0.02, 200), (0.5, 256)])
def test_a_run_begins_with_more_requests_if_the_server_is_far(
    seconds: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "round_trip", lambda _: seconds)
    with FaultProxy() as origin:
        origin.objects = dict.fromkeys(bodies(400), b"x")
        origin.always = Fault(delay=30)
        counts: list[int] = []

        async def cut() -> None:
            with anyio.move_on_after(30) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(got_all)
                    while not counts or counts[-1] < most:
                        await anyio.sleep(0.05)
                        counts.append(origin.count)
                    await anyio.sleep(0.3)
                    counts.append(origin.count)
                    scope.cancel()

        async def got_all() -> None:
            await run_jobs(TransferSpec(folder=str(tmp_path)), downloads(origin), lambda _: None, Coordinator())

        asyncio.run(cut())
        assert counts[-1] == most


@pytest.mark.parametrize("kind", [ObjectsFinished, BytesMoved])
def test_an_error_that_ends_the_run_loses_no_outcome(kind: type[Event], tmp_path: Path) -> None:
    with FaultProxy() as origin:
        origin.objects = {name: body for name, body in bodies(51).items() if body}
        told: list[str] = []

        def full(event: Event) -> None:
            told.extend(outcome.object.key for outcome in outcomes_of([event]))
            if isinstance(event, kind):
                raise OutputError("the disk is full")

        with pytest.raises(OutputError, match="the disk is full"):
            asyncio.run(run_jobs(TransferSpec(folder=str(tmp_path)), downloads(origin), full, Coordinator()))
        assert {f"/{key}" for key in told} >= {f"/{name}" for name in files(tmp_path)}
        assert len(told) == len(set(told))


def test_a_job_that_is_not_plain_has_an_outcome_if_the_run_is_cancelled_when_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultProxy() as origin:
        origin.objects = {"/small": b"1", "/large": bytes(300_000)}
        events: list[Event] = []
        following = PlainJobRunner._next

        async def run() -> None:
            with anyio.CancelScope() as scope:

                def cancelling(runner: PlainJobRunner) -> bytes:
                    request = following(runner)
                    scope.cancel()
                    return request

                monkeypatch.setattr(PlainJobRunner, "_next", cancelling)
                spec = TransferSpec(folder=str(tmp_path), concurrency=1)
                await run_jobs(spec, downloads(origin), events.append, Coordinator())

        asyncio.run(run())
        assert {key: code for key, (_, code, *_) in outcomes(events).items()} == {"small": None, "large": "Interrupted"}
