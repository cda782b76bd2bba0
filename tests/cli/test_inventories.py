"""Inventories as sources, local and in a bucket, and what is wrong with one before anything is sent."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import CREDENTIALS, run
from tests.support.folders import files, names_in
from tests.support.inventories import CURRENT, FIELDS, FORMATS, MadeInventory, csv_data, row
from tests.support.tables import rows_of

KEYS = ("a b.txt", "c+d/e&f=g.txt", "ü/100%25.txt", 'quote".txt', "new\nline", "plain.txt")
VERSIONS = [
    row("bkt", "a.txt", VersionId="v2", Size=2, ETag="2" * 32, LastModifiedDate="2026-02-01T00:00:00.000Z"),
    row("bkt", "a.txt", VersionId="v1", IsLatest=False, Size=1, ETag="1" * 32),
    row("bkt", "gone.txt", VersionId="v4", IsDeleteMarker=True, Size="", ETag=""),
    row("bkt", "gone.txt", VersionId="v3", IsLatest=False, Size=3),
    row("bkt", "old.txt", Size=4),
]


def sign(folder: Path, *words: str, env: dict[str, str] | None = None) -> list[dict[str, str]]:
    done = run("sign", *words, "-o", "l.csv", folder=folder, env=env)
    assert done.returncode == 0, done.stderr
    return rows_of(folder / "l.csv")


def refused(folder: Path, *words: str, env: dict[str, str] | None = None) -> str:
    before = names_in(folder)
    done = run(*words, folder=folder, env=env)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert names_in(folder) == before
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("keep_keys", [True, False])
def test_keys_are_decoded_and_attributes_taken(tmp_path: Path, kind: str, keep_keys: bool) -> None:
    fields = (*CURRENT, "AddedLater")  # S3 adds fields from time to time
    inventory = MadeInventory(kind, [row("bkt", key, Size=n) for n, key in enumerate(KEYS)], fields, files=2)
    manifest = inventory.store(tmp_path, keep_keys=keep_keys)
    signed = sign(tmp_path, str(manifest.relative_to(tmp_path)))
    assert {each["key"]: each["size"] for each in signed} == {key: str(n) for n, key in enumerate(KEYS)}
    assert {each["path"] for each in signed} == set(KEYS)
    for each in signed:
        assert (each["bucket"], each["etag"], each["version_id"]) == ("bkt", "0" * 32, "")
        assert each["last_modified"] == "2026-01-31T12:34:56Z"
        assert "X-Amz-Signature" in each["url"]


@pytest.mark.parametrize("kind", FORMATS)
def test_latest_versions_or_all_of_them(tmp_path: Path, kind: str) -> None:
    MadeInventory(kind, VERSIONS).store(tmp_path)
    latest = sign(tmp_path, "manifest.json")
    assert [(each["key"], each["version_id"], each["size"]) for each in latest] == [
        ("a.txt", "", "2"),
        ("old.txt", "", "4"),
    ]
    found = sign(tmp_path, "manifest.json", "--all-versions")
    assert [(each["key"], each["version_id"], each["size"], each["path"]) for each in found] == [
        ("a.txt", "v2", "2", "a.v2.txt"),
        ("a.txt", "v1", "1", "a.v1.txt"),
        ("gone.txt", "v3", "3", "gone.v3.txt"),
        ("old.txt", "null", "4", "old.null.txt"),
    ]
    assert "versionId=v1" in found[1]["url"]
    assert [each["key"] for each in sign(tmp_path, "manifest.json", "--newer-than", "2026-02-01")] == ["a.txt"]
    assert [each["key"] for each in sign(tmp_path, "manifest.json", "--min-size", "3")] == ["old.txt"]


@pytest.mark.parametrize("kind", FORMATS)
def test_objects_are_downloaded_from_an_inventory_in_a_bucket(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, kind: str
) -> None:
    client, source, inventories = boto(seaweedfs), make_bucket(seaweedfs), make_bucket(seaweedfs)
    bodies = {key: key.encode() * 10 for key in KEYS if "\n" not in key}
    rows = []
    for key, body in bodies.items():
        etag = client.put_object(Bucket=source, Key=key, Body=body)["ETag"].strip('"')
        rows.append(row(source, key, Size=len(body), ETag=etag))
    uri = MadeInventory(kind, rows, files=3).put(client, inventories)
    done = run("get", uri, "--to", "to", folder=tmp_path, env=seaweedfs.environment)
    assert (done.returncode, done.stderr.startswith("get: 5 done;")) == (0, True), done.stderr
    assert files(tmp_path / "to") == bodies
    assert {each["key"] for each in sign(tmp_path, uri, "--include", "*.txt", env=seaweedfs.environment)} == set(bodies)
    assert len(sign(tmp_path, uri, "--sample", "2", env=seaweedfs.environment)) == 2


def test_a_manifest_itself_is_taken_literally(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    client, bucket, env = boto(seaweedfs), make_bucket(seaweedfs), seaweedfs.environment
    uri = MadeInventory("CSV", [row("bkt", "a")]).put(client, bucket)
    assert run("get", uri, "--to", "to", "--literal", folder=tmp_path, env=env).returncode == 0
    assert (
        json.loads((tmp_path / "to/inv/source/config/2026-01-31T01-00Z/manifest.json").read_text())["fileFormat"]
        == "CSV"
    )
    client.put_object(Bucket=bucket, Key="p/manifest.json", Body=b'[{"key": "of another tool"}]')
    assert [each["key"] for each in sign(tmp_path, f"s3://{bucket}/p/manifest.json", env=env)] == ["p/manifest.json"]
    (tmp_path / "manifest.json").write_text('[{"bucket": "bkt", "key": "of a table"}]')
    assert [each["key"] for each in sign(tmp_path, "manifest.json")] == ["of a table"]


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("verb", [("get", "--to", "to"), ("sign", "-o", "l.csv")])
@pytest.mark.parametrize("fault", ["missing", "altered"])
def test_a_data_file_that_is_missing_or_altered(
    tmp_path: Path,
    seaweedfs: S3Server,
    boto: Boto,
    make_bucket: MakeBucket,
    where: str,
    verb: tuple[str, ...],
    fault: str,
) -> None:
    """Nothing is sent for the rows of the other data file."""
    client, source = boto(seaweedfs), make_bucket(seaweedfs)
    inventory = MadeInventory("CSV", [row(source, "a"), row(source, "b")], files=2)
    second = list(inventory.data)[1]
    if fault == "altered":
        inventory.data[second] = csv_data([row(source, "c")], FIELDS)
    else:
        del inventory.data[second]
    if where == "local":
        inventory.store(tmp_path)
        uri, named = "manifest.json", f"data/{Path(second).name}" if fault == "altered" else repr(second)
    else:
        inventories = make_bucket(seaweedfs)
        uri = inventory.put(client, inventories)
        named = f"s3://{inventories}/{second}"
    with FaultProxy(seaweedfs.endpoint_url) as proxy:
        env = seaweedfs.environment | {"AWS_ENDPOINT_URL": proxy.url}
        said = refused(tmp_path, verb[0], uri, *verb[1:], env=env)
        assert proxy.count <= (0 if where == "local" else 3)  # the manifest, and the data files
    assert named in said
    words = {
        "missing": ("is missing" if where == "local" else "404 NoSuchKey"),
        "altered": "the file is altered: its md5 is",
    }
    assert words[fault] in said


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"fileSchema": "Bucket, Bucket, Key"}, "column fileSchema: the schema does not have one field bucket"),
        ({"fileSchema": "Bucket, Size"}, "column fileSchema: the schema does not have one field key"),
        ({"fileFormat": "AVRO"}, "column fileFormat: format 'AVRO' is not CSV, ORC or Parquet"),
        ({"files": [{"key": "x"}]}, "not the manifest of an S3 Inventory: Object missing required field `MD5checksum`"),
        ({"files": None}, "not the manifest of an S3 Inventory: Expected `array`, got `null`"),
    ],
)
def test_a_manifest_that_is_not_valid(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    inventory = MadeInventory("CSV", [row("bkt", "a")])
    inventory.manifest |= change
    inventory.store(tmp_path)
    assert refused(tmp_path, "sign", "manifest.json", "-o", "l.csv").startswith(f"error: manifest.json: {problem}")


def test_a_row_that_is_not_valid_has_its_data_file_and_line(tmp_path: Path) -> None:
    inventory = MadeInventory("CSV", [row("bkt", "a")] * 3)
    (key,) = inventory.data

    def replaced(data: bytes) -> str:
        inventory.data[key] = data
        inventory.manifest["files"][0]["MD5checksum"] = hashlib.md5(data).hexdigest()
        inventory.store(tmp_path)
        return refused(tmp_path, "sign", "manifest.json", "-o", "l.csv")

    at = f"error: data/{Path(key).name}:2: column"
    usual = row("bkt", "a")
    assert replaced(csv_data([usual, row("bkt", "%FF")], FIELDS)).startswith(f"{at} key: '%FF' is not a key in url-enc")
    assert replaced(csv_data([usual, row("bkt", "a", Size="x")], FIELDS)) == f"{at} size: 'x' is not a number of bytes"
    assert replaced(csv_data([usual, row("bkt", "")], FIELDS)) == f"{at} key: the key is empty"
    assert ":1: column key: 1 field where 20 are expected" in replaced(csv_data([{"Bucket": "bkt"}], ["Bucket"]))
    assert "not a whole gzip file" in replaced(csv_data([usual], FIELDS)[:-9])


def test_versions_that_an_inventory_does_not_have(tmp_path: Path) -> None:
    MadeInventory("CSV", [row("bkt", "a")], CURRENT).store(tmp_path)
    said = refused(tmp_path, "sign", "manifest.json", "--all-versions", "-o", "l.csv")
    assert said == "error: manifest.json: all versions are wanted, and the inventory does not have them"


def test_an_inventory_of_nothing(tmp_path: Path) -> None:
    MadeInventory("CSV", []).store(tmp_path)
    assert sign(tmp_path, "manifest.json") == []


def test_the_report_of_a_batch_operation(tmp_path: Path) -> None:
    """Its rows name versions, and carry what became of them."""
    fields = ["Bucket", "Key", "VersionId", "TaskStatus", "ErrorCode", "HTTPStatusCode", "ResultMessage"]
    rows = [
        {"Bucket": "bkt", "Key": "a%20b", "VersionId": "v1", "TaskStatus": "succeeded", "HTTPStatusCode": 200},
        {"Bucket": "bkt", "Key": "c", "TaskStatus": "failed", "ErrorCode": "AccessDenied", "HTTPStatusCode": 403},
    ]
    results = []
    for each in rows:
        name = f"{each['TaskStatus']}.csv.gz"
        data = csv_data([each], fields)
        (tmp_path / name).write_bytes(data)
        md5 = hashlib.md5(data).hexdigest()
        results.append(
            {"TaskExecutionStatus": each["TaskStatus"], "Bucket": "r", "MD5Checksum": md5, "Key": f"j/results/{name}"}
        )
    report = {"Format": "Report_CSV_20180820", "Results": results, "ReportSchema": ", ".join(fields)}
    (tmp_path / "manifest.json").write_text(json.dumps(report))
    signed = sign(tmp_path, "manifest.json")
    names = ("key", "version_id", "task_status", "error_code", "http_status_code")
    assert [tuple(each[name] for name in names) for each in signed] == [
        ("a b", "v1", "succeeded", "", "200"),
        ("c", "", "failed", "AccessDenied", "403"),
    ]
    done = run("split", "manifest.json", "--by", "task_status", folder=tmp_path)
    assert done.stdout.splitlines()[1:] == ["manifest-succeeded.csv,1,0,succeeded", "manifest-failed.csv,1,0,failed"]


@pytest.mark.parametrize("name", ["k.csv", "k.csv.gz", "-"])
def test_a_manifest_of_batch_operations(tmp_path: Path, name: str) -> None:
    text = "bkt,a+b/%C3%BC.txt,v1\nbkt,c\n"
    given = text.encode()
    if name != "-":
        (tmp_path / name).write_bytes(gzip.compress(given) if name.endswith(".gz") else given)
    done = run("sign", name, "--from-format", "batch", "-o", "l.csv", folder=tmp_path, given=text)
    assert done.returncode == 0, done.stderr
    signed = rows_of(tmp_path / "l.csv")
    assert [(each["key"], each["version_id"]) for each in signed] == [("a b/ü.txt", "v1"), ("c", "")]
    (tmp_path / "bad.csv").write_text("bkt,c\nbkt,%FF\n")
    said = refused(tmp_path, "sign", "bad.csv", "--from-format", "batch", "-o", "m.csv")
    assert said == "error: bad.csv:2: column key: '%FF' is not a key in url-encoded UTF-8"


def test_no_credentials_are_needed_to_find_what_is_wrong(tmp_path: Path) -> None:
    inventory = MadeInventory("CSV", [row("bkt", "a")])
    inventory.data = {}
    inventory.store(tmp_path)
    said = refused(tmp_path, "get", "manifest.json", "--to", "to", env=dict.fromkeys(CREDENTIALS, ""))
    assert "is missing" in said
