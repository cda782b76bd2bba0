"""put: files in a folder go out through links, or into a bucket with links signed just in time."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio.lowlevel

from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.http.client import Transport
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Link, ObjectRef, Report, Upload, without_query
from bulkpresign.pipeline.completed import files_are_current
from bulkpresign.pipeline.config import TransferConfig, config_of
from bulkpresign.pipeline.items import Items
from bulkpresign.pipeline.journals import journal_of
from bulkpresign.pipeline.named_files import check_named_files
from bulkpresign.pipeline.own import OwnPresigner
from bulkpresign.pipeline.preflight import check, reserve_paths
from bulkpresign.pipeline.present import PresentObjects
from bulkpresign.pipeline.renewing import by_signing
from bulkpresign.pipeline.running import Run, TransferContext
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.pipeline.uploads import MultipartCreator, MultipartResumer
from bulkpresign.signing.parts import check_part_size
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.folder import folder_objects
from bulkpresign.source.location import SCHEME, Location
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, Renew
from bulkpresign.transfer.uploads.multipart import MultipartUploader
from bulkpresign.transfer.uploads.single import Uploader


async def put(
    links: Source | Items,
    source: str | os.PathLike[str],
    *,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    part_size: int | None = None,
    part_concurrency: int | None = None,
    attempts: int | None = None,
    limit_rate: int | None = None,
    limit: int | None = None,
    transport: Transport | None = None,
    failures: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    ca_bundle: str | None = None,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    expires_in: int = 3600,
    headers: Mapping[str, str] | None = None,
    from_format: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: Any = None,
    presigner: Presigner | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Uploads files, through PUT links (`put(links, source="data/")`) or into a bucket (`put("data/", "s3://b/p/")`).

    With `links`, files below the folder `source` go out with the headers that stand in the links. `links` is a table of
    links, or `Link`s in any iterable or async iterable, as for `get`. No credentials are needed, except where
    `renew_credentials` signs links again that run out. Rows of a multipart upload go up in parts.

    With `s3://bucket/prefix/` as the second argument, every file below the folder that the first one names goes up,
    with own credentials or those of an open `presigner`; the links live `expires_in` seconds. `headers` are signed into
    them, and the content type is guessed from the name unless `headers` has one. Files over `part_size` (bytes, 5 MiB
    to 5 GiB, 64 MiB by default) go up in parts.

    `config` and the keywords beside it are those of `get`. A file that is missing, or an upload that fails, is counted
    in the report. Parts that are up are kept over runs. `journal` is `FOLDER.put.journal` unless given. Raises
    InputError for what can't be used, before anything is sent; ParameterError also for a keyword of the other form.
    """
    bounds = config_of(
        config,
        concurrency=concurrency,
        part_size=part_size,
        part_concurrency=part_concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
        transport=transport,
    )
    to_bucket = isinstance(source, str) and source.startswith(SCHEME)
    _check_form(
        "links" if to_bucket else "s3://bucket/prefix/",
        {
            "from_format": from_format,
            "renew_credentials": renew_credentials,
            "renew_command": renew_command,
            "renew_url": renew_url,
        }
        if to_bucket
        else {"part_size": part_size, "headers": headers},
    )
    job = _Job(
        config=bounds,
        own=partial(
            OwnPresigner,
            presigner,
            region_name=region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            addressing_style=addressing_style,
            expires_in=expires_in,
            session=session,
            ca_bundle=ca_bundle,
        ),
        run=partial(Run, "put", config=bounds, ca_bundle=ca_bundle, failures=failures, listeners=listeners),
        failures=failures,
        journal=journal,
        dry_run=dry_run,
        listeners=listeners,
    )
    if not to_bucket:
        renewal = _Renewal(renew_credentials, renew_command, renew_url)
        return await _put_links(job, links, Folder(source), from_format, renewal)
    if not isinstance(links, str | os.PathLike):
        raise TypeError(f"put to {source} takes the name of a folder, not {type(links).__name__}")
    return await _put_folder(job, Folder(links), str(source), headers)


class _Job(NamedTuple):
    """What both forms of `put` are given."""

    config: TransferConfig
    own: Callable[[AsyncExitStack], OwnPresigner]
    run: Callable[[], Run]
    failures: str | os.PathLike[str] | None
    journal: str | os.PathLike[str] | None
    dry_run: bool
    listeners: Sequence[Listener]


class _Renewal(NamedTuple):
    """Where fresh links come from for those that run out."""

    by_credentials: bool
    command: str | None
    url: str | None


def _check_form(other: str, given: Mapping[str, object]) -> None:
    """Raises ParameterError for a keyword that is of the other form of `put`."""
    for name, value in given.items():
        if value:
            raise ParameterError(f"{name} is for put with {other}")


