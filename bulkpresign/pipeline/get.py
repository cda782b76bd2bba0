"""get: links, or objects signed just in time, become files in a folder."""

import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from functools import partial

from bulkpresign.aws import AwsSession
from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.http.client import Transport
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Report
from bulkpresign.pipeline.run.completed import files_are_current, noting
from bulkpresign.pipeline.run.config import TransferConfig, check_number, config_of
from bulkpresign.pipeline.run.descriptors import open_files_limit
from bulkpresign.pipeline.run.journals import journal_of
from bulkpresign.pipeline.run.part_sizes import ask_part_size
from bulkpresign.pipeline.run.preflight import check, index_paths
from bulkpresign.pipeline.run.presigner import RunPresigner
from bulkpresign.pipeline.run.run import Run, none_is_current
from bulkpresign.pipeline.run.same_files import SameFiles
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.links import Remote, links_of_sources
from bulkpresign.pipeline.sources.named_files import check_named_files
from bulkpresign.pipeline.sources.renewals import ChecksumMode
from bulkpresign.pipeline.sources.sources import Source, Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.filters import Filters
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.case import ignores_case
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.existing import IfExists, check_if_exists
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.spec import TransferSpec

#: The request of a smaller part takes longer than its bytes.
LEAST_PART_SIZE = 64 << 10


async def get(
    source: Source | Items,
    to: str | os.PathLike[str],
    *,
    bucket: str | None = None,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    max_concurrency: int | None = None,
    part_size: int | None = None,
    part_concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    limit: int | None = None,
    transport: Transport | None = None,
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
    all_versions: bool = False,
    filters: Filters | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: AwsSession | None = None,
    request_payer: str | None = None,
    presigner: Presigner | None = None,
    executor: str | Executor | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Downloads all objects of `source` into the folder `to`, which is created if it is missing.

    `source` is a file, `s3://...`, a url, or a sequence of these; or links (`Link`, or urls) and objects (`ObjectRef`)
    in any iterable or async iterable, one at a time or in lists, such as `presigner.sign(objects)`. Such an iterable is
    read on demand, in constant memory, and an async generator is closed at the end. Its links need no credentials; its
    objects are signed just in time. Raises TypeError for a row of another type.

    `config` has the settings of the transfer; a keyword that is given as well (`concurrency`, `max_concurrency`,
    `part_size`, `part_concurrency`, `attempts`, `limit_rate`, `limit`, `transport`) replaces its setting. `presigner`
    is an open Presigner to sign with; it stays open. Without it, one is created from `region_name`, `endpoint_url`,
    `profile_name`, `addressing_style`, `session`, `expires_in` and `request_payer`, which is `requester` for a bucket
    that wants it.

    A table of links, and a single link (`https://...`), needs no credentials. Tables of objects and `s3://` sources,
    whose keys may be patterns unless `literal` (see `sign`), are signed just in time. With `all_versions`, every
    version of their objects is downloaded, with its id in its path. The same holds for inventories (see `sign`).

    `filters` select among the objects. `limit` is the number of objects to download, without those that are done.

    `concurrency` objects are in flight, and `part_concurrency` parts of each object over `part_size` bytes (64 KiB at
    least). Without these numbers the run finds the fastest ones, up to `max_concurrency` requests; see
    `TransferConfig`. Memory is at most 512 KiB for each request in flight.

    A request is attempted up to `attempts` times if its error can be retried, and `limit_rate` bounds bytes per
    second. Expired links of the source are renewed with credentials, a command or a url, if one of them is given. An
    object that is done by the journal (default: `TO.journal`) is skipped unless its row or its file contradicts it;
    `recheck` checks each with one conditional request. Interrupted downloads of large objects are resumed.
    `max_object_size` (bytes) bounds objects whose row has no size. With `fsync` an object is done once it is on the
    disk. `failures` is the manifest of the objects that are not done; of an iterable, of those that it has given.

    `executor` moves the objects elsewhere than in this process: `processes`, `processes:N`, `dask:ADDRESS`, or any
    `concurrent.futures.Executor`. This process reads, signs and keeps the journal; workers get links that live minutes,
    and no credentials. The bounds above are totals over all workers, which share the folder.

    A failed object is counted in the report. Raises InputError for invalid input before any request, BreakerError if
    everything fails the same way or the journal can't be written any more, and OutputError if the failures file can't
    be written.
    """
    check_if_exists(if_exists)
    check_number("max_object_size", max_object_size)
    config = config_of(
        config,
        concurrency=concurrency,
        max_concurrency=max_concurrency,
        part_size=part_size,
        part_concurrency=part_concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
        transport=transport,
    )
    if config.part_size is not None and config.part_size < LEAST_PART_SIZE:
        raise ParameterError(f"part_size of {config.part_size:,} is less than {LEAST_PART_SIZE >> 10} KiB")
    open_files = open_files_limit()
    sources = Sources(
        source,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        all_versions=all_versions,
        no_links=None,
        takes_items=True,
        filters=filters,
    )
    check_named_files(sources.tables, failures, journal)
    if sources.items is None:
        await sources.begin()
    folder = Folder(to)
    if open_files is not None:
        folder.limit_open(open_files)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(
            RunPresigner(
                presigner,
                region_name=region_name,
                endpoint_url=endpoint_url,
                profile_name=profile_name,
                addressing_style=addressing_style,
                expires_in=expires_in,
                session=session,
                ca_bundle=ca_bundle,
                request_payer=request_payer,
            )
        )
        if sources.items is not None:
            await sources.begin(stack)
        index = stack.enter_context(PathIndex(ignores_case=ignores_case(folder.root)))
        run = await stack.enter_async_context(
            Run("get", config=config, ca_bundle=ca_bundle, failures=failures, listeners=listeners, executor=executor)
        )
        record = journal_of(journal, "get", folder.root, os.path.realpath(folder.root))
        are_current = noting(files_are_current(folder.root), partial(run.skip_by, record))
        run.use_journal(record, none_is_current if recheck else are_current)
        totals = await check(sources, folder.check_all, index, "GET", run.completed, listeners=listeners)
        signing = await own.get_if(sources.need_credentials or renew_credentials)
        renew = await run.renewal(signing if renew_credentials else None, renew_command, renew_url)
        lister = await sources.lister(stack, signing, run.emit, attempts=config.attempts, transport=config.transport)
        await sources.draw(lister, "GET")
        mode, same = ChecksumMode(), SameFiles(index)
        links = links_of_sources(
            sources,
            signing,
            "GET",
            renew=renew,
            lister=lister,
            streamed=same.note if index.ignores_case else index_paths(index),
            checksum_mode=mode,
            own=own.get,
        )
        jobs = downloads(same.without(links, run.refuse) if index.ignores_case else links)
        if dry_run:
            return await run.plan(jobs)
        spec = TransferSpec(
            if_exists=if_exists,
            max_object_size=max_object_size,
            rechecks=recheck,
            fsync=fsync,
        )

        def coordinator(context: TransferContext) -> Coordinator:
            ask = None if signing is None else partial(ask_part_size, signing, context.http)
            return Coordinator(ask_part_size=ask, refuse_checksum_mode=mode.refuse)

        return await run.transfer(
            jobs, spec, coordinator, folder=folder, totals=totals, sources=sources, within=folder.made()
        )


async def downloads(links: AsyncIterator[list[Remote]]) -> AsyncIterator[list[Job]]:
    """The jobs that download the objects of links to their paths."""
    async for batch in links:
        yield [Job(link, LocalFile(link.object.file_path)) for link in batch if isinstance(link, RenewableLink)]
