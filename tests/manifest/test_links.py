from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import expiry_of, links_of
from bulkpresign.model import Link, ObjectRef
from bulkpresign.tables import Rows, Table, objects_of

SIGNED = "https://h/a%20b/c?X-Amz-Date=20260131T120000Z&X-Amz-Expires=3600&X-Amz-Signature=5ec2e7"


def read(file: Path, text: str) -> list[Link]:
    file.write_text(text, newline="")
    return [link for rows in Table(str(file)) for link in links_of(rows)]


def test_a_url_alone_is_enough(tmp_path: Path) -> None:
    end = datetime(2026, 1, 31, 13, tzinfo=UTC)
    expected = [Link("GET", SIGNED, {}, end, ObjectRef("", "", path="a b/c"))]
    assert read(tmp_path / "a.csv", f"url\n{SIGNED}\n") == expected
    assert read(tmp_path / "a.txt", f"{SIGNED}\n") == expected
    assert read(tmp_path / "a.json", f'["{SIGNED}"]') == expected


def test_headers_without_a_value_are_those_of_other_rows(tmp_path: Path) -> None:
    """DuckDB and polars give all rows the names of all headers."""
    rows = '{"url":"https://h/k","headers":{"a":null}}\n{"url":"https://h/k","headers":{"a":"b","c":null}}\n'
    first, second = read(tmp_path / "a.jsonl", rows)
    assert (first.headers, second.headers) == ({}, {"a": "b"})


@pytest.mark.parametrize("headers", ["", "{}", '{"x-a": "b"}'])
def test_each_link_has_headers_of_its_own(tmp_path: Path, headers: str) -> None:
    """A program may add one to those of a link."""
    url, cell = "https://host/key", headers.replace('"', '""')
    (tmp_path / "l.csv").write_text("url,headers\n" + f'{url},"{cell}"\n' * 2)
    (tmp_path / "u.csv").write_text(f"url\n{url}\n")
    first, second, third = (
        link.headers for name in ("l.csv", "u.csv") for rows in Table(str(tmp_path / name)) for link in links_of(rows)
    )
    assert isinstance(first, dict)
    first["Authorization"] = "secret"
    assert "Authorization" not in {*second, *third}


def test_headers_come_as_text_and_as_objects(tmp_path: Path) -> None:
    rows = '{"url":"https://h/k","method":"put","headers":"{\\"a\\":\\"b\\"}"}\n{"url":"https://h/k","headers":{"a":"b"}}\n'
    first, second = read(tmp_path / "a.jsonl", rows)
    assert first.headers == second.headers == {"a": "b"}
    assert (first.method, second.method) == ("PUT", "GET")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "k",
            "ftp://h/k",
            "https://",
            "https:///k",
            "//h/k",
            "s3://b/k",
            "javascript:x",
            "https://?q",
            "https://h\\k",
        ),
        *("https://h/a b", "https://h/k\n", " https://h/k", "https://h/k\t", "https://h/\0", "https://h/\x7f"),
        *("http://h:99999/", "http://h:x/", "http://[::1/", "http://u:p@h/k", "http://h]/"),
        *("http://a..b/k", "http://.example/k", f"http://{'a' * 64}.b/k", f"http://{'a.' * 127}b/k", "http://./k"),
        *("http://h:/k", "http://h:0/k", "http://h:00/k", "http://h:080/k", "http://h:65536/k", "http://..:1/"),
        *("http://[::::]/k", "http://[1.2.3.4]/k", "http://[v1.x]/k", "http://[]/k", "http://[::1]x/k"),
        *(
            f"http://{'ü' * 62}.b/k",
            "http://a\u3002\u3002b/k",
            "http://h\u2100x/k",
            "http://h\x85/k",
            "http://\u00ad/k",
        ),
        *("http://h%2Fx/k", "http://h,i/k", "http://h*/k", "http://h\u200b\u2100/k"),
    ],
)
def test_a_url_that_is_not_valid(tmp_path: Path, url: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path / "a.csv", f'note,url\na,https://h/k\nb,"{url}"\n')
    assert (caught.value.line, caught.value.column) == (3, "url")
    assert "is not an http(s) url" in caught.value.problem or caught.value.problem == "the url is empty"


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "http://h:9000?x",
        "http://[::1]:1/a%zz#f",
        "https://h.x-y_z/é",
        "http://1.2.3.4:65535/",
        "http://h.",
        "http://h.i.:1/",
        f"http://{'a' * 63}.b/",
        f"http://{'a.' * 126}b/",
        "http://b\u00fccher.example/k",
        "http://[2001:db8::1]/",
        "http://A_b-c:80/",
        "http://xn--bcher-kva.example/",
    ],
)
def test_valid_urls_are_not_changed(tmp_path: Path, url: str) -> None:
    assert [link.url for link in read(tmp_path / "a.csv", f"url\n{url}\n")] == [url]