async def _put_links(
    job: _Job, links: Source | Items, folder: Folder, from_format: str | None, renewal: _Renewal
) -> Report:
    """Uploads files below `folder` through PUT links. Needs no credentials, except where they sign links again."""
    sources = Sources(links, from_format=from_format, takes_items=True)
    check_named_files(sources.tables, job.failures, job.journal)
    if sources.items is None:
        await sources.begin()
    if sources.items is None and sources.need_credentials:
        raise ParameterError("put needs a table of links, with a column url: make one with sign --method PUT")
    folder.require()

    def claim(refs: Sequence[ObjectRef]) -> None:
        reserve_paths(index, [(ref, ref.uri) for ref in refs])

    async with AsyncExitStack() as stack:
        own = job.own(stack)
        if sources.items is not None:
            await sources.begin(stack)
        index = stack.enter_context(PathIndex())
        run = await stack.enter_async_context(job.run())
        opened = run.use_journal(
            journal_of(job.journal, "put", folder.root, "its links"), files_are_current(folder.root)
        )
        run.skipped_by = None if opened is None else opened.file.name  # links can't be asked what is there
        totals = await check(sources, folder.check_sources, index, "PUT", run.completed, listeners=job.listeners)
        renew = await run.renewal(await own() if renewal.by_credentials else None, renewal.command, renewal.url)
        jobs = sources.jobs(None, "PUT", renew=renew, streamed=claim)
        if job.dry_run:
            return await run.plan(jobs)
        return await run.transfer(
            jobs,
            lambda context: _putter(context, folder, job.config),
            uploads_with=lambda context: _uploader(context, folder, job.config),
            totals=totals,
            sources=sources,
        )


async def _put_folder(job: _Job, folder: Folder, destination: str, headers: Mapping[str, str] | None) -> Report:
    """Uploads every file below `folder` under `s3://bucket/prefix/`, through links that are signed just in time.

    What is up of an earlier run's upload is found and kept. An upload whose object can't be put is ended; one that was
    interrupted stays open for the next run, and is counted in the report.
    """
    config = job.config
    check_part_size(config.part_size)
    check_named_files((), job.failures, job.journal)
    location = Location.parse(destination)
    if not location.is_prefix:
        raise ParameterError(f"{destination} is a key; a folder goes to a prefix, which ends in /")
    folder.require()
    async with AsyncExitStack() as stack:
        signing = await job.own(stack)()
        run = await stack.enter_async_context(job.run())
        present = stack.enter_context(PresentObjects(folder, config.part_size))
        opened = run.use_journal(
            journal_of(job.journal, "put", folder.root, await _named(location, signing)), present.are_current
        )
        if opened is not None and not await present.list_destination(signing, location):
            run.skipped_by = opened.file.name
        jobs = _signed_files(folder.root, location, signing, headers, config.part_size)
        if job.dry_run:
            return await run.plan(jobs)

        def reopener(context: TransferContext) -> MultipartResumer:
            opener = MultipartCreator(
                signing,
                context.http,
                headers=headers,
                emit=context.emit,
                limiter=context.limiter,
                attempts=config.attempts,
            )
            return MultipartResumer(opener, signing, config.part_size)

        return await run.transfer(
            jobs,
            lambda context: present.unless_there(
                reopener(context).ending_old(_putter(context, folder, config), context.journal)
            ),
            uploads_with=lambda context: _uploader(context, folder, config, reopener(context), present),
        )


async def _named(location: Location, presigner: Presigner) -> str:
    """A destination for the journal: the same bucket's name at another endpoint is another place."""
    await presigner.refresh([location.bucket])
    (url,) = presigner.url_batch(location.bucket, ["x"])
    parts = urlsplit(url)
    return f"s3://{location.bucket}/{location.key} at {parts.scheme}://{parts.netloc}"


def _putter(context: TransferContext, folder: Folder, config: TransferConfig) -> Uploader:
    return Uploader(context.http, folder, config.attempts, context.emit, limiter=context.limiter)


def _uploader(
    context: TransferContext,
    folder: Folder,
    config: TransferConfig,
    opener: MultipartResumer | None = None,
    present: PresentObjects | None = None,
) -> MultipartUploader:
    return MultipartUploader(
        context.http,
        folder,
        config.attempts,
        context.emit,
        limiter=context.limiter,
        part_concurrency=config.part_concurrency,
        parts=context.journal,
        opener=opener,
        is_there=None if present is None else present.is_there,
    )


async def _signed_files(
    root: Path, location: Location, presigner: Presigner, headers: Mapping[str, str] | None, part_size: int
) -> AsyncIterator[Sequence[Job]]:
    renew = by_signing(presigner)
    for objects in folder_objects(root, location.bucket, location.key):
        small = [ref for ref in objects if (ref.size or 0) <= part_size]
        async for links in presigner.sign(small, "PUT", headers=headers):
            yield [Job(link, renew) for link in links]
        large = [ref for ref in objects if (ref.size or 0) > part_size]
        async for links in presigner.sign(large, "PUT"):
            yield [_to_be_opened(link, renew) for link in links]
        await anyio.lowlevel.checkpoint()


def _to_be_opened(put: Link, renew: Renew) -> Job:
    """An upload that is opened when its turn comes. Until then it has neither id nor links, and a url without query."""
    link = Link("POST", without_query(put.url), {}, None, put.object)
    return Job(link, renew, Upload(put.object, "", (), link))
