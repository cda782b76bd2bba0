"""The settings of `sign`: checked before anything is read, and completed."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor

import msgspec

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS
from bulkpresign.pipeline.rows.hash_files import HashedSource
from bulkpresign.pipeline.rows.head import HEAD_COLUMNS
from bulkpresign.pipeline.rows.signing import has_uploads
from bulkpresign.pipeline.rows.uploads import size_problem_of
from bulkpresign.pipeline.run.copies import Destination, prefix_of
from bulkpresign.pipeline.sources.sources import SizeProblem, Sources, check_used
from bulkpresign.signing.options import LinkOptions
from bulkpresign.source.key_map import KeyMap
from bulkpresign.tables.columns import DST_COLUMNS, DST_METHOD, DST_URL
from bulkpresign.tables.reading import output_format
from bulkpresign.tables.writing import LINK_FORMATS


def filled_columns(sources: Sources, *, keeps_uploads: bool, head: bool, copies: bool, parts: bool) -> list[str]:
    """The carried columns, and those that this run fills."""
    columns = sources.columns
    if not (keeps_uploads and any(map(has_uploads, sources.tables))):  # each object has one row
        columns = [name for name in columns if name not in UPLOAD_COLUMNS]
    heads, targets = HEAD_COLUMNS if head else (), DST_COLUMNS if copies else ()
    methods, uploads = (DST_METHOD,) if copies and parts else (), UPLOAD_COLUMNS if parts else ()
    return list(dict.fromkeys([*columns, *heads, *targets, *methods, *uploads]))


def check_tables(sources: Sources, bucket: str | None, from_format: str | None, *, is_for_copies: bool) -> None:
    """Raises InputError for a setting without a table, and for the rows of copies in parts."""
    check_used(sources, bucket, from_format)
    for table in sources.tables:
        if has_uploads(table) and DST_URL in table.columns and not is_for_copies:
            problem = "the rows of copies in parts can't be signed again: sign their objects with --to instead"
            raise ManifestError(problem, file=table.file)


def written_format(file: str, given: str | None, method: str | None, target: Destination | None) -> str:
    """The format of the output. Raises ParameterError for a list of urls where links are more than that."""
    chosen = output_format(file, given, LINK_FORMATS)
    if chosen != "txt":
        return chosen
    if target is not None:
        raise ParameterError("a list of urls can't hold the two links of a copy: write .csv or .jsonl")
    if method not in {None, "GET"}:
        raise ParameterError(f"a list of urls is for GET links, not {method}: write .csv or .jsonl")
    return chosen


def check_sharded(
    executor: str | Executor | None, output_kind: str, *, head: bool, part_size: int | None, checksum: str | None
) -> None:
    """Raises ParameterError for settings with which workers can't sign."""
    if executor is None:
        return
    if output_kind == "parquet":
        raise ParameterError("executor is for csv, json and jsonl: the rows of a Parquet file are encoded together")
    if output_kind == "txt":
        raise ParameterError("executor is for csv, json and jsonl: a list of urls is written by one process")
    needed_here = {"head or to": head, "a part size": part_size is not None, "a checksum": checksum is not None}
    for name, is_given in needed_here.items():
        if is_given:
            raise ParameterError(f"executor does not go with {name}: its requests and files take longer than signing")


def with_filename(options: LinkOptions, filename: str | None) -> LinkOptions:
    """The options with the name of the saved file. Raises ParameterError if they have one already."""
    if filename is None:
        return options
    if options.filename is not None:
        raise ParameterError("filename is given twice: by itself, and among the options")
    return msgspec.structs.replace(options, filename=filename)


def copy_destination(to: str | None, maps: Sequence[str], method: str | None, *, tags: bool) -> Destination | None:
    """The destination of copies, None without `to`. Raises ParameterError."""
    if to is None:
        if maps:
            raise ParameterError("maps rewrites the keys of copies, and is for to")
        if not tags:
            raise ParameterError("tags is for the copies of to: other links have none of their object")
        return None
    if method not in {None, "GET"}:
        raise ParameterError("to is for GET links: it adds the PUT links of their copies")
    return Destination(prefix_of(to), KeyMap(maps))


def size_problem_for(method: str | None, part_size: int | None, hashed: HashedSource | None) -> SizeProblem | None:
    """The check of sizes for uploads in parts, None without a part size. Raises ParameterError."""
    if part_size is None:
        return None
    if method != "PUT":
        raise ParameterError("a part size is for PUT links, or for copies, with to")
    if hashed is not None:
        raise ParameterError("a checksum is signed for a whole file: it does not go with a part size")
    return size_problem_of(part_size)


def hashed_source(
    method: str | None, checksum: str | None, folder: str | os.PathLike[str] | None
) -> HashedSource | None:
    """The source of checksums of local files, None without a checksum. Raises ParameterError."""
    if (checksum is None) != (folder is None):
        raise ParameterError(
            "a checksum is taken from files: it needs an algorithm and a folder, --checksum and --from"
        )
    if checksum is None or folder is None:
        return None
    if method != "PUT":
        raise ParameterError("checksums are signed into PUT links")
    return HashedSource(folder, checksum)
