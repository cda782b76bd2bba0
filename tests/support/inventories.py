"""S3 Inventories as AWS delivers them.

Source: docs "Locating your inventory list" and "Amazon S3 Inventory list", whose fields, names and types are here.
"""

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pyarrow
import pyarrow.orc
import pyarrow.parquet

#: The fields of an inventory of all versions, in the order of the documentation, as CSV spells them.
FIELDS = (
    "Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag", "StorageClass",
    "IsMultipartUploaded", "ReplicationStatus", "EncryptionStatus", "ObjectLockRetainUntilDate", "ObjectLockMode",
    "ObjectLockLegalHoldStatus", "IntelligentTieringAccessTier", "BucketKeyStatus", "ChecksumAlgorithm",
    "ObjectAccessControlList", "ObjectOwner",
)  # fmt: skip
#: Those of an inventory of current versions.
CURRENT = tuple(name for name in FIELDS if name not in {"VersionId", "IsLatest", "IsDeleteMarker"})
_TIME = "2026-01-31T12:34:56.000Z"
_USUAL = {
    "VersionId": "", "IsLatest": True, "IsDeleteMarker": False, "Size": 0, "LastModifiedDate": _TIME, "ETag": "0" * 32,
    "StorageClass": "STANDARD", "IsMultipartUploaded": False, "EncryptionStatus": "SSE-S3",
    "BucketKeyStatus": "DISABLED", "ChecksumAlgorithm": "CRC64NVME", "ObjectOwner": "75aa57f09aa0c8caeab4f8c24e99d10f",
}  # fmt: skip


def row(bucket: str, key: str, **fields: Any) -> dict[str, Any]:
    """An object in an inventory."""
    return {"Bucket": bucket, "Key": key, **_USUAL, **fields}


def csv_data(rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> bytes:
    """A data file in CSV: gzipped, all cells quoted, keys url-encoded, no header."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for each in rows:
        cells = [each.get(name, "") for name in fields]
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in cells])
    return gzip.compress(text.getvalue().encode())


def encoded(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with keys as CSV has them."""
    return [{**each, "Key": quote_plus(each["Key"], safe="/")} for each in rows]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _type(name: str, time: Any) -> Any:
    """The type of a field: documented as `bigint`/`int64`, `boolean`, `timestamp` and text."""
    if name.startswith("Is"):
        return pyarrow.bool_()
    return time if name.endswith("Date") else pyarrow.int64() if name == "Size" else pyarrow.string()


def _arrow(rows: Sequence[Mapping[str, Any]], fields: Sequence[str], time: Any) -> Any:
    """A table of the documented types; what CSV has as an empty cell is null, except the id of a version."""
    columns = []
    for name in fields:
        values = [each.get(name, "") for each in rows]
        values = [None if value == "" and name != "VersionId" else value for value in values]
        if name.endswith("Date"):
            values = [value and datetime.fromisoformat(value).astimezone(UTC) for value in values]
        columns.append(pyarrow.array(values, _type(name, time)))
    return pyarrow.table(columns, names=list(map(_snake, fields)))


def parquet_data(rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> bytes:
    """A data file in Parquet, of row groups of 100 rows; keys are not encoded."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(_arrow(rows, fields, pyarrow.timestamp("ms", "UTC")), sink, row_group_size=100)
    return sink.getvalue()


def orc_data(rows: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> bytes:
    """A data file in ORC; keys are not encoded."""
    sink = io.BytesIO()
    pyarrow.orc.write_table(_arrow(rows, fields, pyarrow.timestamp("ns")), sink)
    return sink.getvalue()


def _orc_schema(fields: Sequence[str]) -> str:
    names = {"Size": "bigint"} | {name: "boolean" for name in fields if name.startswith("Is")}
    types = {name: "timestamp" for name in fields if name.endswith("Date")} | names
    listed = [f"{_snake(name)}:{types.get(name, 'string')}" for name in fields]
    return f"struct<{','.join(listed)}>"


def _parquet_schema(fields: Sequence[str]) -> str:
    types = {"Size": "int64 size"} | {name: f"boolean {_snake(name)}" for name in fields if name.startswith("Is")}
    times = {name: f"int64 {_snake(name)} (TIMESTAMP(MILLIS,true))" for name in fields if name.endswith("Date")}
    listed = [(types | times).get(name, f"binary {_snake(name)} (STRING)") for name in fields]
    needed = ["required" if name in {"Bucket", "Key"} else "optional" for name in fields]
    body = [f"{need} {field};" for need, field in zip(needed, listed, strict=True)]
    return f"message s3.inventory {{  {'  '.join(body)}}}"


#: Of each format: the data of some rows, the schema of some fields, and the extension.
_FORMATS: dict[str, tuple[Callable[..., bytes], Callable[[Sequence[str]], str], str]] = {
    "CSV": (lambda rows, fields: csv_data(encoded(rows), fields), ", ".join, "csv.gz"),
    "ORC": (orc_data, _orc_schema, "orc"),
    "Parquet": (parquet_data, _parquet_schema, "parquet"),
}
FORMATS = tuple(_FORMATS)


class MadeInventory:
    """An inventory: its manifest, and its data files by key."""

    def __init__(
        self, kind: str, rows: Sequence[Mapping[str, Any]], fields: Sequence[str] = FIELDS, *, files: int = 1
    ) -> None:
        data_of, schema_of, extension = _FORMATS[kind]
        self.data: dict[str, bytes] = {}
        for number in range(files):
            key = f"inv/source/config/data/{number:08x}-95bb-4271-9128-26023c8b4900.{extension}"
            self.data[key] = data_of(rows[number::files], fields)
        self.manifest: dict[str, Any] = {
            "sourceBucket": "source",
            "destinationBucket": "arn:aws:s3:::inventories",
            "version": "2016-11-30",
            "creationTimestamp": "1514944800000",
            "fileFormat": kind,
            "fileSchema": schema_of(fields),
            "files": [
                {"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()}
                for key, data in self.data.items()
            ],
        }

    def store(self, folder: Path, *, keep_keys: bool = False) -> Path:
        """Writes it into a folder: as it is in the bucket, or with the data files in `data/`. Returns the manifest."""
        for key, data in self.data.items():
            path = folder / key if keep_keys else folder / "data" / Path(key).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        manifest = folder / ("inv/source/config/2026-01-31T01-00Z/manifest.json" if keep_keys else "manifest.json")
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(self.manifest))
        return manifest

    def put(self, client: Any, bucket: str) -> str:
        """Stores it in a bucket. Returns the uri of the manifest."""
        for key, data in self.data.items():
            client.put_object(Bucket=bucket, Key=key, Body=data)
        key = "inv/source/config/2026-01-31T01-00Z/manifest.json"
        client.put_object(Bucket=bucket, Key=key, Body=json.dumps(self.manifest).encode())
        return f"s3://{bucket}/{key}"
