"""Filters over the rows that a program passes, and over the rows of uploads among them."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.manifest.links import links_of
from bulkpresign.pipeline.sources.items import GivenItems
from bulkpresign.pipeline.sources.selecting import selected_files
from bulkpresign.source.filters import Selector
from bulkpresign.tables import Table
from tests.servers.proxy import FaultProxy
from tests.support.folders import files
from tests.support.links import many
from tests.support.tables import rows_of, table


async def kept(items: Any, **filters: Any) -> list[str]:
    """The path of each row that is left."""
    async with GivenItems(items, Selector(bp.Filters(**filters))) as given:
        rows = [row async for batch in given.batches() for row in batch.rows]
    return [row.object.file_path if isinstance(row, bp.Link) else row.file_path for row in rows]


async def one_by_one(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.mark.parametrize("shape", [list, iter, one_by_one])
def test_given_rows_are_filtered(shape: Any) -> None:
    refs = [bp.ObjectRef("bkt", f"d/{number}", size=number) for number in range(300)]

    def keys(**filters: Any) -> list[str]:
        return asyncio.run(kept(shape(refs), **filters))

    assert keys(include=["*7"], max_size=30) == ["d/7", "d/17", "d/27"]
    assert keys(limit=70) == [f"d/{number}" for number in range(70)]
    some = keys(sample=20, min_size=75)
    assert len(some) == 20
    assert some == sorted(set(some), key=lambda key: int(key[2:])) == keys(sample=20, min_size=75)


def test_a_sample_keeps_the_columns_of_each_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of JSON lines has the columns of its own rows."""
    rows = [{"key": f"a{number}", "team": "x"} for number in range(512)]
    rows += [{"team": "y", "key": f"b{number}"} for number in range(3)]
    (tmp_path / "keys.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, value in (("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    filters = bp.Filters(sample=1000)
    asyncio.run(bp.sign(tmp_path / "keys.jsonl", tmp_path / "links.csv", bucket="bkt", filters=filters))
    found = [(row["key"], row["team"]) for row in rows_of(tmp_path / "links.csv")]
    assert found == [(row["key"], row["team"]) for row in rows]


def test_a_file_that_is_deleted_meanwhile_passes_the_filters(tmp_path: Path) -> None:
    """Its upload names it."""
    refs = [bp.ObjectRef("bkt", name) for name in ("gone", "there")]
    (tmp_path / "there").touch()
    filters = bp.Filters(older_than=datetime(2000, 1, 1, tzinfo=UTC))
    assert [list(some) for some in selected_files(tmp_path, iter([refs]), filters)] == [refs[:1], []]


def test_a_given_row_without_a_size_is_named() -> None:
    refs = [bp.ObjectRef("bkt", str(number), size=number or None) for number in (2, 1, 0)]
    with pytest.raises(bp.ManifestError, match="given rows:3: column size: a filter by size needs the size"):
        asyncio.run(kept(iter(refs), min_size=1))


def test_the_rows_of_a_given_upload_are_one_object(tmp_path: Path) -> None:
    part = {"bucket": "bkt", "key": "big", "method": "PUT", "size": 5, "upload_id": "u"}
    rows: list[dict[str, object]] = [{"bucket": "bkt", "key": "a", "method": "PUT", "size": 1, "url": "https://h/a"}]
    for number in range(1, 101):
        url = f"https://h/big?partNumber={number}&uploadId=u"
        rows.append(part | {"part_number": number, "offset": 5 * number - 5, "url": url})
    rows += [part | {"method": "POST", "size": 500, "url": "https://h/big?uploadId=u"}, rows[0] | {"key": "b"}]
    links = [link for batch in Table(str(table(tmp_path / "u.csv", rows))) for link in links_of(batch)]
    for shape in (iter, one_by_one):
        assert asyncio.run(kept(shape(links), min_size=500)) == ["big"] * 101
        assert asyncio.run(kept(shape(links), max_size=499)) == ["a", "b"]
        assert asyncio.run(kept(shape(links), limit=2)) == ["a", *["big"] * 101]
        assert len(asyncio.run(kept(shape(links), sample=2))) in {2, 102}


def test_get_and_read_and_verify_take_filters(tmp_path: Path) -> None:
    with FaultProxy() as origin:
        origin.objects = {f"/{number}": bytes(number) for number in range(40)}
        links = [bp.Link("GET", row["url"], {}) for row in many(origin, 40)]
        filters = bp.Filters(include=["3?", "1"])

        async def run() -> None:
            report = await bp.get(iter(links), to=tmp_path / "data", filters=filters)
            assert (report.done, report.objects) == (11, 11)
            found = {link.object.path: data async for link, data in bp.read(links, filters=filters)}
            assert found == files(tmp_path / "data")
            verified = await bp.verify(links, tmp_path / "data", filters=filters)
            assert (verified.done, verified.unproven, verified.missing) == (11, 0, 0)

        asyncio.run(run())
