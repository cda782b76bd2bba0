"""Every kind of bad input to `sign`: exit code 2, one line on standard error, nothing sent, nothing left behind."""

import gzip
import os
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import BULKPRESIGN, CREDENTIALS, run
from tests.support.folders import names_in

MANY = "".join(f"key-number-{i:08}\n" for i in range(120_000))

TABLES: list[tuple[str, str | bytes, str]] = [
    ("missing.csv", "", "missing.csv: no such file"),
    ("empty.csv", "", "empty.csv: the file is empty"),
    ("empty.json", "", "empty.json: the file is empty"),
    ("empty.txt", b"\xef\xbb\xbf", "empty.txt: the file is empty"),
    ("a.csv", "bucket,size\nb-1,1\n", "a.csv:1: there is no column key or url among bucket, size"),
    ("a.csv", "name\nb-1\n", "a.csv:1: column key: a header needs"),
    ("a.csv", "key,size\na,1\nb\n", "a.csv:3: column size: 1 field where 2 are expected"),
    ("a.csv", "key,size\na,1\nb,1,2\n", "a.csv:3: 3 fields where 2 are expected"),
    ("a.csv", 'key,size\na,1\n"b,1\nc,1\n', "a.csv:3: a quote is not closed"),
    (
        "a.csv",
        b"key\na\nb\xff\n",
        "a.csv:3: byte 0xff is not UTF-8: save the file as UTF-8, in a spreadsheet as CSV UTF-8",
    ),
    ("a.csv", f"key\n{MANY}".encode() + b"\xe9\n", "a.csv:120002: byte 0xe9 is not UTF-8"),
    ("a.csv", "key\na\nb\0\n", "a.csv:3: column key: the key has a NUL character"),
    ("a.csv", f"key\na\n{'x' * 1025}\n", "a.csv:3: column key: the key has 1,025 bytes; S3 allows 1,024"),
    ("a.csv", 'key\na\n""\n', "a.csv:3: column key: the key is empty"),
    ("a.csv", "bucket,key\nb-1,a\nx y,b\n", "a.csv:3: column bucket: 'x y' can't be a bucket's name"),
    ("a.csv", "key,size\na,1\nb,x\n", "a.csv:3: column size: 'x' is not a number of bytes"),
    ("a.csv", "key,size\na,1\nb,-1\n", "a.csv:3: column size: '-1' is not a number of bytes"),
    ("a.csv", f"key,size\n{MANY.replace(chr(10), ',1' + chr(10))}b,x\n", "a.csv:120002: column size: 'x' is no"),
    ("a.csv", "key,size,key\na,1,b\n", "a.csv:1: column key: the header has this column twice"),
    ("a.csv", '{"key": "a"}\n', "a.csv:1: the rows are JSON, not CSV: name their format by --from-format"),
    ("a.data", '\n[\n{"key": "a"}]\n', "a.data:2: the rows are JSON, not CSV"),
    ("a.json", '[{"key": "a"},\n{"key": "b', "a.json:2: not JSON: it ends in the middle of a value"),
    ("a.json", '{"key": "a"}\n3', "a.json:2: an object or a string is expected, not 3"),
    ("a.json", "3", "a.json:1: a list of objects is expected"),
    ("a.json", '["a",\n3]', "a.json:2: an object or a string is expected, not 3"),
    ("a.json", '["a",\n"\\ud800"]', "a.json:2: half of a surrogate pair"),
    ("a.jsonl", '"a"\n{"key": b}\n', "a.jsonl:2: not JSON"),
    ("a.txt", "a\ns3:///k\n", "a.txt:2: column bucket: 's3:///k' has no bucket"),
    ("a.txt", "https://h/k\n", "a.txt:1: column key: the column is missing"),
    ("a.csv.gz", gzip.compress(os.urandom(5000))[:-2000], "a.csv.gz: not a whole gzip file"),
    (
        "a.txt",
        "<!DOCTYPE html>\n<title>Sign in</title>",
        "a.txt: a page or an XML document, such as the error of a server",
    ),
    ("a.csv", '\n<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "a.csv: a page or an XML document"),
    ("a.csv", b"PK\x03\x04\x14\0", "a.csv: a zip file, as workbooks are: unpack it, or save the sheet as CSV"),
    ("a.parquet", b"PAR1", "a.parquet: not a whole Parquet file: "),
    ("a.orc", b"ORC", "a.orc: not a whole ORC file: "),
    ("a.parquet.gz", b"PAR1", "a.parquet.gz: parquet is compressed in itself"),
]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where a request would arrive."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def assert_refused(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {words}"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(("name", "content", "words"), TABLES, ids=[words for *_, words in TABLES])
def test_a_bad_table(tmp_path: Path, listener: socket.socket, name: str, content: str | bytes, words: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = names_in(tmp_path)
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    options = ["--bucket", "default", "--endpoint-url", endpoint, "-o", "links.csv"]
    assert_refused(run("sign", name, *options, folder=tmp_path), words)
    assert names_in(tmp_path) == before
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "keys.csv:2: column bucket: the row has no bucket; name one with --bucket"),
        (["--bucket", "a b"], "keys.csv:2: column bucket: 'a b' can't be a bucket's name"),
        (["--bucket", "b-1", "--expires-in", "0"], "expires_in of 0 s is not between"),
        (["--bucket", "b-1", "--expires-in", "8d"], "expires_in of 691,200 s is not between"),
        (["--bucket", "b-1", "--expires-in", "604801"], "expires_in of 604,801 s is not between"),
        (["--bucket", "b-1", "--method", "PATCH"], "method 'PATCH' is not one of GET, PUT, HEAD, DELETE"),
        (["--bucket", "b-1", "--endpoint-url", "localhost:9000"], "endpoint_url 'localhost:9000'"),
        (["--bucket", "b-1", "--format", "xml", "-o", "links"], "links: 'xml' is not one of the formats"),
        (["--bucket", "b-1", "-o", "links.orc"], "format 'orc' can't be written: use csv, jsonl, json, parquet, txt"),
        (["--bucket", "b-1", "-o", "l.txt", "--method", "PUT"], "a list of urls is for GET links, not PUT"),
        (["--bucket", "b-1", "-o", "l.txt", "--to", "s3://b-2/"], "a list of urls can't hold the two links of a copy"),
        (["--bucket", "b-1", "-o", "l.txt", "--executor", "processes:1"], "executor is for csv, json and jsonl: a"),
        (
            ["--bucket", "b-1", "-o", "l.txt", "--checksum-mode"],
            "a: a list of urls can't hold this link, because it has",
        ),
        (["--bucket", "b-1", "-o", "links.parquet.gz"], "links.parquet.gz: parquet is compressed in itself"),
        (["--bucket", "b-1", "-o", "/dev/full", "--format", "parquet"], "/dev/full can't be written: No space left"),
        (["--bucket", "b-1", "-o", "missing/links.csv"], "missing/links.csv can't be written: No such file"),
        (["--bucket", "b-1", "-o", "."], ". can't be written: it is a folder"),
        (["--bucket", "b-1", "-o", "/dev/full"], "/dev/full can't be written: No space left"),
        (["--bucket", "b-1", "-o", "/proc/links.csv"], "/proc/links.csv can't be written"),
        (["--bucket", "b-1", "--header", "a: b"], "headers are signed into PUT links"),
        (["--bucket", "b-1", "--method", "PUT", "--header", "a: b", "--header", "A: c"], "header A is given twice"),
        (["--bucket", "b-1", "--method", "PUT", "--filename", "x"], "filename is for GET links"),
        (
            ["--bucket", "b-1", "--method", "PUT", "--response-expires", "x"],
            "response-expires is for GET and HEAD links",
        ),
        (["s3://", "--bucket", "b-1"], "'s3://': no bucket"),
        (["s3://x y/k"], "'s3://x y/k': 'x y' can't be"),
        (["-", "-", "--bucket", "b-1"], "standard input is given twice"),
        (["--bucket", "b-1", "folder"], "folder: a folder is no list of objects; bulkpresign put uploads one"),
        (["b-1/2026/"], "b-1/2026/: no such file; objects of a bucket are s3://bucket/prefix/"),
        (["gs://b-1/a.csv"], "gs://b-1/a.csv: no such file; objects of a bucket are s3://bucket/prefix/"),
    ],
)
def test_a_bad_option(tmp_path: Path, options: list[str], words: str) -> None:
    (tmp_path / "keys.csv").write_text("key\na\n")
    (tmp_path / "folder").mkdir()
    if "-o" not in options:
        options = [*options, "-o", "links.csv"]
    assert_refused(run("sign", "keys.csv", *options, folder=tmp_path), words)
    assert names_in(tmp_path) == ["folder", "keys.csv"]


