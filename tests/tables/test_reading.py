import os
import re
import threading
from pathlib import Path

import pytest

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.link_lists import LINK_LISTS
from bulkpresign.pipeline.rows.converted import PAGE
from bulkpresign.tables.objects import objects_of
from bulkpresign.tables.reading import Table, output_format, table_format
from bulkpresign.tables.writing import CONVERTED_FORMATS


@pytest.mark.parametrize(
    ("file", "given", "expected"),
    [
        ("a.csv", "json", "csv"),
        ("a.JSONL.GZ", None, "jsonl"),
        ("a.json.gz", None, "json"),
        ("a.ndjson", None, "jsonl"),
        ("a.jsonlines.gz", "csv", "jsonl"),
        ("a.txt", None, "txt"),
        ("a.dat", "jsonl", "jsonl"),
        ("a.dat", None, "csv"),
        ("-", "txt", "txt"),
        ("-", "JSON", "json"),
        ("-", None, "csv"),
        ("json", None, "csv"),
        ("a.Parquet", "csv", "parquet"),
        ("a.orc", None, "orc"),
        ("a.csv.gz", "batch", "batch"),
        ("a.json", "batch", "json"),
    ],
)
def test_the_format_is_that_of_the_extension_then_of_the_option(file: str, given: str | None, expected: str) -> None:
    assert table_format(file, given) == expected


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ParameterError, match=r"-: 'xml' is not one of the formats csv, jsonl, json, txt, parquet, orc"):
        table_format("-", "xml")


@pytest.mark.parametrize("file", ["keys.parquet.gz", "keys.ORC.GZ"])
def test_formats_with_a_compression_of_their_own_are_not_packed(file: str) -> None:
    for format_of in (table_format, output_format):
        with pytest.raises(ParameterError, match=rf"{file}: \w+ is compressed in itself, and not read or written as"):
            format_of(file)


@pytest.mark.parametrize("file", ["keys.csv.zst", "keys.jsonl.BZ2", "links.zip"])
def test_other_compressions_are_named(file: str) -> None:
    for format_of in (table_format, output_format):
        with pytest.raises(ParameterError, match=rf"{file}: .* is not read or written: use \.gz, or a pipe"):
            format_of(file, "csv")


@pytest.mark.parametrize("file", ["links.tsv", "links.TSV.gz"])
def test_tabs_are_read_and_not_written(file: str) -> None:
    assert table_format(file) == output_format(file, "csv") == "csv"
    with pytest.raises(ParameterError, match=rf"{file}: cells are written with commas .* use \.csv"):
        output_format(file)


@pytest.mark.parametrize("file", ["links.html", "links.curl", "links.ARIA2", "links.rclone.gz"])
def test_the_formats_of_other_tools_are_those_of_convert(file: str) -> None:
    assert table_format(file) == output_format(file, "csv") == "csv"
    with pytest.raises(ParameterError, match=rf"{file}: \w+ is a format of convert: write \.csv or \.jsonl, then bulk"):
        output_format(file)
    with pytest.raises(ParameterError, match=r"-: html is a format of convert"):
        output_format("-", "HTML")


def test_convert_writes_the_formats_that_other_verbs_leave_to_it() -> None:
    assert set(CONVERTED_FORMATS) == {*LINK_LISTS, PAGE}


@pytest.mark.parametrize("file", ["keys.xlsx", "KEYS.XLS", "a.ods", "a.xlsm"])
def test_files_of_spreadsheets_are_named(file: str) -> None:
    with pytest.raises(ParameterError, match=rf"{file}: .* is not read or written: use CSV"):
        table_format(file, "csv")


def test_a_text_has_keys_uris_or_links(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"a b,c\r\n\n s \ns3://bucket/k//l\n")
    refs = [ref for rows in Table(str(file)) for ref in objects_of(rows, "default")]
    assert [(ref.bucket, ref.key) for ref in refs] == [("default", "a b,c"), ("default", " s "), ("bucket", "k//l")]
    file.write_text("https://h/a?b \t\nhttp://h/c\n")
    table = Table(str(file))
    assert table.is_links
    assert [list(row) for rows in table for row in rows.cells] == [["https://h/a?b"], ["http://h/c"]]


def refused(folder: Path, text: str) -> str:
    """The error for a list in text."""
    file = folder / "list.txt"
    file.write_text(f"{text}\n")
    with pytest.raises(ManifestError) as caught:
        list(Table(str(file)))
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-27 18:24:18         18 plain.txt",  # aws s3 ls --recursive
        "                           PRE photos/",  # aws s3 ls
        "2026/11/27 18:24:18                18  plain.txt",  # s5cmd ls
        "[2026-11-27 18:24:18 UTC]    18B STANDARD plain.txt",  # mc ls
        "        18  2026-11-27T18:24:18Z  gs://bucket/plain.txt",  # gsutil ls -l
        "       18 plain.txt",  # rclone ls
        "       18 2026-11-27 18:24:18.461000000 plain.txt",  # rclone lsl
    ],
)
def test_a_listing_is_not_a_list_of_keys(tmp_path: Path, text: str) -> None:
    """Each of its lines would be a valid key, of an object that does not exist."""
    assert re.search(r"list.txt:2: .* is a line of a listing: a text list has keys", refused(tmp_path, f"\n{text}"))


