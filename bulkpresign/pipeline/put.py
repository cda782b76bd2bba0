"""put: uploads the files of a folder through links, or into a bucket through links that are signed just in time."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from typing import NamedTuple

from bulkpresign.aws import AwsSession
from bulkpresign.checksums import COMBINABLE
from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.http.client import Transport
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Report
from bulkpresign.pipeline.rows.hash_files import HashedFiles
from bulkpresign.pipeline.run.checksummed import ChecksummedFiles
from bulkpresign.pipeline.run.completed import files_are_current
from bulkpresign.pipeline.run.config import TransferConfig, config_of
from bulkpresign.pipeline.run.file_jobs import FileJobs
from bulkpresign.pipeline.run.journals import journal_of
from bulkpresign.pipeline.run.multipart import MultipartCreator, MultipartResumer
from bulkpresign.pipeline.run.preflight import check, index_paths
from bulkpresign.pipeline.run.present import PresentObjects
from bulkpresign.pipeline.run.presigner import RunPresigner, endpoint_of_bucket
from bulkpresign.pipeline.run.put_signer import PutSigner
from bulkpresign.pipeline.run.run import Run
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.links import Remote, links_of_sources
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.named_files import check_named_files
from bulkpresign.pipeline.sources.own_files import OwnFiles
from bulkpresign.pipeline.sources.selecting import selected_files
from bulkpresign.pipeline.sources.sources import Source, Sources
from bulkpresign.signing.headers import check_headers
from bulkpresign.signing.parts import check_part_size
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.filters import Filters
from bulkpresign.source.folder import folder_objects
from bulkpresign.source.location import SCHEME, Location
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.engine.jobs import Job, LocalFile
from bulkpresign.transfer.engine.part_sizes import LARGE_UPLOAD
from bulkpresign.transfer.spec import TransferSpec


async def put(
    links: Source | Items,
    source: str | os.PathLike[str],
    *,
    config: TransferConfig | None = None,
    concurrency: int | None = None,
    max_concurrency: int | None = None,
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
    checksum: str | None = None,
    filters: Filters | None = None,
    from_format: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: AwsSession | None = None,
    presigner: Presigner | None = None,
    executor: str | Executor | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Uploads files, through PUT links (`put(links, source="data/")`) or into a bucket (`put("data/", "s3://b/p/")`).

    With `links`, files below the folder `source` are uploaded with the headers of the links. `links` is a table of
    links, or `Link`s in any iterable or async iterable, as for `get`. No credentials are needed, unless
    `renew_credentials` is set: then expired links are signed again. Rows of a multipart upload are uploaded as its
    parts.

    If the second argument is `s3://bucket/prefix/`, the first one is a folder, and all files below it are uploaded,
    except temporary files of unfinished downloads and journals (see `Report.left_out`).
    The links are signed with the caller's credentials or an open `presigner`, and expire after `expires_in` seconds.
    `headers` are signed into them; the content type is guessed from the name unless `headers` has one. Files over
    `part_size` (bytes, 5 MiB to 5 GiB, 64 MiB by default) are uploaded in parts. With `checksum`, one of `crc64nvme`,
    `crc32c` and `crc32`, each file is sent with its checksum, which the server compares and keeps: the proof where an
    etag is no md5, as with keys of KMS. Files are read twice then.

    `config`, the keywords beside it and `executor` are those of `get`; files that are uploaded in parts are uploaded by
    this process. `filters` select among the rows, or among the files of the folder. A missing file, or a failed upload,
    is counted in the report. Later runs reuse parts that are uploaded. `journal` is `FOLDER.put.journal` by default.
    Raises InputError for invalid input before any request, and ParameterError also for a keyword of the other form.
    """
    bounds = config_of(
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
        else {"part_size": part_size, "headers": headers, "checksum": checksum},
    )
    check_headers(headers)
    settings = _Settings(
        config=bounds,
        presigner=RunPresigner(
            presigner,
            region_name=region_name,
            endpoint_url=endpoint_url,
            profile_name=profile_name,
            addressing_style=addressing_style,
            expires_in=expires_in,
            session=session,
            ca_bundle=ca_bundle,
        ),
        ca_bundle=ca_bundle,
        failures=failures,
        journal=journal,
        dry_run=dry_run,
        executor=executor,
        listeners=listeners,
        filters=filters or Filters(),
    )
    if not to_bucket:
        renewal = _Renewal(renew_credentials, renew_command, renew_url)
        return await _put_links(settings, links, Folder(source), from_format, renewal)
    if not isinstance(links, str | os.PathLike):
        raise TypeError(f"put to {source} takes the name of a folder, not {type(links).__name__}")
    return await _put_folder(settings, Folder(links), str(source), headers, checksum)


class _Settings(NamedTuple):
    """The settings that both forms of `put` have."""

    config: TransferConfig
    presigner: RunPresigner
    ca_bundle: str | None
    failures: str | os.PathLike[str] | None
    journal: str | os.PathLike[str] | None
    dry_run: bool
    executor: str | Executor | None
    listeners: Sequence[Listener]
    filters: Filters

    def run(self) -> Run:
        """The run."""
        return Run(
            "put",
            config=self.config,
            ca_bundle=self.ca_bundle,
            failures=self.failures,
            listeners=self.listeners,
            executor=self.executor,
        )


