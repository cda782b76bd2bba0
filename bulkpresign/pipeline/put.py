"""put: files in a folder go out through links, or into a bucket with links signed just in time."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio.lowlevel

from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Link, Report
from bulkpresign.pipeline.running import (
    Totals,
    check,
    check_bounds,
    claim_paths,
    failure_log,
    renewal,
    transfer,
)
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.folder import folder_objects
from bulkpresign.source.location import Location
from bulkpresign.transfer.putting import Putter
from bulkpresign.transfer.storage import Folder


async def put(
    links: Source | Sequence[Source],
    source: str | os.PathLike[str],
    *,
    concurrency: int = 64,
    attempts: int = 5,
    failures: str | os.PathLike[str] | None = None,
    from_format: str | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Uploads files below the folder `source` through PUT links, with the headers that stand in their rows.

    Needs no credentials. A file that is missing, or an upload that fails, is counted in the report. Bounds are those of
    `get`. Raises InputError for a manifest or folder that can't be used, before anything is sent.
    """
    check_bounds(concurrency, attempts)
    sources = Sources(links, from_format=from_format)
    if sources.need_credentials:
        raise ParameterError("put needs a table of links, with a column url: make one with sign --method PUT")
    folder = Folder(source)
    folder.require()
    async with AsyncExitStack() as stack:
        index = stack.enter_context(PathIndex())
        totals = await check(sources, folder.source_file, index, "PUT")
        log = await stack.enter_async_context(failure_log(failures, sources))
        return await transfer(
            "put",
            sources.links(None, "PUT", lambda refs: claim_paths(index, [(ref, ref.uri) for ref in refs])),
            lambda http, emit: Putter(http, folder, attempts, emit),
            concurrency=concurrency,
            totals=totals,
            listeners=listeners,
            log=log,
        )


async def put_folder(
    source: str | os.PathLike[str],
    destination: str,
    *,
    concurrency: int = 64,
    attempts: int = 5,
    failures: str | os.PathLike[str] | None = None,
    expires_in: int = 3600,
    headers: Mapping[str, str] | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: Any = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Uploads every file below the folder `source` under `s3://bucket/prefix/`, with own credentials.

    Links are signed just in time. The content type is guessed from the name, unless `headers` has one.
    """
    check_bounds(concurrency, attempts)
    location = Location.parse(destination)
    if not location.is_prefix:
        raise ParameterError(f"{destination} is a key; a folder goes to a prefix, which ends in /")
    folder = Folder(source)
    folder.require()
    async with AsyncExitStack() as stack:
        presigner = await stack.enter_async_context(
            Presigner(region_name, endpoint_url, profile_name, addressing_style, expires_in, session)
        )
        log = await stack.enter_async_context(failure_log(failures, None))
        return await transfer(
            "put",
            _signed_files(folder.root, location, presigner, headers),
            lambda http, emit: Putter(http, folder, attempts, emit),
            concurrency=concurrency,
            totals=Totals(),
            listeners=listeners,
            log=log,
            renew=renewal(presigner, headers),
        )


async def _signed_files(
    root: Path, location: Location, presigner: Presigner, headers: Mapping[str, str] | None
) -> AsyncIterator[Sequence[Link]]:
    for objects in folder_objects(root, location.bucket, location.key):
        async for links in presigner.sign(objects, "PUT", headers=headers):
            yield links
        await anyio.lowlevel.checkpoint()
