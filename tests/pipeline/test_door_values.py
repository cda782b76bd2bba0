"""Values of other types, which type checkers find: the message names the row or the keyword."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.errors import ParameterError
from tests.conftest import AwsEnv
from tests.servers.server import S3Server

BODIES = {"k": b"body"}


async def one_by_one(rows: list[Any]) -> AsyncIterator[Any]:
    for row in rows:
        yield row


NAN: Any = float("nan")
NAIVE = datetime(2026, 11, 27)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (bp.ObjectRef("bucket", 5), "row 2: key is an int, not a str"),  # type: ignore[arg-type]
        (bp.ObjectRef(None, "key"), "row 2: bucket is a NoneType, not a str"),  # type: ignore[arg-type]
        (bp.ObjectRef("bucket", "key", path=Path("key")), "row 2: path is a PosixPath"),  # type: ignore[arg-type]
        (bp.ObjectRef("bucket", "key", size="5"), "row 2: size is a str, not an int"),  # type: ignore[arg-type]
        (
            bp.ObjectRef("bucket", "key", etag=NAN),
            "row 2: etag is a float, not a str; .* None, and not the NaN of pandas",
        ),
        (bp.ObjectRef("bucket", "key", extra={5: ""}), "row 2: extra has an int as a name"),  # type: ignore[dict-item]
        (bp.Link("GET", b"https://host/key", {}), "row 2: url is a bytes, not a str"),  # type: ignore[arg-type]
        (bp.Link("GET", "https://host/key", {}, NAIVE), "given rows:2: expires_at of .* has no time zone"),
        (bp.ObjectRef("bucket", "key", path="caf\udce9"), r"given rows:2: path 'caf.udce9' is not valid Unicode"),
    ],
)
def test_fields_of_other_types(row: bp.Link | bp.ObjectRef, said: str, tmp_path: Path) -> None:
    for verb in (bp.get, bp.put, bp.verify):
        for rows in ([bp.Link("GET", "https://host/other", {}), row], one_by_one([row])):
            wanted = said if isinstance(rows, list) else said.replace("2:", "1:")
            with pytest.raises((TypeError, ParameterError), match=wanted):
                asyncio.run(verb(rows, tmp_path))


@pytest.mark.parametrize("settings", [{"attempts": "5"}, {"limit_rate": 1e6}, {"concurrency": True}, {"limit": "2"}])
def test_settings_of_other_types(settings: dict[str, Any], tmp_path: Path) -> None:
    """They would fail each object, or bound nothing."""
    (name,) = settings
    with pytest.raises(ParameterError, match=f"{name} is a whole number, not "):
        asyncio.run(bp.get(["https://host/key"], to=tmp_path, **settings))
    with pytest.raises(ParameterError, match="max_object_size of -1 is not at least 1"):
        asyncio.run(bp.get(["https://host/key"], to=tmp_path, max_object_size=-1))
    with pytest.raises(ParameterError, match="attempts is a whole number, not None"):
        bp.TransferConfig(attempts=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config is a TransferConfig, not dict"):
        asyncio.run(bp.get(["https://host/key"], to=tmp_path, config=settings))  # type: ignore[arg-type]


def test_what_a_presigner_can_not_sign(seaweedfs: S3Server, aws_env: AwsEnv) -> None:
    aws_env(seaweedfs)

    async def run() -> None:
        async with bp.Presigner() as presigner:
            with pytest.raises(TypeError, match="row 1 is of type str; expected an ObjectRef; url_batch takes keys"):
                presigner.sign_batch(["k"])  # type: ignore[list-item]
            with pytest.raises(TypeError, match="row 2 is of type NoneType; expected an ObjectRef"):
                async for _ in presigner.sign([bp.ObjectRef("bucket", "k"), None]):  # type: ignore[list-item]
                    pass
            with pytest.raises(
                TypeError, match="row 1 is of type ObjectRef; expected a Link; sign_batch takes objects"
            ):
                presigner.sign_again([bp.ObjectRef("bucket", "k")])  # type: ignore[list-item]
            with pytest.raises(TypeError, match="key 2 is of type int, not str"):
                presigner.url_batch("bucket", ["k", 5])  # type: ignore[list-item]
            with pytest.raises(TypeError, match="key 1 is of type float, not str"):
                presigner.sign_batch([bp.ObjectRef("bucket", NAN)])
            with pytest.raises(TypeError, match="s3://bucket/k: version_id is of type float, not str"):
                presigner.sign_batch([bp.ObjectRef("bucket", "k", version_id=NAN)])
            with pytest.raises(TypeError, match="options is a LinkOptions, not dict"):
                presigner.sign_batch([], options={"sse": "AES256"})  # type: ignore[arg-type]
            with pytest.raises(ParameterError, match="header x-amz-meta-n: the value must be one line of text"):
                presigner.sign_batch([bp.ObjectRef("bucket", "k")], "PUT", headers={"x-amz-meta-n": 5})  # type: ignore[dict-item]

    asyncio.run(run())


@pytest.mark.parametrize("verb", [bp.get, bp.get_outcomes, bp.copy, bp.read, bp.verify, bp.sign])
def test_keywords_of_other_types(verb: Any, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    async def run(**keywords: Any) -> None:
        ran = verb(refs, *([] if verb is bp.read else ["s3://bucket/" if verb is bp.copy else tmp_path]), **keywords)
        if isinstance(ran, bp.Outcomes | bp.Reading):
            await anext(ran)
        else:
            await ran

    with pytest.raises(TypeError, match="listeners is a list of functions, not one"):
        asyncio.run(run(listeners=print))
    with pytest.raises(TypeError, match="filters is a Filters, not str"):
        asyncio.run(run(filters="*.pdf"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["failures.csv", "failures.jsonl", "failures.parquet"])
def test_columns_of_types_that_no_table_has(file: str, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """A program's own values, such as numbers of numpy: a run that writes them does not end with them."""
    extra = {"own": Fraction(1, 3), "day": date(2026, 11, 27), "all": [Fraction(1, 3)]}
    given = [bp.ObjectRef(refs[0].bucket, key, extra=extra) for key in ("gone", "k")]

    async def run() -> None:
        report = await bp.get(given, to=tmp_path / "data", failures=tmp_path / file)
        assert (report.done, report.failed) == (1, 1)
        await bp.sign(tmp_path / file, tmp_path / "again.csv")
        assert (await bp.compare(given[1:], f"s3://{refs[0].bucket}/")).unproven == 1  # the row tells nothing
        with pytest.raises(ParameterError, match="a row can't be sent to a worker: it has a value of type Fraction"):
            await bp.get(given, to=tmp_path / "sent", executor="processes:1")

    asyncio.run(run())
    with (tmp_path / "again.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["own"], row["day"], json.loads(row["all"])) == ("1/3", "2026-11-27", ["1/3"])
