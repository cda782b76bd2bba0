"""S3 Inventory and the reports of S3 Batch Operations: their manifest.json, and the rows of their data files.

Sources: docs "Locating your inventory list", "Amazon S3 Inventory list" and "Examples: S3 Batch Operations completion
reports". In CSV, keys are url-encoded. A version that was stored without versioning has an empty id, which is `null` in
requests. A manifest that Batch Operations generates has the form of an inventory's.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.source.location import version_path
from bulkpresign.source.page import times_of
from bulkpresign.tables.columns import LAST_MODIFIED, LISTED_CLASS
from bulkpresign.tables.rows import Rows
from bulkpresign.text import unquoted

#: The name of the file, local or the last part of a key.
MANIFEST_NAME = "manifest.json"
#: A longer file is not a manifest: one of these has hundreds of thousands of data files.
MAX_MANIFEST_BYTES = 64 << 20

_REPORT_FORMAT = "Report_CSV_20180820"
_FORMATS = {"CSV": "csv", "ORC": "orc", "PARQUET": "parquet"}
#: The columns that rows carry besides those of an object.
_CARRIED = ("task_status", "error_code", "http_status_code", "result_message")
#: The fields that become columns with other names or forms. Parquet and ORC spell them so; CSV has `ETag` for `e_tag`.
_NAMES = {"size": "size", "e_tag": "etag", "last_modified_date": LAST_MODIFIED}
#: Those that tell whether an object is archived.
_CLASSES = ("storage_class", "intelligent_tiering_access_tier")
_USED = frozenset({"bucket", "key", "version_id", "is_latest", "is_delete_marker", *_CLASSES, *_NAMES})
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PARQUET_FIELD = re.compile(r"(?:required|optional)\s+\w+\s+(\w+)")
_ORC_FIELD = re.compile(r"[<,]\s*(\w+)\s*:")


class DataFile(msgspec.Struct, frozen=True):
    """One of the data files: its key, and the md5 of its bytes in hex."""

    key: str
    md5: str


class Inventory(msgspec.Struct, frozen=True):
    """The contents of a manifest: the format (`csv`, `orc`, `parquet`) and fields of the data files, and the files."""

    format: str
    fields: tuple[str, ...]
    files: tuple[DataFile, ...]

    @property
    def used_fields(self) -> list[str]:
        """The fields that `objects_of_inventory` uses."""
        return [name for name in self.fields if name in _USED]

    @property
    def has_versions(self) -> bool:
        """True if the inventory has all versions, and tells which are the latest ones."""
        return {"version_id", "is_latest"} <= set(self.fields)

    def columns(self, *, all_versions: bool) -> tuple[str, ...]:
        """The columns of the rows that `objects_of_inventory` makes."""
        versions = ("version_id", "path") if all_versions else () if self.has_versions else ("version_id",)
        found = [name for field, name in _NAMES.items() if field in self.fields]
        found += [LISTED_CLASS] if not set(_CLASSES).isdisjoint(self.fields) else []
        versions = versions if "version_id" in self.fields else ()
        return ("bucket", "key", *versions, *found, *(name for name in _CARRIED if name in self.fields))


def is_inventory(data: bytes) -> bool:
    """True for the manifest of an inventory or a report. False for a list of rows, and for any other file."""
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    return isinstance(found, dict) and ("fileSchema" in found or "ReportSchema" in found)


def inventory_of(file: str, data: bytes) -> Inventory:
    """Reads a manifest. Raises ManifestError for one that is not valid, and for an unknown format."""
    try:
        found = msgspec.json.decode(data)
        if "ReportSchema" in found:
            return _report(file, msgspec.convert(found, _Report))
        return _inventory(file, msgspec.convert(found, _Manifest))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ManifestError(f"not the manifest of an S3 Inventory: {error}", file=file) from error


class _ListedFile(msgspec.Struct):
    key: str
    md5: str = msgspec.field(name="MD5checksum")


class _Manifest(msgspec.Struct):
    format: str = msgspec.field(name="fileFormat")
    schema: str = msgspec.field(name="fileSchema")
    files: list[_ListedFile]


class _Result(msgspec.Struct):
    key: str = msgspec.field(name="Key")
    md5: str = msgspec.field(name="MD5Checksum")


class _Report(msgspec.Struct):
    format: str = msgspec.field(name="Format")
    schema: str = msgspec.field(name="ReportSchema")
    files: list[_Result] = msgspec.field(name="Results")


def _inventory(file: str, found: _Manifest) -> Inventory:
    kind = _FORMATS.get(found.format.upper())
    if kind is None:
        raise ManifestError(f"format {found.format!r} is not CSV, ORC or Parquet", file=file, column="fileFormat")
    if kind == "csv":
        fields = _csv_fields(found.schema)
    else:
        fields = tuple((_ORC_FIELD if kind == "orc" else _PARQUET_FIELD).findall(found.schema))
    return Inventory(kind, _checked(file, "fileSchema", fields), _files(found.files))


def _report(file: str, found: _Report) -> Inventory:
    if found.format != _REPORT_FORMAT:
        raise ManifestError(f"format {found.format!r} is not {_REPORT_FORMAT}", file=file, column="Format")
    fields = _checked(file, "ReportSchema", _csv_fields(found.schema))
    return Inventory("csv", fields, _files(found.files))


def _files(files: Sequence[_ListedFile | _Result]) -> tuple[DataFile, ...]:
    return tuple(DataFile(each.key, each.md5.strip().lower()) for each in files)


def _csv_fields(schema: str) -> tuple[str, ...]:
    """The fields of a schema such as `Bucket, Key, ETag`, as Parquet and ORC spell them."""
    return tuple(_CAPITAL.sub("_", name.strip()).lower() for name in schema.split(","))


def _checked(file: str, column: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The same fields. S3 adds some from time to time: those that are not known are not used."""
    for name in ("bucket", "key"):
        if fields.count(name) != 1:
            raise ManifestError(f"the schema does not have one field {name}", file=file, column=column)
    return fields


