"""put: files in a folder go out through links, or into a bucket with links signed just in time."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.lowlevel

from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.model import Link, ObjectRef, Report, Upload, without_query
from bulkpresign.pipeline.checking import check, claim_paths
from bulkpresign.pipeline.completed import files_are_current
from bulkpresign.pipeline.journals import journal_of
from bulkpresign.pipeline.named_files import check_named_files
from bulkpresign.pipeline.present import PresentObjects
from bulkpresign.pipeline.renewing import by_signing
from bulkpresign.pipeline.running import PART_CONCURRENCY, Bounds, Machine, Run
from bulkpresign.pipeline.sources import Source, Sources
from bulkpresign.pipeline.uploads import Opener, Reopener
from bulkpresign.signing.parts import check_part_size
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.folder import folder_objects
from bulkpresign.source.location import Location
from bulkpresign.transfer.folder import Folder
from bulkpresign.transfer.getting import PART_SIZE
from bulkpresign.transfer.leases import Lease, Renew
from bulkpresign.transfer.multipart import Uploader
from bulkpresign.transfer.putting import Putter


async def put(
    links: Source | Sequence[Source],
    source: str | os.PathLike[str],
    *,
    concurrency: int = 64,
    part_concurrency: int = PART_CONCURRENCY,
    attempts: int = 5,
    limit_rate: int | None = None,
    limit: int | None = None,
    failures: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    ca_bundle: str | None = None,
    renew_credentials: bool = False,
    renew_command: str | None = None,
    renew_url: str | None = None,
    expires_in: int = 3600,
    from_format: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: Any = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Uploads files below the folder `source` through PUT links, with the headers that stand in their rows.

    Needs no credentials, except where `renew_credentials` signs links again that run out. A file that is missing, or an
    upload that fails, is counted in the report. Objects whose rows are a multipart upload go up in parts,
    `part_concurrency` of each at a time; those parts that are up are kept over runs. Bounds, journal
    (`SOURCE.put.journal` unless given), renewal and errors are those of `get`.
    """
    bounds = Bounds(
        concurrency=concurrency,
        part_concurrency=part_concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
    )
    sources = Sources(links, from_format=from_format)
    check_named_files(sources.tables, failures, journal)
    await sources.begin()
    if sources.need_credentials:
        raise ParameterError("put needs a table of links, with a column url: make one with sign --method PUT")
    folder = Folder(source)
    folder.require()

    def claim(refs: Sequence[ObjectRef]) -> None:
        claim_paths(index, [(ref, ref.uri) for ref in refs])

    async with AsyncExitStack() as stack:
        index = stack.enter_context(PathIndex())
        run = await stack.enter_async_context(
            Run("put", bounds=bounds, ca_bundle=ca_bundle, failures=failures, listeners=listeners)
        )
        opened = run.use_journal(journal_of(journal, "put", folder.root, "its links"), files_are_current(folder.root))
        run.skipped_by = None if opened is None else opened.file.name  # links can't be asked what is there
        totals = await check(sources, folder.check_sources, index, "PUT", run.completed, listeners=listeners)
        presigner = None
        if renew_credentials:
            presigner = await stack.enter_async_context(
                Presigner(
                    region_name, endpoint_url, profile_name, addressing_style, expires_in, session, ca_bundle=ca_bundle
                )
            )
        renew = await run.renewal(presigner, renew_command, renew_url)
        leases = sources.leases(None, "PUT", renew=renew, streamed=claim)
        if dry_run:
            return await run.plan(leases)
        return await run.transfer(
            leases,
            lambda machine: _putter(machine, folder, bounds),
            uploads_with=lambda machine: _uploader(machine, folder, bounds),
            totals=totals,
            sources=sources,
        )


