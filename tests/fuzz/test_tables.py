"""Tables of arbitrary bytes, and damaged manifests: our errors alone come out, or the rows that simple readers see."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.orc
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import InputError, ManifestError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UploadGrouper, whole_rows
from bulkpresign.manifest.writing import link_writer, object_writer
from bulkpresign.model import utc_now
from bulkpresign.tables import Rows, Table, objects_of, open_output
from bulkpresign.tables.columns import column_name
from tests.fuzz.settings import FUZZ

FORMATS = ("csv", "jsonl", "json", "txt")
SIGNED = "https://b.s3.amazonaws.com/a%20b?X-Amz-Date=20260131T120000Z&X-Amz-Expires=3600&X-Amz-Signature=5ec2e75ec2e7"
ROW = {
    "bucket": "bucket", "key": "k", "method": "GET", "url": SIGNED, "headers": '{"x-a":"b"}', "size": "12",
    "expires_at": "2026-01-31T13:00:00Z", "etag": "0" * 32 + "-2", "checksum": "crc32c:AAAAAA==", "note": "x",
}  # fmt: skip
PART = {
    "bucket": "bucket", "key": "k", "method": "PUT", "url": "https://h/k?partNumber=1&uploadId=u", "size": "5",
    "upload_id": "u", "part_number": "1", "offset": "0",
}  # fmt: skip
LAST = PART | {"method": "POST", "url": "https://h/k?uploadId=u", "part_number": "", "offset": ""}


def as_csv(rows: Sequence[dict[str, str]], separator: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


VALID = [
    as_csv([ROW, ROW]),
    as_csv([PART, LAST]),
    b"sep=;\r\n" + as_csv([ROW], ";"),
    as_csv([ROW], "\t").decode().encode("utf-16"),
    b"bucket-1,k,v\nbucket-2,l\n",
    json.dumps([ROW, PART, LAST, "k", "s3://bucket/k", SIGNED]).encode(),
    "\n".join(map(json.dumps, [ROW, PART, LAST, "k", {"key": "k", "n": [{"a": None}]}])).encode(),
    b"k\ns3://bucket/k\n" + SIGNED.encode(),
]
#: Bytes that mean something to one of the readers.
TELLING = [
    *(
        b'"',
        b",",
        b";",
        b"\t",
        b"\r",
        b"\n",
        b"\\",
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"\0",
        b"\xff",
        b"\xfe",
        b"\xef\xbb\xbf",
    ),
    *(
        b"\\ud800",
        b"null",
        b"1e999",
        b"-",
        b"key",
        b"url",
        b"s3://",
        b"http://",
        b"sep=",
        b"#TYPE ",
        b"9" * 20,
        b"[" * 50,
    ),
    *(
        "\u2100".encode(),
        b"..",
        b":0",
        b"0001-01-01T00:00:00Z",
        b"31.01.2026",
        b"upload_id",
        b"\x1f\x8b",
        b"NaN",
        b"\x0c",
    ),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid manifest with a few changes."""
    data = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 2, 8, 100, 10_000])))
        new = draw(st.sampled_from([b"", data[start:end] * 2, *TELLING]) | st.binary(max_size=4))
        data = data[:start] + new + data[end:]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def use(batches: Iterable[Rows], sink: str) -> None:
    """Takes rows as the verbs do, and writes them again. Raises InputError."""
    gathering = UploadGrouper("rows")
    with open_output("/dev/null") as output:
        links, objects = link_writer(output, sink, "jsonl"), object_writer(output, sink, "jsonl")
        for rows in batches:
            assert len(rows.lines) == len(rows.cells)
            if "url" not in rows.columns:
                objects.write(objects_of(rows, "default"))
                continue
            found = links_of(rows)
            for link in found:
                link.expires_by(utc_now())
            links.write(found)
            list(gathering.add(found, rows.lines))
            whole_rows(rows)
        list(gathering.end())


def refused_or_used(file: Path) -> None:
    try:
        use(Table(str(file)), str(file))
    except InputError as error:
        assert "5ec2e75ec2e7" not in str(error)


