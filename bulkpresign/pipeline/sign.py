"""sign: a list of keys becomes a manifest of links."""

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from bulkpresign.errors import ParameterError
from bulkpresign.events import BytesMoved, Event, Listener, RunFinished, RunStarted
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Link, ObjectRef, Report
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.signing.presigner import METHODS, Presigner
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
    last segment of the key. Memory is flat whatever the length. Raises InputError for what can't be signed and
    OutputError for what can't be written; then no file is left behind.
    """
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is none of {', '.join(METHODS)}")
    if filename is not None and method != "GET":
        raise ParameterError("a filename is for GET links")
    if headers and method == "GET":
        raise ParameterError("headers are signed into PUT links; a GET link that signs them opens in no browser")
    file = os.fspath(output)
    sources = Sources(source, bucket=bucket, from_format=from_format)
    report = Report(verb="sign")
    async with Presigner(region_name, endpoint_url, profile_name, addressing_style, expires_in, session) as presigner:
        _emit(listeners, RunStarted("sign"))
        with open_output(file) as stream:
            writer = link_writer(stream, file, table_format(file, format), _carried(sources))
            async for objects in sources.objects(presigner):
                await presigner.refresh()
                links = _signed(presigner, objects, method, headers, query, filename)
                writer.write(links)
                report.done += len(links)
                _emit(listeners, BytesMoved(0))
            writer.finish()
    _emit(listeners, RunFinished(report))
    return report


def _signed(
    presigner: Presigner,
    objects: Sequence[ObjectRef],
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


def _carried(sources: Sources) -> list[str]:
    return list(dict.fromkeys(name for table in sources.tables for name in table.columns))


def _emit(listeners: Sequence[Listener], event: Event) -> None:
    for listener in listeners:
        listener(event)
