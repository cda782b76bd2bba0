"""sign: a list of keys becomes a manifest of links."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.events import Event, Listener, RunFinished, RunStarted
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Report
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.pipeline.summing import Summing
from bulkpresign.signing.options import METHODS, LinkOptions
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import open_output
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

    Memory is flat whatever the length. Raises InputError for what can't be signed and OutputError for what can't be
    written; then no file is left behind.
    """
    options = _with_filename(options or LinkOptions(), filename)
    _check(method, headers, query, options)
    summing = _summing(method, checksum, folder)
    file = os.fspath(output)
    written_format = table_format(file, format)
    sources = Sources(source, bucket=bucket, from_format=from_format)
    await sources.begin()
    columns = sources.columns  # what can't be read is told before credentials are looked for
    report = Report(verb="sign")
    emit(listeners, RunStarted("sign"))
    async with Presigner(region_name, endpoint_url, profile_name, addressing_style, expires_in, session) as presigner:
        single = partial(presigner.sign_batch, method=method, headers=headers, query=query, options=options)
        with open_output(file) as stream:
            writer = link_writer(stream, file, written_format, columns)
            async for found in sources.found(presigner, method):
                objects = await summing(found) if summing else found.refs
                await presigner.prepare(objects)
                links = single(objects)
                writer.write(links)
                report.done += len(links)
            writer.finish()
    emit(listeners, RunFinished(report))
    return report


def emit(listeners: Sequence[Listener], event: Event) -> None:
    """Tells every listener."""
    for listener in listeners:
        listener(event)


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
