"""Renewal without a server: how questions become batches, and what each of those who asked is told."""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from bulkpresign.errors import LinkExpiredError
from bulkpresign.http.clock import Clock
from bulkpresign.model import Link, ObjectRef, Upload
from bulkpresign.transfer.engine import renewal
from bulkpresign.transfer.engine.jobs import Job, LocalFile, MultipartUpload, Renew, RenewableLink
from bulkpresign.transfer.engine.renewal import MAX_RENEWALS, LinkRenewer
from tests.transfer.running import set_clock

pytestmark = pytest.mark.anyio

PAST = datetime(2020, 1, 1, tzinfo=UTC)
SOON = datetime(2020, 1, 2, tzinfo=UTC)
LATER = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def link(key: str, ends: datetime | None = PAST) -> Link:
    return Link("GET", f"http://h/{key}", {}, ends, ObjectRef("bucket", key))


def job(link: Link, renew: Renew | None = None) -> Job:
    return Job(RenewableLink(link, renew), LocalFile(link.object.key))


class Source:
    """Renews all but `without`, slowly, and remembers what it was asked at once."""

    def __init__(self, *without: str, error: Exception | None = None) -> None:
        self.asked: list[list[str]] = []
        self.has_begun = anyio.Event()
        self._without = without
        self._error = error

    async def renew(self, links: Sequence[Link]) -> list[Link | None]:
        self.asked.append([link.object.key for link in links])
        self.has_begun.set()
        await anyio.sleep(0.01)
        if self._error is not None:
            raise self._error
        return [None if one.object.key in self._without else link(one.object.key, LATER) for one in links]


async def ask(renewer: LinkRenewer, renew: Renew, keys: Sequence[str]) -> dict[str, Link | LinkExpiredError]:
    responses: dict[str, Link | LinkExpiredError] = {}

    async def one(key: str) -> None:
        try:
            asking = RenewableLink(link(key), renew)
            await renewer.renew(asking)
            responses[key] = asking.link
        except LinkExpiredError as error:
            responses[key] = error

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(one, key)
    return responses


async def test_those_who_ask_at_once_are_one_batch_and_those_after_them_another() -> None:
    source, renewer = Source(), LinkRenewer(deque(), Clock())
    renew = source.renew
    responses: dict[str, Link | LinkExpiredError] = {}

    async def later() -> None:
        await source.has_begun.wait()  # the first batch is under way
        responses.update(await ask(renewer, renew, ["d", "e", "f"]))

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        responses.update(await ask(renewer, renew, ["a", "b", "c"]))
    assert source.asked == [["a", "b", "c"], ["d", "e", "f"]]
    assert responses == {key: link(key, LATER) for key in "abcdef"}


async def test_those_in_line_that_have_lapsed_are_renewed_along_the_way() -> None:
    source = Source("x")
    renew = source.renew
    alive, foreign = job(link("alive", LATER), renew), job(link("foreign"))
    ready = deque([alive, job(link("x"), renew), foreign, job(link("y"), renew)])
    responses = await ask(LinkRenewer(ready, Clock()), renew, ["a"])
    assert source.asked == [["a", "x", "y"]]
    assert responses == {"a": link("a", LATER)}
    #: What has no fresh link is not asked for again.
    assert list(ready) == [alive, job(link("x")), foreign, job(link("y", LATER), renew)]


async def test_both_sides_of_a_copy_in_line_are_renewed() -> None:
    source, other = Source(), Source()
    renew, renew_other = source.renew, other.renew
    copies = [
        Job(RenewableLink(link("a", LATER), renew), RenewableLink(link("to/a"), renew)),
        Job(RenewableLink(link("b"), renew), RenewableLink(link("to/b"), renew)),
        Job(RenewableLink(link("c"), renew), RenewableLink(link("to/c"), renew_other)),
    ]
    await ask(LinkRenewer(deque(copies), Clock()), renew, ["first"])
    assert (source.asked, other.asked) == ([["first", "to/a", "b", "to/b", "c"]], [])


