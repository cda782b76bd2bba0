"""sign: a list of keys becomes a manifest of links."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener, ObjectsSigned, RunFinished, RunStarted, telling
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Link, Report
from bulkpresign.pipeline.sources import SizeProblem, Source, Sources
from bulkpresign.pipeline.summing import Summing
from bulkpresign.pipeline.uploads import SigningUploads, SignSingle, rows_again, signing_uploads, size_problem_of
from bulkpresign.signing.options import METHODS, LinkOptions
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import open_output
from bulkpresign.tables.files import appears_whole
from bulkpresign.tables.reading import table_format


async def sign(
    source: Source | Sequence[Source],
    output: str | os.PathLike[str] = "-",
    *,
    bucket: str | None = None,
    method: str = "GET",
    expires_in: int = 3600,
    format: str | None = None,  # noqa: A002 - the option's name
    from_format: str | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    filename: str | None = None,
    options: LinkOptions | None = None,
    part_size: int | None = None,
    checksum: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: Any = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Signs every object of `source` and writes the links to `output` (`-`: standard output), whole or not at all.

    `headers` are signed into PUT links and stand in their rows. `query` holds response overrides of GET links, such as
    `{"response-content-type": "text/csv"}`; `filename` is the name under which a browser saves, with `{name}` for the
    last segment of the key. `options` has all of these and more by name; a row's column of an option's name goes first.
    `checksum` is an algorithm: PUT links are signed for the bytes of the files below `folder` alone. With the region
    `auto`, buckets are asked for theirs; a row's column `region` goes first.

    With a `part_size` (bytes) the PUT of a larger object becomes a multipart upload, which is opened here: a row a
    part, one to complete it and one to end it. Without one, rows of uploads are signed again for the same uploads, so
    that what is up of them stays of use. Memory is flat whatever the length.

    Raises InputError for what can't be signed and OutputError for what can't be written; then no file is left behind,
    and no upload open.
    """
    options = _with_filename(options or LinkOptions(), filename)
    _check(method, headers, query, options)
    summing = _summing(method, checksum, folder)
    size_problem = _size_problem(method, part_size, summing)
    file = os.fspath(output)
    written_format = table_format(file, format)
    sources = Sources(source, bucket=bucket, from_format=from_format)
    await sources.begin()
    columns = sources.columns  # what can't be read is told before credentials are looked for
    again = method == "PUT" and part_size is None and "upload_id" in columns and not sources.need_credentials
    if not again:  # objects that were in parts are whole
        columns = [name for name in columns if name not in UPLOAD_COLUMNS]
    report, tell = Report(verb="sign"), telling(listeners)
    tell(RunStarted("sign"))
    if size_problem is not None:
        columns += UPLOAD_COLUMNS
        await sources.check_sizes(size_problem)
    async with AsyncExitStack() as stack:
        presigner = await stack.enter_async_context(
            Presigner(region_name, endpoint_url, profile_name, addressing_style, expires_in, session)
        )
        single = partial(presigner.sign_batch, method=method, headers=headers, query=query, options=options)
        uploads = None
        if part_size is not None:
            opening = signing_uploads(
                presigner, part_size, headers, options, as_they_come=not appears_whole(file), listeners=listeners
            )
            uploads = await stack.enter_async_context(opening)
        with open_output(file) as stream:
            writer = link_writer(stream, file, written_format, columns)
            if again:
                rows = rows_again(sources, presigner, single)
            else:
                rows = _rows(sources, presigner, method, single, summing=summing, uploads=uploads)
            async for links in rows:
                writer.write(links)
                if uploads is not None and not appears_whole(file):
                    stream.flush()  # an upload stays open only where its rows are out
                report.done += len(links)
                tell(ObjectsSigned(len(links)))
            writer.finish()
        report.uploads_opened = uploads.opened if uploads else 0
    tell(RunFinished(report))
    return report


def _with_filename(options: LinkOptions, filename: str | None) -> LinkOptions:
    if filename is None:
        return options
    if options.filename is not None:
        raise ParameterError("filename is given twice: by itself, and among the options")
    return msgspec.structs.replace(options, filename=filename)


def _check(
    method: str, headers: Mapping[str, str] | None, query: Mapping[str, str] | None, options: LinkOptions
) -> None:
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is none of {', '.join(METHODS)}")
    options.check(method)
    if query and method not in {"GET", "HEAD"}:
        raise ParameterError(f"{next(iter(query))} is for GET links")
    if headers and method == "GET":
        raise ParameterError("headers are signed into PUT links; a GET link that signs them opens in no browser")


async def _rows(
    sources: Sources,
    presigner: Presigner,
    method: str,
    single: SignSingle,
    *,
    summing: Summing | None,
    uploads: SigningUploads | None,
) -> AsyncIterator[list[Link]]:
    """The rows of all objects: a row each, but for those that become uploads."""
    async for found in sources.found(presigner, method, uploads.size_problem if uploads else None):
        objects = await summing(found) if summing else found.refs
        await presigner.prepare(objects)
        if uploads is None:
            yield single(objects)
            continue
        async for links in uploads.rows(objects, single):
            yield links


def _size_problem(method: str, part_size: int | None, summing: Summing | None) -> SizeProblem | None:
    if part_size is None:
        return None
    if method != "PUT":
        raise ParameterError("a part size is for PUT links")
    if summing is not None:
        raise ParameterError("a checksum is signed for a whole file: it does not go with a part size")
    return size_problem_of(part_size)


def _summing(method: str, checksum: str | None, folder: str | os.PathLike[str] | None) -> Summing | None:
    if (checksum is None) != (folder is None):
        raise ParameterError(
            "a checksum is taken from files: it needs an algorithm and a folder, --checksum and --from"
        )
    if checksum is None or folder is None:
        return None
    if method != "PUT":
        raise ParameterError("checksums are signed into PUT links")
    return Summing(folder, checksum)
