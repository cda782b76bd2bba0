"""Listings of whole prefixes, against a bucket in memory."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkpresign.errors import ListingError
from bulkpresign.source import key_space
from bulkpresign.source import lister as lister_module
from bulkpresign.source.lister import FetchPage, Lister
from bulkpresign.source.page import Page
from tests.source.listing_pages import ListedBucket, VersionedBucket, page_of

SEGMENT = st.text(alphabet="ab-/\x01é\U0010fffd", min_size=1, max_size=4)
KEYS = st.lists(SEGMENT | st.builds("/".join, st.lists(SEGMENT, min_size=2, max_size=4)), unique=True, max_size=60)


def numbered(form: str, start: int, count: int, step: int) -> list[str]:
    """Keys of a form that has two numbers, of which the second one has two digits."""
    return [form.format(*divmod(number, 100)) for number in range(start, start + count * step, step)]


#: Keys that are split at points, and some that may lie between them: in folders that sort otherwise than names do.
FORMS = st.sampled_from(["{:02}{:02}", "{:02}-{:02}", "a-{:02}{:02}x", "{:02}/{:02}", "a/{:02}-{:02}"])
NUMBERED = st.builds(numbered, FORMS, st.integers(0, 900), st.integers(0, 150), st.integers(1, 9))
BESIDE = st.lists(st.builds("{:02}{}{}".format, st.integers(0, 12), st.sampled_from("-/0_"), st.text("0x", max_size=2)))
NUMBERS = st.builds(lambda *lists: sorted({*lists[0], *lists[1], *lists[2]}), NUMBERED, NUMBERED, BESIDE)


def listed(fetch: FetchPage, prefix: str = "", *, is_parallel: bool = True) -> list[str]:
    """All keys of a listing, in the order in which they come."""

    async def run() -> list[str]:
        return [key async for page in Lister(fetch, prefix, is_parallel=is_parallel).pages() for key in page.keys]

    return asyncio.run(run())


def tree_order(key: str) -> object:
    """The order of SeaweedFS, which walks folders: by segments."""
    return key.split("/")


@pytest.fixture(params=[0, 2, 200])
def _least_per_request(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether listings are split: always, sometimes, and, as the pages are short, never."""
    monkeypatch.setattr(lister_module, "_LEAST_PER_REQUEST", request.param)
    monkeypatch.setattr(lister_module, "_LONG", 1)
    monkeypatch.setattr(lister_module, "_LEAST_OF_POINTS", request.param)
    monkeypatch.setattr(key_space, "_LEAST_DISTANCE", 1)


ANY_CASE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.usefixtures("_least_per_request")
@ANY_CASE
@given(
    keys=KEYS | NUMBERS,
    prefix=st.sampled_from(["", "a", "a/", "b/a"]),
    most=st.integers(1, 9),
    is_parallel=st.booleans(),
)
def test_every_key_comes_once_in_order(keys: list[str], prefix: str, most: int, is_parallel: bool) -> None:
    found = listed(ListedBucket(keys, most).fetch, prefix, is_parallel=is_parallel)
    assert found == sorted(key for key in keys if key.startswith(prefix))


@pytest.mark.usefixtures("_least_per_request")
@ANY_CASE
@given(keys=KEYS | NUMBERS, most=st.integers(1, 9))
def test_every_key_comes_once_from_a_server_that_walks_folders(keys: list[str], most: int) -> None:
    found = listed(ListedBucket(keys, most, tree_order).fetch)
    assert sorted(found) == sorted(keys)


def versions_listed(fetch: FetchPage, prefix: str = "") -> list[tuple[str, str | None]]:
    """The key and version of each object of a listing of versions, in the order in which they come."""

    async def run() -> list[tuple[str, str | None]]:
        lister = Lister(fetch, prefix, all_versions=True)
        return [found async for page in lister.pages() for found in zip(page.keys, page.version_ids, strict=True)]

    return asyncio.run(run())


@pytest.mark.usefixtures("_least_per_request")
@ANY_CASE
@given(
    keys=KEYS | NUMBERS,
    most=st.integers(1, 9),
    prefix=st.sampled_from(["", "a", "a/"]),
    is_inclusive=st.booleans(),
    markers_last=st.booleans(),
    data=st.data(),
)
def test_every_version_comes_once_in_order(
    keys: list[str], most: int, prefix: str, is_inclusive: bool, markers_last: bool, data: st.DataObject
) -> None:
    """The versions of a key come together, whatever a page or a section has of them."""
    numbers = data.draw(st.lists(st.integers(1, 7), min_size=len(keys), max_size=len(keys)))
    counts = dict(zip(keys, numbers, strict=True))
    bucket = VersionedBucket(counts, most, is_inclusive=is_inclusive, markers_last=markers_last)
    assert versions_listed(bucket.fetch, prefix) == [found for found in bucket.objects if found[0].startswith(prefix)]


