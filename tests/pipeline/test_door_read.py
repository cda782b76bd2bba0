"""Objects in memory: verified, bounded, with failures raised or yielded; nothing on disk."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.transfer.engine import retries
from tests.servers.proxy import Fault, FaultProxy
from tests.support.events import heard

BODIES = {f"{number}": os.urandom(size) for number, size in enumerate([0, 1, 300_000, *range(100, 120)])}


def test_links_and_objects(refs: list[bp.ObjectRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with bp.Presigner() as presigner:
            links = presigner.sign_batch(refs)
            for given in (links, refs, presigner.sign(refs), f"s3://{refs[0].bucket}/"):
                reading = bp.read(given, presigner=presigner, concurrency=4)
                assert {link.object.key: data async for link, data in reading} == BODIES
                assert (reading.report.done, reading.report.bytes) == (len(BODIES), sum(map(len, BODIES.values())))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_differ_are_asked_for_again(refs: list[bp.ObjectRef]) -> None:
    async def main() -> None:
        with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
            proxy.faults.extend([Fault(flip_answer=True), Fault(cut_after=10), Fault(status=503)])
            async with bp.Presigner(endpoint_url=proxy.url) as presigner:
                reading = bp.read(presigner.sign_batch(refs[2:]), concurrency=1)
                found = {link.object.key: data async for link, data in reading}
        assert found == {key: BODIES[key] for key in list(BODIES)[2:]}
        assert reading.report.retries == 3

    asyncio.run(main())


def test_failures(refs: list[bp.ObjectRef]) -> None:
    gone = bp.ObjectRef(refs[0].bucket, "gone")

    async def main() -> None:
        with pytest.raises(bp.TransferError, match="gone: 404 NoSuchKey") as failed:
            async for _ in bp.read([gone]):
                pass
        assert failed.value.code == "NoSuchKey"
        reading = bp.read([gone, *refs], errors="yield", max_object_size=200_000)
        found = {link.object.key: data async for link, data in reading}
        problems = {key: data.code for key, data in found.items() if isinstance(data, bp.TransferError)}
        assert problems == {"gone": "NoSuchKey", "2": "TooLarge"}
        assert {key: data for key, data in found.items() if key not in problems} == {
            key: body for key, body in BODIES.items() if key != "2"
        }
        assert (reading.report.done, reading.report.failed) == (len(BODIES) - 1, 2)
        with pytest.raises(bp.ParameterError, match="errors 'ignore' is not one of raise, yield"):
            bp.read(refs, errors="ignore")  # type: ignore[call-overload]

    asyncio.run(main())


@pytest.mark.parametrize("size", [1000, 400_000])
def test_a_page_of_a_proxy_is_no_object(
    size: int, refs: list[bp.ObjectRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither certified, nor given as the bytes of one."""
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
    links, outcomes = tmp_path / "links.csv", list[bp.Outcome]()

    async def main() -> None:
        with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
            proxy.always = Fault(200, {"Content-Type": "text/html"}, b"<html>".ljust(size))
            await bp.sign(refs[:2], links, endpoint_url=proxy.url)
            report = await bp.write_certificate(links, tmp_path / "c.jsonl", listeners=[heard(outcomes)])
            assert (report.failed, [outcome.code for outcome in outcomes]) == (2, ["NoEtag", "NoEtag"])
            with pytest.raises(bp.TransferError, match="the response is not that of an S3 server") as failed:
                async for _ in bp.read(links):
                    pass
            assert failed.value.code == "NoEtag"

    asyncio.run(main())
    assert not (tmp_path / "c.jsonl").exists()


@pytest.mark.parametrize("errors", ["raise", "yield"])
def test_what_ends_a_run_is_raised(errors: Any, refs: list[bp.ObjectRef]) -> None:
    async def main() -> None:
        taken = 0
        with pytest.raises(TypeError, match="row 24 is an int"):
            async for _ in bp.read(rows(), errors=errors):
                taken += 1
        assert taken <= len(BODIES)

    async def rows() -> AsyncIterator[Any]:
        for ref in refs:
            yield ref
        yield 5

    asyncio.run(main())


def test_no_more_bodies_than_are_taken(refs: list[bp.ObjectRef]) -> None:
    async def main() -> None:
        with FaultProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
            async with bp.Presigner(endpoint_url=proxy.url) as presigner:
                links = presigner.sign_batch(refs)
            taken = 0
            async with bp.read(links, concurrency=3) as reading:
                async for _ in reading:
                    taken += 1
                    await asyncio.sleep(0.02)
                    assert proxy.count <= taken + 3
            assert taken == len(BODIES)

    asyncio.run(main())