@pytest.mark.parametrize(
    "text",
    [
        f"{'0f' * 16}  plain.txt",  # md5sum, rclone hashsum, BagIt
        f"{'0F' * 32} *plain.txt",  # sha256sum --binary
        f"SHA2-256(plain.txt)= {'0f' * 32}",  # openssl dgst
        f"MD5 (plain.txt) = {'0f' * 16}",  # md5sum --tag
    ],
)
def test_checksums_are_not_a_list_of_keys(tmp_path: Path, text: str) -> None:
    assert re.search(r"list.txt:1: .* is a line of checksums: a text list has keys", refused(tmp_path, text))


def test_several_keys_on_a_line_are_not_a_key(tmp_path: Path) -> None:
    """As `aws s3api list-objects-v2 --query Contents[].Key --output text` prints them."""
    assert r"list.txt:1: 'a.csv\tb.csv' has tabs: a text list has keys" in refused(tmp_path, "a.csv\tb.csv")


@pytest.mark.parametrize("uri", ["gs://bucket/a", "s3a://bucket/a", "arn:aws:s3:::bucket/a", "S3://bucket/a"])
def test_a_uri_of_another_scheme_is_not_a_key(tmp_path: Path, uri: str) -> None:
    assert f"list.txt:1: '{uri}' is no s3:// uri and no link" in refused(tmp_path, uri)


@pytest.mark.parametrize(
    "key", ["2026-11-27 18:24:18.log", "0f" * 16, "a/https://h/k", "PRE x", "18 plain.txt", "a(b)=c"]
)
def test_other_keys_are_keys(tmp_path: Path, key: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{key}\n")
    assert [row for rows in Table(str(file)) for row in rows.cells] == [[key]]


@pytest.mark.parametrize("before", [" ", "<", '"', "url = ", "- ", "a.csv\t", "curl -O '", "[name](", "> "])
def test_something_before_a_link(tmp_path: Path, before: str) -> None:
    """The message names no part of the line, which has a signature."""
    file = tmp_path / "list.txt"
    file.write_text(f"{before}https://h/k?X-Amz-Expires=60&X-Amz-Signature=5ec4e7\n")
    with pytest.raises(ManifestError, match=r"list.txt:1: there is something before the link") as caught:
        list(Table(str(file)))
    assert "5ec4e7" not in str(caught.value)


@pytest.mark.parametrize("lines_before", [1, 600])
@pytest.mark.parametrize("text", ["  out=a.txt", "Signature=5ec4e7", "# links of today"])
def test_something_between_links(tmp_path: Path, lines_before: int, text: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text("https://h/k?a\n" * lines_before + f"{text}\n")
    with pytest.raises(ManifestError, match=rf"list.txt:{lines_before + 1}: not a link, as line 1 is") as caught:
        list(Table(str(file)))
    assert "5ec4e7" not in str(caught.value)


def test_a_link_after_keys(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("# links of today\nhttps://h/k?a\n")
    with pytest.raises(ManifestError, match=r"list.txt:2: a link, and line 1 is none: a text list has"):
        list(Table(str(file)))


@pytest.mark.parametrize(
    ("text", "column"), [("a\ns3://\n", "bucket"), ("a\ns3:///k\n", "bucket"), ("a\ns3://b-1\n", "key")]
)
def test_a_uri_that_is_not_valid(tmp_path: Path, text: str, column: str) -> None:
    file = tmp_path / "list.txt"
    file.write_text(text)
    with pytest.raises(ManifestError) as caught:
        list(Table(str(file)))
    assert (caught.value.line, caught.value.column) == (2, column)


def test_a_file_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text("key\na\nb\n")
    table = Table(str(file))
    assert table.columns == ("key",)
    once = [row for rows in table for row in rows.cells]
    assert once == [row for rows in table for row in rows.cells] == [["a"], ["b"]]


def test_a_table_without_key_and_url_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text("bucket,size\nb-1,2\n")
    with pytest.raises(ManifestError, match=r"keys.csv:1: there is no column key or url among bucket, size"):
        list(Table(str(file)))


@pytest.mark.parametrize(("listed", "rest"), [("Contents", ""), ("Versions", ', "DeleteMarkers": []')])
def test_the_json_of_a_listing_is_named(tmp_path: Path, listed: str, rest: str) -> None:
    """The answer of `aws s3api` is one object around the list."""
    file = tmp_path / "keys.json"
    file.write_text(f'{{"{listed}": [{{"Key": "a"}}]{rest}, "Prefix": ""}}')
    with pytest.raises(ManifestError, match=rf"keys.json:1: there is no column key .* --query '{listed}' or jq"):
        list(Table(str(file)))


@pytest.mark.parametrize("name", ["rows", "rows.jsonl"])
def test_a_pipe_with_a_name_is_read_once(tmp_path: Path, name: str) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    text = '{"key": "a"}\n{"key": "b"}\n' if "jsonl" in name else "key\na\nb\n"
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    table = Table(str(pipe))
    assert table.is_stream
    assert table.columns == ("key",)
    assert [row for rows in table for row in rows.cells] == [["a"], ["b"]]
    writer.join()
    with pytest.raises(RuntimeError, match="read only once"):
        list(table)


@pytest.mark.parametrize("name", ["-", "/dev/null"])
def test_devices_are_streams(name: str) -> None:
    assert Table(name).is_stream


@pytest.mark.parametrize("name", ["missing.csv", "a\0b", "."])
def test_regular_files_are_not_streams(tmp_path: Path, name: str) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "file.csv")
    (tmp_path / "file.csv").write_text("key\n")
    assert not Table(f"{tmp_path}/{name}").is_stream
    assert not Table(f"{tmp_path}/link.csv").is_stream