@pytest.mark.usefixtures("_least_per_request")
@ANY_CASE
@given(keys=KEYS | NUMBERS, most=st.integers(1, 9), data=st.data())
def test_every_version_comes_once_from_a_server_that_walks_folders(
    keys: list[str], most: int, data: st.DataObject
) -> None:
    numbers = data.draw(st.lists(st.integers(1, 3), min_size=len(keys), max_size=len(keys)))
    bucket = VersionedBucket(dict(zip(keys, numbers, strict=True)), most, order=tree_order)
    assert sorted(versions_listed(bucket.fetch)) == sorted(bucket.objects)


# -- requests


def tree(folders: int, files: int) -> list[str]:
    """Keys of some folders with some files each."""
    return [f"d/{folder:03}/{file:05}" for folder in range(folders) for file in range(files)]


def test_a_listing_of_one_page_is_one_request() -> None:
    bucket = ListedBucket(tree(10, 100), 1000)
    assert listed(bucket.fetch, "d/") == tree(10, 100)
    assert bucket.requests == [{"prefix": "d/"}]


def test_a_listing_without_sub_prefixes_takes_a_request_for_each_page() -> None:
    bucket = ListedBucket([f"{number:05}" for number in range(5500)], 1000)
    assert len(listed(bucket.fetch)) == 5500
    assert len(bucket.requests) == 6


def most_at_once(
    bucket: ListedBucket | VersionedBucket, list_all: Callable[[FetchPage], list[Any]] = listed
) -> tuple[list[Any], int]:
    """The listed objects, and the largest number of requests in flight."""
    most = now = 0

    async def fetch(query: Mapping[str, str]) -> Page:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await anyio.sleep(0)
        page = await bucket.fetch(query)
        now -= 1
        return page

    return list_all(fetch), most


@pytest.mark.parametrize("name", ["{:08}-x.csv", "part-{:05}-x", "2026-01-{:06}", "d/e-f/{:06}"])
def test_a_flat_listing_is_split_at_points(name: str) -> None:
    keys = [name.format(number) for number in range(60_000)]
    bucket = ListedBucket(keys, 1000)
    found, most = most_at_once(bucket)
    assert found == keys
    assert most == lister_module.CONCURRENCY
    assert len(bucket.requests) <= 90