PUT = ["--bucket", "b-1", "--method", "PUT"]
CARRYING: list[tuple[list[str], str]] = [
    (["--bucket", "b-1", "--if-none-match"], "if-none-match is for PUT links"),
    (["--bucket", "b-1", "--region", "eu west"], "Provided region_name 'eu west' doesn't match"),
    ([*PUT, "--cache-control", "a\nb: c"], "cache-control: one line of text is expected"),
    ([*PUT, "--metadata", "a"], "metadata 'a' is not of the form K=V"),
    ([*PUT, "--metadata", "a=b", "--metadata", "a=c"], "metadata a is given twice"),
    ([*PUT, "--if-none-match", "--header", "If-None-Match: *"], "header If-None-Match is given twice"),
    (
        [*PUT, "--sse-customer-key", "missing"],
        "sse-customer-key: No such file or directory: name a file that holds the key, 32 bytes or their base64",
    ),
    ([*PUT, "--sse-customer-key", "long"], "long: sse-customer-key: it has 33 bytes, not 32"),
    ([*PUT, "--sse-customer-key", "keys.csv"], "keys.csv: sse-customer-key: 32 bytes, or their base64, are expected"),
    ([*PUT, "--header", "Content-MD5: xx"], "header Content-MD5: the md5 of the file is expected, 16 bytes in base64"),
    ([*PUT, "--header", "Transfer-Encoding: chunked"], "header Transfer-Encoding: S3 takes no upload without its"),
    ([*PUT, "--header", "Host: foo"], "header Host: the host of a link is that of its server: leave it out"),
    ([*PUT, "--checksum", "crc32"], "a checksum is taken from files: it needs an algorithm and a folder"),
]