def test_no_message_shows_a_signature(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path / "a.csv", f"url\n{SIGNED.replace('https', 'ftp')}\n")
    assert "5ec2e7" not in str(caught.value)


@pytest.mark.parametrize("separator", [",", "&", ";"])
@pytest.mark.parametrize(
    "text",
    [
        "{},k\n",
        "bucket,{}\nb,k\n",
        "bucket,key,{}\nb\n",
        "bucket,key,{},{}\nb,k\n",
        "bucket,key\n{},k\n",
        "url,method\nhttps://h/k,{}\n",
        "url,expires_at\nhttps://h/k,{}\n",
        "url,headers\nhttps://h/k,{}\n",
        "key,size\nk,{}\n",
        "key,checksum\nk,{}\n",
    ],
)
def test_no_message_shows_a_signature_in_another_column(tmp_path: Path, text: str, separator: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text.replace("{}", SIGNED.replace("&", separator)))
    with pytest.raises(ManifestError) as caught:
        for rows in Table(str(file)):
            _ = links_of(rows) if "url" in rows.columns else objects_of(rows, "b")
    assert "5ec2e7" not in f"{caught.value} {caught.value.problem} {caught.value.column}"


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *(
            ("headers", cell)
            for cell in ("x", "[]", '["a"]', "3", "null", '{"a":1}', '{"a":[null]}', '{"a b":"c"}', '{"":"c"}')
        ),
        *(
            ("headers", cell)
            for cell in ('{"a":"b\\nc"}', '{"a":"b\\rc"}', '{"a":"\\u0000"}', '{"a:":"c"}', "{", "[" * 9999)
        ),
        *(("expires_at", cell) for cell in ("x", "2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z", "3600")),
        ("expires_at", "0001-01-01T00:00:00+23:59"),
        *(("expires_at", cell) for cell in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z")),
        *(
            ("headers", cell)
            for cell in ('{"Content-Length":"1","content-length":"2"}', '{"X-A":"1","b":"","x-a":"1"}')
        ),
        *(("method", cell) for cell in ("PATCH", "x", "G ET")),
        ("size", "x"),
    ],
)
def test_an_invalid_cell_is_reported_with_line_and_column(tmp_path: Path, column: str, cell: str) -> None:
    quoted = cell.replace('"', '""')
    with pytest.raises(ManifestError) as caught:
        read(tmp_path / "a.csv", f'url,{column}\nhttps://h/k,\nhttps://h/k,"{quoted}"\n')
    assert (caught.value.line, caught.value.column) == (3, column)


@pytest.mark.parametrize("cell", ["[]", "0", "false", '["a"]', '{"a":[]}'])
def test_invalid_headers_are_reported(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ManifestError, match=r"a.jsonl:1: column headers: not a JSON object"):
        read(tmp_path / "a.jsonl", f'{{"url":"https://h/k","headers":{cell}}}')


@pytest.mark.parametrize("date", ["20261331T120000Z", "99991231T235959Z", "00010101T000000Z", "19691231T000000Z"])
def test_a_url_with_an_invalid_time_has_no_expiry(date: str) -> None:
    assert expiry_of(f"https://h/k?X-Amz-Date={date}&X-Amz-Expires=3600") is None


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_the_expiry_of_a_link_of_boto3(version: str) -> None:
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK", "region_name": "us-east-1"}
    session: Any = boto3.Session(**keys)
    client = session.client("s3", config=Config(signature_version=version))
    before = datetime.now(UTC)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "my-data", "Key": "k"}, ExpiresIn=600)
    found = expiry_of(url)
    assert found is not None
    assert timedelta(seconds=-1) <= found - before - timedelta(seconds=600) <= timedelta(seconds=5)


@pytest.mark.parametrize(
    ("query", "hour"),
    [
        ("GoogleAccessId=a%40b&Expires=1769864400&Signature=s", 13),
        ("X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20260131T120000Z&X-Goog-Expires=3600&X-Goog-Signature=s", 13),
        ("Expires=1769864400&Signature=s&Key-Pair-Id=K", 13),
        ("X-Amz-Date=20260131T120000Z&X-Amz-Expires=7200&Expires=1769864400", 14),
        ("response-expires=1769864400", None),
        ("Expires=3600", None),
        ("Expires=17698644000", None),
        ("expires=1769864400", None),
    ],
)
def test_the_expiry_of_links_of_other_tools(query: str, hour: int | None) -> None:
    assert expiry_of(f"https://h/k?{query}") == (hour and datetime(2026, 1, 31, hour, tzinfo=UTC))