async def test_a_job_taken_from_the_line_while_its_link_is_renewed_is_not_renewed_again() -> None:
    source = Source()
    renew = source.renew
    taken = job(link("taken"), renew)
    ready = deque([taken])
    renewer = LinkRenewer(ready, Clock())

    async def later() -> None:
        await source.has_begun.wait()  # the first batch, with the link of the job that waits, is under way
        side = ready.popleft().renewable
        assert side is not None
        async with anyio.create_task_group() as group:
            group.start_soon(renewer.renew, RenewableLink(link("b"), renew))
            group.start_soon(renewer.renew, side)

    async with anyio.create_task_group() as group:
        group.start_soon(later)
        await ask(renewer, renew, ["a"])
    assert source.asked == [["a", "taken"], ["b"]]
    assert taken.link == link("taken", LATER)


async def test_parts_of_an_upload_stand_in_a_line_of_their_own() -> None:
    source = Source()
    renew = source.renew
    ready, line = deque([job(link("x"), renew)]), deque([job(link("two"), renew)])
    renewer = LinkRenewer(ready, Clock())
    sent: list[Link] = []

    async def send(fresh_link: Link) -> str:
        sent.append(fresh_link)
        return "etag"

    assert await renewer.call(RenewableLink(link("one"), renew), send, line) == "etag"
    assert source.asked == [["one", "two"]]
    assert sent == [link("one", LATER)]
    assert list(line) == [job(link("two", LATER), renew)]
    assert list(ready) == [job(link("x"), renew)]


async def test_an_upload_in_line_is_left_to_renew_its_links_itself() -> None:
    source = Source()
    renew = source.renew
    whole = link("u")
    waiting = Job(LocalFile("u"), MultipartUpload(Upload(whole.object, "id", (), whole), renew))
    ready = deque([waiting, job(link("x"), renew)])
    await ask(LinkRenewer(ready, Clock()), renew, ["a"])
    assert source.asked == [["a", "x"]]
    assert waiting in ready


async def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RENEWAL_BATCH", 10)
    source = Source()
    renew = source.renew
    ready = deque(job(link(f"{n}"), renew) for n in range(25))
    await ask(LinkRenewer(ready, Clock()), renew, ["a"])
    assert [len(batch) for batch in source.asked] == [11]
    assert [job.link.expires_at for job in ready] == [LATER] * 10 + [PAST] * 15


async def test_two_sources_are_asked_each_for_its_own() -> None:
    one, other = Source(), Source()
    first, second = one.renew, other.renew
    renewer = LinkRenewer(deque(), Clock())
    async with anyio.create_task_group() as group:
        group.start_soon(ask, renewer, first, ["a", "b"])
        group.start_soon(ask, renewer, second, ["c", "d"])
    assert (one.asked, other.asked) == ([["a", "b"]], [["c", "d"]])


async def test_where_there_is_none_the_others_have_theirs() -> None:
    source = Source("b")
    responses = await ask(LinkRenewer(deque(), Clock()), source.renew, ["a", "b", "c"])
    assert isinstance(responses["b"], LinkExpiredError)
    assert responses["b"].code == "LinkExpired"
    assert (responses["a"], responses["c"]) == (link("a", LATER), link("c", LATER))


async def test_a_source_that_fails_is_told_to_each_and_loses_nobody_in_line() -> None:
    source = Source(error=LinkExpiredError("it is broken", code="RenewalFailed"))
    renew = source.renew
    ready = deque([job(link("x"), renew), job(link("y", LATER), renew)])
    responses = await ask(LinkRenewer(ready, Clock()), renew, ["a", "b"])
    assert {key: str(response) for key, response in responses.items()} == {"a": "it is broken", "b": "it is broken"}
    assert len(set(map(id, responses.values()))) == 2
    assert list(ready) == [job(link("x"), renew), job(link("y", LATER), renew)]


