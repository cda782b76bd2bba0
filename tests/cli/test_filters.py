"""Filters on the command line: by every verb, on listings, tables, links, uploads and folders."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.folders import names_in
from tests.support.links import links, many
from tests.support.tables import rows_of, table

KEYS = ("in/a.csv", "in/b.txt", "in/deep/c.csv", "in/deep/tmp/d.csv", "in/empty.csv")


@pytest.fixture
def bucket(seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket) -> str:
    name = make_bucket(seaweedfs)
    for key in KEYS:
        boto(seaweedfs).put_object(Bucket=name, Key=key, Body=b"" if "empty" in key else key.encode())
    return name


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": bytes(n) for n in range(40)}
        yield proxy


def keys_of(file: Path) -> list[str]:
    return [row["key"] for row in rows_of(file)]


def ok(*arguments: str, folder: Path, env: dict[str, str] | None = None) -> str:
    done = run(*arguments, folder=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refused(*arguments: str, folder: Path, env: dict[str, str] | None = None) -> str:
    before = names_in(folder)
    done = run(*arguments, folder=folder, env=env)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert names_in(folder) == before
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        ("sign l.csv --bucket b-1", ": nothing to sign"),
        ("post l.csv --bucket b-1", ": nothing to sign"),
        ("split l.csv -n 2", ": nothing to split"),
        ("get l.csv --to to", ": nothing to do"),
        ("verify l.csv --in to", ""),
    ],
)
def test_filters_that_no_object_passes(tmp_path: Path, words: str, rest: str) -> None:
    """A glob with a mistake is not taken for a source without rows."""
    table(tmp_path / "l.csv", [{"bucket": "b-1", "key": "a.csv", "url": "http://127.0.0.1:9/a.csv"}])
    (tmp_path / "to").mkdir()
    said = ok(*words.split(), "--include", "*.CSV", folder=tmp_path)
    assert f"warning: no object passed the filters{rest}\n" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--include", "*.csv"), [0, 2, 3, 4]),
        (("--include", "deep/*"), [2]),
        (("--include", "*.csv", "--exclude", "**/tmp/**"), [0, 2, 4]),
        (("--min-size", "1", "--max-size", "8B"), [0, 1]),
        (("--newer-than", "1h"), [0, 1, 2, 3, 4]),
        (("--newer-than", "2999-01-01"), []),
        (("--older-than", "2000-01-01T00:00:00Z"), []),
        (("--older-than", "2999-01-01", "--limit", "2"), [0, 1]),
    ],
)
def test_a_listing_is_filtered(
    tmp_path: Path, seaweedfs: S3Server, bucket: str, words: tuple[str, ...], expected: list[int]
) -> None:
    ok("sign", f"s3://{bucket}/in/", "-o", "l.csv", *words, folder=tmp_path, env=seaweedfs.environment)
    assert keys_of(tmp_path / "l.csv") == [KEYS[number] for number in expected]


def test_get_and_post_filter_listings(tmp_path: Path, seaweedfs: S3Server, bucket: str) -> None:
    env = seaweedfs.environment
    ok("get", f"s3://{bucket}/in/", "--to", "to", "--exclude", "deep/", folder=tmp_path, env=env)
    assert names_in(tmp_path / "to") == ["a.csv", "b.txt", "empty.csv"]
    said = ok("post", f"s3://{bucket}/in/", "-o", "f.json", "--include", "*.txt", folder=tmp_path, env=env)
    assert said == "post: 1 form in f.json\n"


def test_a_sample_is_drawn_among_all_sources(tmp_path: Path, seaweedfs: S3Server, bucket: str) -> None:
    """The same one by each run with a seed, in the order of the sources."""
    table(tmp_path / "keys.csv", [{"bucket": bucket, "key": f"k{number:03}"} for number in range(600)])

    def sampled(*words: str) -> list[str]:
        ok("sign", "keys.csv", f"s3://{bucket}/in/", "-o", "l.csv", *words, folder=tmp_path, env=seaweedfs.environment)
        return keys_of(tmp_path / "l.csv")

    everything = sampled()
    some = sampled("--sample", "50")
    assert len(some) == 50
    assert some == sorted(set(some), key=everything.index) == sampled("--sample", "50", "--seed", "0")
    assert some != sampled("--sample", "50", "--seed", "1")
    assert sampled("--sample", "1000") == everything
    assert {"in/a.csv", "in/b.txt"} & {
        key for seed in range(9) for key in sampled("--sample", "200", "--seed", str(seed))
    }


def test_links_are_filtered(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", [row | {"size": number} for number, row in enumerate(many(origin, 40))])
    said = ok("get", "l.csv", "--to", "to", "--include", "1*", "--max-size", "12", folder=tmp_path)
    assert said.startswith("get: 4 done;")
    assert names_in(tmp_path / "to" / "d") == ["1", "10", "11", "12"]
    assert origin.count == 4
    said = ok("verify", "l.csv", "--in", "to", "--accept-size", "--max-size", "1", "--include", "1", folder=tmp_path)
    assert said.startswith("verify: 1 verified")


def test_a_filtered_run_goes_on_as_any_other(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 40))
    for done in (5, 0):
        said = ok("get", "l.csv", "--to", "to", "--sample", "5", folder=tmp_path)
        assert said.startswith(f"get: {done} done")
    assert origin.count == 5
    assert "40 done" in ok("get", "l.csv", "--to", "all", "--sample", "50", "--seed", "3", folder=tmp_path)


def test_verify_names_no_file_extra_whose_row_is_filtered_out(origin: FaultProxy, tmp_path: Path) -> None:
    links(tmp_path / "l.csv", many(origin, 40))
    ok("get", "l.csv", "--to", "to", folder=tmp_path)
    for words, count in ((("--sample", "7"), 7), (("--limit", "3"), 3), (("--include", "2?"), 10)):
        said = ok("verify", "l.csv", "--in", "to", "--accept-size", *words, folder=tmp_path)
        assert said.startswith(f"verify: {count} verified")
    (tmp_path / "to" / "x").write_text("x")
    done = run("verify", "l.csv", "--in", "to", "--accept-size", "--sample", "7", folder=tmp_path)
    assert (done.returncode, "1 extra" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "column"), [(("--min-size", "1"), "size"), (("--newer-than", "7d"), "last_modified")]
)
@pytest.mark.parametrize(
    "verb", [("get", "l.csv", "--to", "to"), ("sign", "k.csv", "-o", "s.csv"), ("verify", "l.csv", "--in", "from")]
)
def test_a_filter_names_the_row_that_lacks_its_column(
    origin: FaultProxy, tmp_path: Path, verb: tuple[str, ...], words: tuple[str, ...], column: str
) -> None:
    (tmp_path / "from").mkdir()
    rows = [row | {"size": 5, "last_modified": "2999-01-01T00:00:00Z"} for row in many(origin, 3)]
    rows[2] = rows[2] | {column: ""}
    links(tmp_path / "l.csv", rows)
    table(
        tmp_path / "k.csv",
        [
            {"bucket": "bkt", "key": row["path"]} | {"size": row["size"], "last_modified": row["last_modified"]}
            for row in rows
        ],
    )
    said = refused(*verb, *words, folder=tmp_path)
    assert said.startswith(f"error: {verb[1]}:4: column {column}: a filter by ")
    assert origin.count == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--newer-than", "soon"), "'soon' is not a time or an age"),
        (("--sample", "0"), "'0' is not a number of 1 or more"),
        (("--min-size", "2", "--max-size", "1"), "no object has at least 2 and at most 1 bytes"),
        (("--include", "[z-a]"), "the range z-a of the pattern is reversed"),
        (("--include", ""), "include is not a list of globs that are not empty"),
    ],
)
def test_filters_that_are_not_valid(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    (tmp_path / "k.csv").write_text("bucket,key\nbkt,k\n")
    assert problem in refused("sign", "k.csv", "-o", "l.csv", *words, folder=tmp_path)


def test_a_folder_is_filtered(tmp_path: Path, seaweedfs: S3Server, bucket: str, boto: Boto) -> None:
    (tmp_path / "from" / "d").mkdir(parents=True)
    for number in range(10):
        file = tmp_path / "from" / "d" / f"{number}.{'csv' if number % 2 else 'txt'}"
        file.write_bytes(bytes(number))
        os.utime(file, (number, 1_700_000_000 + number))
    words = ("--include", "*.csv", "--min-size", "2", "--older-than", "2023-11-14T22:13:27Z")
    said = ok("put", "from", f"s3://{bucket}/put/", *words, folder=tmp_path, env=seaweedfs.environment)
    assert said.startswith("put: 2 done;")
    found = boto(seaweedfs).list_objects_v2(Bucket=bucket, Prefix="put/")["Contents"]
    assert [entry["Key"] for entry in found] == ["put/d/3.csv", "put/d/5.csv"]
    said = ok("put", "from", f"s3://{bucket}/some/", "--sample", "4", folder=tmp_path, env=seaweedfs.environment)
    assert said.startswith("put: 4 done;")


def test_uploads_are_filtered_as_objects(tmp_path: Path, seaweedfs: S3Server, bucket: str, boto: Boto) -> None:
    """By the size of the object, not that of its parts; and a sample has all rows of an upload."""
    (tmp_path / "from").mkdir()
    for number, mebibytes in enumerate((1, 6, 11)):
        (tmp_path / "from" / f"{number}.bin").write_bytes(bytes(mebibytes << 20))
    table(
        tmp_path / "k.csv",
        [{"bucket": bucket, "key": f"{n}.bin", "size": size << 20} for n, size in enumerate((1, 6, 11))],
    )
    env = seaweedfs.environment
    ok("sign", "k.csv", "--method", "PUT", "--part-size", "5MiB", "-o", "u.csv", folder=tmp_path, env=env)
    ok("sign", "u.csv", "-o", "some.csv", "--sample", "2", folder=tmp_path, env=env)
    assert len(set(keys_of(tmp_path / "some.csv"))) == 2
    ok("sign", "u.csv", "-o", "two.csv", "--limit", "2", folder=tmp_path, env=env)
    assert keys_of(tmp_path / "two.csv") == ["0.bin", *["1.bin"] * 4]
    said = ok("put", "u.csv", "--from", "from", "--min-size", "6MiB", "--max-size", "6MiB", folder=tmp_path)
    assert said.startswith("put: 1 done;")
    found = boto(seaweedfs).list_objects_v2(Bucket=bucket)["Contents"]
    assert [(entry["Key"], entry["Size"]) for entry in found if entry["Key"].endswith(".bin")] == [("1.bin", 6 << 20)]


def test_the_limit_of_a_stream_ends_it(tmp_path: Path) -> None:
    done = run("sign", "-", "--limit", "2", "-q", folder=tmp_path, given="bucket,key\nbkt,a\nbkt,b\nbkt,c\n")
    assert [row["key"] for row in csv.DictReader(done.stdout.splitlines())] == ["a", "b"], done.stderr


def test_links_that_are_copied_are_filtered(tmp_path: Path) -> None:
    links = "http://127.0.0.1:1/{side}/k{number}?X-Amz-Signature=s"
    rows = [f"b,k{n},{links.format(side='a', number=n)},{links.format(side='b', number=n)}" for n in range(10)]
    (tmp_path / "l.csv").write_text("\n".join(["bucket,key,url,dst_url", *rows]) + "\n")
    for words, count in ((("--sample", "3"), 3), (("--limit", "4"), 4), (("--include", "k[1-6]"), 6)):
        assert f"{count} to do" in ok("copy", "l.csv", "--dry-run", *words, folder=tmp_path)
