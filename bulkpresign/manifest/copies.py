"""The rows of copies: a GET link of an object, and a link that stores its copy, in the columns that start with `dst_`.

A copy in one request has one row, whose second link is a PUT. A copy in parts has the rows of a multipart upload (see
`uploads`): the method of each is in `dst_method`, and each has the GET link of the whole object.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bulkpresign.errors import ManifestError
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS, UploadGrouper, upload_id_of
from bulkpresign.model import Link, ObjectRef, Upload, without_query
from bulkpresign.tables.columns import DST_BUCKET, DST_COLUMNS, DST_HEADERS, DST_KEY, DST_METHOD, DST_URL
from bulkpresign.tables.rows import Rows, rows_of_mappings

#: The columns of links that have another name in rows of copies.
_RENAMED = frozenset({"bucket", "key", "method", "url", "headers"})

#: The error for the row of a copy that would be signed again.
NOT_SIGNED_AGAIN = (
    "the rows of copies can't be signed again: sign their objects with --to instead, or their GET links alone with "
    "--method GET"
)


class LinkedCopy(msgspec.Struct, frozen=True, gc=False):
    """A copy that links make: the GET link of its object, and the PUT link or the upload of the copy."""

    source: Link
    target: Link | Upload


def without_copies(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows of a table. Raises ManifestError for the row of a copy that would be signed again.

    Only its GET link would be fresh. Copies in parts are let through: they have an error of their own.
    """
    for rows in batches:
        # An object without a link is signed for the first time.
        are_single = "url" in rows.columns and "upload_id" not in rows.columns
        for row, cell in enumerate((are_single and rows.column(DST_URL)) or ()):
            if cell:
                raise rows.error(row, NOT_SIGNED_AGAIN, DST_URL)
        yield rows


def with_target(ref: ObjectRef, put: Link) -> ObjectRef:
    """The object with the columns of the PUT link of its copy."""
    columns = {DST_BUCKET: put.object.bucket, DST_KEY: put.object.key, DST_URL: put.url, DST_HEADERS: dict(put.headers)}
    return msgspec.structs.replace(ref, extra={**(ref.extra or {}), **columns})


def copy_rows(source: Link, upload: Sequence[Link]) -> list[Link]:
    """The rows of a copy in parts. `upload` are the links of its upload, `source` is the GET link of the object."""
    return [msgspec.structs.replace(source, object=_row(source.object, link)) for link in upload]


def _row(ref: ObjectRef, link: Link) -> ObjectRef:
    own = link.object.extra or {}
    upload = {DST_METHOD: link.method, **{name: own.get(name) for name in UPLOAD_COLUMNS}}
    row = with_target(msgspec.structs.replace(ref, size=link.object.size, extra={**(ref.extra or {}), **upload}), link)
    return msgspec.structs.replace(row, etag=None, checksum=None) if link.method == "PUT" else row


def target_links(file: str, links: Sequence[Link], lines: Sequence[int]) -> list[Link]:
    """The second link of each row. Its object has the address of the copy as its path, and the columns of uploads.

    Raises ManifestError for a row without one, and for one that is not valid.
    """
    for link, line in zip(links, lines, strict=True):
        if not (link.object.extra or {}).get(DST_URL):
            problem = f"the row has no {DST_URL}: make one with sign --to s3://bucket/prefix/"
            raise ManifestError(problem, file=file, line=line)
    try:
        found = links_of(rows_of_mappings(file, [_target_row(link.object) for link in links], lines))
    except ManifestError as error:
        raise _renamed(error) from error
    for link, line in zip(found, lines, strict=True):
        if link.method != "PUT" and not upload_id_of(link.object):
            problem = f"a {link.method} link where PUT links are needed"
            raise ManifestError(problem, file=file, line=line, column=DST_METHOD)
    return [
        msgspec.structs.replace(link, object=msgspec.structs.replace(link.object, path=without_query(link.url)))
        for link in found
    ]


def _target_row(ref: ObjectRef) -> dict[str, Any]:
    extra = ref.extra or {}
    row = {name.removeprefix("dst_"): extra.get(name) for name in DST_COLUMNS}
    upload = {name: extra.get(name) for name in UPLOAD_COLUMNS} if upload_id_of(ref) else {}
    size = "" if ref.size is None else str(ref.size)
    return {**row, **upload, "size": size, "method": str(extra.get(DST_METHOD) or "PUT")}


class CopyGrouper:
    """Groups the rows of one table into copies, each with its first line.

    Raises ManifestError for rows that are not a valid upload (see UploadGrouper), or that copy several objects to one.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._uploads = UploadGrouper(file)
        #: The rows of the upload that is open: both links, and the line.
        self._open: list[tuple[Link, Link, int]] = []

    def add(self, sources: Sequence[Link], lines: Sequence[int]) -> Iterator[tuple[LinkedCopy, int]]:
        """Adds rows with these GET links, and yields the copies that are complete."""
        for source, target, line in zip(sources, target_links(self._file, sources, lines), lines, strict=True):
            for found, first in self._renaming(self._uploads.add([target], [line])):
                yield self._copy(found, source), first
            if upload_id_of(target.object):
                self._open.append((source, target, line))

    def end(self) -> Iterator[tuple[LinkedCopy, int]]:
        """Yields the last copy in parts at the end of the table."""
        for found, first in self._renaming(self._uploads.end()):
            yield self._copy(found, None), first

    def _copy(self, found: Link | Upload, source: Link | None) -> LinkedCopy:
        if isinstance(found, Upload):
            source = self._source_of(found)
        assert source is not None  # noqa: S101 - a single link is that of the row that was added
        return LinkedCopy(source, found)

    def _source_of(self, upload: Upload) -> Link:
        """The GET link in the row that completes the upload: that row has the attributes of the object."""
        rows, self._open = self._open, []
        (source,) = (source for source, target, _ in rows if target is upload.complete)
        for other, _, line in rows:
            if _object(other) != _object(source):
                problem = f"the upload of a copy of {source.object.uri} has a row with a link of another object"
                raise ManifestError(problem, file=self._file, line=line, column="url")
        return source

    @staticmethod
    def _renaming(found: Iterator[tuple[Link | Upload, int]]) -> Iterator[tuple[Link | Upload, int]]:
        try:
            yield from found
        except ManifestError as error:
            raise _renamed(error) from error


def _object(link: Link) -> tuple[str, str, str, str | None, str]:
    """The object of a GET link, however the link is signed."""
    ref = link.object
    return without_query(link.url), ref.bucket, ref.key, ref.version_id, ref.file_path


def _renamed(error: ManifestError) -> ManifestError:
    """The same error with the name that its column has in rows of copies."""
    column = f"dst_{error.column}" if error.column in _RENAMED else error.column
    return ManifestError(error.problem, file=error.file, line=error.line, column=column)