async def test_a_source_that_breaks_or_is_cut_off_loses_nobody_in_line() -> None:
    source = Source(error=RuntimeError("a bug"))
    renew = source.renew
    ready = deque([job(link("x"), renew)])
    renewer = LinkRenewer(ready, Clock())
    with pytest.raises(RuntimeError):
        await renewer.renew(RenewableLink(link("a"), renew))
    with anyio.move_on_after(0.001):
        await renewer.renew(RenewableLink(link("b"), renew))
    assert list(ready) == [job(link("x"), renew)]


async def test_a_worker_that_is_cancelled_while_it_renews_leaves_the_others_to_the_next() -> None:
    source, renewer = Source(), LinkRenewer(deque(), Clock())
    renew, fresh = source.renew, list[Link]()
    scope = anyio.CancelScope()

    async def first() -> None:
        with scope:
            await renewer.renew(RenewableLink(link("a"), renew))

    async def second() -> None:
        asking = RenewableLink(link("b"), renew)
        await renewer.renew(asking)
        fresh.append(asking.link)

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        group.start_soon(second)
        await source.has_begun.wait()  # both are in the batch that is under way
        scope.cancel()
    assert source.asked == [["a", "b"], ["b"]]
    assert fresh == [link("b", LATER)]


async def test_a_job_that_is_taken_while_its_link_is_renewed_waits_for_that() -> None:
    source = Source()
    renew = source.renew
    waiting = job(link("x"), renew)
    ready = deque([waiting])
    renewer = LinkRenewer(ready, Clock())
    sent: list[Link] = []

    async def send(fresh_link: Link) -> None:
        sent.append(fresh_link)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, renewer, renew, ["a"])
        await source.has_begun.wait()  # the batch with both is under way
        taken = ready.popleft().renewable
        assert taken is not None
        await renewer.call(taken, send)
    assert source.asked == [["a", "x"]]
    assert sent == [link("x", LATER)]


async def test_lapsed_is_by_the_servers_clock() -> None:
    source, clock = Source(), Clock()
    renew = source.renew
    clock.skew = timedelta(hours=1)
    soon = datetime.now(UTC) + timedelta(minutes=30)
    ready = deque([job(link("x", soon), renew)])
    await ask(LinkRenewer(ready, clock), renew, ["a"])
    assert source.asked == [["a", "x"]]


@pytest.mark.parametrize(("has_served", "asked"), [(True, 3 * MAX_RENEWALS), (False, MAX_RENEWALS)])
async def test_as_many_links_as_it_takes_where_each_brings_something(has_served: bool, asked: int) -> None:
    """An object of terabytes outlives any number of links; one of which nothing comes does not."""
    source = Source()
    tried = 0

    async def work(_: Link) -> int:
        nonlocal tried
        tried += 1
        if tried <= 3 * MAX_RENEWALS:
            error = LinkExpiredError("over", code="ExpiredToken")
            error.has_served = has_served
            raise error
        return tried

    renewer = LinkRenewer(deque(), Clock())
    if has_served:
        assert await renewer.call(RenewableLink(link("a", LATER), source.renew), work) == 3 * MAX_RENEWALS + 1
    else:
        with pytest.raises(LinkExpiredError):
            await renewer.call(RenewableLink(link("a", LATER), source.renew), work)
    assert len(source.asked) == asked


async def sent(link: Link, renew: Renew | None, clock: Clock, *refused: datetime | None) -> list[datetime | None]:
    """The ends of the links that went out; those of `refused` ends are expired, by the server's word."""
    ends: list[datetime | None] = []

    async def work(link: Link) -> None:
        ends.append(link.expires_at)
        if link.expires_at in refused:
            raise LinkExpiredError("403", code="AccessDenied")

    with suppress(LinkExpiredError):
        await LinkRenewer(deque(), clock).call(RenewableLink(link, renew), work)
    return ends


