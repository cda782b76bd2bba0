"""Parquet and ORC on the command line: manifests both ways, with rows named in errors."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.orc
import pyarrow.parquet
import pytest

from tests.servers.proxy import Fault, FaultProxy
from tests.support.cli import BULKPRESIGN, CREDENTIALS, run
from tests.support.folders import files, names_in


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/bkt/{n}": bytes(n) for n in range(40)}
        yield proxy


def keys(folder: Path, name: str, count: int = 40, **columns: Any) -> None:
    table = {"bucket": ["bkt"] * count, "key": list(map(str, range(count))), "size": range(count), **columns}
    writer = pyarrow.parquet.write_table if name.endswith("parquet") else pyarrow.orc.write_table
    writer(pyarrow.table(table), folder / name)


def ok(folder: Path, *words: str) -> str:
    done = run(*words, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", ["k.parquet", "k.orc"])
def test_keys_become_links_become_files(origin: FaultProxy, tmp_path: Path, name: str) -> None:
    keys(tmp_path, name, note=["n"] * 40)
    server = ("--endpoint-url", origin.url, "--addressing-style", "path")
    assert ok(tmp_path, "sign", name, "-o", "links.parquet", *server) == "sign: 40 links in links.parquet\n"
    links = pyarrow.parquet.read_table(tmp_path / "links.parquet")
    assert links.schema.field("size").type == pyarrow.int64()
    assert set(links.column("note").to_pylist()) == {"n"}
    assert links.column("version_id").null_count == 40
    assert (tmp_path / "links.parquet").stat().st_mode & 0o777 == 0o600
    assert ok(tmp_path, "get", "links.parquet", "--to", "to").startswith("get: 40 done;")
    assert files(tmp_path / "to") == {path.removeprefix("/bkt/"): body for path, body in origin.objects.items()}
    assert ok(tmp_path, "verify", "links.parquet", "--in", "to", "--accept-size").startswith("verify: 40 verified")


def test_failures_are_written_in_parquet(origin: FaultProxy, tmp_path: Path) -> None:
    keys(tmp_path, "k.parquet", note=["n"] * 40)
    ok(tmp_path, "sign", "k.parquet", "-o", "l.parquet", "--endpoint-url", origin.url, "--addressing-style", "path")
    origin.always = Fault(404)
    done = run("get", "l.parquet", "--to", "to", "--failures", "f.parquet", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    failed = pyarrow.parquet.read_table(tmp_path / "f.parquet").to_pylist()
    assert sorted(row["key"] for row in failed) == sorted(map(str, range(40)))
    assert all(row["note"] == "n" and "404" in row["reason"] for row in failed)
    origin.always = None
    assert ok(tmp_path, "get", "f.parquet", "--to", "to").startswith("get: 40 done;")


def test_standard_output_has_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("bucket,key\nbkt,a\n")
    command = [*BULKPRESIGN, "sign", "k.csv", "--format", "parquet"]
    with (tmp_path / "out.parquet").open("wb") as stream:
        subprocess.run(command, cwd=tmp_path, stdout=stream, check=True, env=os.environ | CREDENTIALS)
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").column("key").to_pylist() == ["a"]


@pytest.mark.parametrize("name", ["k.parquet", "k.orc"])
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"size": pyarrow.array([*range(600), -1])}, ":601: column size: '-1' is not a number of bytes"),
        ({"key": pyarrow.array([*map(str, range(600)), None])}, ":601: column key: the key is empty"),
        ({"key": pyarrow.array(range(601))}, ":1: column key: text is expected, not 0"),
    ],
)
def test_an_error_names_the_row(tmp_path: Path, name: str, changed: dict[str, Any], words: str) -> None:
    keys(tmp_path, name, 601, **changed)
    done = run("sign", name, "-o", "l.parquet", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: {name}{words}\n")
    assert names_in(tmp_path) == [name]


def test_split_keeps_parquet(tmp_path: Path) -> None:
    keys(tmp_path, "k.parquet")
    ok(tmp_path, "split", "k.parquet", "-n", "3", "-o", "to")
    parts = [pyarrow.parquet.read_table(tmp_path / "to" / f"k-00{n}.parquet").to_pylist() for n in (1, 2, 3)]
    assert sorted(int(row["key"]) for part in parts for row in part) == list(range(40))
    assert all(row["size"] == int(row["key"]) for part in parts for row in part)
