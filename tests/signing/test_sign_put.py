"""PUT links that are signed one by one: the same as those of a batch."""

import asyncio
from collections.abc import Mapping

import pytest

import bulkpresign as bp
from tests.support.cli import CREDENTIALS

HEADERS: list[Mapping[str, str]] = [
    {},
    {"content-type": "text/csv"},
    {"x-amz-meta-name": "käse  🧀", "cache-control": "max-age=1"},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_it_signs_as_a_batch_does(headers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    async def sign() -> None:
        async with bp.Presigner() as presigner:
            for key in ("a", "b c", "käse", "a"):
                for bucket in ("first-bucket", "second-bucket"):
                    ref, dates = bp.ObjectRef(bucket, key), {"", "another second"}
                    while len(dates) > 1:
                        one = presigner.sign_put(ref, headers)
                        (other,) = presigner.sign_batch([ref], "PUT", headers=headers)
                        dates = {link.url.partition("X-Amz-Date=")[2][:16] for link in (one, other)}
                    assert (one.url, dict(one.headers)) == (other.url, dict(other.headers))

    asyncio.run(sign())
