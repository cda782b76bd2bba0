"""get: links, or objects signed just in time, become files in a folder."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import ObjectRef, Report
from bulkpresign.pipeline.checking import check, claim_paths
from bulkpresign.pipeline.completed import etags_of, files_are_current
from bulkpresign.pipeline.descriptors import open_files_limit
from bulkpresign.pipeline.journals import journal_of
from bulkpresign.pipeline.named_files import check_named_files
from bulkpresign.pipeline.part_sizes import ask_part_size
from bulkpresign.pipeline.renewing import ChecksumMode
from bulkpresign.pipeline.running import PART_CONCURRENCY, Bounds, Run, none_is_current
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.folder import Folder
from bulkpresign.transfer.getting import IF_EXISTS, PART_SIZE, Getter, IfExists
from bulkpresign.transfer.lanes import lanes_within

#: A request costs more than fewer bytes do.
LEAST_PART_SIZE = 64 << 10


async def get(
    source: Source | Sequence[Source],
    to: str | os.PathLike[str],
    *,
    bucket: str | None = None,
    concurrency: int = 64,
    part_size: int = PART_SIZE,
    part_concurrency: int = PART_CONCURRENCY,
    attempts: int = 5,
    limit_rate: int | None = None,
    limit: int | None = None,
    if_exists: IfExists = "replace",
    max_object_size: int | None = None,
    recheck: bool = False,
    fsync: bool = False,
    failures: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    ca_bundle: str | None = None,
    expires_in: int = 3600,
    from_format: str | None = None,
    literal: bool = False,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: Any = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Downloads everything that `source` names below the folder `to`, which is made.

    A table of links, and a link by itself (`https://...`), needs no credentials. Tables of objects and `s3://` sources,
    whose keys may be patterns unless `literal` (see `sign`), are signed just in time. At most
    `concurrency` objects are in flight. Those over `part_size` bytes (64 KiB at least) move in parts, one at a time and
    up to `part_concurrency` where it is measured that more bring more. Memory is at most `concurrency x
    part_concurrency x 512 KiB`, for the buffers of each request in flight. A request is tried `attempts` times where
    that can help, and `limit_rate` bounds bytes a second. Links of others that run out are renewed by signing again, by
    a command or by a url, where one of them is given. An object that the journal (`TO.journal` unless given) has as
    done is not asked for again, unless its row or its file says otherwise; `recheck` asks the server for each of them,
    by one conditional request. Large objects go on where they were. `max_object_size` (bytes) bounds objects whose size
    no row tells; `fsync` waits for the disk before an object counts. `failures` names a manifest for what is not done.

    An object that fails is counted in the report. Raises InputError for what can't be used, before anything is sent,
    BreakerError where everything fails the same way or the journal can't be written any more, and OutputError where
    failures can't be written.
    """
    if if_exists not in IF_EXISTS:
        raise ParameterError(f"if_exists {if_exists!r} is none of {', '.join(IF_EXISTS)}")
    if part_size < LEAST_PART_SIZE:
        raise ParameterError(f"part_size of {part_size:,} is less than {LEAST_PART_SIZE >> 10} KiB")
    bounds = Bounds(
        concurrency=concurrency,
        part_size=part_size,
        part_concurrency=part_concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
    )
    open_files = open_files_limit()
    lanes = part_concurrency if open_files is None else lanes_within(part_concurrency, concurrency, open_files)
    sources = Sources(source, bucket=bucket, from_format=from_format, literal=literal, no_links=None)
    check_named_files(sources.tables, failures, journal)
    await sources.begin()
    folder = Folder(to)
    if open_files is not None:
        folder.limit_open(open_files)

    def claim(refs: Sequence[ObjectRef]) -> None:
        claim_paths(index, [(ref, ref.uri) for ref in refs])

    async with AsyncExitStack() as stack:
        index = stack.enter_context(PathIndex())
        run = await stack.enter_async_context(
            Run("get", bounds=bounds, ca_bundle=ca_bundle, failures=failures, listeners=listeners)
        )
        run.use_journal(
            journal_of(journal, "get", folder.root, os.path.realpath(folder.root)),
            none_is_current if recheck else files_are_current(folder.root),
        )
        totals = await check(sources, folder.check_all, index, "GET", run.completed, listeners=listeners)
        presigner = None
        if sources.need_credentials or renew_credentials:
            presigner = await stack.enter_async_context(
                Presigner(
                    region_name, endpoint_url, profile_name, addressing_style, expires_in, session, ca_bundle=ca_bundle
                )
            )
        renew = await run.renewal(presigner if renew_credentials else None, renew_command, renew_url)
        mode = ChecksumMode()
        leases = sources.leases(presigner, "GET", renew=renew, streamed=claim, checksum_mode=mode)
        if dry_run:
            return await run.plan(leases)
        return await run.transfer(
            leases,
            lambda machine: Getter(
                machine.http,
                folder,
                attempts,
                machine.emit,
                pace=machine.pace,
                parts=machine.journal,
                part_size=part_size,
                part_concurrency=lanes,
                if_exists=if_exists,
                max_object_size=max_object_size,
                etag_before=etags_of(machine.journal) if recheck else None,
                ask_part_size=None if presigner is None else partial(ask_part_size, presigner, machine.http),
                refuse_checksum_mode=mode.refuse,
                fsync=fsync,
            ),
            totals=totals,
            sources=sources,
            within=folder.made(),
        )
