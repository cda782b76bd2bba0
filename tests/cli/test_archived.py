"""Objects in storage classes from which they have to be restored before they can be read."""

from pathlib import Path

import pytest

from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.inventories import FORMATS, MadeInventory
from tests.support.tables import rows_of

LISTED = "archived: 2 objects of 2.9 KiB, by the storage class; what is not restored yet can't be read"
SIZES = {"STANDARD": 10, "GLACIER": 1000, "GLACIER_IR": 10, "DEEP_ARCHIVE": 2000}


@pytest.fixture
def source(ministack: S3Server, make_bucket: MakeBucket, boto: Boto, aws_env: AwsEnv) -> str:
    """A bucket in which two objects are archived."""
    aws_env(ministack)
    name = make_bucket(ministack)
    for key, size in SIZES.items():
        boto(ministack).put_object(Bucket=name, Key=key, Body=bytes(size), StorageClass=key)
    return f"s3://{name}/"


def bulkpresign(*words: str, folder: Path, code: int = 0) -> list[str]:
    """The lines of messages."""
    ran = run(*words, folder=folder, env={})
    assert ran.returncode == code, ran.stderr
    return ran.stderr.splitlines()


def test_a_plan_tells_how_many_there_are(
    source: str, ministack: S3Server, make_bucket: MakeBucket, tmp_path: Path
) -> None:
    destination = f"s3://{make_bucket(ministack)}/"
    assert bulkpresign("copy", source, destination, "--dry-run", folder=tmp_path)[1] == LISTED
    assert bulkpresign("get", source, "--to", "g", "--dry-run", folder=tmp_path)[1] == LISTED
    assert len(bulkpresign("get", source, "--to", "g", "--dry-run", "--include", "STANDARD", folder=tmp_path)) == 1


def test_sign_tells_of_links_that_lead_to_them(source: str, tmp_path: Path) -> None:
    """Such a link is no use to its holder. A link that stores an object there is one."""
    assert LISTED in bulkpresign("sign", source, "-o", "links.csv", folder=tmp_path)
    assert set(rows_of(tmp_path / "links.csv")[0]).isdisjoint({"archived", "storage_class"})
    assert LISTED in bulkpresign("sign", source, "-o", "heads.csv", "--head", folder=tmp_path)
    assert len(bulkpresign("sign", source, "-o", "puts.csv", "--method", "PUT", folder=tmp_path)) == 1


def test_a_run_names_the_remedy_after_the_others_are_done(source: str, tmp_path: Path) -> None:
    lines = bulkpresign("get", source, "--to", "g", folder=tmp_path, code=1)
    assert sum("InvalidObjectState" in line for line in lines) == 2
    assert "get: 2 done, 2 failed;" in lines[2]
    assert lines[3] == "archived: 2 objects of 2.9 KiB can't be read before S3 has restored them"
    assert len(lines) == 4


@pytest.mark.parametrize("kind", FORMATS)
def test_an_inventory_tells_of_archived_objects_and_tiers(kind: str, source: str, tmp_path: Path) -> None:
    tiers = {"GLACIER": "ARCHIVE", "GLACIER_IR": "ARCHIVE_INSTANT_ACCESS"}
    rows = [
        {
            "Bucket": source[5:-1],
            "Key": key,
            "Size": size,
            "StorageClass": "INTELLIGENT_TIERING" if key in tiers else key,
            "IntelligentTieringAccessTier": tiers.get(key, ""),
        }
        for key, size in SIZES.items()
    ]
    fields = ("Bucket", "Key", "Size", "StorageClass", "IntelligentTieringAccessTier")
    manifest = str(MadeInventory(kind, rows, fields).store(tmp_path))
    assert LISTED in bulkpresign("sign", manifest, "-o", "links.csv", folder=tmp_path)
    found = rows_of(tmp_path / "links.csv")
    assert [row["key"] for row in found] == list(SIZES)
    assert "listed_storage_class" not in found[0]
    assert bulkpresign("get", manifest, "--to", "g", "--dry-run", folder=tmp_path)[1] == LISTED


def test_a_table_tells_of_them_as_aws_lists_them(source: str, tmp_path: Path) -> None:
    rows = [f"{source[5:-1]},{key},{size},{key}" for key, size in SIZES.items()]
    (tmp_path / "keys.csv").write_text("\n".join(["bucket,key,size,StorageClass", *rows]))
    assert LISTED in bulkpresign("sign", "keys.csv", "-o", "links.csv", folder=tmp_path)
