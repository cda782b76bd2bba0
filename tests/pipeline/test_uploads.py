"""Multipart uploads to real servers: through rows of others, and with own credentials."""

import asyncio
import csv
import os
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

import bulkpresign as bp
from bulkpresign.model import Outcome, Report
from bulkpresign.pipeline.put import put_folder
from tests.conftest import AwsEnv, Boto
from tests.pipeline.test_get import heard, write_all
from tests.servers.server import S3Server

MIB = 1 << 20
PART = 5 * MIB
#: Around every edge: nothing, one byte, one part less, more, exactly, and three.
SIZES = (0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART)
BODIES = {f"d/{size} ü": os.urandom(size) for size in SIZES}


def open_uploads(client: Any, bucket: str) -> list[str]:
    """The keys for which an upload is open."""
    return [row["Key"] for row in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def etag_of_boto(client: Any, bucket: str, file: Path) -> str:
    """The etag that boto3's own `upload_file` gives the same bytes, in parts of the same size."""
    config = TransferConfig(multipart_threshold=PART + 1, multipart_chunksize=PART)
    client.upload_file(str(file), bucket, "of boto", Config=config)
    return str(client.head_object(Bucket=bucket, Key="of boto")["ETag"])


def table_of(folder: Path, bucket: str, bodies: dict[str, bytes]) -> Path:
    """Files in `in`, and `keys.csv` with their sizes."""
    write_all(folder / "in", bodies)
    rows = [f"{bucket},{key},{len(body)}\n" for key, body in bodies.items()]
    (folder / "keys.csv").write_text("".join(["bucket,key,size\n", *rows]))
    return folder / "keys.csv"


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


async def sign_and_put(folder: Path, table: Path, **more: Any) -> Report:
    await bp.sign(table, folder / "links.csv", method="PUT", part_size=PART)
    return await bp.put(folder / "links.csv", folder / "in", **more)


@pytest.fixture
def scene(server: S3Server, bucket: str, boto: Boto, aws_env: AwsEnv) -> tuple[Any, str, str]:
    """A client, a bucket, and the server's name."""
    aws_env(server)
    return boto(server), bucket, server.name


def test_sizes_through_rows(scene: tuple[Any, str, str], tmp_path: Path) -> None:
    client, bucket, name = scene
    outcomes: list[Outcome] = []
    report = asyncio.run(sign_and_put(tmp_path, table_of(tmp_path, bucket, BODIES), listeners=[heard(outcomes)]))
    assert (report.done, report.failed, report.uploads_left_open) == (len(BODIES), 0, 0)
    assert report.bytes == sum(map(len, BODIES.values()))
    check_all(client, bucket, name, tmp_path, "")
    by_key = {outcome.object.key: outcome.verified_by for outcome in outcomes}
    assert by_key[f"d/{3 * PART} ü"] == "md5-parts"


def test_sizes_with_own_credentials(scene: tuple[Any, str, str], tmp_path: Path) -> None:
    client, bucket, name = scene
    write_all(tmp_path / "in", BODIES)
    report = asyncio.run(put_folder(tmp_path / "in", f"s3://{bucket}/pre/", part_size=PART))
    assert (report.done, report.failed, report.uploads_left_open) == (len(BODIES), 0, 0)
    check_all(client, bucket, name, tmp_path, "pre/")


def check_all(client: Any, bucket: str, name: str, folder: Path, prefix: str) -> None:
    assert open_uploads(client, bucket) == []
    for path, body in BODIES.items():
        found = client.get_object(Bucket=bucket, Key=prefix + path)
        assert found["Body"].read() == body
        if name != "rclone":
            assert found["ETag"] == etag_of_boto(client, bucket, folder / "in" / path)
