"""abort: aborts multipart uploads that were created and not completed; the server deletes their parts."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial

from bulkpresign.aws import AwsSession
from bulkpresign.errors import ManifestError
from bulkpresign.events import Listener, RunFinished, RunStarted, broadcast
from bulkpresign.http.client import Transport
from bulkpresign.manifest.copies import target_links
from bulkpresign.manifest.links import links_of, signed_at_of
from bulkpresign.manifest.rows import csv_rows
from bulkpresign.manifest.uploads import check_upload_url, upload_id_of
from bulkpresign.model import Link, ObjectRef, Report, utc_now
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.run.run import Run
from bulkpresign.pipeline.sources.renewals import by_signing
from bulkpresign.pipeline.sources.sources import Sources
from bulkpresign.pipeline.sources.table_rows import rows_of
from bulkpresign.signing.parts import with_columns
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.location import SCHEME, Location
from bulkpresign.tables import Rows, Table, open_output
from bulkpresign.tables.columns import DST_URL
from bulkpresign.tables.writing import TableWriter
from bulkpresign.transfer.engine.jobs import NOTHING, Job, RenewableLink
from bulkpresign.transfer.spec import TransferSpec

_COLUMNS = ("bucket", "key", "upload_id", "age")

#: Jobs with links that abort uploads, each with the time when the upload was created (None: unknown).
_Found = AsyncIterator[list[tuple[Job, datetime | None]]]


async def abort(
    what: str | os.PathLike[str],
    output: str | os.PathLike[str] = "-",
    *,
    older_than: int | None = None,
    dry_run: bool = False,
    concurrency: int | None = None,
    attempts: int = 5,
    transport: Transport = "auto",
    ca_bundle: str | None = None,
    from_format: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: AwsSession | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Aborts the multipart uploads of `what`: a table of links, or the open uploads under `s3://bucket/prefix/`.

    A table, of uploads or of copies in parts, needs no credentials: its rows that abort uploads are used. `older_than`
    (seconds) leaves younger uploads alone, and those of unknown age. A table does not have the time when an upload was
    created; the time when the link was signed is used instead. An upload that no longer exists counts as skipped. A dry
    run aborts no upload and writes the uploads to `output` as CSV, with their age in seconds.

    Raises InputError for input that can't be used, before a request is sent.
    """
    config = TransferConfig(concurrency=concurrency, attempts=attempts, transport=transport)
    source = os.fspath(what)
    async with AsyncExitStack() as stack:
        if source.startswith(SCHEME):
            location = Location.parse(source)
            presigner = await stack.enter_async_context(
                Presigner(
                    region_name, endpoint_url, profile_name, addressing_style, session=session, ca_bundle=ca_bundle
                )
            )
            found = _listed(presigner, location)
        else:
            sources = Sources(source, from_format=from_format)
            await sources.begin()
            (table,) = sources.tables
            _check(table)
            found = _named(table)
        uploads = _old_enough(found, older_than)
        if dry_run:
            return await _listing(uploads, os.fspath(output), listeners)
        run = await stack.enter_async_context(Run("abort", config=config, ca_bundle=ca_bundle, listeners=listeners))
        return await run.transfer(_jobs(uploads), TransferSpec())


def _check(table: Table) -> None:
    """Checks a file of links before a request is sent. Raises ManifestError if it is not valid."""
    if not table.is_links:
        raise ManifestError("this is no table of links: abort takes one, or s3://bucket/prefix/", file=table.file)
    if not table.is_stream:
        for rows in table:
            _ending_links(rows)


async def _named(table: Table) -> _Found:
    async for rows in rows_of(table):
        yield [(Job(NOTHING, RenewableLink(link)), signed_at_of(link.url)) for link in _ending_links(rows)]


def _ending_links(rows: Rows) -> list[Link]:
    """The links of some rows that abort uploads. Raises ManifestError if the url of one does not name the upload."""
    links = links_of(rows)
    if DST_URL in rows.columns:
        links = target_links(rows.file, links, rows.lines)
    numbered = zip(links, rows.lines, strict=True)
    ending = [(link, line) for link, line in numbered if link.method == "DELETE" and upload_id_of(link.object)]
    for link, line in ending:
        check_upload_url(rows.file, link, line)
    return [link for link, _ in ending]


async def _listed(presigner: Presigner, location: Location) -> _Found:
    renew, ref = by_signing(presigner), partial(ObjectRef, location.bucket)
    async for page in presigner.aws.list_uploads(location.bucket, location.key):
        await presigner.refresh()
        yield [
            (Job(NOTHING, RenewableLink(_ending(presigner, ref(key), upload_id), renew)), opened_at)
            for key, upload_id, opened_at in page
            if location.is_prefix or key == location.key
        ]


def _ending(presigner: Presigner, ref: ObjectRef, upload_id: str) -> Link:
    (link,) = presigner.sign_batch([with_columns(ref, upload_id=upload_id)], "DELETE", query={"uploadId": upload_id})
    return link


async def _old_enough(found: _Found, older_than: int | None) -> _Found:
    latest = None if older_than is None else utc_now() - timedelta(seconds=older_than)
    async for batch in found:
        yield [(job, at) for job, at in batch if latest is None or (at is not None and at <= latest)]


async def _jobs(uploads: _Found) -> AsyncIterator[list[Job]]:
    async for batch in uploads:
        yield [job for job, _ in batch]


async def _listing(uploads: _Found, output: str, listeners: Sequence[Listener]) -> Report:
    """Writes the uploads as CSV and counts them."""
    report, tell = Report(verb="abort", planned=0), broadcast(listeners)
    tell(RunStarted("abort"))
    with open_output(output) as stream:
        writer = TableWriter(stream, "csv")
        writer.header(_COLUMNS)
        async for batch in uploads:
            if batch:
                writer.rows(csv_rows(dict(zip(_COLUMNS, zip(*map(_row, batch), strict=True), strict=True))))
                report.planned = (report.planned or 0) + len(batch)
        writer.finish()
    tell(RunFinished(report))
    return report


def _row(upload: tuple[Job, datetime | None]) -> tuple[str, str, str, str]:
    job, opened_at = upload
    ref = job.link.object
    age = "" if opened_at is None else str(int((utc_now() - opened_at).total_seconds()))
    return ref.bucket, ref.key, upload_id_of(ref), age
