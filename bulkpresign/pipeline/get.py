"""get: links, or objects signed just in time, become files in a folder."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from bulkpresign.events import Listener
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Report
from bulkpresign.pipeline.running import (
    check,
    check_bounds,
    claim_paths,
    failure_log,
    renewal,
    transfer,
)
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.getting import Getter
from bulkpresign.transfer.storage import Folder


async def get(
    source: Source | Sequence[Source],
    to: str | os.PathLike[str],
    *,
    bucket: str | None = None,
    concurrency: int = 64,
    attempts: int = 5,
    failures: str | os.PathLike[str] | None = None,
    expires_in: int = 3600,
    from_format: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: Any = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Downloads everything that `source` names below the folder `to`, which is made.

    A table of links needs no credentials. Tables of objects and `s3://` sources are signed just in time. At most
    `concurrency` objects are in flight, each with about 512 KiB of buffers; a request is tried `attempts` times where
    that can help. `failures` names a manifest for what is not done. An object that fails is counted in the report; only
    input that can't be used raises (InputError), before anything is sent.
    """
    check_bounds(concurrency, attempts)
    sources = Sources(source, bucket=bucket, from_format=from_format)
    folder = Folder(to)
    async with AsyncExitStack() as stack:
        index = stack.enter_context(PathIndex())
        totals = await check(sources, folder.check, index, "GET")
        presigner = None
        if sources.need_credentials:
            presigner = await stack.enter_async_context(
                Presigner(region_name, endpoint_url, profile_name, addressing_style, expires_in, session)
            )
        log = await stack.enter_async_context(failure_log(failures, sources))
        stack.enter_context(folder.made())
        return await transfer(
            "get",
            sources.links(presigner, "GET", lambda refs: claim_paths(index, [(ref, ref.uri) for ref in refs])),
            lambda http, emit: Getter(http, folder, attempts, emit),
            concurrency=concurrency,
            totals=totals,
            listeners=listeners,
            log=log,
            renew=renewal(presigner) if presigner is not None and not sources.has_links else None,
        )