class _Renewal(NamedTuple):
    """The ways to renew expired links."""

    by_credentials: bool
    command: str | None
    url: str | None


def _check_form(other: str, given: Mapping[str, object]) -> None:
    """Raises ParameterError for a keyword that is of the other form of `put`."""
    for name, value in given.items():
        if value:
            raise ParameterError(f"{name} is for put with {other}")


async def _put_links(
    settings: _Settings, links: Source | Items, folder: Folder, from_format: str | None, renewal: _Renewal
) -> Report:
    """Uploads files below `folder` through PUT links. Needs credentials only to sign expired links again."""
    sources = Sources(links, from_format=from_format, takes_items=True, filters=settings.filters)
    check_named_files(sources.tables, settings.failures, settings.journal)
    if sources.items is None:
        await sources.begin()
    if sources.items is None and sources.need_credentials:
        are_failures = "reason" in sources.columns
        hint = "; the failures of put DIR s3://... are sent by the same command again" if are_failures else ""
        raise ParameterError(f"put needs a table of links, with a column url: make one with sign --method PUT{hint}")
    folder.require()
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(settings.presigner)
        if sources.items is not None:
            await sources.begin(stack)
        index = stack.enter_context(PathIndex())
        run = await stack.enter_async_context(settings.run())
        opened = run.use_journal(
            journal_of(settings.journal, "put", folder.root, "its links"), files_are_current(folder.root)
        )
        if opened is not None:  # the destination can't be listed without credentials
            run.skip_by(opened)
        totals = await check(sources, folder.check_sources, index, "PUT", run.completed, listeners=settings.listeners)
        await sources.draw(None, "PUT")
        renew = await run.renewal(await own.get_if(renewal.by_credentials), renewal.command, renewal.url)
        jobs = _uploads(links_of_sources(sources, None, "PUT", renew=renew, streamed=index_paths(index)))
        if settings.dry_run:
            return await run.plan(jobs)
        return await run.transfer(jobs, TransferSpec(), folder=folder, totals=totals, sources=sources)


async def _put_folder(
    settings: _Settings,
    folder: Folder,
    destination: str,
    headers: Mapping[str, str] | None,
    checksum: str | None,
) -> Report:
    """Uploads every file below `folder` under `s3://bucket/prefix/`, through links that are signed just in time.

    Uploaded parts of an earlier run are reused. An upload whose object fails for good is aborted; an interrupted one
    stays open for the next run, and is counted in the report.
    """
    config = settings.config
    if config.part_size is not None:
        check_part_size(config.part_size)
    check_named_files((), settings.failures, settings.journal)
    location = Location.parse(destination)
    if not location.is_prefix:
        raise ParameterError(f"{destination} is a key; a folder goes to a prefix, which ends in /")
    folder.require()
    # only a CRC is of all bytes of an object that is uploaded in parts
    hashed = None if checksum is None else HashedFiles(folder, checksum, sorted(COMBINABLE))
    async with AsyncExitStack() as stack:
        signing = await (await stack.enter_async_context(settings.presigner)).get()
        checksummed = None if hashed is None else ChecksummedFiles(hashed, signing, headers)
        run = await stack.enter_async_context(settings.run())
        present = stack.enter_context(PresentObjects(folder, config.part_size))
        endpoint = await endpoint_of_bucket(signing, location.bucket)
        opened = run.use_journal(
            journal_of(settings.journal, "put", folder.root, f"{location.uri} at {endpoint}"), present.are_current
        )
        if opened is not None:
            listing = BucketLister(signing, run.emit, attempts=config.attempts, transport=config.transport)
            async with listing as lister:
                if not await present.list_destination(lister, location):
                    run.skip_by(opened)
        own = run.left_out = OwnFiles(folder.root, (settings.failures, settings.journal))
        found = own.without(folder_objects(folder.root, location.bucket, location.key))
        files = selected_files(folder.root, found, settings.filters)
        jobs = FileJobs(signing, headers, config.part_size or LARGE_UPLOAD, checksum, run.refuse).of(files)
        if settings.dry_run:
            return await run.plan(jobs)

        def coordinator(context: TransferContext) -> Coordinator:
            creator = MultipartCreator(signing, context, headers=headers)
            resumer = MultipartResumer(creator, signing, config.part_size)
            return Coordinator(
                find_present=present.find if present.is_listed else None,
                may_be_present=present.may_be_present,
                open_upload=resumer.open_upload,
                end_upload=resumer.end_upload,
                sign_part=None if checksum is None else PutSigner(signing, {}),
            )

        return await run.transfer(jobs, TransferSpec(), coordinator, folder=folder, checksummed=checksummed)


async def _uploads(links: AsyncIterator[list[Remote]]) -> AsyncIterator[Sequence[Job]]:
    async for batch in links:
        yield [Job(LocalFile(link.object.file_path), link) for link in batch]
