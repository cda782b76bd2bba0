"""What get, put and verify take from a program: links, objects and urls in any iterable, and an open Presigner."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pyarrow
import pytest

import bulkpresign as bp
from bulkpresign.errors import ListingError, ManifestError, ParameterError
from bulkpresign.pipeline.run.failures import FailureLog
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.folders import files
from tests.support.tables import rows_of

BODIES = {f"k/{number}": os.urandom(100 + number) for number in range(70)}


async def one_by_one(rows: list[Any]) -> AsyncIterator[Any]:
    for row in rows:
        await anyio.lowlevel.checkpoint()
        yield row


async def links_of(refs: list[bp.ObjectRef], method: bp.Method = "GET") -> list[bp.Link]:
    async with bp.Presigner() as presigner:
        return presigner.sign_batch(refs, method)


def given_as(shape: str, rows: list[Any]) -> Any:
    """The same rows in another shape."""
    shapes: dict[str, Callable[[], Any]] = {
        "list": lambda: rows,
        "tuple": lambda: tuple(rows),
        "generator": lambda: iter(rows),
        "batches": lambda: [rows[:20], rows[20:]],
        "async": lambda: one_by_one(rows),
        "async batches": lambda: one_by_one([rows[:1], rows[1:]]),
    }
    return shapes[shape]()


@pytest.mark.parametrize("shape", ["list", "tuple", "generator", "batches", "async", "async batches"])
@pytest.mark.parametrize("kind", ["links", "refs", "mixed"])
def test_get_takes_rows_in_any_shape(shape: str, kind: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> bp.Report:
        links = await links_of(refs)
        rows: dict[str, list[Any]] = {"links": links, "refs": refs, "mixed": [*links[:30], *refs[30:]]}
        return await bp.get(given_as(shape, rows[kind]), to=tmp_path / "data")

    report = asyncio.run(run())
    assert (report.done, report.objects) == (len(BODIES), len(BODIES))
    assert files(tmp_path / "data") == BODIES


def test_get_takes_what_a_presigner_signs(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> bp.Report:
        async with bp.Presigner() as presigner:
            return await bp.get(presigner.sign(refs, batch_size=30), to=tmp_path / "data")

    assert asyncio.run(run()).done == len(BODIES)
    assert files(tmp_path / "data") == BODIES


def test_get_takes_urls_and_a_link_that_says_nothing_but_its_url(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> bp.Report:
        first, second, third = (link.url for link in await links_of(refs[:3]))
        return await bp.get(one_by_one([first, bp.Link("GET", second, {}), [third]]), to=tmp_path)

    assert asyncio.run(run()).done == 3
    bucket = refs[0].bucket
    assert files(tmp_path) == {f"{bucket}/{key}": BODIES[key] for key in list(BODIES)[:3]}


def test_one_link_or_object_by_itself(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> None:
        (link,) = await links_of(refs[:1])
        assert (await bp.get(link, to=tmp_path)).done == 1
        assert (await bp.get(refs[1], to=tmp_path)).done == 1

    asyncio.run(run())
    assert files(tmp_path) == {key: BODIES[key] for key in list(BODIES)[:2]}


def test_a_presigner_of_another_event_loop(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """It is refused before any request, also where only a later link would need it."""

    async def run() -> None:
        async with bp.Presigner() as presigner:
            links = presigner.sign_batch(refs)
            for rows, renewed in ((refs, False), (links, True)):
                getting = bp.get(rows, tmp_path / "data", presigner=presigner, renew_credentials=renewed)
                with pytest.raises(ParameterError, match="opened in another event loop"):
                    await asyncio.to_thread(asyncio.run, getting)

    asyncio.run(run())
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio's, for one that was not read to its end
def test_another_library_than_asyncio_signs_and_sends_nothing(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    import trio

    place = f"s3://{refs[0].bucket}/"

    async def read(stream: AsyncIterator[object]) -> None:
        async for _ in stream:
            pass

    async def use() -> None:
        (tmp_path / "local").mkdir()
        async with bp.Presigner() as presigner:
            links = presigner.sign_batch(refs)
            assert (await presigner.presign("list_buckets")).method == "GET"
        assert (await bp.sign(refs, tmp_path / "links.csv")).done == len(refs)
        assert (await bp.sign(one_by_one(refs), tmp_path / "links.csv")).done == len(refs)
        assert (await bp.convert(one_by_one(links), tmp_path / "links.csv")).done == len(refs)
        assert (await bp.verify(one_by_one(links), tmp_path / "local")).missing == len(refs)
        for run in (
            lambda: bp.get(refs, tmp_path / "data"),
            lambda: bp.put(tmp_path / "local", place),
            lambda: bp.copy(refs, place),
            lambda: bp.compare(place, tmp_path / "local"),
            lambda: bp.sign(place, tmp_path / "more.csv"),
            lambda: bp.sign(refs, tmp_path / "more.csv", head=True),
            lambda: bp.sign(tmp_path / "links.csv", tmp_path / "more.csv", executor="processes:1"),
            lambda: read(bp.read(refs)),
            lambda: read(bp.get_outcomes(refs, tmp_path / "data")),
        ):
            with pytest.raises(ParameterError, match="asyncio is needed"):
                await run()

    trio.run(use)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["links.csv", "local"]


def test_a_second_run_skips_what_is_done(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> None:
        assert (await bp.get(iter(refs), to=tmp_path / "data")).done == len(BODIES)
        again = await bp.get(one_by_one(await links_of(refs)), to=tmp_path / "data")
        assert (again.done, again.skipped) == (0, len(BODIES))

    asyncio.run(run())


def test_the_input_is_read_as_it_is_used(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """While nothing is answered no more is read than what is in flight, and one batch ahead."""
    read: list[str] = []

    async def rows(links: list[bp.Link]) -> AsyncIterator[bp.Link]:
        for link in links:
            read.append(link.url)
            yield link

    async def run(proxy: FaultProxy) -> None:
        async with bp.Presigner(endpoint_url=proxy.url) as presigner:
            links = presigner.sign_batch(refs)
        task = asyncio.create_task(bp.get(rows(links), to=tmp_path, concurrency=4, attempts=1))
        while proxy.count < 4:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert len(read) <= 4 + 3
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with FaultProxy() as proxy:
        proxy.always = Fault(status=200, delay=30)
        asyncio.run(run(proxy))


def test_cancelled_twice_while_what_is_left_is_written(
    refs: list[bp.ObjectRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failures file has all objects that were not done, also where the rest of the input takes a while to read."""
    add_left, is_adding = FailureLog.add_left, asyncio.Event()

    async def slow(self: FailureLog, batches: AsyncIterator[Any]) -> None:
        is_adding.set()
        await asyncio.sleep(0.1)
        await add_left(self, batches)

    async def run() -> None:
        async with bp.Presigner() as presigner:
            await bp.sign(f"s3://{refs[0].bucket}/", tmp_path / "links.csv", presigner=presigner)
        get = bp.get(
            tmp_path / "links.csv", tmp_path / "data", failures=tmp_path / "failed.csv", concurrency=2, limit_rate=1000
        )
        task = asyncio.create_task(get)
        while not (tmp_path / "data").exists() or not files(tmp_path / "data"):
            await asyncio.sleep(0.01)
        task.cancel()
        await is_adding.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(FailureLog, "add_left", slow)
    asyncio.run(run())
    left = {row["key"] for row in rows_of(tmp_path / "failed.csv")}
    assert left
    assert files(tmp_path / "data").keys() | left == BODIES.keys()


