"""The rows of multipart uploads: grouped into uploads, or removed from a list of objects.

An upload is a group of consecutive rows with the same `upload_id`: one per part (PUT, with `part_number`, `offset` and
`size`), one that completes it (POST, with the object's `size`), and one that aborts it (DELETE).
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from bulkpresign.errors import ManifestError
from bulkpresign.model import Link, ObjectRef, Upload, UploadPart
from bulkpresign.tables.columns import DST_METHOD
from bulkpresign.tables.rows import Rows
from bulkpresign.text import counted

UPLOAD_COLUMNS = ("upload_id", "part_number", "offset")
#: The method of the row that completes an upload.
COMPLETES = "POST"


def upload_id_of(ref: ObjectRef) -> str:
    """The upload id of a row, empty if it does not belong to an upload."""
    return str((ref.extra or {}).get("upload_id") or "")


def completes(link: Link) -> bool:
    """True for the row that completes an upload, also one of a copy."""
    return str((link.object.extra or {}).get(DST_METHOD) or link.method).upper() == COMPLETES


def upload_methods(rows: Rows) -> Sequence[str]:
    """The method of each row's link for an upload. The rows of copies have it in a column of its own."""
    methods = rows.column(DST_METHOD) or rows.column("method") or [""] * len(rows.cells)
    return [str(method).upper() for method in methods]


def whole_rows(rows: Rows) -> Rows:
    """The same rows without those of parts, so that each object has one row, and without the columns of uploads."""
    if "upload_id" not in rows.columns:
        return rows
    ids = rows.column("upload_id") or ()
    kept = [
        row
        for row, (upload_id, method) in enumerate(zip(ids, upload_methods(rows), strict=True))
        if not upload_id or method == COMPLETES
    ]
    columns = [index for index, name in enumerate(rows.columns) if name not in {*UPLOAD_COLUMNS, DST_METHOD}]
    return Rows(
        rows.file,
        tuple(rows.columns[index] for index in columns),
        [[rows.cells[row][index] for index in columns] for row in kept],
        [rows.lines[row] for row in kept],
    )


def check_upload_row(file: str, link: Link, line: int) -> None:
    """Raises ManifestError if a row of an upload has another method, or a url of another upload or part."""
    if link.method not in {"PUT", COMPLETES, "DELETE"}:
        problem = f"a row of an upload can't have method {link.method}"
        raise ManifestError(problem, file=file, line=line, column="method")
    check_upload_url(file, link, line)


def check_upload_url(file: str, link: Link, line: int) -> None:
    """Raises ManifestError if the url of a row is for another upload, or another part, than its columns.

    A DELETE link without an upload id would delete the object.
    """
    columns = link.object.extra or {}
    _check_parameter(file, link, line, "uploadId", str(columns.get("upload_id") or ""))
    if link.method == "PUT":
        _check_parameter(file, link, line, "partNumber", str(columns.get("part_number", "")))


def _check_parameter(file: str, link: Link, line: int, name: str, expected: str) -> None:
    pairs = (pair.partition("=") for pair in urlsplit(link.url).query.split("&"))
    found = [unquote(value) for given, _, value in pairs if unquote(given) == name]
    if found == [expected]:
        return
    column = "upload_id" if name == "uploadId" else "part_number"
    if len(found) == 1:
        problem = f"{name} in the url is not {expected[:80]!r}, the value of column {column}"
    else:
        problem = f"the url must have {name} once, because of column {column}"
    raise ManifestError(f"{problem}: use the rows that sign wrote, without changes", file=file, line=line, column="url")


