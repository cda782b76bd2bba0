"""Whole runs on rows of any cells, from servers that say anything: as many outcomes as rows, and an end."""

import asyncio
import csv
import tempfile
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkpresign.errors import InputError
from bulkpresign.http import pool
from bulkpresign.model import Report
from bulkpresign.pipeline.get import get
from bulkpresign.pipeline.put import put
from bulkpresign.transfer.engine import refusals, retries
from tests.fuzz.answers import VALUES, answers
from tests.fuzz.server import RawServer
from tests.fuzz.settings import FUZZ

Row = dict[str, str]

#: A run takes as long as a hundred examples of a function.
RUNS = settings(FUZZ, max_examples=max(FUZZ.max_examples // 5, 1))

#: Of each column some values that a row may have, right or wrong, and any text.
CELLS = {
    "url": [
        *("http://{at}/k", "http://{at}/k?X-Amz-Expires=60&X-Amz-Signature=x", "http://{at}/a%2Fb?x", "http://{at}"),
        *("http://a..b/k", f"http://{'a' * 64}.example/", "http://.example/", "http://127.0.0.1:0/k", "https://{at}/k"),
    ],
    "key": ["k", "a/b", "k" * 300, "\x1b[31m", "\u202e", "a//b", ".."],
    "path": ["", "p", "d/p", "d/../p", "/p", "p" * 300, "\u00e9", "p\n"],
    "size": ["", "0", "5", "11", "9223372036854775807", "9" * 30, "-1"],
    "etag": ["", "5eb63bbbe01eeed093cb22bb8f5acdc3", "5eb63bbbe01eeed093cb22bb8f5acdc3-9999", 'W/"e"', "\u00e9"],
    "checksum": ["", "crc32:AAAAAA==", "sha256:x", "md5:XrY7u+Ae7tCTyyK7j1rNww==", "crc64nvme:AAAAAAAAAAA="],
    "expires_at": ["", "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
    "headers": [
        "",
        "{}",
        '{"Content-Length": "5", "content-length": "6"}',
        '{"x-amz-meta-a": "\\ud800"}',
        '{"Host": "h"}',
    ],
}

cells = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in CELLS.items() if name == "url"},
    optional={
        name: st.sampled_from(values) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        for name, values in CELLS.items()
        if name != "url"
    },
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BASE_DELAY", 0.0001)
    monkeypatch.setattr(retries, "MAX_RETRY_AFTER", 0.0)
    monkeypatch.setattr(refusals, "_LEAST_RATE", 10_000.0)
    monkeypatch.setattr(pool, "IDLE_TIMEOUT", 0.5)
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT", 0.5)


def table(file: Path, rows: Sequence[Row], port: int, method: str) -> None:
    """Each with a path of its own, unless it says one."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["method", *CELLS], restval="")
        writer.writeheader()
        for number, row in enumerate(rows):
            url = row["url"].replace("{at}", f"127.0.0.1:{port}")
            writer.writerow({"path": f"own/{number}", **row, "url": url, "method": method})


def ran(
    verb: str, rows: Sequence[Row], said: Sequence[bytes], *, closes: bool, part_size: int = 1 << 26
) -> Report | None:
    """The report of a run; None where the table was refused, before anything was sent."""
    answer = cycle(said)
    with tempfile.TemporaryDirectory() as name, RawServer(lambda: next(answer), closes=closes) as server:
        folder = Path(name)
        table(folder / "l.csv", rows, server.port, verb.upper())
        try:
            if verb == "get":
                work = get(folder / "l.csv", folder / "to", attempts=2, concurrency=4, part_size=part_size)
            else:
                for number in range(len(rows)):
                    (folder / "from/own").mkdir(parents=True, exist_ok=True)
                    (folder / f"from/own/{number}").write_bytes(b"hello")
                work = put(folder / "l.csv", folder / "from", attempts=2, concurrency=4)
            return asyncio.run(work)
        except InputError as error:
            assert server.count == 0
            str(error).encode()
            return None


GOOD: Row = {"url": "http://{at}/k"}


def answering(*headers: bytes, status: int = 200, body: bytes = b"hello") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), lines, body)


@RUNS
@given(st.lists(answers, min_size=1, max_size=50), st.integers(1, 50))
@example([answering(b'ETag: "\xff\xfe"')], 3)
@example([answering(b"Content-Range: bytes \xff", status=206)], 3)
@example([answering(b"x-amz-bucket-region: \xff", status=301, body=b"<Code>PermanentRedirect</Code>")], 3)
@example([answering(b"Last-Modified: Sun, 06 Nov 99999 08:49:37 GMT")], 3)
@example([answering(b"Last-Modified: Sun, 99999999999999999999 Nov 1994 08:49:37 GMT")], 3)
@example([answering(b"Date: Sun, %b Nov 1994 08:49:37 GMT" % (b"9" * 400))], 3)
def test_any_answers_to_a_download(said: list[bytes], count: int) -> None:
    report = ran("get", [GOOD] * count, said, closes=True)
    assert report is not None
    assert report.objects == count


@RUNS
@given(st.lists(answers, min_size=1, max_size=50), st.integers(1, 50))
def test_any_answers_to_an_upload(said: list[bytes], count: int) -> None:
    report = ran("put", [GOOD] * count, said, closes=True)
    assert report is not None
    assert report.objects == count


@RUNS
@given(
    st.sampled_from(["get", "put"]), st.lists(cells, min_size=1, max_size=6), st.lists(answers, min_size=1, max_size=4)
)
def test_any_rows(verb: str, rows: list[Row], said: list[bytes]) -> None:
    report = ran(verb, rows, said, closes=True)
    assert report is None or report.objects == len(rows)


@RUNS
@given(
    st.lists(st.sampled_from(VALUES) | st.binary(max_size=30), min_size=1, max_size=6),
    st.sampled_from([200, 206, 304, 412, 416]),
    st.integers(1, 200_000),
)
def test_any_headers_of_an_object_in_parts(values: list[bytes], status: int, size: int) -> None:
    """With a part size that all larger ones are over, and a server that keeps its connections."""
    names = (b"ETag", b"Content-Range", b"x-amz-checksum-crc32", b"Last-Modified", b"x-amz-checksum-type", b"Date")
    pairs = [name + b": " + value for name, value in zip(names, values, strict=False)]
    said = [answering(*pairs, status=status, body=bytes(size))]
    report = ran("get", [{**GOOD, "size": f"{size}"}, GOOD], said, closes=False, part_size=64 << 10)
    assert report is not None
    assert report.objects == 2
