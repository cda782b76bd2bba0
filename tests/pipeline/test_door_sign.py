"""`sign` of objects, and of links that it signs again, from a program: in any iterable."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.errors import ManifestError, ParameterError
from tests.conftest import AwsEnv
from tests.servers.server import S3Server
from tests.support.folders import files

BODIES = {f"k/{number:03}": bytes(100 + number) for number in range(70)}


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


async def slowly(rows: list[Any]) -> AsyncIterator[Any]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


@pytest.mark.parametrize("shape", [list, iter, slowly])
def test_objects_in_any_shape(shape: Any, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """The manifest is that of a table of the same objects, and has their columns."""
    given = [bp.ObjectRef(ref.bucket, ref.key, path=f"p/{ref.key}", extra={"owner": "me"}) for ref in refs]
    (tmp_path / "keys.csv").write_text(
        "bucket,key,path,owner\n" + "".join(f"{ref.bucket},{ref.key},p/{ref.key},me\n" for ref in refs)
    )

    async def run() -> bp.SignReport:
        report = await bp.sign(shape(given), tmp_path / "links.csv")
        await bp.sign(tmp_path / "keys.csv", tmp_path / "same.csv")
        assert (await bp.get(tmp_path / "links.csv", to=tmp_path / "data")).done == len(BODIES)
        return report

    assert asyncio.run(run()).done == len(BODIES)
    assert files(tmp_path / "data" / "p") == BODIES
    links, same = rows_of(tmp_path / "links.csv"), rows_of(tmp_path / "same.csv")
    for row in (*links, *same):
        assert row.pop("url").startswith("http")
        assert row.pop("expires_at")
    assert links == same


def test_links_are_signed_again(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """Links of any method, and objects between them, stay in order and keep their headers."""

    async def run() -> None:
        async with bp.Presigner() as presigner:
            options = bp.LinkOptions(metadata={"origin": "here"})
            puts = presigner.sign_batch(refs[:2], "PUT", options=options, expires_in=5)
            gets = presigner.sign_batch(refs[3:5], expires_in=5, query={"response-content-type": "text/x"})
            given: list[bp.Link | bp.ObjectRef] = [*puts, refs[2], *gets, refs[5]]
            report = await bp.sign(given, tmp_path / "links.csv", expires_in=60)
            assert report.done == 6

    asyncio.run(run())
    rows = rows_of(tmp_path / "links.csv")
    assert [row["key"] for row in rows] == [ref.key for ref in refs[:6]]
    assert [row["method"] for row in rows] == ["PUT", "PUT", "GET", "GET", "GET", "GET"]
    assert json.loads(rows[0]["headers"]) == {"x-amz-meta-origin": "here"}
    assert ["response-content-type=text%2Fx" in row["url"] for row in rows] == [False] * 3 + [True, True, False]
    assert all("X-Amz-Expires=60&" in row["url"] for row in rows)


def test_what_else_a_table_has(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """Filters, HEAD requests, checksums of files, uploads in parts, and an executor."""
    (tmp_path / "data" / "k").mkdir(parents=True)
    for key, body in BODIES.items():
        (tmp_path / "data" / key).write_bytes(body)
    gone = bp.ObjectRef(refs[0].bucket, "gone")
    large = bp.ObjectRef(refs[0].bucket, "large", size=12 << 20)

    async def run() -> None:
        some = bp.Filters(include=["k/00*"])
        assert (await bp.sign(refs, tmp_path / "some.csv", filters=some)).done == 10
        asked = await bp.sign([*refs, gone], tmp_path / "head.csv", head=True, failures=tmp_path / "failures.csv")
        assert (asked.done, asked.missing) == (len(BODIES), 1)
        hashed: dict[str, Any] = {"checksum": "sha256", "folder": tmp_path / "data"}
        assert (await bp.sign(refs, tmp_path / "hashed.csv", method="PUT", **hashed)).done == len(BODIES)
        parts = await bp.sign([large], tmp_path / "parts.csv", method="PUT", part_size=5 << 20)
        assert parts.uploads_opened == 1
        assert (await bp.sign(refs, tmp_path / "same.csv", executor="processes:2")).done == len(BODIES)
        await bp.abort(tmp_path / "parts.csv")

    asyncio.run(run())
    assert [row["key"] for row in rows_of(tmp_path / "failures.csv")] == ["gone"]
    assert {row["size"] for row in rows_of(tmp_path / "head.csv")} == {str(len(body)) for body in BODIES.values()}
    assert all(row["checksum"].startswith("sha256:") for row in rows_of(tmp_path / "hashed.csv"))
    assert [row["part_number"] for row in rows_of(tmp_path / "parts.csv")] == ["1", "2", "3", "", ""]
    assert len(rows_of(tmp_path / "same.csv")) == len(BODIES)


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        (
            bp.Link("GET", "https://host/k?X-Amz-Signature=SECRET", {}),
            ManifestError,
            "rows:3: column bucket: the row has",
        ),
        (bp.Link("PATCH", "https://host/k", {}, None, bp.ObjectRef("bucket", "k")), ManifestError, "column method"),
        (
            bp.ObjectRef("bucket", "k", extra={"upload_id": "x"}),
            ManifestError,
            "column upload_id: the links of an upload",
        ),
        (bp.ObjectRef("bucket", "k", extra={"sse": "none"}), ManifestError, "column sse is new"),
        (bp.ObjectRef("bucket", ""), ManifestError, "rows:3: column key: the row has none"),
        ({"bucket": "bucket", "key": "k"}, TypeError, "row 3 is a dict"),
    ],
)
def test_rows_that_can_not_be_signed(
    row: Any, kind: type[Exception], said: str, refs: list[bp.ObjectRef], tmp_path: Path
) -> None:
    """Nothing is left behind, and no message has a signature."""

    def rows() -> Iterator[Any]:
        yield refs[:2]
        yield row

    with pytest.raises(kind, match=said) as caught:
        asyncio.run(bp.sign(rows(), tmp_path / "links.csv"))
    assert "SECRET" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [[], iter([]), slowly([])])
def test_no_rows(rows: Any, aws_env: AwsEnv, seaweedfs: S3Server, tmp_path: Path) -> None:
    aws_env(seaweedfs)
    assert asyncio.run(bp.sign(rows, tmp_path / "links.csv")).objects == 0
    assert rows_of(tmp_path / "links.csv") == []


def test_settings_that_do_not_fit(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="storage-class is for PUT links"):
        asyncio.run(bp.sign(refs, tmp_path / "links.csv", options=bp.LinkOptions(storage_class="GLACIER")))
    with pytest.raises(ParameterError, match="bucket is for the rows of tables"):
        asyncio.run(bp.sign(refs, tmp_path / "links.csv", bucket="other"))
    assert not list(tmp_path.iterdir())


def test_what_the_input_raises_ends_the_run(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    closed = []

    async def rows() -> AsyncIterator[bp.ObjectRef]:
        try:
            for ref in refs[:10]:
                yield ref
            raise LookupError("the database is gone")
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    with pytest.raises(LookupError, match="the database is gone"):
        asyncio.run(bp.sign(rows(), tmp_path / "links.csv"))
    assert closed
    assert not list(tmp_path.iterdir())
