"""sign: a list of keys becomes a manifest of links."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from bulkpresign.errors import ParameterError
from bulkpresign.events import Event, Listener, RunFinished, RunStarted
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Link, ObjectRef, Report
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.pipeline.uploads import SigningUploads, SignSingle, rows_again, signing_uploads, size_problem_of
from bulkpresign.signing.presigner import METHODS, Presigner
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
    part_size: int | None = None,
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
    last segment of the key. With a `part_size` (bytes) the PUT of a larger object becomes a multipart upload, which is
    opened here: a row a part, one to complete it and one to end it. Without one, rows of uploads are signed again for
    the same uploads, so that what is up of them stays of use. Memory is flat whatever the length.

    Raises InputError for what can't be signed and OutputError for what can't be written; then no file is left behind,
    and no upload open.
    """
    _check(method, headers, query, filename)
    if part_size is not None and method != "PUT":
        raise ParameterError("a part size is for PUT links")
    size_problem = None if part_size is None else size_problem_of(part_size)
    file = os.fspath(output)
    written_format = table_format(file, format)
    sources = Sources(source, bucket=bucket, from_format=from_format)
    await sources.begin()
    columns = sources.columns  # what can't be read is told before credentials are looked for
    again = method == "PUT" and part_size is None and "upload_id" in columns and not sources.need_credentials
    if not again:  # objects that were in parts are whole
        columns = [name for name in columns if name not in UPLOAD_COLUMNS]
    report = Report(verb="sign")
    emit(listeners, RunStarted("sign"))
    if size_problem is not None:
        columns += UPLOAD_COLUMNS
        await sources.check_sizes(size_problem)
    async with AsyncExitStack() as stack:
        presigner = await stack.enter_async_context(
            Presigner(region_name, endpoint_url, profile_name, addressing_style, expires_in, session)
        )
        single = partial(_signed, presigner, method=method, headers=headers, query=query, filename=filename)
        uploads = None
        if part_size is not None:
            opening = signing_uploads(
                presigner, part_size, headers, as_they_come=not appears_whole(file), listeners=listeners
            )
            uploads = await stack.enter_async_context(opening)
        with open_output(file) as stream:
            writer = link_writer(stream, file, written_format, columns)
            rows = rows_again(sources, presigner, single) if again else _rows(sources, presigner, uploads, single)
            async for links in rows:
                writer.write(links)
                report.done += len(links)
            writer.finish()
    report.uploads_opened = uploads.opened if uploads is not None else 0
    emit(listeners, RunFinished(report))
    return report


def emit(listeners: Sequence[Listener], event: Event) -> None:
    """Tells every listener."""
    for listener in listeners:
        listener(event)


def _check(
    method: str, headers: Mapping[str, str] | None, query: Mapping[str, str] | None, filename: str | None
) -> None:
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is none of {', '.join(METHODS)}")
    if filename is not None and method != "GET":
        raise ParameterError("a filename is for GET links")
    if query and method not in {"GET", "HEAD"}:
        raise ParameterError(f"{next(iter(query))} is for GET links")
    if headers and method == "GET":
        raise ParameterError("headers are signed into PUT links; a GET link that signs them opens in no browser")


async def _rows(
    sources: Sources, presigner: Presigner, uploads: SigningUploads | None, single: SignSingle
) -> AsyncIterator[list[Link]]:
    """The rows of all objects: a row each, but for those that become uploads."""
    size_problem = None if uploads is None else uploads.size_problem
    async for objects in sources.objects(presigner, size_problem):
        await presigner.refresh()
        if uploads is None:
            yield single(objects)
            continue
        async for links in uploads.rows(objects, single):
            yield links


def _signed(
    presigner: Presigner,
    objects: Sequence[ObjectRef],
    *,
    method: str,
    headers: Mapping[str, str] | None,
    query: Mapping[str, str] | None,
    filename: str | None,
) -> list[Link]:
    if filename is None:
        return presigner.sign_batch(objects, method, headers=headers, query=query)
    if "{name}" not in filename:
        return presigner.sign_batch(objects, method, query=_saved_as(filename, query))
    return [
        link
        for ref in objects
        for link in presigner.sign_batch(
            [ref], method, query=_saved_as(filename.replace("{name}", PurePosixPath(ref.key).name), query)
        )
    ]


def _saved_as(name: str, query: Mapping[str, str] | None) -> dict[str, str]:
    """The override that makes a browser save under a name (RFC 6266: plain for old ones, UTF-8 for the rest)."""
    plain = name.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_")
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return {**(query or {}), "response-content-disposition": disposition}