@pytest.mark.parametrize("is_inclusive", [False, True])
@pytest.mark.parametrize("name", ["{:08}-x.csv", "d/{0:08}", "d/{0:08}/x", "{1:02}/{0:05}"])
def test_versions_are_listed_at_the_same_time(name: str, is_inclusive: bool) -> None:
    """Also where most entries are delete markers, which no page passes on, and where keys are texts of points."""
    counts = {name.format(number, number // 500): 2 + number % 5 for number in range(10_000)}
    bucket = VersionedBucket(counts, 1000, is_inclusive=is_inclusive)
    found, most = most_at_once(bucket, versions_listed)
    assert found == bucket.objects
    assert most >= 10
    assert len(bucket.requests) <= 90


def test_a_page_tells_by_its_position_where_it_ends() -> None:
    """Its last entry is a delete marker under a/, and it ends at an object under b/."""
    counts = {**{f"a/{number}": 3 for number in range(100, 350)}, **{f"b/{number}": 1 for number in range(1000, 2000)}}
    bucket = VersionedBucket(counts, 1000, markers_last=True)
    assert versions_listed(bucket.fetch) == bucket.objects


def test_a_key_with_many_versions_is_listed_one_page_after_another() -> None:
    bucket = VersionedBucket({"a": 3, "k": 15_000, "z": 3}, 1000)
    assert versions_listed(bucket.fetch) == bucket.objects
    assert len(bucket.requests) == 16


def test_a_folder_that_sorts_otherwise_prevents_points() -> None:
    """SeaweedFS lists 12/x before 12-000, S3 after it. The points before it are used."""
    keys = [*(f"{number // 1000:02}-{number % 1000:03}" for number in range(25_000)), "12/x", "17/x"]
    for order in (tree_order, lambda key: key):
        bucket = ListedBucket(keys, 1000, order)
        found, most = most_at_once(bucket)
        assert sorted(found) == sorted(keys)
        assert most > 3


def test_a_folder_whose_latest_entry_is_a_delete_marker_prevents_points() -> None:
    keys = [*(f"{number // 1000:02}-{number % 1000:03}" for number in range(25_000)), "12/x", "17/x"]
    bucket = VersionedBucket(dict.fromkeys(keys, 2), 1000, order=tree_order)
    assert sorted(versions_listed(bucket.fetch)) == sorted(bucket.objects)


def test_a_page_that_is_not_sorted_prevents_points() -> None:
    keys = [f"{number:05}" for number in range(15_000)]
    bucket = ListedBucket(keys, 1000, lambda key: key[::-1])
    assert sorted(listed(bucket.fetch)) == keys
    assert len(bucket.requests) == 15


def test_a_server_that_ignores_start_after_is_listed_one_page_after_another() -> None:
    keys = [f"{number:05}" for number in range(15_000)]
    bucket = ListedBucket(keys, 1000)

    async def fetch(query: Mapping[str, str]) -> Page:
        return await bucket.fetch({name: value for name, value in query.items() if name != "start-after"})

    assert listed(fetch) == keys
    assert len(bucket.requests) == 16


def test_keys_before_a_point_are_an_error() -> None:
    """They would come twice. The server is one that changes its mind."""
    bucket, most = ListedBucket([f"{number:05}" for number in range(40_000)], 1000), 2

    async def fetch(query: Mapping[str, str]) -> Page:
        nonlocal most
        most -= "start-after" in query
        return await bucket.fetch({name: value for name, value in query.items() if name != "start-after" or most >= 0})

    with pytest.raises(ListingError, match="its keys have another order"):
        listed(fetch)


def test_large_sub_prefixes_are_listed_at_the_same_time() -> None:
    keys = [*tree(20, 2500), *(f"e/{number}" for number in range(3000)), "f"]
    bucket = ListedBucket(keys, 1000)
    found, most = most_at_once(bucket)
    assert found == sorted(keys)
    assert most == lister_module.CONCURRENCY
    assert len(bucket.requests) < 80  # a plain listing takes 54


def test_nothing_is_split_while_enough_sections_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subfolders of each folder would be found by one more request."""
    monkeypatch.setattr(lister_module, "_LEAST_PER_REQUEST", 0)
    keys = [f"d/{folder:02}/{sub}/{file:04}" for folder in range(50) for sub in range(2) for file in range(150)]
    bucket = ListedBucket(keys, 100)
    assert listed(bucket.fetch) == keys
    assert sum("delimiter" in query for query in bucket.requests) <= 2 * lister_module.CONCURRENCY


@pytest.mark.parametrize("first", ["", "d/000/"])
def test_small_sub_prefixes_are_not_listed_by_themselves(first: str) -> None:
    """Neither at the beginning, nor after a large one, whose size says nothing about the others."""
    keys = tree(4000, 3) + [f"{first}{number:06}" for number in range(5000)]
    bucket = ListedBucket(keys, 1000)
    assert listed(bucket.fetch) == sorted(keys)
    assert len(bucket.requests) <= len(keys) / 200 + 1100


def test_a_slow_consumer_holds_the_requests_back() -> None:
    keys = tree(100, 1500)

    async def run() -> None:
        bucket = ListedBucket(keys, 1000)
        lister = Lister(bucket.fetch, "")
        pages = lister.pages()
        passed = most = 0
        async for page in pages:
            passed += len(page.keys)
            for _ in range(5):
                await anyio.sleep(0)
            most = max(most, bucket.given - passed)
        assert passed == len(keys)
        assert 20_000 < most <= 2 * lister_module.CONCURRENCY * 1000

    asyncio.run(run())


def test_the_requests_end_with_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose consumer leaves it, and the one whose listing fails."""
    monkeypatch.setattr(lister_module, "_LEAST_PER_REQUEST", 0)
    ended: list[str] = []

    async def fetch(query: Mapping[str, str]) -> Page:
        if query.get("delimiter"):
            return page_of([], [f"{letter}/" for letter in "bcd"])
        if query["prefix"] == "c/" and fails:
            raise ListingError("c/ is refused")
        if query["prefix"] in {"b/", "c/", "d/"}:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(query["prefix"])
        return page_of(["a/1"], next_page={"start-after": "a/1"}) if query == {"prefix": ""} else page_of([])

    async def run() -> None:
        async for page in Lister(fetch, "").pages():
            assert page.keys == ["a/1"]

    async def leave() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    fails = True
    with pytest.raises(ListingError, match="c/ is refused"):
        asyncio.run(run())
    assert sorted(ended) == ["b/", "d/"]
    fails = False
    asyncio.run(leave())
    assert sorted(ended[2:]) == ["b/", "c/", "d/"]


# -- servers that do not get on


@pytest.mark.parametrize("cycle", [1, 2, 7])
def test_positions_that_repeat_are_an_error(cycle: int) -> None:
    count = 0

    async def fetch(_: Mapping[str, str]) -> Page:
        nonlocal count
        count += 1
        return page_of([f"{count % cycle}"], next_page={"continuation-token": f"{count % cycle}"})

    with pytest.raises(ListingError, match="gives the same position twice"):
        listed(fetch)
    assert count <= 3 * cycle + 1


def test_a_server_without_start_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of one sub-prefix are split; then the rest is wanted by a key, and comes from the beginning."""
    monkeypatch.setattr(lister_module, "_LEAST_PER_REQUEST", 0)
    bucket = ListedBucket(tree(2, 5), 2)

    async def fetch(query: Mapping[str, str]) -> Page:
        return await bucket.fetch({name: value for name, value in query.items() if name != "start-after"})

    with pytest.raises(ListingError, match="does not support start-after"):
        listed(fetch)


def test_a_server_without_prefixes() -> None:
    async def fetch(_: Mapping[str, str]) -> Page:
        return page_of(["a/1", "b/1"])

    with pytest.raises(ListingError, match="lists 'b/1', which is not under the prefix"):
        listed(fetch, "a/")