@pytest.mark.parametrize("format_", [*FORMATS, *(f"{name}.gz" for name in FORMATS)])
@FUZZ
@given(data=st.binary(max_size=300) | st.lists(st.sampled_from(TELLING), max_size=20).map(b"".join))
@example(data=b"url\nhttp://[::::]/k\n")
@example(data=b"url\nhttp://h\xe2\x84\x80x/k\n")
@example(data=b"url,expires_at\nhttp://h/k,0001-01-01T00:00:00Z\n")
def test_any_bytes(folder: Path, format_: str, data: bytes) -> None:
    file = folder / f"any.{format_}"
    file.write_bytes(data)
    refused_or_used(file)
    if format_.endswith(".gz"):
        file.write_bytes(gzip.compress(data, 1))
        refused_or_used(file)


@pytest.mark.parametrize("format_", FORMATS)
@FUZZ
@given(data=damaged(), cut=st.integers(0, 40))
@example(data=as_csv([ROW]).partition(b"\n")[2] * 2, cut=0)  # a row is no header whose names may be told
def test_damaged_manifests(folder: Path, format_: str, data: bytes, cut: int) -> None:
    file = folder / f"damaged.{format_}"
    file.write_bytes(data)
    refused_or_used(file)
    packed = gzip.compress(data, 1)
    file = folder / f"damaged.{format_}.gz"
    file.write_bytes(packed[: len(packed) - cut])
    refused_or_used(file)


@pytest.mark.parametrize("format_", ["parquet", "orc"])
@FUZZ
@given(data=st.data())
def test_damaged_columnar_files(folder: Path, format_: str, data: st.DataObject) -> None:
    file = folder / f"damaged.{format_}"
    table = pyarrow.table({name: [value] * 50 for name, value in ROW.items()})
    (pyarrow.parquet.write_table if format_ == "parquet" else pyarrow.orc.write_table)(table, file)
    damaged = bytearray(file.read_bytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), max_size=4)):
        damaged[at] = byte
    file.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    refused_or_used(file)


def cells_of(file: Path) -> list[dict[str, Any]] | None:
    """What each row has in its columns that are not empty, None where the table is refused."""
    try:
        return [
            {name: cell for name, cell in zip(rows.columns, row, strict=True) if cell != ""}
            for rows in Table(str(file))
            for row in rows.cells
        ]
    except ManifestError:
        return None


def without_added(row: list[str]) -> list[str]:
    """A row without the empty cells after its second one, and without any if it is empty."""
    return row if len(row) == 1 or any(row[2:]) else row[:2] if any(row) else []


@FUZZ
@given(tail=st.text(st.sampled_from('ab,;\t"\r\n\0é ')), separator=st.sampled_from(",;\t"))
def test_csv_is_what_the_csv_module_reads(folder: Path, tail: str, separator: str) -> None:
    file = folder / "oracle.csv"
    file.write_bytes(f"key{separator}note\n{tail}".encode())
    try:
        parsed = list(csv.reader(io.StringIO(tail, newline="\n"), delimiter=separator, strict=True))
    except csv.Error:
        assert cells_of(file) is None
        return
    rows = [kept for row in parsed if (kept := without_added(row))]
    if any(len(row) != 2 for row in rows):
        assert cells_of(file) is None
        return
    expected = [dict(zip(("key", "note"), row, strict=True)) for row in rows]
    assert cells_of(file) == [{name: cell for name, cell in row.items() if cell} for row in expected]


def is_row(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, str) and not value.startswith(("s3://", "http")))


def known(value: Any) -> dict[str, Any]:
    return (
        {column_name(name): cell for name, cell in value.items() if cell not in ("", None)}
        if isinstance(value, dict)
        else {"key": value}
    )


def consecutive(text: str) -> Iterator[Any]:
    """The values of a text, one after another."""
    while text:
        value, end = json.JSONDecoder().raw_decode(text)
        yield value
        text = text[end:].lstrip(" \t\r\n")


@FUZZ
@given(data=damaged())
def test_json_is_what_the_json_module_reads(folder: Path, data: bytes) -> None:
    file = folder / "oracle.json"
    file.write_bytes(data)
    found = cells_of(file)
    if found is None:
        return
    text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig").strip(" \t\r\n")
    value = list(consecutive(text)) if text.startswith("{") else json.loads(text)
    assert len(found) == len(value)
    assert [row for row, one in zip(found, value, strict=True) if is_row(one)] == [
        known(one) for one in value if is_row(one)
    ]
