"""The key of a row is that of its url: a spreadsheet may have moved or rewritten one of the cells."""

from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.copies import target_links
from bulkpresign.manifest.links import links_of
from bulkpresign.model import Link, ObjectRef
from bulkpresign.tables import Rows

S3 = "https://h/b/{}?X-Amz-Date=20260131T120000Z&X-Amz-Expires=3600&X-Amz-Signature=hidden"
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@cache
def client(version: str, style: str) -> Any:
    config = Config(signature_version=version, s3={"addressing_style": style})
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK"}
    return boto3.Session().client("s3", region_name="us-east-1", config=config, **keys)


def read(*rows: tuple[str, str]) -> list[Link]:
    return links_of(Rows("l.csv", ("key", "url"), rows, range(2, 2 + len(rows))))


@given(key=KEYS, version=st.sampled_from(["s3", "s3v4"]), style=st.sampled_from(["path", "virtual"]))
def test_every_key_is_that_of_the_url_that_boto3_makes_for_it(key: str, version: str, style: str) -> None:
    url = client(version, style).generate_presigned_url("get_object", Params={"Bucket": "my-data", "Key": key})
    (link,) = read((key, url))
    assert link.object.key == key


@given(key=KEYS, other=KEYS, version=st.sampled_from(["s3", "s3v4"]))
def test_a_url_for_another_key_is_refused(key: str, other: str, version: str) -> None:
    url = client(version, "path").generate_presigned_url("get_object", Params={"Bucket": "my-data", "Key": other})
    if not f"/{other}".endswith(f"/{key}") and f"/{key}?" not in url:
        with pytest.raises(ManifestError) as raised:
            read((other, url), (key, url))
        assert (raised.value.line, raised.value.column) == (3, "key")


def read_path(key: str, path: str) -> list[Link]:
    return links_of(Rows("l.csv", ("key", "url", "path"), [(key, S3.format(key), path)], [2]))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("00012", "12"),
        ("1.2E+10", "12000000000"),
        ("12e45", "1.2E+46"),
        ("123456789012345678", "1.23457E+17"),
        ("1.50", "1,5"),
        ("+1", "1"),
        ("12345678901234567890", "12345678901234500000"),
        ("12345678901234567890", "12345678901234600000"),
        ("00012345678901234567", "12345678901234600"),
        ("-dash", "#NAME?"),
        ("9e999", "#NUM!"),
        ("=cmd|calc.txt", "#NOM?"),
        ("=cmd|calc.txt", "#NOME?"),
        ("=cmd|calc.txt", "#¿NOMBRE?"),
        ("=cmd|calc.txt", "#ИМЯ?"),
        ("=A1", "#BEZUG!"),
        ("=1/0", "#DIV/0!"),
        ("=x", "#NV"),
        ("=x", "#N/D"),
        ("=cmd|calc.txt", "Err:509"),
        ("+a+", "Err :509"),
        ("-a/b", "#NAME?"),
        ("true", "TRUE"),
        ("2026-01-31", "31.01.2026"),
        ("2026-01-31", "1/31/2026"),
        ("1-2", "02. Jan"),
        ("3/4", "03. Apr"),
        ("2026/01/31", "31/01/2026"),
        ("mar-4", "4-Mar"),
        ("mar-4", "04.03.2026"),
        ("mar-2004", "Mar-04"),
        ("MARCH1", "1-Mar"),
        ("MARCH1", "01.03.2026"),
        ("SEPT2", "2-Sep"),
        ("DEC1", "1-Dec"),
        ("DEZ1", "01. Dez"),
        ("OCT2024", "Oct-24"),
        ("1mar", "1-Mar"),
        ("1-2", "1月2日"),
    ],
)
def test_the_name_of_a_file_that_a_spreadsheet_rewrote_is_refused(name: str, path: str) -> None:
    """The key is text, for it has a prefix: the file was stored under another name, and nothing told it."""
    with pytest.raises(ManifestError) as raised:
        read_path(f"k/{name}", path)
    assert str(raised.value) == (
        f"l.csv:2: column path: {path!r} is what a spreadsheet makes of {name!r}: restore the cell"
    )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("00012", "00012"),
        ("00012", "13"),
        ("a", "12"),
        ("12", "a/12"),
        ("10000001", "10000002"),
        ("1", "x"),
        ("true", "yes"),
        ("2026-01-31", "2026-01-31.csv"),
        ("2026-01-31", "day 31"),
        ("report", "31.01.2026"),
        ("report", "4-Mar"),
        ("12345678901234567890", "12345678901234567891"),
        ("12345678901234567890", "12345678901234700000"),
        ("123456789012345", "123456789012300"),
        ("part-1", "part-01"),
        ("part1", "1-Mar"),
        ("MARCHF1", "MARCHF-01"),
        ("day-1", "2026-01-31"),
        ("notes", "#intro?"),
        ("page", "page:512"),
        ("=x", "#1"),
    ],
)
def test_another_name_of_a_file_is_taken(name: str, path: str) -> None:
    (link,) = read_path(f"k/{name}", path)
    assert link.object.file_path == path


def read_paths(paths: dict[str, str]) -> list[Link]:
    """The links of keys with these paths."""
    rows = [(key, S3.format(key), path) for key, path in paths.items()]
    return links_of(Rows("l.csv", ("key", "url", "path"), rows, range(2, 2 + len(rows))))


