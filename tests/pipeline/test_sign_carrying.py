"""Options, cells and files that don't fit: told with their place, before anything is written or sent."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign import LinkOptions
from tests.signing.oracle import ACCESS_KEY, SECRET_KEY
from tests.support.folders import names_in


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the folder, with credentials, and with an endpoint where a request would fail in another way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")


def assert_refused(words: str, **options: Any) -> None:
    before = names_in(Path())
    with pytest.raises(bp.InputError) as caught:
        asyncio.run(bp.sign("a.csv", "links.csv", bucket="b-1", **options))
    assert str(caught.value).startswith(words), caught.value
    assert names_in(Path()) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"options": LinkOptions(storage_class="X")}, "storage-class is for PUT links"),
        ({"method": "PUT", "options": LinkOptions(filename="x")}, "filename is for GET links"),
        ({"filename": "x", "options": LinkOptions(filename="y")}, "filename is given twice"),
        ({"filename": "x", "query": {"response-content-disposition": "y"}}, "query parameter response-content-disp"),
        (
            {"method": "PUT", "headers": {"content-type": "a"}, "options": LinkOptions(content_type="b")},
            "header Content-Type is given twice",
        ),
        ({"method": "PUT", "folder": "."}, "a checksum is taken from files: it needs an algorithm and a folder"),
        ({"method": "PUT", "checksum": "md5", "folder": "."}, "checksum 'md5' is not one of crc64nvme, crc32c"),
        ({"method": "PUT", "checksum": "crc32", "folder": "missing"}, "missing is missing"),
        ({"method": "PUT", "checksum": "crc32", "folder": "a.csv"}, "a.csv is not a folder"),
        ({"checksum": "crc32", "folder": "."}, "checksums are signed into PUT links"),
        ({"method": "PUT", "checksum": "crc32", "folder": ".", "part_size": 5 << 20}, "a checksum is signed for a who"),
        ({"method": "PUT", "checksum": "crc32"}, "a checksum is taken from files"),
        ({"maps": ["a=b"]}, "maps rewrites the keys of copies, and is for to"),
        ({"tags": False}, "tags is for the copies of to"),
        ({"method": "PUT", "to": "s3://b-2/"}, "to is for GET links"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], words: str) -> None:
    Path("a.csv").write_text("key\na\n")
    assert_refused(words, **options)


CELLS = [
    ("PUT", "storage_class", '"a\nb"', "one line of text is expected"),
    ("PUT", "metadata", "k=v", "a JSON object with text values is expected"),
    ("PUT", "metadata", '"{""a b"": ""x""}"', "'a b' is not a valid name"),
    ("PUT", "tagging", "k", "'k' is not of the form k=v&k2=v2"),
    ("PUT", "if_none_match", "yes", "'yes' is not *"),
    ("PUT", "request_payer", "yes", "'yes' is not requester"),
    ("GET", "request_payer", "yes", "'yes' is not requester"),
    ("GET", "sse_customer_key", "c2hvcnQ=", "it has 5 bytes, not 32"),
    ("GET", "filename", '"a\rb"', "one line of text is expected"),
    ("GET", "region", "eu west", "'eu west' is not a region; example: eu-west-1"),
    ("DELETE", "region", "-x", "'-x' is not a region; example: eu-west-1"),
    ("PUT", "checksum", "crc32:x", "checksum 'crc32:x': 'x' is not base64"),
]


@pytest.mark.parametrize(("method", "column", "cell", "words"), CELLS)
def test_a_cell_that_a_link_can_not_carry(method: str, column: str, cell: str, words: str) -> None:
    good = "".join(f"key-{i},\n" for i in range(600))  # more than one batch
    Path("a.csv").write_text(f"key,{column}\n{good}k,{cell}\n")
    assert_refused(f"a.csv:602: column {column}: {words}", method=method)


def test_the_columns_of_options_are_read_in_any_spelling() -> None:
    Path("a.csv").write_text("Key,Filename,SSE,If None Match\na,x,AES256,*\n")
    asyncio.run(bp.sign("a.csv", "links.jsonl", bucket="b-1", method="PUT"))
    row = json.loads(Path("links.jsonl").read_text())
    assert row["headers"] == {"x-amz-server-side-encryption": "AES256", "If-None-Match": "*"}
    assert row["filename"] == "x"  # only GET links use it, so it is carried


def test_a_region_that_is_none_is_told_by_other_verbs_too() -> None:
    Path("a.csv").write_text("key,region\na,\nb,eu west\n")
    for verb in (bp.get("a.csv", "to", bucket="b-1"), bp.post("a.csv", bucket="b-1")):
        with pytest.raises(bp.ManifestError, match=r"a\.csv:3: column region: 'eu west' is not a region"):
            asyncio.run(verb)
    assert names_in(Path()) == ["a.csv"]


FILES = [
    ("gone,,", "files/gone can't be read: No such file"),
    ("folder,,", "files/folder is not a file"),
    ("pipe,,", "files/pipe is not a file"),
    ("a,5,", "column size: files/a has 1 byte, the row says 5"),
    ("a,,crc32c:AAAAAA==", "column checksum: files/a has crc32c:wdBDMA==, the row says crc32c:AAAAAA=="),
    ("../a,,", "path '../a' is refused: it has a segment '..'"),
    ("out,,", "path 'out' is refused: it leaves the folder through a symbolic link"),
]


@pytest.mark.parametrize(("row", "words"), FILES, ids=[row for row, _ in FILES])
def test_a_file_that_does_not_fit_its_row(row: str, words: str) -> None:
    files = Path("files")
    (files / "folder").mkdir(parents=True)
    (files / "a").write_text("a")
    Path("secret").write_text("s")
    (files / "out").symlink_to(Path("secret").resolve())
    os.mkfifo(files / "pipe")
    Path("a.csv").write_text("key,size,checksum\n" + "a,1,\n" * 600 + f"{row}\n{row}\n")
    assert_refused(f"a.csv:602: {words}", method="PUT", checksum="crc32c", folder="files")


def test_a_source_without_rows_is_named_by_its_uri() -> None:
    Path("files").mkdir()
    with pytest.raises(bp.ParameterError, match="s3://b-1/k: files/k can't be read: No such file"):
        asyncio.run(bp.sign("s3://b-1/k", "links.csv", method="PUT", checksum="crc32", folder="files"))


@pytest.mark.parametrize("count", [1, 7, 600])
def test_rows_keep_their_order_however_the_threads_run(count: int) -> None:
    Path("files").mkdir()
    for number in range(count):
        Path("files", f"{number}").write_bytes(b"x" * number)
    Path("a.txt").write_text("".join(f"{number}\n" for number in range(count)))
    asyncio.run(bp.sign("a.txt", "l.csv", bucket="b-1", method="PUT", checksum="crc32", folder="files"))
    rows = [line.split(",") for line in Path("l.csv").read_text().splitlines()[1:]]
    assert [row[1] for row in rows] == [str(number) for number in range(count)]
    assert [row[-5] for row in rows] == [str(number) for number in range(count)]


def test_json_brings_metadata_as_an_object() -> None:
    Path("a.jsonl").write_text(
        '{"key": "a", "metadata": {"by": "us"}}\n{"key": "b", "metadata": "{\\"by\\": \\"you\\"}"}\n'
    )
    asyncio.run(bp.sign("a.jsonl", "l.jsonl", bucket="b-1", method="PUT"))
    rows = [json.loads(line) for line in Path("l.jsonl").read_text().splitlines()]
    assert [row["headers"] for row in rows] == [{"x-amz-meta-by": "us"}, {"x-amz-meta-by": "you"}]
    asyncio.run(bp.sign("l.jsonl", "again.csv", method="PUT"))  # carried through, and read again from its cell
    asyncio.run(bp.sign("again.csv", "last.jsonl", method="PUT"))
    assert [json.loads(line)["headers"] for line in Path("last.jsonl").read_text().splitlines()] == [
        row["headers"] for row in rows
    ]
