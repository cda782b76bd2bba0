"""sign: turns a list of keys into a manifest of links."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from bulkpresign.aws import AwsSession
from bulkpresign.events import (
    Event,
    Listener,
    ObjectFinished,
    ObjectRetried,
    ObjectsSigned,
    RunFinished,
    RunStarted,
    broadcast,
)
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.manifest.forms import without_forms
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS
from bulkpresign.manifest.writing import ManifestWriter, link_writer
from bulkpresign.model import Link, Method, Report
from bulkpresign.pipeline.rows.copy_targets import CopyTargets, copy_targets
from bulkpresign.pipeline.rows.head import MISSING, Heads, asking_heads
from bulkpresign.pipeline.rows.repeated_paths import RepeatedPaths
from bulkpresign.pipeline.rows.sign_settings import (
    check_sharded,
    check_tables,
    copy_destination,
    filled_columns,
    hashed_source,
    size_problem_for,
    with_filename,
    written_format,
)
from bulkpresign.pipeline.rows.signing import RowSigner
from bulkpresign.pipeline.rows.uploads import signing_uploads
from bulkpresign.pipeline.run.failures import failure_log, without_reasons
from bulkpresign.pipeline.run.sides import Sides
from bulkpresign.pipeline.sources.given_rows import Row
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.sources import Source, Sources
from bulkpresign.scale.signing import ShardedSigning
from bulkpresign.scale.workers import opened
from bulkpresign.signing.options import LinkOptions, options_of
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import Rules
from bulkpresign.source.filters import Filters
from bulkpresign.tables import Output, Table, open_output
from bulkpresign.tables.files import appears_whole

NO_LINKS = "it can't be signed again without its bucket and key; give s3://bucket/key, or a table with bucket, key, url"


#: Writes links into the manifest of the run.
Write = Callable[[Sequence[Link]], None]


class SignReport(Report, kw_only=True):
    """The counts of one run. `missing` is the number of `failed` objects that do not exist; they have no link.

    `repeated_paths` counts the links from several sources in buckets whose path an earlier link has, and
    `first_repeated` are the uris of the first two objects with one path. `get` refuses such a manifest.
    """

    missing: int = 0
    repeated_paths: int = 0
    first_repeated: tuple[str, str] | None = None


async def sign(
    source: Source | Items,
    output: str | os.PathLike[str] = "-",
    *,
    bucket: str | None = None,
    method: Method | None = None,
    expires_in: int = 3600,
    format: str | None = None,  # noqa: A002 - the option's name
    from_format: str | None = None,
    literal: bool = False,
    all_versions: bool = False,
    filters: Filters | None = None,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    filename: str | None = None,
    options: LinkOptions | None = None,
    part_size: int | None = None,
    checksum: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    head: bool = False,
    to: str | None = None,
    maps: Sequence[str] = (),
    tags: bool = True,
    concurrency: int | None = None,
    failures: str | os.PathLike[str] | None = None,
    ca_bundle: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: AwsSession | None = None,
    presigner: Presigner | None = None,
    destination_region_name: str | None = None,
    destination_endpoint_url: str | None = None,
    destination_profile_name: str | None = None,
    destination_presigner: Presigner | None = None,
    executor: str | Executor | None = None,
    listeners: Sequence[Listener] = (),
) -> SignReport:
    """Signs every object of `source` and writes the links to `output` (`-`: standard output), completely or not at all.

    `source` is a file or `s3://...`, or a sequence of these; or objects (`ObjectRef`) and links (`Link`), which are
    signed again, in any iterable or async iterable, as for `get`.

    `headers` are signed into PUT links and written to their rows. `query` holds response overrides of GET links, such
    as `{"response-content-type": "text/csv"}`. `filename` is the name under which a browser saves the object, with
    `{name}` for the last segment of the key. `options` has all of these and more by name; a column with the name of an
    option takes precedence in its row. `checksum` is an algorithm: PUT links are signed with the checksums of the files
    below `folder`, so that the server accepts no other bytes. With the region `auto`, the region of each bucket is
    looked up; a column `region` takes precedence in its row.

    `method` None means GET. A table of links is signed again: each row keeps its method, headers and response overrides
    unless `method`, an option or a column changes them; settings that do not apply to another method are dropped. In a
    list of keys, a column `method` with another method is an error, and so is a column `expires_in` in any table.

    A key of `s3://` may be a pattern (`*`, `?`, `[...]`, `**`) unless `literal`. It is matched against a listing; the
    path of an object is its key after the last `/` before the pattern's first special character. A pattern that matches
    nothing, and a key without an object, are errors, except that PUT links need no object. With `all_versions`, every
    version of the objects of `s3://` sources is signed, except delete markers. Its path has its id before the
    extension, such as `report.VERSION_ID.pdf`, so that the files of all versions can be stored.

    An `output` whose name ends in `.txt` is a list of the urls, one a line. It holds GET links without headers, and no
    names: files get those of the urls.

    The `manifest.json` of an S3 Inventory, local or in a bucket, stands for the objects that it lists, unless
    `literal`: the latest versions, or all with `all_versions`. Its data files are checked first. `filters` select among
    the objects.

    With `head`, each object is looked up once, `concurrency` (64) at a time, and its row has the size, etag, checksum,
    content type, `last_modified` and `part_size` from the server. An object that does not exist, or whose request
    fails, counts as failed, has no link, and is written to the manifest `failures`.

    With a `part_size` (bytes), the PUT of a larger object becomes a multipart upload, which is created here: one row
    for each part, one to complete it and one to abort it. Without a `part_size`, rows of uploads are signed again for
    the same uploads, so that the uploaded parts can still be used. Memory use does not grow with the number of objects.

    A column `reason` of a table of links is left out: in a failures file it tells why the old link failed.

    The row of a copy is signed again with `to` or a `method` only: else the link of its copy would stay as it is. An
    upload form is not signed again: `post` makes it.

    With `to`, `s3://bucket/prefix/`, each row also has a PUT link for a copy of its object under that prefix, signed
    with the headers that the copy keeps, and the tags of its object: `copy` carries that out without credentials. With
    a `part_size`, the copy of a larger object is such an upload, and each of its rows has the GET link as well. This
    sends a HEAD for each object, as with `head`, and a request for the tags of those that have some, unless `tags` is
    False: then copies have none. `maps` rewrites the keys of copies (see `copy`). The settings that start with
    `destination_` are those of the copies' side; the others are for both sides.

    With an `executor` (`processes[:N]`, `dask:ADDRESS`, or one of `concurrent.futures`), workers sign the rows of
    tables; the manifest is the same. They get signing keys, each valid for one day and region, with the id of the
    access key and the session token. They never get the secret key. Listings, and rows of multipart uploads, are signed
    here. `head`, `to`, `part_size` and `checksum` go with no executor, nor does a manifest in Parquet.

    `presigner` is an open Presigner. It signs instead of one made from `region_name`, `endpoint_url`, `profile_name`,
    `addressing_style`, `session` and `expires_in`, and stays open.

    Raises InputError for input that can't be signed, OutputError for output that can't be written, and BreakerError if
    all objects fail the same way. Then the run leaves no file behind, and no upload open.
    """
    options = with_filename(options_of(options), filename)
    target = copy_destination(to, maps, method, tags=tags)
    head = head or target is not None
    file = os.fspath(output)
    output_kind = written_format(file, format, method, target)
    check_sharded(executor, output_kind, head=head, part_size=part_size, checksum=checksum)
    rules = Rules(method, headers, query, options, head=head)
    rules.check_given(concurrency, failures)
    hashed = hashed_source(method, checksum, folder)
    size_problem = size_problem_for("PUT" if target else method, part_size, hashed)
    sources = Sources(
        source,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        all_versions=all_versions,
        no_links=NO_LINKS,
        takes_items=True,
        refuses_copies=method is None and target is None,
        filters=filters,
        check=lambda batches: rules.checked(without_reasons(without_forms(batches))),
    )
    async with AsyncExitStack() as stack:
        await sources.begin(stack)
        check_tables(sources, bucket, from_format, is_for_copies=target is not None)
        keeps_uploads = method in {None, "PUT"} and part_size is None
        columns = filled_columns(  # unreadable input is reported before credentials are loaded
            sources, keeps_uploads=keeps_uploads, head=head, copies=target is not None, parts=part_size is not None
        )
        if method is None and sources.need_credentials:
            rules.check("GET")
        counts = _Counts(listeners)
        counts.tell(RunStarted("sign"))
        if size_problem is not None and target is None:  # the sizes of objects that are copied come from their HEAD
            await sources.check_sizes(size_problem)
        # before credentials are loaded, so that both happen at once
        workers = None if executor is None else await stack.enter_async_context(opened(executor))
        settings: dict[str, Any] = {
            "region_name": region_name,
            "endpoint_url": endpoint_url,
            "profile_name": profile_name,
            "addressing_style": addressing_style,
            "expires_in": expires_in,
            "session": session,
            "ca_bundle": ca_bundle,
        }
        sides = Sides(
            presigner,
            destination_presigner,
            both=settings,
            source={},
            destination={
                "region_name": destination_region_name,
                "endpoint_url": destination_endpoint_url,
                "profile_name": destination_profile_name,
            },
        )
        signing = await (await stack.enter_async_context(sides)).source.get()
        opening = (
            None
            if part_size is None
            else partial(
                signing_uploads,
                part_size=part_size,
                headers=None if target else headers,
                options=LinkOptions() if target else options,
                as_they_come=not appears_whole(file),
                ca_bundle=ca_bundle,
                listeners=listeners,
            )
        )
        uploads = None if opening is None or target else await stack.enter_async_context(opening(signing))
        lister = await sources.lister(stack, signing, counts.emit, request_payer=options.request_payer)
        columns += [name for name in sources.columns if name not in {*columns, *UPLOAD_COLUMNS}]  # those of inventories
        await sources.draw(lister, method, must_exist=not head)
        rows = RowSigner(sources, lister, signing, rules, hashed=hashed, uploads=uploads, keeps_uploads=keeps_uploads)
        heads, targets = None, None
        if head:
            log = await stack.enter_async_context(failure_log(failures, sources))
            heads = await stack.enter_async_context(
                asking_heads(
                    signing, concurrency, options, ca_bundle, broadcast([counts.emit, *([log] if log else [])])
                )
            )
        if heads is not None and target is not None:
            targets = heads.add_columns = await copy_targets(
                stack, target, sides, opening, heads.read_tags if tags else None
            )
            uploads = targets.uploads
        with open_output(file) as stream:
            writer = link_writer(stream, file, output_kind, columns)
            write = _writing(
                writer,
                counts,
                flushed=None if uploads is None or appears_whole(file) else stream,
                paths=_repeated_paths(stack, sources, counts) if target is None and output_kind != "txt" else None,
            )
            if heads is not None:
                await _write_existing(rows, heads, targets, write)
            else:
                sharded = (
                    ShardedSigning(workers, signing, rules, writer, bucket=bucket, count=counts.written)
                    if workers is not None
                    else None
                )
                await _write_all(rows, sources, sharded, write)
            writer.finish()
        return counts.finished(uploads.opened if uploads else 0, may_end_early=signing.has_unknown_end)


class _Counts:
    """Counts what one run does, and tells its listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.report = SignReport(verb="sign")
        self._began = time.monotonic()
        self.tell = broadcast(listeners)

    def emit(self, event: Event) -> None:
        """Takes an event of a request: a retry, or an object whose HEAD request failed."""
        if isinstance(event, ObjectFinished):
            self.report.failed += 1
            self.report.missing += event.outcome.code in MISSING
        elif isinstance(event, ObjectRetried):
            self.report.retries += 1
        self.tell(event)

    def written(self, count: int) -> None:
        """Takes the number of links that were written."""
        self.report.done += count
        self.tell(ObjectsSigned(count))

    def note_repeated(self, first: str, second: str) -> None:
        """Takes the uris of two objects with one path."""
        self.report.repeated_paths += 1
        self.report.first_repeated = self.report.first_repeated or (first, second)

    def finished(self, uploads_opened: int, *, may_end_early: bool) -> SignReport:
        """The report, at the end of the run."""
        self.report.uploads_opened, self.report.may_end_early = uploads_opened, may_end_early
        self.report.seconds = time.monotonic() - self._began
        self.tell(RunFinished(self.report))
        return self.report