class UploadGrouper:
    """Groups the links of one table into uploads and single links, each with its first line.

    Raises ManifestError for a group of rows that is not a valid upload: a missing or duplicate part, a wrong total
    size, no row that completes it, a row of another object, or a url of another upload or part. A group is held in
    memory, about 1 KiB per part.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._group: _Group | None = None

    @property
    def is_open(self) -> bool:
        """True if more rows of an upload may follow."""
        return self._group is not None

    def add(self, links: Sequence[Link], lines: Sequence[int]) -> Iterator[tuple[Link | Upload, int]]:
        """Adds rows, and yields the uploads and links that are complete."""
        for link, line in zip(links, lines, strict=True):
            upload_id = upload_id_of(link.object)
            if self._group is not None and self._group.upload_id != upload_id:
                yield self._finished(line)
            if not upload_id:
                yield link, line
                continue
            if self._group is None:
                self._group = _Group(self._file, upload_id, link.object, line)
            self._group.add(link, line)

    def end(self) -> Iterator[tuple[Link | Upload, int]]:
        """Yields the last upload at the end of the table."""
        if self._group is not None:
            yield self._finished(None)

    def _finished(self, line: int | None) -> tuple[Upload, int]:
        group, self._group = self._group, None
        assert group is not None  # noqa: S101 - the callers checked it
        return group.upload(line), group.line


class _Group:
    """The rows of one upload so far."""

    def __init__(self, file: str, upload_id: str, ref: ObjectRef, line: int) -> None:
        self.upload_id, self.line = upload_id, line
        self._file = file
        self._ref = ref
        self._parts: dict[int, tuple[UploadPart, int]] = {}
        self._others: dict[str, tuple[Link, int]] = {}

    def add(self, link: Link, line: int) -> None:
        ref = link.object
        if (ref.bucket, ref.key, ref.file_path) != (self._ref.bucket, self._ref.key, self._ref.file_path):
            raise self._error(f"{ref.uri} is in the rows of the upload of {self._ref.uri}", line, "upload_id")
        if link.method == "PUT":
            self._add_part(link, line)
        elif link.method in self._others:
            what = "completes" if link.method == COMPLETES else "aborts"
            raise self._error(f"a second row that {what} the upload", line, "method")
        else:
            check_upload_row(self._file, link, line)
            self._others[link.method] = link, line

    def _add_part(self, link: Link, line: int) -> None:
        ref = link.object
        number, offset = self._number(ref, "part_number", line), self._number(ref, "offset", line)
        check_upload_url(self._file, link, line)
        if ref.size is None:
            raise self._error("a part needs its size", line, "size")
        if number in self._parts:
            message = f"part {number} is there twice, the first on line {self._parts[number][1]}"
            raise self._error(message, line, "part_number")
        self._parts[number] = UploadPart(number, offset, ref.size, link), line

    def upload(self, next_line: int | None) -> Upload:
        """The upload of these rows; `next_line` is that of the row after them."""
        if COMPLETES not in self._others:
            message = f"the upload has no row that completes it (method {COMPLETES})"
            if next_line is not None:
                message += (
                    f" before line {next_line}, where other rows start: the rows of an upload must be consecutive"
                )
            raise self._error(message, self.line, "upload_id")
        complete, line = self._others[COMPLETES]
        parts = self._checked_parts(complete.object.size, line)
        abort = self._others.get("DELETE")
        return Upload(complete.object, self.upload_id, parts, complete, abort and abort[0])

    def _checked_parts(self, size: int | None, line: int) -> list[UploadPart]:
        if size is None:
            raise self._error("the row that completes an upload needs the object's size", line, "size")
        if not self._parts:
            raise self._error("the upload has no parts", line, "upload_id")
        end = 0
        for expected, number in enumerate(sorted(self._parts), 1):
            part, at = self._parts[number]
            if number != expected:
                raise self._error(f"part {expected} is missing before part {number}", at, "part_number")
            if part.offset != end:
                raise self._error(f"part {number} starts at byte {part.offset}, not at {end}", at, "offset")
            end += part.size
        if end != size:
            raise self._error(f"the parts have {counted(end, 'byte')}, the object {size:,}", line, "size")
        return [self._parts[number][0] for number in sorted(self._parts)]

    def _number(self, ref: ObjectRef, column: str, line: int) -> int:
        cell: Any = (ref.extra or {}).get(column, "")
        if isinstance(cell, int) and not isinstance(cell, bool) and cell >= 0:
            return cell
        if isinstance(cell, str) and cell.isascii() and cell.isdecimal() and len(cell) < 19:
            return int(cell)
        raise self._error(f"{str(cell)[:40]!r} is not a number", line, column)

    def _error(self, problem: str, line: int, column: str) -> ManifestError:
        return ManifestError(problem, file=self._file, line=line, column=column)