def test_a_column_of_names_that_was_sorted_alone_is_refused() -> None:
    """Each file would have the name of another one, and its bytes would be right for its link."""
    with pytest.raises(ManifestError) as raised:
        read_paths({"k/a.csv": "a.csv", "k/b.csv": "c.csv", "k/c.csv": "d/e.csv", "k/d/e.csv": "b.csv"})
    assert str(raised.value) == (
        "l.csv:3: column path: 'c.csv' is the name of key 'k/c.csv' in another row, "
        "as after one column was sorted: restore the cells"
    )


def test_names_of_keys_that_keep_theirs_are_taken() -> None:
    paths = {"k/a.csv": "a.csv", "k/b.csv": "old/a.csv", "k/c.csv": "x.csv", "k/x.csv": "c"}
    assert [link.object.path for link in read_paths(paths)] == list(paths.values())


@pytest.mark.parametrize("key", ["12", "1.20E+01", "2.csv", "K/2.CSV"])
def test_the_message_names_both_keys_and_no_secret(key: str) -> None:
    with pytest.raises(ManifestError) as raised:
        read((key, S3.format("k/00012%20.csv")))
    assert str(raised.value) == (
        f"l.csv:2: column key: the url is for 'b/k/00012 .csv', not for key '{key}': "
        "restore the cells of the row; another name for its file goes into column path"
    )


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("", S3.format("a")),
        ("2.csv", S3.format("k/2.csv")),  # without the prefix
        ("a%20b", S3.format("a%20b")),  # as it is in the url
        ("row 1", "https://h/b/a"),
        ("row 1", "https://h/b/a?Signature=x&Key-Pair-Id=y"),  # CloudFront's, whose paths are of its own
        ("row 1", "https://h/b/a?sig=x&se=2026-01-31"),
    ],
)
def test_other_names_and_other_links_are_taken(key: str, url: str) -> None:
    (link,) = read((key, url))
    assert link.object.key == key


@given(key=KEYS, style=st.sampled_from(["path", "virtual"]), version=st.sampled_from(["s3", "s3v4"]))
def test_every_bucket_and_version_is_that_of_the_url_that_boto3_makes_for_it(
    key: str, style: str, version: str
) -> None:
    version_id, columns = "3HL4kqtJvjVBH40Nrjfkd+/= x", ("bucket", "key", "version_id", "url")
    named = [{"Bucket": bucket, "Key": key, "VersionId": version_id} for bucket in ("my-data", "other")]
    one, other = (client(version, style).generate_presigned_url("get_object", Params=params) for params in named)
    rows = [("my-data", key, version_id, one), ("other", key, version_id, other)]
    links = links_of(Rows("l.csv", columns, rows, [2, 3]))
    assert [(link.object.bucket, link.object.version_id) for link in links] == [row[:3:2] for row in rows]
    swapped = [("my-data", key, version_id, other), ("other", key, version_id, one)]
    for cells, column in ((swapped, "bucket"), ([(*rows[0][:2], "3HL4", one), rows[1]], "version_id")):
        with pytest.raises(ManifestError) as raised:
            links_of(Rows("l.csv", columns, cells, [2, 3]))
        assert (raised.value.line, raised.value.column) == (2, column)


@pytest.mark.parametrize(
    ("query", "found"), [("versionId=v10&", "version 'v10'"), ("", "no version"), ("versionid=v1&", "no version")]
)
def test_a_url_for_another_version_is_refused(query: str, found: str) -> None:
    """The file would have the bytes of another version, as right as its own."""
    url = f"https://h/b/k?{query}X-Amz-Signature=hidden"
    with pytest.raises(ManifestError) as raised:
        links_of(Rows("l.csv", ("key", "version_id", "url"), [("k", "v1", url)], [2]))
    assert str(raised.value) == (
        f"l.csv:2: column version_id: the url is for {found}, not for version 'v1', "
        "as after one column was sorted: restore the cells"
    )


@pytest.mark.parametrize(
    ("bucket", "url"),
    [
        ("north", "https://files.example.com/k?X-Amz-Signature=x"),  # a name of one's own for the bucket
        ("north", "https://example.com/storage/v1/s3/north/k?X-Amz-Signature=x"),
        ("north", "https://example.com/download/k?X-Amz-Signature=x"),
        ("north", "https://north.s3.amazonaws.com/south/k?X-Amz-Signature=x"),
        ("t:b", "https://h/t%3Ab/k?X-Amz-Signature=x"),  # a tenant of Ceph
        ("north", "https://cdn.example.com/south/k"),
        ("", "https://h/south/k?X-Amz-Signature=x"),
    ],
)
def test_urls_of_buckets_in_other_forms_are_taken(bucket: str, url: str) -> None:
    rows = [(bucket, "k", url), ("south", "k", "https://h/south/k?X-Amz-Signature=x")]
    link, _ = links_of(Rows("l.csv", ("bucket", "key", "url"), rows, [2, 3]))
    assert link.object.bucket == bucket


def test_the_second_url_of_a_copy_is_for_its_key_too() -> None:
    extra = {"dst_bucket": "b", "dst_key": "moved", "dst_url": S3.format("other"), "dst_headers": "{}"}
    link = Link("GET", S3.format("k"), {}, None, ObjectRef("b", "k", extra=extra))
    with pytest.raises(ManifestError, match=r"l\.csv:5: column dst_key: the url is for 'b/other', not for key 'moved'"):
        target_links("l.csv", [link], [5])