@pytest.mark.parametrize(("options", "words"), CARRYING, ids=[" ".join(options) for options, _ in CARRYING])
def test_what_a_link_can_not_carry(tmp_path: Path, listener: socket.socket, options: list[str], words: str) -> None:
    (tmp_path / "keys.csv").write_text("key\na\n")
    (tmp_path / "long").write_bytes(b64encode(b"k" * 33))
    before = names_in(tmp_path)
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    done = run("sign", "keys.csv", *options, "--endpoint-url", endpoint, "-o", "links.csv", folder=tmp_path)
    assert_refused(done, words)
    assert names_in(tmp_path) == before
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("value", ["-1", "soon", "1y", ""])
def test_a_duration_that_is_not_valid(tmp_path: Path, value: str) -> None:
    done = run("sign", "-", "--expires-in", value, folder=tmp_path)
    assert done.returncode == 2
    assert f"'{value}' is not a duration; examples: 30s, 15m" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_credentials(tmp_path: Path) -> None:
    done = run("sign", "-", "--bucket", "b-1", "-o", "links.csv", folder=tmp_path, given="key\na\n", env={})
    assert_refused(done, "no credentials")
    assert not list(tmp_path.iterdir())


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    """Root may read any file; this one opens, and fails when it is read."""
    done = run("sign", "/proc/self/mem", "--bucket", "b-1", "-o", "links.csv", folder=tmp_path)
    assert_refused(done, "/proc/self/mem: can't be read: Input/output error")
    assert not list(tmp_path.iterdir())


def test_a_full_disk(tiny_disk: Path) -> None:
    done = run("sign", "-", "--bucket", "b-1", "-o", "links.csv", folder=tiny_disk, given=f"key\n{MANY[:20000]}")
    assert_refused(done, "links.csv can't be written: No space left")
    assert not list(tiny_disk.iterdir())


def test_a_closed_pipe(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(MANY)
    with subprocess.Popen(
        [*BULKPRESIGN, "sign", "keys.txt", "--bucket", "b-1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **CREDENTIALS},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"bucket,key,")
        process.stdout.close()
        told = process.stderr.read().decode()
        assert process.wait() == 2
    assert told == "error: standard output was closed before all rows were written\n"


@pytest.mark.parametrize(("name", "content"), [("a.csv", "key\n"), ("a.json", "[]"), ("a.txt", "\n"), ("a.jsonl", "")])
def test_no_rows_are_no_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    done = run("sign", name, "-o", "links.csv", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "warning: there were no rows: nothing to sign\n")
    assert (tmp_path / "links.csv").read_text().startswith("bucket,key,")


@pytest.mark.parametrize("format_of_it", ["csv", "json", "jsonl", "txt"])
def test_an_empty_standard_input_is_no_error(tmp_path: Path, format_of_it: str) -> None:
    done = run("sign", "-", "--from-format", format_of_it, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "warning: there were no rows: nothing to sign\n")