@pytest.mark.parametrize("moment", ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "20260131T120000Z"])
def test_a_time_is_in_utc(tmp_path: Path, moment: str) -> None:
    (link,) = read(tmp_path / "a.csv", f"url,expires_at\nhttps://h/k,{moment}\n")
    assert link.expires_at == datetime(2026, 1, 31, 12, tzinfo=UTC)


LOCAL = [
    *("31.01.2026 12:00", "31.01.2026 12:00:00", "1/31/2026 12:00:00 PM", "1/31/2026 1:00 p.m.", "31/01/2026 13:00"),
    *("2026-01-31 12:00:00", "2026-01-31T12:00:00", "2026-01-31", "2026/01/31 12:00", "31.1.26", "01-31-2026, 9:05"),
    *("1/31/2026 12:00:00\u202fPM", " 31.01.2026 12:00 ", "29.02.2028 23:59:59,5"),
]


@pytest.mark.parametrize("cell", LOCAL)
def test_a_local_date_is_replaced_by_the_expiry_of_the_url(tmp_path: Path, cell: str) -> None:
    first, second, third = read(
        tmp_path / "a.csv", f'url,expires_at\n{SIGNED},"{cell}"\n{SIGNED},\n{SIGNED},"{cell}"\n'
    )
    assert first.expires_at == second.expires_at == third.expires_at == datetime(2026, 1, 31, 13, tzinfo=UTC)
    (alone,) = read(tmp_path / "a.csv", f'url,expires_at\n{SIGNED},"{cell}"\n')
    assert alone == first


@pytest.mark.parametrize("cell", LOCAL)
def test_a_local_date_without_an_expiry_in_the_url_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ManifestError, match=r"has no time zone.*write 2026-01-31T12:00:00Z") as caught:
        read(tmp_path / "a.csv", f'url,expires_at\n{SIGNED},"{cell}"\nhttps://h/k,"{cell}"\n')
    assert (caught.value.line, caught.value.column) == (3, "expires_at")


@pytest.mark.parametrize("cell", ["1769860800000", "1769860800", "1.7698608e12"])
def test_a_time_as_a_number_of_json_is_replaced_by_the_expiry_of_the_url(tmp_path: Path, cell: str) -> None:
    first, second = read(
        tmp_path / "a.jsonl", f'{{"url":"{SIGNED}","expires_at":{cell}}}\n{{"url":"https://h/k","expires_at":{cell}}}\n'
    )
    assert (first.expires_at, second.expires_at) == (datetime(2026, 1, 31, 13, tzinfo=UTC), None)
    with pytest.raises(ManifestError, match=r"a.jsonl:2: column expires_at: text is expected, not True"):
        read(
            tmp_path / "a.jsonl",
            f'{{"url":"{SIGNED}","expires_at":{cell}}}\n{{"url":"https://h/k","expires_at":true}}\n',
        )


@pytest.mark.parametrize(
    "cell",
    [
        "32.01.2026 12:00",
        "1/32/2026",
        "13/13/2026",
        "2026-02-30 12:00",
        "31.01.2026 25:00",
        "46053.5",
        "1.2",
        "31.01-2026",
    ],
)
def test_invalid_dates_are_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(
        ManifestError, match=r"a.csv:2: column expires_at: .* is not a time; example: 2026-01-31T12:00:00Z"
    ):
        read(tmp_path / "a.csv", f'url,expires_at\n{SIGNED},"{cell}"\n')


def test_rows_without_a_url_are_refused(tmp_path: Path) -> None:
    rows = '{"url":"https://h/k"}\n' * 512 + '{"key":"k"}\n'
    with pytest.raises(ManifestError, match=r"a.jsonl:513: column url: the column is missing"):
        read(tmp_path / "a.jsonl", rows)


@pytest.mark.parametrize("url", ["ftp://h/a?t=hidden", "http://a..b/a?t=hidden", "http://h:0/a?t=hidden"])
def test_an_error_shows_no_query_of_a_url(url: str) -> None:
    with pytest.raises(ManifestError, match="is not an http") as raised:
        links_of(Rows("l.csv", ("url",), [[url]], [2]))
    assert "hidden" not in str(raised.value)