def objects_of_inventory(inventory: Inventory, rows: Rows, *, all_versions: bool) -> Rows:
    """Some rows of a data file as rows of a table of objects: latest versions, or all, without delete markers.

    With `all_versions`, the path of a row has the id of its version. Raises ManifestError for a key that is not valid.
    """
    kept = _objects_only(rows, all_versions=all_versions)
    used = (*inventory.used_fields, *(name for name in _CARRIED if name in inventory.fields))
    columns: dict[str, Sequence[Any]] = {name: kept.column(name) or () for name in used}
    if inventory.format == "csv":
        columns["key"] = _decoded(kept, columns["key"])
    if all_versions:
        columns["version_id"] = [version or "null" for version in columns["version_id"]]
        columns["path"] = list(map(version_path, columns["key"], columns["version_id"]))
    columns["etag"] = columns.get("e_tag", ())
    columns[LAST_MODIFIED] = [time or "" for time in times_of(columns.get("last_modified_date", ()))]
    classes = [kept.column(name) or [""] * len(kept.cells) for name in _CLASSES]
    columns[LISTED_CLASS] = [tier or name for name, tier in zip(*classes, strict=True)]
    names = inventory.columns(all_versions=all_versions)
    return Rows(kept.file, names, list(zip(*(columns[name] for name in names), strict=True)), kept.lines)


def _objects_only(rows: Rows, *, all_versions: bool) -> Rows:
    markers, latest = rows.column("is_delete_marker"), rows.column("is_latest")
    hidden = _are(markers, "true") if markers else set[int]()
    if latest and not all_versions:
        hidden |= _are(latest, "false")
    return rows.some(row for row in range(len(rows.cells)) if row not in hidden) if hidden else rows


def _are(cells: Sequence[Any], word: str) -> set[int]:
    """The indexes of the cells with a truth value, which is text in CSV."""
    values = {cell for cell in set(cells) if str(cell).lower() == word}
    return {row for row, cell in enumerate(cells) if cell in values} if values else set()


def _decoded(rows: Rows, keys: Sequence[str]) -> Sequence[str]:
    """Keys without their url-encoding."""
    decoded = unquoted(keys)
    if decoded is None:
        row = next(row for row, key in enumerate(keys) if unquoted([key]) is None)
        raise rows.error(row, f"{keys[row][:80]!r} is not a key in url-encoded UTF-8", "key")
    return decoded