async def put_folder(
    source: str | os.PathLike[str],
    destination: str,
    *,
    concurrency: int = 64,
    part_size: int = PART_SIZE,
    part_concurrency: int = PART_CONCURRENCY,
    attempts: int = 5,
    limit_rate: int | None = None,
    limit: int | None = None,
    failures: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    ca_bundle: str | None = None,
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

    Links are signed just in time. The content type is guessed from the name, unless `headers` has one. Files over
    `part_size` (bytes, 5 MiB to 5 GiB) go up in parts, `part_concurrency` of each at a time; the parts are larger where
    there would be more than S3 takes. What is up of an earlier run's upload is found and kept. An upload whose object
    can't be put is ended; one that was interrupted stays open for the next run, and is counted in the report.
    """
    bounds = Bounds(
        concurrency=concurrency,
        part_size=part_size,
        part_concurrency=part_concurrency,
        attempts=attempts,
        limit_rate=limit_rate,
        limit=limit,
    )
    check_part_size(part_size)
    check_named_files((), failures, journal)
    location = Location.parse(destination)
    if not location.is_prefix:
        raise ParameterError(f"{destination} is a key; a folder goes to a prefix, which ends in /")
    folder = Folder(source)
    folder.require()
    async with AsyncExitStack() as stack:
        presigner = await stack.enter_async_context(
            Presigner(
                region_name, endpoint_url, profile_name, addressing_style, expires_in, session, ca_bundle=ca_bundle
            )
        )
        run = await stack.enter_async_context(
            Run("put", bounds=bounds, ca_bundle=ca_bundle, failures=failures, listeners=listeners)
        )
        present = stack.enter_context(PresentObjects(folder, part_size))
        opened = run.use_journal(
            journal_of(journal, "put", folder.root, await _named(location, presigner)), present.are_current
        )
        if opened is not None and not await present.list_destination(presigner, location):
            run.skipped_by = opened.file.name
        leases = _signed_files(folder.root, location, presigner, headers, part_size)
        if dry_run:
            return await run.plan(leases)

        def reopener(machine: Machine) -> Reopener:
            opener = Opener(
                presigner, machine.http, headers=headers, emit=machine.emit, pace=machine.pace, attempts=attempts
            )
            return Reopener(opener, presigner, part_size)

        return await run.transfer(
            leases,
            lambda machine: present.unless_there(
                reopener(machine).ending_old(_putter(machine, folder, bounds), machine.journal)
            ),
            uploads_with=lambda machine: _uploader(machine, folder, bounds, reopener(machine), present),
        )


async def _named(location: Location, presigner: Presigner) -> str:
    """A destination for the journal: the same bucket's name at another endpoint is another place."""
    await presigner.refresh([location.bucket])
    (url,) = presigner.url_batch(location.bucket, ["x"])
    parts = urlsplit(url)
    return f"s3://{location.bucket}/{location.key} at {parts.scheme}://{parts.netloc}"


def _putter(machine: Machine, folder: Folder, bounds: Bounds) -> Putter:
    return Putter(machine.http, folder, bounds.attempts, machine.emit, pace=machine.pace)


def _uploader(
    machine: Machine,
    folder: Folder,
    bounds: Bounds,
    opener: Reopener | None = None,
    present: PresentObjects | None = None,
) -> Uploader:
    return Uploader(
        machine.http,
        folder,
        bounds.attempts,
        machine.emit,
        pace=machine.pace,
        part_concurrency=bounds.part_concurrency,
        parts=machine.journal,
        opener=opener,
        is_there=None if present is None else present.is_there,
    )


async def _signed_files(
    root: Path, location: Location, presigner: Presigner, headers: Mapping[str, str] | None, part_size: int
) -> AsyncIterator[Sequence[Lease]]:
    renew = by_signing(presigner)
    for objects in folder_objects(root, location.bucket, location.key):
        small = [ref for ref in objects if (ref.size or 0) <= part_size]
        async for links in presigner.sign(small, "PUT", headers=headers):
            yield [Lease(link, renew) for link in links]
        large = [ref for ref in objects if (ref.size or 0) > part_size]
        async for links in presigner.sign(large, "PUT"):
            yield [_to_be_opened(link, renew) for link in links]
        await anyio.lowlevel.checkpoint()


def _to_be_opened(put: Link, renew: Renew) -> Lease:
    """An upload that is opened when its turn comes. Until then it has neither id nor links, and a url without query."""
    link = Link("POST", without_query(put.url), {}, None, put.object)
    return Lease(link, renew, Upload(put.object, "", (), link))