def test_cancelled_while_the_input_waits(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """An iterable that gives no more keeps no run from ending, and is closed in the task that read it."""
    closed_by: list[bool] = []

    async def rows() -> AsyncIterator[bp.ObjectRef]:
        reader = asyncio.current_task()
        try:
            yield refs[0]
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            closed_by.append(asyncio.current_task() is reader)

    async def run() -> None:
        task = asyncio.create_task(bp.get(rows(), to=tmp_path / "data", failures=tmp_path / "failed.csv"))
        while not (tmp_path / "data/k/0").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed_by == [True]

    asyncio.run(run())


def test_what_the_input_raises_ends_the_run(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def rows(count: int) -> AsyncIterator[bp.ObjectRef]:
        for ref in refs[:count]:
            yield ref
        raise LookupError("the database is gone")

    def plain() -> Iterator[bp.ObjectRef]:
        yield from refs[:65]
        raise LookupError("the database is gone")

    for source in (rows(0), rows(5), plain()):
        with pytest.raises(LookupError, match="the database is gone"):
            asyncio.run(bp.get(source, to=tmp_path))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([1], "row 1 is an int; a Link, an ObjectRef, the url of a link, or a list of these is taken"),
        ([bp.ObjectRef("bucket", "key"), None], "row 2 is a NoneType"),
        ([[bp.ObjectRef("bucket", "key")], [{"key": "x"}]], "row 2 is a dict"),
        (iter([3.0]), "row 1 is a float"),
        (5, "an int is given; a Link, an ObjectRef"),
        ({"url": ["http://h/k"]}, "a dict is given; a Link, an ObjectRef"),
        (pyarrow.table({"url": ["http://h/k"]}), "a Table is given; a Link, an ObjectRef"),
        (b"https://host/key", "a bytes is given"),
    ],
)
def test_rows_of_other_types(rows: Any, said: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for verb in (bp.get, bp.put, bp.verify):
        if isinstance(rows, Iterator):
            rows = iter([3.0])
        with pytest.raises(TypeError, match=said):
            asyncio.run(verb(rows, tmp_path / "in"))


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([bp.ObjectRef("bucket", "k")], "an ObjectRef is given; a source is the name of a table"),
        (["keys.csv", 3], "an int is given; a source is the name of a table, or s3://bucket/prefix/$"),
        (None, "a NoneType is given"),
    ],
)
def test_post_takes_names(sources: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=said):
        asyncio.run(bp.post(sources, tmp_path / "forms.csv"))


