"""Values of other types, which type checkers find: the message names the row or the keyword."""

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import aioboto3
import aiobotocore.session
import boto3
import botocore.session
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
        (bp.ObjectRef("bucket", "key", size=True), "row 2: size is a bool, not an int"),
        (bp.ObjectRef("bucket", "key", size=-5), "given rows:2: size of -5 is not a number of bytes"),
        (bp.ObjectRef("bucket", "key", extra="x"), "row 2: extra is a str, not a dict"),  # type: ignore[arg-type]
        (bp.Link("GET", b"https://host/key", {}), "row 2: url is a bytes, not a str"),  # type: ignore[arg-type]
        (bp.Link("GET", "https://host/key", []), "row 2: headers is a list, not a dict"),  # type: ignore[arg-type]
        (bp.Link("GET", "https://host/key", {"range": 1}), "row 2: the header range is an int, not a str"),  # type: ignore[dict-item]
        (bp.Link("GET", "https://host/key", {5: "a"}), "row 2: headers has an int as a name"),  # type: ignore[dict-item]
        (bp.Link("GET", "https://host/key", {}, None, None), "row 2: object is a NoneType"),  # type: ignore[arg-type]
        (bp.Link("GET", "https://host/key", {}, "2026"), "row 2: expires_at is a str"),  # type: ignore[arg-type]
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
            with pytest.raises(TypeError, match="params is a dict with the parameters of get_object, not str"):
                await presigner.presign("get_object", "x")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="options is a LinkOptions, not dict"):
                presigner.sign_batch([], options={"sse": "AES256"})  # type: ignore[arg-type]
            with pytest.raises(ParameterError, match="header x-amz-meta-n: the value must be one line of text"):
                presigner.sign_batch([bp.ObjectRef("bucket", "k")], "PUT", headers={"x-amz-meta-n": 5})  # type: ignore[dict-item]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (boto3.Session(), "boto3.session.Session"),
        (botocore.session.get_session(), "botocore.session.Session"),
        (aiobotocore.session.get_session(), "aiobotocore.session.AioSession"),
        (aioboto3.Session, "a class"),
        ("a profile", "str"),
    ],
)
def test_sessions_of_other_libraries(given: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"session is an aioboto3.Session, not {said}"):
        bp.Presigner(session=given)
    with pytest.raises(TypeError, match=f"session is an aioboto3.Session, not {said}"):
        asyncio.run(bp.get([bp.ObjectRef("bucket", "key")], to=tmp_path, session=given))


@pytest.mark.parametrize("given", [bp.Presigner, boto3.client("s3", region_name="eu-west-1"), "a profile"])
def test_presigners_of_other_types(given: Any, refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    said = "a class" if given is bp.Presigner else type(given).__name__
    runs: list[Any] = [
        partial(bp.get, refs, to=tmp_path / "data", presigner=given),
        partial(bp.sign, refs, tmp_path / "links.csv", presigner=given),
        partial(bp.copy, refs, "s3://bucket/", source_presigner=given),
    ]
    for run in runs:
        with pytest.raises(TypeError, match=f"presigner is an open Presigner, not {said}"):
            asyncio.run(run())
    assert not list(tmp_path.iterdir())


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


def test_members_of_enums_are_their_texts(refs: list[bp.ObjectRef], tmp_path: Path) -> None:
    """In every file, in messages, and in the journal: as plain text such a member is its name, `Own.BUCKET`."""
    own = members(BUCKET=refs[0].bucket, KEY="k", GONE="gone", PUT="PUT", NOTE="my note")
    given = [bp.ObjectRef(own.BUCKET, key, path=key, extra={"note": own.NOTE}) for key in (own.KEY, own.GONE)]
    same = [bp.ObjectRef(refs[0].bucket, key, path=key, extra={"note": "my note"}) for key in ("k", "gone")]
    (tmp_path / "keys.csv").write_text("key\nk\n")

    async def run() -> None:
        for method in (own.PUT, None):
            assert (await bp.sign(given, tmp_path / "links.csv", method=method)).done == 2
            assert (await bp.sign(tmp_path / "links.csv", tmp_path / "again.csv")).done == 2
            await bp.sign(same, tmp_path / "same.csv", method="PUT" if method else "GET")
            assert cells(tmp_path / "links.csv") == cells(tmp_path / "again.csv") == cells(tmp_path / "same.csv")
        await bp.sign(tmp_path / "keys.csv", tmp_path / "own.csv", bucket=own.BUCKET)
        assert [row[0] for row in cells(tmp_path / "own.csv")] == ["bucket", refs[0].bucket]
        report = await bp.get(given, to=tmp_path / "data", failures=tmp_path / "failures.csv")
        assert (report.done, report.failed) == (1, 1)
        again = await bp.get(same, to=tmp_path / "data", failures=tmp_path / "more.csv")
        assert (again.skipped, again.failed) == (1, 1)
        async with bp.Presigner() as presigner:
            link = await presigner.presign("get_object", {"Bucket": own.BUCKET, "Key": own.KEY})
            assert link.object.uri == given[0].uri == same[0].uri
            assert [one.method for one in presigner.sign_batch(given, own.PUT)] == ["PUT"] * 2

    asyncio.run(run())
    assert cells(tmp_path / "failures.csv") == cells(tmp_path / "more.csv")


def members(**values: str) -> Any:
    return Enum("Own", list(values.items()), type=str)


def cells(file: Path) -> list[list[str]]:
    """The cells of a table but its urls and times."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in {"url", "expires_at"}]
    return [names, *([row[name] for name in names] for row in rows)]


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
