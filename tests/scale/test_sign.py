"""`sign` with workers: the same manifest as in one process, and no secret key in a worker."""

import asyncio
import gc
import json
import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.events import Event, ObjectsSigned
from bulkpresign.scale import signing
from bulkpresign.scale.sign_worker import sign_shard
from tests.scale.processes import memory_has, wait_until, workers_of
from tests.support.cli import BULKPRESIGN

SECRET, TOKEN = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "the-session-token-of-the-run"
NOW = datetime(2026, 11, 24, 12, 0, 0, 123, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of two batches of rows, or of two blocks of text, and one time for all links."""
    monkeypatch.setattr(signing, "_SHARD_ROWS", 600)
    monkeypatch.setattr("bulkpresign.tables.files._BLOCK_SIZE", 9_000)
    monkeypatch.setattr("bulkpresign.signing.presigner.utc_now", lambda: NOW)


class Here(Executor):
    """Signs in this thread; keeps what it was given. Loses the worker of each call for which `loses` is true."""

    def __init__(self, loses: Callable[[int], bool] = lambda _: False) -> None:
        self._loses = loses
        self._max_workers = 3
        self.calls: list[bytes] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        assert fn is sign_shard
        self.calls.append(args[0])
        future: Future[Any] = Future()
        if self._loses(len(self.calls)):
            future.set_exception(RuntimeError("the worker is gone"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def csv_of(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def sign(source: Any, output: Path, **settings: Any) -> bp.Report:
    return asyncio.run(bp.sign(source, output, **settings))


KEYS = [f"bucket-{n % 3},data/{n} ü.csv" for n in range(1700)]
TABLES: dict[str, tuple[str, dict[str, Any]]] = {
    "no.csv": (csv_of("bucket,key"), {}),
    "empty.jsonl": ("", {}),
    "one.csv": (csv_of("bucket,key", "bucket,one"), {}),
    "many.csv": (csv_of("bucket,key", *KEYS), {"expires_in": 60}),
    "headerless.csv": (csv_of(*KEYS), {}),
    "blanks.csv": (csv_of("bucket,key", *KEYS[:600], "", *KEYS[600:]), {}),
    "semicolons.csv": (csv_of("bucket;key;owner", *(f"{key},it's mine".replace(",", ";") for key in KEYS)), {}),
    "quoted late.csv": (csv_of("bucket,key,note", *(f"{key},a" for key in KEYS), 'bucket,"last",b'), {}),
    "quoted.csv": (csv_of("bucket,key,note", *(f'{key},"a ""note"", and\nmore"' for key in KEYS)), {}),
    "keys.txt": (csv_of(*(f"a/{n}" for n in range(1300)), "s3://other-bucket/key"), {"bucket": "bucket"}),
    "versions.csv": (
        csv_of("bucket,key,version_id,size,etag", *(f'{key},v{n % 2},{n},"e{n}"' for n, key in enumerate(KEYS))),
        {},
    ),
    "put.csv": (
        csv_of(
            "bucket,key,content_type,storage_class",
            *(f"{key},text/{n % 2},{'GLACIER' * (n % 2)}" for n, key in enumerate(KEYS)),
        ),
        {"method": "PUT", "headers": {"x-amz-meta-a": "b"}, "options": bp.LinkOptions(tagging="a=b")},
    ),
    #: Columns that matter where old links are signed again.
    "methods.csv": (csv_of("bucket,key,method,tagging", *(f"{key},get,no tags" for key in KEYS)), {}),
    "regions.csv": (
        csv_of("bucket,key,region", *(f"{key},{('', 'us-east-1', 'eu-north-1')[n % 3]}" for n, key in enumerate(KEYS))),
        {},
    ),
    "names.csv": (csv_of("bucket,key", *KEYS), {"filename": "{name}", "query": {"response-content-type": "text/x"}}),
    "values.jsonl": (
        csv_of(
            *(
                json.dumps({"bucket": "bucket", "key": f"{n}", "n": n, "more": [n, {"a": None}], "huge": 2**70})
                for n in range(1300)
            )
        ),
        {},
    ),
    "filtered.csv": (
        csv_of("bucket,key,size", *(f"{key},{n}" for n, key in enumerate(KEYS))),
        {"filters": bp.Filters(min_size=100, limit=1100)},
    ),
    "sample.csv": (csv_of("bucket,key", *KEYS), {"filters": bp.Filters(sample=700, seed=7)}),
}


@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("name", TABLES)
def test_the_same_bytes_as_in_one_process(name: str, format_: str, tmp_path: Path) -> None:
    text, settings = TABLES[name]
    (tmp_path / name).write_text(text)
    one = sign(tmp_path / name, tmp_path / f"one.{format_}", **settings)
    two = sign(tmp_path / name, tmp_path / f"two.{format_}", **settings, executor=Here())
    assert one.done == two.done
    assert (tmp_path / f"two.{format_}").read_bytes() == (tmp_path / f"one.{format_}").read_bytes()


def test_in_processes_too(tmp_path: Path) -> None:
    """And several tables are one manifest."""
    (tmp_path / "a.csv").write_text(TABLES["many.csv"][0])
    (tmp_path / "b.jsonl").write_text(TABLES["values.jsonl"][0])
    sources, signed = [tmp_path / "a.csv", tmp_path / "b.jsonl"], list[int]()

    def listen(event: Event) -> None:
        if isinstance(event, ObjectsSigned):
            signed.append(event.count)

    sign(sources, tmp_path / "one.csv")
    report = sign(sources, tmp_path / "two.csv", executor="processes:2", listeners=[listen])
    assert report.done == sum(signed) == 3000
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert workers_of(os.getpid()) == []


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_columns_that_come_late(format_: str, tmp_path: Path) -> None:
    """From its batch on, every row has the column: shards that were signed without it are signed again."""
    lines = [
        {"bucket": "bucket", "key": f"{n}"} | ({f"late-{n}": n} if n in {700, 2100, 2101} else {}) for n in range(3000)
    ]
    (tmp_path / "k.jsonl").write_text(csv_of(*map(json.dumps, lines)))
    sign(tmp_path / "k.jsonl", tmp_path / f"one.{format_}")
    sign(tmp_path / "k.jsonl", tmp_path / f"two.{format_}", executor=Here())
    assert (tmp_path / f"two.{format_}").read_bytes() == (tmp_path / f"one.{format_}").read_bytes()
    messages = set()
    for executor in (None, Here()):
        with pytest.raises(bp.ManifestError, match="column late-700 is new after the header was written") as raised:
            sign(tmp_path / "k.jsonl", tmp_path / "k.csv", executor=executor)
        messages.add(str(raised.value))
    assert len(messages) == 1


@pytest.mark.parametrize("method", [None, "GET", "HEAD"])
def test_links_are_signed_again(method: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TABLES["put.csv"][0])
    (tmp_path / "b.csv").write_text(TABLES["names.csv"][0])
    sign(tmp_path / "a.csv", tmp_path / "puts.csv", method="PUT", headers={"x-amz-meta-a": "b"})
    sign(tmp_path / "b.csv", tmp_path / "gets.jsonl", filename="{name}")
    sources = [tmp_path / "puts.csv", tmp_path / "gets.jsonl"]
    sign(sources, tmp_path / "one.csv", method=method, expires_in=77)
    sign(sources, tmp_path / "two.csv", method=method, expires_in=77, executor=Here())
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


BAD: dict[str, tuple[dict[int, str], dict[str, Any]]] = {
    "a key": ({1650: "bucket,", 1100: "bucket,", 1101: ",key"}, {}),
    "a bucket": ({1299: "b/d,key"}, {}),
    "fields": ({1111: "bucket"}, {}),
    "a later line first": ({1299: "b/d,key", 40: "bucket,key,7"}, {}),
    "a row that can't be read after one that can't be signed": ({600: "b/d,key", 1299: "bucket,key,7"}, {}),
    "a bucket of another kind in the batch before": ({100: "mine--use1-az4--x-s3,key", 600: "bucket,"}, {}),
    "a bucket of another kind": ({1299: "mine--use1-az4--x-s3,key", 1600: "bucket,"}, {}),
    "a bucket of another kind before": ({600: "bucket,", 1299: "mine--use1-az4--x-s3,key"}, {}),
    "an option": ({}, {"query": {"X-Amz-Date": "now"}}),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("executor", ["here", "processes:2"])
def test_a_bad_row_is_the_same_error(case: str, executor: str, tmp_path: Path) -> None:
    bad, settings = BAD[case]
    (tmp_path / "k.csv").write_text(csv_of("bucket,key", *(bad.get(n, key) for n, key in enumerate(KEYS))))
    errors = []
    for chosen in (None, Here() if executor == "here" else executor):
        with pytest.raises(bp.InputError) as raised:
            sign(tmp_path / "k.csv", tmp_path / "links.csv", executor=chosen, **settings)
        errors.append((type(raised.value), str(raised.value)))
    assert errors[0] == errors[1]
    assert [file.name for file in tmp_path.iterdir()] == ["k.csv"], "no half manifest"


def test_a_bad_option_of_an_old_link_is_the_same_error(tmp_path: Path) -> None:
    """It is one for the method that the link has."""
    links = [f"https://example.com/{n},{('GET', 'PUT')[n % 2]},bucket,{n},no tags" for n in range(1300)]
    (tmp_path / "k.csv").write_text(csv_of("url,method,bucket,key,tagging", *links))
    for executor in (None, Here()):
        with pytest.raises(bp.ManifestError, match=r"k\.csv:3: column tagging: 'no tags' is not of the form"):
            sign(tmp_path / "k.csv", tmp_path / "links.csv", executor=executor)


@pytest.mark.parametrize(("column", "cell"), [("method", "PUT"), ("Expires-In", "10s")])
def test_a_cell_that_would_be_ignored_is_the_same_error(column: str, cell: str, tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text(
        csv_of(f"key,bucket,{column}", *(f"k,b-1,{cell * (n > 1300)}" for n in range(1700)))
    )
    for chosen in (None, Here()):
        with pytest.raises(bp.ManifestError, match=r"k\.csv:1303: column (method|expires_in): "):
            sign(tmp_path / "k.csv", tmp_path / "links.csv", executor=chosen)


def test_a_lost_worker_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text(TABLES["many.csv"][0])
    sign(tmp_path / "k.csv", tmp_path / "one.csv")
    sign(tmp_path / "k.csv", tmp_path / "two.csv", executor=Here(lambda call: call % 3 == 1))
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_calls_that_end_after_the_run_raise_nothing_any_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio logs an exception that nobody retrieved."""

    class Late(Here):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
            """The first call fails at once, the others once it is known."""
            self.calls.append(args[0])
            future: Future[Any] = Future()
            future.set_running_or_notify_cancel()
            is_first = args[0] == self.calls[0]
            Timer(0.01 if is_first else 0.3, future.set_exception, [RuntimeError("the worker is gone")]).start()
            return future

    async def run() -> None:
        with pytest.raises(bp.BreakerError):
            await bp.sign(tmp_path / "k.csv", tmp_path / "two.csv", executor=Late())
        await asyncio.sleep(0.5)

    (tmp_path / "k.csv").write_text(TABLES["many.csv"][0])
    asyncio.run(run())
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def test_workers_that_are_lost_each_time_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text(TABLES["many.csv"][0])
    with pytest.raises(bp.BreakerError, match="a worker was lost 3 times with the same work: the worker is gone"):
        sign(tmp_path / "k.csv", tmp_path / "two.csv", executor=Here(lambda _: True))
    assert [file.name for file in tmp_path.iterdir()] == ["k.csv"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": True}, "executor does not go with head or to"),
        ({"to": "s3://target/"}, "executor does not go with head or to"),
        ({"method": "PUT", "part_size": 5 << 20}, "executor does not go with a part size"),
        ({"method": "PUT", "checksum": "md5", "folder": "."}, "executor does not go with a checksum"),
        ({"format": "parquet"}, "executor is for csv, json and jsonl: the rows of a Parquet file"),
        ({"format": "txt"}, "executor is for csv, json and jsonl: a list of urls"),
        ({"executor": "processes:0"}, "the number of processes is from 1"),
    ],
)
def test_what_is_not_signed_by_workers(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text(TABLES["one.csv"][0])
    with pytest.raises(bp.ParameterError, match=message):
        sign(tmp_path / "k.csv", tmp_path / "links", **{"executor": Here()} | settings)


def test_workers_are_given_no_secret_key(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text(TABLES["regions.csv"][0])
    sign(tmp_path / "k.csv", tmp_path / "two.csv", executor=(executor := Here()))
    given = b"".join(executor.calls)
    assert TOKEN.encode() in given, "the scan finds what is there"
    assert SECRET.encode() not in given


class Begun:
    """A run with two workers that signs many keys, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        with (folder / "k.csv").open("w") as keys:
            keys.write("bucket,key\n")
            keys.writelines(f"bucket,data/{n}\n" for n in range(200_000))
        command = [*BULKPRESIGN, "sign", "k.csv", "-o", "links.csv", "--executor", "processes:2"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(workers_of(self.process.pid)) == 2 and written(folder) > 0)
        self.workers = workers_of(self.process.pid)

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=60)
        assert "Traceback" not in said
        return self.process.returncode, said


def written(folder: Path) -> int:
    """Bytes of the manifest so far."""
    return sum(file.stat().st_size for file in folder.glob(".links.csv.*.tmp"))


def test_the_memory_of_workers_has_no_secret_key(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    for pid in begun.workers:
        os.kill(pid, signal.SIGSTOP)
    assert memory_has(begun.process.pid, SECRET.encode()), "the scan finds it where it is"
    assert any(memory_has(pid, TOKEN.encode()) for pid in begun.workers)
    for pid in begun.workers:
        assert SECRET.encode() not in (Path("/proc") / str(pid) / "environ").read_bytes()
        assert not memory_has(pid, SECRET.encode())
        os.kill(pid, signal.SIGCONT)
    begun.process.send_signal(signal.SIGINT)
    begun.end()


def test_ctrl_c_leaves_no_half_manifest(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    begun.process.send_signal(signal.SIGINT)
    assert begun.end()[0] == 130
    assert [file.name for file in tmp_path.iterdir()] == ["k.csv"]
    assert workers_of(begun.process.pid) == []


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    begun = Begun(tmp_path)
    os.kill(begun.workers[0], signal.SIGKILL)
    code, said = begun.end()
    assert code == 0, said
    lines = (tmp_path / "links.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == [f"data/{n}" for n in range(200_000)]