def test_strings_that_are_no_urls(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"given rows:2: 'keys.csv' is not a url"):
        rows: list[bp.ObjectRef | str] = [refs[0], "keys.csv"]
        asyncio.run(bp.get(rows, to=tmp_path))
    with pytest.raises(ManifestError, match=r"given rows:1: column url: .* is not an http"):
        asyncio.run(bp.get(iter(["https://"]), to=tmp_path))
    with pytest.raises(ManifestError) as refused:
        asyncio.run(bp.get(iter(["https://a b/?X-Amz-Signature=secret"]), to=tmp_path))
    assert "secret" not in str(refused.value)
    with pytest.raises(ParameterError, match="given rows:1") as refused_blank:
        asyncio.run(bp.get(iter([" https://h/k?X-Amz-Signature=secret"]), to=tmp_path))
    assert "secret" not in str(refused_blank.value)


def test_two_rows_on_one_path(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="path 'k/0' is the path of"):
        asyncio.run(bp.get(one_by_one([refs[0], refs[0]]), to=tmp_path))


def test_links_of_another_method(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> None:
        links = await links_of(refs, "PUT")
        with pytest.raises(ManifestError, match=r"given rows:1: column method: a PUT link where GET links are needed"):
            await bp.get(links, to=tmp_path)
        with pytest.raises(ParameterError, match="an ObjectRef where links are needed"):
            await bp.put(refs, source=tmp_path)

    asyncio.run(run())


def test_what_failed_is_written_and_taken_again(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    gone = bp.ObjectRef(refs[0].bucket, "gone", extra={"owner": "me"})

    async def run(rows: list[Any]) -> None:
        report = await bp.get(iter(rows), to=tmp_path / "data", failures=tmp_path / "failed.csv")
        assert (report.done, report.failed) == (1, 1)
        report = await bp.get(tmp_path / "failed.csv", to=tmp_path / "data")
        assert report.failed == 1

    asyncio.run(run([gone, refs[0]]))
    head, row = (tmp_path / "failed.csv").read_text().splitlines()
    assert "url" not in head.split(",") and "me" in row.split(",")
    asyncio.run(run(asyncio.run(links_of([refs[1], gone]))))
    assert "url" in (tmp_path / "failed.csv").read_text().splitlines()[0].split(",")


def test_put_takes_links_and_folders(
    seaweedfs: S3Server, make_bucket: MakeBucket, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    bucket = make_bucket(seaweedfs)
    for key, body in BODIES.items():
        (tmp_path / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / key).write_bytes(body)
    refs = [bp.ObjectRef(bucket, key) for key in BODIES]

    async def run() -> None:
        async with bp.Presigner() as presigner:
            report = await bp.put(presigner.sign(refs, method="PUT"), source=tmp_path / "in")
            assert report.done == len(BODIES)
            report = await bp.put(tmp_path / "in", f"s3://{bucket}/again/", presigner=presigner, part_size=5 << 20)
            assert report.done == len(BODIES)
            report = await bp.get(f"s3://{bucket}/", to=tmp_path / "out", presigner=presigner)
            assert report.done == 2 * len(BODIES)
            assert presigner.is_open
        with pytest.raises(ParameterError, match="renew_url is for put with links"):
            await bp.put(tmp_path / "in", f"s3://{bucket}/again/", renew_url="http://host/")
        with pytest.raises(ParameterError, match="part_size is for put with s3://bucket/prefix/"):
            await bp.put("links.csv", tmp_path / "in", part_size=5 << 20)
        with pytest.raises(TypeError, match="takes the name of a folder, not list"):
            await bp.put(refs, f"s3://{bucket}/again/")

    asyncio.run(run())
    assert files(tmp_path / "out") == BODIES | {f"again/{key}": body for key, body in BODIES.items()}


def test_put_takes_the_rows_of_uploads(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv, tmp_path: Path
) -> None:
    aws_env(seaweedfs)
    bucket, body = make_bucket(seaweedfs), os.urandom(11 << 20)
    (tmp_path / "large").write_bytes(body)
    (tmp_path / "small").write_bytes(b"small")

    async def run() -> bp.Report:
        upload_id = boto(seaweedfs).create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
        async with bp.Presigner() as presigner:
            upload = presigner.sign_upload(bp.ObjectRef(bucket, "large", size=len(body)), upload_id, 5 << 20)
            single = presigner.sign_batch([bp.ObjectRef(bucket, "small")], "PUT")
        return await bp.put(one_by_one([*upload.links, *single]), source=tmp_path, journal=tmp_path / "j.journal")

    assert asyncio.run(run()).done == 2
    assert boto(seaweedfs).get_object(Bucket=bucket, Key="large")["Body"].read() == body


def test_verify_takes_rows(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> None:
        await bp.get(refs, to=tmp_path / "data")
        report = await bp.verify(one_by_one(list(refs)), tmp_path / "data")
        assert (report.verified, report.extra) == (len(BODIES), 0)
        report = await bp.verify(await links_of(refs[:-1]), tmp_path / "data")
        assert (report.verified, report.extra) == (len(BODIES) - 1, 1)
        (tmp_path / "data/k/0").write_bytes(b"x" * 100)
        report = await bp.verify(refs, tmp_path / "data")
        assert (report.verified, report.different) == (len(BODIES) - 1, 1)

    asyncio.run(run())


def test_a_presigner_of_the_callers(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run() -> None:
        presigner = bp.Presigner()
        with pytest.raises(ParameterError, match="presigner is not open"):
            await bp.get(refs, to=tmp_path, presigner=presigner)
        async with presigner:
            with pytest.raises(ParameterError, match="region_name and presigner are both given"):
                await bp.get(refs, to=tmp_path, presigner=presigner, region_name="us-east-1")
            assert (await bp.get(refs, to=tmp_path, presigner=presigner)).done == len(BODIES)
            report = await bp.sign(f"s3://{refs[0].bucket}/", tmp_path.with_suffix(".csv"), presigner=presigner)
            assert report.done == len(BODIES)
            assert presigner.sign_batch(refs[:1])

    asyncio.run(run())


def test_config_and_the_keywords_beside_it(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    config = bp.TransferConfig(concurrency=2, limit=3)

    async def run() -> None:
        assert (await bp.get(refs, to=tmp_path, config=config)).done == 3
        assert (await bp.get(refs, to=tmp_path, config=config, limit=5)).done == 5
        with pytest.raises(ParameterError, match="attempts of 0 is not at least 1"):
            await bp.get(refs, to=tmp_path, config=config, attempts=0)

    asyncio.run(run())
    with pytest.raises(ParameterError, match="part_size of 0 is not at least 1"):
        bp.TransferConfig(part_size=0)


def test_a_bucket_that_can_not_be_listed(seaweedfs: S3Server, aws_env: AwsEnv, tmp_path: Path) -> None:
    aws_env(seaweedfs)
    with pytest.raises(ListingError):
        asyncio.run(bp.get("s3://no-such-bucket-here/", to=tmp_path))
