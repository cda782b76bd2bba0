"""Objects that are signed just before use: as many at a time as are used soon."""

import asyncio

import pytest

from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.sources import links
from bulkpresign.signing.presigner import Presigner
from tests.support.cli import CREDENTIALS

REFS = [ObjectRef("bucket", f"k/{number}") for number in range(3000)]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def batches() -> list[int]:
    """The sizes of the batches in which two lists of objects are signed."""

    async def run() -> list[int]:
        async with Presigner(region_name="us-east-1", endpoint_url="http://h") as presigner:
            signer = links._Signer(presigner, "GET", None)
            found = [[batch async for batch in signer.links_of(refs)] for refs in (REFS[:500], REFS[500:])]
        signed = [remote.object for some in found for batch in some for remote in batch]
        assert signed == REFS
        return [len(batch) for some in found for batch in some]

    return asyncio.run(run())


def test_batches_grow_while_they_are_used_soon() -> None:
    assert batches() == [64, 128, 256, 52, 1024, 1024, 452]


def test_few_links_are_signed_at_a_time_if_they_have_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_SOON", -1.0)
    assert set(batches()) == {64, 500 % 64, 2500 % 64}
