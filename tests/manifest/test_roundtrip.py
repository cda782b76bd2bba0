"""A manifest that is written and read again has the same links."""

import csv
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.rows import object_columns
from bulkpresign.manifest.writing import link_writer, object_writer, post_writer
from bulkpresign.model import Link, ObjectRef, Post
from bulkpresign.tables import LINK_COLUMNS, OBJECT_COLUMNS, Table, objects_of, open_output
from bulkpresign.tables.columns import KNOWN, POST_COLUMNS, column_name

AWKWARD = st.text(st.sampled_from('ab/,"\n\r é😀 ;='), min_size=1, max_size=12) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
)
MAYBE = st.none() | AWKWARD
EXTRAS = st.dictionaries(
    AWKWARD.filter(lambda name: column_name(name) not in KNOWN and name == name.strip()), AWKWARD, max_size=3
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "x-amz-meta-a"]), st.text(st.sampled_from('a,"é; '), max_size=5)
)
REFS = st.builds(
    ObjectRef,
    bucket=st.sampled_from(["bucket-1", "bucket-2"]),
    key=AWKWARD,
    version_id=MAYBE,
    size=st.none() | st.integers(0, 10**17),
    etag=MAYBE.map(lambda etag: etag and (etag.strip('"') or None)),
    checksum=st.sampled_from([None, "crc32c:AAAAAA==", "md5:1B2M2Y8AsgTpgAmY7PhCfg==", "crc64nvme:AAAAAAAAAAA=-7"]),
    content_type=MAYBE,
    path=AWKWARD,
    extra=EXTRAS.map(lambda extra: extra or None),
)
MOMENTS = st.integers(0, 1 << 32).map(lambda second: datetime.fromtimestamp(second, UTC))
LINKS = st.builds(
    Link,
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    url=st.sampled_from(["https://h/k?a=b,c", 'http://[::1]:9000/"q"', "https://h:65535/é"]),
    headers=HEADERS,
    expires_at=st.none() | MOMENTS,
    object=REFS,
)
NAMES = st.sampled_from(["m.csv", "m.jsonl", "m.json", "m.csv.gz", "m.json.gz", "m.parquet"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifest")


def carried(refs: Sequence[ObjectRef]) -> list[str]:
    return list(dict.fromkeys(name for ref in refs for name in ref.extra or {}))


def write(file: Path, links: Sequence[Link], batch: int = 512) -> None:
    with open_output(str(file)) as output:
        name = file.name.removesuffix(".gz")
        writer = link_writer(output, str(file), name.rpartition(".")[2], carried([link.object for link in links]))
        for start in range(0, len(links), batch):
            writer.write(links[start : start + batch])
        writer.finish()


def read(file: Path) -> list[Link]:
    return [link for rows in Table(str(file)) for link in links_of(rows)]


@given(links=st.lists(LINKS, max_size=6), batch=st.integers(1, 3), name=NAMES)
def test_links_round_trip(folder: Path, links: list[Link], batch: int, name: str) -> None:
    write(folder / name, links, batch)
    assert read(folder / name) == links


@given(refs=st.lists(REFS, min_size=1, max_size=6), name=NAMES)
def test_objects_round_trip(folder: Path, refs: list[ObjectRef], name: str) -> None:
    file = folder / name
    with open_output(str(file)) as output:
        writer = object_writer(output, str(file), name.removesuffix(".gz").rpartition(".")[2], carried(refs))
        writer.write(refs)
        writer.finish()
    assert [ref for rows in Table(str(file)) for ref in objects_of(rows)] == refs


@given(links=st.lists(LINKS, min_size=1, max_size=6))
def test_the_csv_module_and_json_read_the_same(folder: Path, links: list[Link]) -> None:
    names = [*LINK_COLUMNS, *carried([link.object for link in links])]
    write(folder / "m.csv", links)
    with (folder / "m.csv").open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream, strict=True)
    assert header == names
    write(folder / "m.json", links)
    items = json.loads((folder / "m.json").read_bytes())
    assert [list(item) for item in items] == [names] * len(links)
    assert [[as_cell(value) for value in item.values()] for item in items] == rows
    write(folder / "m.jsonl", links)
    lines = (folder / "m.jsonl").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == items


def as_cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


LINK = Link(
    "GET", "https://h/k", {}, datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1))), ObjectRef("b-1", "k")
)


def test_the_columns_of_a_written_row(tmp_path: Path) -> None:
    write(tmp_path / "m.csv", [LINK, msgspec.structs.replace(LINK, headers={"a": "b"}, expires_at=None)])
    assert (tmp_path / "m.csv").read_text() == (
        "bucket,key,version_id,method,url,headers,expires_at,size,etag,checksum,content_type,path\n"
        "b-1,k,,GET,https://h/k,{},2026-01-31T11:00:00Z,,,,,k\n"
        'b-1,k,,GET,https://h/k,"{""a"":""b""}",,,,,,k\n'
    )
    write(tmp_path / "m.jsonl", [LINK])
    assert (tmp_path / "m.jsonl").read_text() == (
        '{"bucket":"b-1","key":"k","version_id":null,"method":"GET","url":"https://h/k","headers":{},'
        '"expires_at":"2026-01-31T11:00:00Z","size":null,"etag":null,"checksum":null,"content_type":null,"path":"k"}\n'
    )