async def test_no_link_is_given_up_unsent_before_the_time_is_known() -> None:
    assert await sent(link("a"), None, Clock()) == [PAST]
    assert await sent(link("a"), None, set_clock()) == []


async def test_a_link_that_seems_over_is_renewed_and_its_fresh_one_is_sent_though_it_seems_so_too() -> None:
    source = Source()

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        await source.renew(links)
        return [link("fresh", SOON)]

    assert await sent(link("a"), renew, Clock()) == [SOON]
    assert source.asked == [["a"]]


@pytest.mark.parametrize("error", [None, LinkExpiredError("it is broken", code="RenewalFailed")])
async def test_one_that_cannot_be_renewed_is_sent_once(error: LinkExpiredError | None) -> None:
    assert await sent(link("a"), Source("a", error=error).renew, Clock()) == [PAST]
    assert await sent(link("a"), Source("a", error=error).renew, Clock(), PAST) == [PAST]
    assert await sent(link("a"), Source("a", error=error).renew, set_clock()) == []


async def test_why_it_could_not_be_renewed_is_told_once_the_server_calls_it_expired() -> None:
    async def work(_: Link) -> None:
        error = LinkExpiredError("403", code="AccessDenied")
        error.attempt = 2
        raise error

    source = Source(error=LinkExpiredError("it is broken", code="RenewalFailed"))
    with pytest.raises(LinkExpiredError, match="it is broken") as caught:
        await LinkRenewer(deque(), Clock()).call(RenewableLink(link("a"), source.renew), work)
    assert (caught.value.attempt, source.asked) == (2, [["a"]])


def ends_in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class Short:
    """Renews by links that expire at `ends`, the last of them again and again; None is a link that is not renewed."""

    def __init__(self, *ends: datetime | None) -> None:
        self.asked = 0
        self._ends = list(ends)

    async def renew(self, links: Sequence[Link]) -> list[Link | None]:
        self.asked += 1
        end = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        return [link(one.object.key, end) if end else None for one in links]


async def test_a_link_within_its_margin_is_sent_if_nothing_renews_it() -> None:
    soon = ends_in(20)
    assert await sent(link("a", soon), None, set_clock()) == [soon]


async def test_links_are_renewed_once_if_fresh_ones_are_within_their_margin_too() -> None:
    """Whether they expire at the same moment, as their credentials do, or a little later."""
    soon = ends_in(20)
    for fresh in (soon, soon + timedelta(seconds=1)):
        source, used = Short(fresh), list[datetime | None]()
        renewer = LinkRenewer(deque(), set_clock())

        async def work(link: Link, used: list[datetime | None] = used) -> None:
            used.append(link.expires_at)

        for key in "abc":
            await renewer.call(RenewableLink(link(key, soon), source.renew), work)
        assert (source.asked, used) == (1, [fresh, soon, soon])


@pytest.mark.parametrize("error", [None, LinkExpiredError("it is broken", code="RenewalFailed")])
async def test_a_link_within_its_margin_is_sent_if_its_renewal_fails(error: LinkExpiredError | None) -> None:
    soon = ends_in(20)
    assert await sent(link("a", soon), Source("a", error=error).renew, set_clock()) == [soon]


async def test_the_margin_counts_again_once_fresh_links_live_longer() -> None:
    """A link that has expired is renewed in any case, and shows that there are other credentials."""
    soon = ends_in(20)
    source, used = Short(soon, LATER), list[datetime | None]()
    renewer = LinkRenewer(deque(), set_clock())

    async def work(link: Link) -> None:
        used.append(link.expires_at)

    for end in (soon, soon, PAST, soon):
        await renewer.call(RenewableLink(link("a", end), source.renew), work)
    assert (source.asked, used) == (3, [soon, soon, LATER, LATER])