def _repeated_paths(stack: AsyncExitStack, sources: Sources, counts: _Counts) -> RepeatedPaths | None:
    """Finds links that have the path of an earlier one. None unless at least two sources are in buckets.

    Its temporary file is closed with `stack`.
    """
    if not sources.have_relative_paths:
        return None
    return RepeatedPaths(stack.enter_context(PathIndex()), counts.note_repeated)


def _writing(
    writer: ManifestWriter[Link], counts: _Counts, *, flushed: Output | None, paths: RepeatedPaths | None
) -> Write:
    """Writes and counts links, and adds them to `paths`.

    `flushed` is the output if rows are written at once: an upload stays open only then.
    """

    def write(links: Sequence[Link]) -> None:
        writer.write(links)
        if flushed is not None:
            flushed.flush()
        if paths is not None:
            paths.add(links)
        counts.written(len(links))
        counts.report.add_archived(link.object for link in links if link.object.archived and link.method == "GET")

    return write


async def _write_existing(rows: RowSigner, heads: Heads, targets: CopyTargets | None, write: Write) -> None:
    """Writes the rows of the objects that exist; with `targets`, those of their copies."""

    async def take(items: Sequence[Row]) -> None:
        links = await rows.links_of(items)
        if targets is None:
            write(links)
            return
        async for some in targets.rows(links):
            write(some)

    await heads.run(rows.items(), take)


async def _write_all(rows: RowSigner, sources: Sources, sharded: ShardedSigning | None, write: Write) -> None:
    """Writes the rows of all objects. With `sharded`, workers sign those of tables."""
    for part in rows.parts:
        if sharded is not None and isinstance(part, Table) and not rows.signs_uploads_again(part):
            await sharded.write(part, sources.blocks_in(part))
            continue
        async for links in rows.links(part):
            write(links)