@pytest.mark.parametrize(
    ("name", "content"), [("m.csv", ",".join(LINK_COLUMNS) + "\n"), ("m.json", "[]\n"), ("m.jsonl", "")]
)
def test_a_manifest_without_rows_has_a_header(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path / name, [])
    assert (tmp_path / name).read_text() == content


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.json"])
def test_the_nan_of_pandas_is_a_missing_value(name: str, tmp_path: Path) -> None:
    class Float64(float):
        """A number of numpy."""

    refs = [ObjectRef("b-1", "k", extra={"n": value}) for value in (1.5, float("nan"), Float64("nan"))]
    write(tmp_path / name, [msgspec.structs.replace(LINK, object=ref) for ref in refs])
    found = [(link.object.extra or {}).get("n") for link in read(tmp_path / name)]
    assert [value or None for value in found] == ["1.5" if name == "m.csv" else 1.5, None, None]


def test_equal_values_of_different_types_are_kept(tmp_path: Path) -> None:
    refs = [ObjectRef("b-1", "k", extra={"n": value}) for value in (1, True, 1.0, [1], [1.0], 2**70)]
    write(tmp_path / "m.csv", [msgspec.structs.replace(LINK, object=ref) for ref in refs])
    assert [(link.object.extra or {})["n"] for link in read(tmp_path / "m.csv")] == [
        *("1", "true", "1.0", "[1]", "[1.0]", str(2**70))
    ]


def test_a_gz_is_a_gzip_file(tmp_path: Path) -> None:
    write(tmp_path / "m.csv.gz", [LINK] * 1000)
    assert len(gzip.decompress((tmp_path / "m.csv.gz").read_bytes()).splitlines()) == 1001


def test_a_carried_column_that_comes_late_is_an_error_where_the_header_has_to_tell_it(tmp_path: Path) -> None:
    late = msgspec.structs.replace(LINK, object=ObjectRef("b-1", "l", extra={"note": "n"}))
    for name in ("m.json", "m.jsonl"):
        with open_output(str(tmp_path / name)) as output:
            writer = link_writer(output, name, name.partition(".")[2])
            writer.write([LINK])
            writer.write([late])
            writer.finish()
        assert [link.object.extra for link in read(tmp_path / name)] == [None, {"note": "n"}]
    for format_ in ("csv", "parquet"):
        with (
            pytest.raises(ManifestError, match=rf"m.{format_}: column note is new"),
            open_output(str(tmp_path / f"m.{format_}")) as output,
        ):
            strict_writer = link_writer(output, f"m.{format_}", format_)
            strict_writer.write([LINK])
            strict_writer.write([late])
    assert not {"m.csv", "m.parquet"} & {path.name for path in tmp_path.iterdir()}


def test_forms_have_their_own_columns_and_are_not_links(tmp_path: Path) -> None:
    file = tmp_path / "forms.csv"
    with open_output(str(file)) as output:
        writer = post_writer(output, str(file), "csv")
        writer.write([Post("https://h/", {"key": "k", "policy": "p"}, LINK.expires_at, ObjectRef("b-1", "k"))])
        writer.finish()
    with file.open() as stream:
        assert next(csv.reader(stream)) == list(POST_COLUMNS)
    with pytest.raises(ManifestError, match=r"forms.csv:2: column fields: an upload form is not a link"):
        read(file)


@pytest.mark.parametrize("name", ["m.csv", "m.json", "m.parquet"])
def test_a_carried_column_that_is_read_as_one_of_ours_is_left_out(name: str, tmp_path: Path) -> None:
    """As of rows that boto3 lists: the manifest had `etag` and `ETag`, and could not be read."""
    ref = ObjectRef("b-1", "k", etag="e", path="k", extra={"ETag": '"e"', "Key": "k", "note": "n"})
    with open_output(str(tmp_path / name)) as output:
        writer = link_writer(output, name, name.removeprefix("m."))
        writer.write([msgspec.structs.replace(LINK, object=ref)])
        writer.finish()
    (link,) = read(tmp_path / name)
    assert (link.object.etag, link.object.extra) == ("e", {"note": "n"})


def test_an_unknown_format_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="format 'orc' can't be written: use csv, jsonl, json"):
        write(tmp_path / "m.orc", [LINK])
    assert not list(tmp_path.iterdir())
    assert OBJECT_COLUMNS == ("bucket", "key", "version_id", "size", "etag", "checksum", "content_type", "path")


def test_every_column_of_objects_is_written() -> None:
    assert tuple(object_columns([])) == OBJECT_COLUMNS
