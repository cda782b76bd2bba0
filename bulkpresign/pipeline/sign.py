"""sign: turns a list of keys into a manifest of links."""

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

from bulkpresign.aws import AwsSession
from bulkpresign.errors import ManifestError, ParameterError
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
from bulkpresign.manifest.links import old_links
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS
from bulkpresign.manifest.writing import ManifestWriter, link_writer
from bulkpresign.model import Link, Method, ObjectRef, Report
from bulkpresign.pipeline.rows.copy_targets import CopyTargets, copy_targets
from bulkpresign.pipeline.rows.hash_files import HashedSource
from bulkpresign.pipeline.rows.head import HEAD_COLUMNS, MISSING, Heads, asking_heads
from bulkpresign.pipeline.rows.resigned_uploads import resigned_rows
from bulkpresign.pipeline.rows.uploads import SigningUploads, signing_uploads, size_problem_of
from bulkpresign.pipeline.run.copies import Destination, prefix_of
from bulkpresign.pipeline.run.failures import failure_log
from bulkpresign.pipeline.run.presigner import RunPresigner
from bulkpresign.pipeline.run.sides import Sides
from bulkpresign.pipeline.sources.items import Row
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.pipeline.sources.sources import Found, Part, SizeProblem, Source, Sources, check_used
from bulkpresign.scale.signing import ShardedSigning
from bulkpresign.scale.workers import Workers, opened
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import Rules
from bulkpresign.source.filters import Filters
from bulkpresign.source.key_map import KeyMap
from bulkpresign.tables import Output, Table, open_output
from bulkpresign.tables.columns import DST_COLUMNS, DST_METHOD, DST_URL
from bulkpresign.tables.files import appears_whole
from bulkpresign.tables.reading import table_format

NO_LINKS = "it can't be signed again without its bucket and key; give s3://bucket/key, or a table with bucket, key, url"


class SignReport(Report, kw_only=True):
    """The counts of one run. `missing` is the number of `failed` objects that do not exist; they have no link."""

    missing: int = 0


async def sign(
    source: Source | Sequence[Source],
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

    `headers` are signed into PUT links and written to their rows. `query` holds response overrides of GET links, such
    as `{"response-content-type": "text/csv"}`. `filename` is the name under which a browser saves the object, with
    `{name}` for the last segment of the key. `options` has all of these and more by name; a column with the name of an
    option takes precedence in its row. `checksum` is an algorithm: PUT links are signed with the checksums of the files
    below `folder`, so that the server accepts no other bytes. With the region `auto`, the region of each bucket is
    looked up; a column `region` takes precedence in its row.

    `method` None means GET. A table of links is signed again: each row keeps its method, headers and response overrides
    unless `method`, an option or a column changes them; settings that do not apply to another method are dropped.

    A key of `s3://` may be a pattern (`*`, `?`, `[...]`, `**`) unless `literal`. It is matched against a listing; the
    path of an object is its key after the last `/` before the pattern's first special character. A pattern that matches
    nothing, and a key without an object, are errors, except that PUT links need no object. With `all_versions`, every
    version of the objects of `s3://` sources is signed, except delete markers. Its path has its id before the
    extension, such as `report.VERSION_ID.pdf`, so that the files of all versions can be stored.

    The `manifest.json` of an S3 Inventory, local or in a bucket, stands for the objects that it lists, unless
    `literal`: the latest versions, or all with `all_versions`. Its data files are checked first. `filters` select among
    the objects.

    With `head`, each object is looked up once, `concurrency` (64) at a time, and its row has the size, etag, checksum,
    content type, `last_modified` and `part_size` from the server. An object that does not exist, or whose request
    fails, counts as failed, has no link, and is written to the manifest `failures`.

    With a `part_size` (bytes), the PUT of a larger object becomes a multipart upload, which is created here: one row
    for each part, one to complete it and one to abort it. Without a `part_size`, rows of uploads are signed again for
    the same uploads, so that the uploaded parts can still be used. Memory use does not grow with the number of objects.

    With `to`, `s3://bucket/prefix/`, each row also has a PUT link for a copy of its object under that prefix, signed
    with the headers that the copy keeps: `copy` carries that out without credentials. With a `part_size`, the copy of a
    larger object is such an upload, and each of its rows has the GET link as well. This sends a HEAD for each object,
    as with `head`. `maps` rewrites the keys of copies (see `copy`). The settings that start with `destination_`
    are those of the copies' side; the others are for both sides.

    With an `executor` (`processes[:N]`, `dask:ADDRESS`, or one of `concurrent.futures`), workers sign the rows of
    tables; the manifest is the same. They get signing keys, each valid for one day and region, with the id of the
    access key and the session token. They never get the secret key. Listings, and rows of multipart uploads, are signed
    here. `head`, `to`, `part_size` and `checksum` go with no executor, nor does a manifest in Parquet.

    `presigner` is an open Presigner. It signs instead of one made from `region_name`, `endpoint_url`, `profile_name`,
    `addressing_style`, `session` and `expires_in`, and stays open.

    Raises InputError for input that can't be signed, OutputError for output that can't be written, and BreakerError if
    all objects fail the same way. Then the run leaves no file behind, and no upload open.
    """
    options = _with_filename(options or LinkOptions(), filename)
    target = _target(to, maps, method)
    head = head or target is not None
    file = os.fspath(output)
    written_format = table_format(file, format)
    _check_sharded(executor, written_format, head=head, part_size=part_size, checksum=checksum)
    rules = Rules(method, headers, query, options, head=head)
    rules.check_given(concurrency, failures)
    summing = _summing(method, checksum, folder)
    size_problem = _size_problem("PUT" if target else method, part_size, summing)
    sources = Sources(
        source,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        all_versions=all_versions,
        no_links=NO_LINKS,
        filters=filters,
    )
    await sources.begin()
    _check_tables(sources, bucket, from_format, is_for_copies=target is not None)
    columns = sources.columns  # unreadable input is reported before credentials are loaded
    if method is None and sources.need_credentials:
        rules.check("GET")
    keeps_uploads = method in {None, "PUT"} and part_size is None
    if not (keeps_uploads and any(map(_has_uploads, sources.tables))):  # each object has one row
        columns = [name for name in columns if name not in UPLOAD_COLUMNS]
    report, tell, began = SignReport(verb="sign"), broadcast(listeners), time.monotonic()
    tell(RunStarted("sign"))
    if size_problem is not None and target is None:  # the sizes of objects that are copied come from their HEAD
        await sources.check_sizes(size_problem)
    columns = _with_own(columns, head=head, copies=target is not None, parts=part_size is not None)
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
    async with AsyncExitStack() as stack:
        signing = await (await stack.enter_async_context(RunPresigner(presigner, **settings))).get()
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
        run = _Run(
            sources,
            signing,
            rules,
            report,
            workers=None if executor is None else await stack.enter_async_context(opened(executor)),
            summing=summing,
            uploads=uploads,
            keeps_uploads=keeps_uploads,
            tell=tell,
        )
        heard = broadcast([run.count, *listeners])
        run.lister = await sources.lister(stack, signing, heard, request_payer=options.request_payer)
        columns += [name for name in sources.columns if name not in {*columns, *UPLOAD_COLUMNS}]  # those of inventories
        await sources.draw(run.lister, method, must_exist=not head)
        heads = None
        if head:
            log = await stack.enter_async_context(failure_log(failures, sources))
            heads = await stack.enter_async_context(
                asking_heads(
                    signing,
                    concurrency,
                    options,
                    ca_bundle,
                    broadcast([run.count, *listeners, *([log] if log else [])]),
                )
            )
            if target is not None:
                run.targets = heads.add_columns = await copy_targets(stack, target, sides, opening)
                uploads = run.targets.uploads
        with open_output(file) as stream:
            writer = link_writer(stream, file, written_format, columns)
            await run.write(writer, heads, stream if uploads is not None and not appears_whole(file) else None)
            writer.finish()
        report.uploads_opened = uploads.opened if uploads else 0
    report.seconds = time.monotonic() - began
    tell(RunFinished(report))
    return report


def _with_own(columns: Sequence[str], *, head: bool, copies: bool, parts: bool) -> list[str]:
    """The carried columns, and those that this run fills."""
    heads, targets = HEAD_COLUMNS if head else (), DST_COLUMNS if copies else ()
    methods, uploads = (DST_METHOD,) if copies and parts else (), UPLOAD_COLUMNS if parts else ()
    return list(dict.fromkeys([*columns, *heads, *targets, *methods, *uploads]))


class _Run:
    """Reads, signs and writes rows, a batch at a time."""

    def __init__(
        self,
        sources: Sources,
        presigner: Presigner,
        rules: Rules,
        report: SignReport,
        *,
        workers: Workers | None,
        summing: HashedSource | None,
        uploads: SigningUploads | None,
        keeps_uploads: bool,
        tell: Listener,
    ) -> None:
        self._tell, self._workers = tell, workers
        self._sources, self._presigner, self._rules, self._report = sources, presigner, rules, report
        self._summing, self._uploads, self._keeps_uploads = summing, uploads, keeps_uploads
        #: Lists the sources in buckets.
        self.lister: BucketLister | None = None
        #: Makes the rows of copies, if the rows are for copies.
        self.targets: CopyTargets | None = None

    def count(self, event: Event) -> None:
        """Counts failures of HEAD requests, and retries."""
        if isinstance(event, ObjectFinished):
            self._report.failed += 1
            self._report.missing += event.outcome.code in MISSING
        elif isinstance(event, ObjectRetried):
            self._report.retries += 1

    async def write(self, writer: ManifestWriter[Link], heads: Heads | None, flushed: Output | None) -> None:
        """Writes the rows of all objects; with `heads`, only those of objects that exist.

        `flushed` is the output if rows must be written at once: an upload stays open only if its rows are written.
        """

        async def take(items: Sequence[Row]) -> None:
            await self._presigner.refresh()
            links = self._signed(items)
            if self.targets is None:
                keep(links)
                return
            async for rows in self.targets.rows(links):
                keep(rows)

        def keep(links: Sequence[Link]) -> None:
            writer.write(links)
            if flushed is not None:
                flushed.flush()
            self.count_done(len(links))

        if heads is not None:
            await heads.run(self._all_items(), take)
            return
        sharded = self._sharded(writer)
        for part in self._sources.parts:
            if sharded is not None and isinstance(part, Table) and not self._is_signed_with_uploads(part):
                await sharded.write(part, self._sources.rows_in(part))
                continue
            async for links in self._links(part):
                keep(links)

    def _sharded(self, writer: ManifestWriter[Link]) -> ShardedSigning | None:
        if self._workers is None:
            return None
        return ShardedSigning(
            self._workers, self._presigner, self._rules, writer, bucket=self._sources.bucket, count=self.count_done
        )

    def count_done(self, count: int) -> None:
        """Counts links that were written."""
        self._report.done += count
        self._tell(ObjectsSigned(count))

    def _is_signed_with_uploads(self, table: Table) -> bool:
        """True if rows of uploads are signed again for the same uploads."""
        return self._keeps_uploads and _has_uploads(table)

    async def _all_items(self) -> AsyncIterator[Sequence[Row]]:
        for part in self._sources.parts:
            async for items in self._items(part):
                yield items

    async def _links(self, part: Part) -> AsyncIterator[list[Link]]:
        """The rows of all objects of a source: one each, except for objects that are, or become, multipart uploads."""
        if isinstance(part, Table) and self._is_signed_with_uploads(part):
            rows = self._sources.rows_in(part)
            again = resigned_rows(part.file, rows, self._presigner, lambda some: self._signed_alone(part, some))
            async for links in again:
                yield links
            return
        async for items in self._items(part):
            if self._uploads is None:
                yield self._signed(items)
                continue
            async for links in self._uploads.rows(items, self._signed):
                yield links

    async def _items(self, part: Part) -> AsyncIterator[Sequence[Row]]:
        """The objects or old links of a source. Regions and credentials are loaded before each batch is returned."""
        method = self._rules.method
        problem = self._uploads.size_problem if self._uploads else None
        must_exist = not self._rules.head
        async for found in self._sources.found_in(part, self.lister, method, problem, must_exist=must_exist):
            refs = await self._summing(found) if self._summing else found.refs
            await self._presigner.prepare(refs)
            yield self._again(found, refs) if isinstance(part, Table) and part.is_links else refs

    def _again(self, found: Found, refs: Sequence[ObjectRef]) -> list[Link]:
        assert found.rows is not None  # noqa: S101 - the source is a table
        links = old_links(found.rows, refs)
        self._rules.check_rows(found.rows, links)
        return links

    def _signed(self, items: Sequence[Row]) -> list[Link]:
        return self._rules.signed(self._presigner, items)

    def _signed_alone(self, table: Table, links: Sequence[tuple[Link, int]]) -> list[Link]:
        """Signs the rows that belong to no upload."""
        for link, line in links:
            if self._rules.method is None and (problem := self._rules.problem(link.method)):
                raise ManifestError(problem, file=table.file, line=line, column="method")
            for column in ("bucket", "key"):
                if not getattr(link.object, column):
                    raise ManifestError(
                        "the row has none: it can't be signed again", file=table.file, line=line, column=column
                    )
        return self._signed([link for link, _ in links])


def _check_tables(sources: Sources, bucket: str | None, from_format: str | None, *, is_for_copies: bool) -> None:
    """Raises InputError for a setting without a table, and for the rows of copies in parts."""
    check_used(sources, bucket, from_format)
    for table in sources.tables:
        if _has_uploads(table) and DST_URL in table.columns and not is_for_copies:
            problem = "the rows of copies in parts can't be signed again: sign their objects with --to instead"
            raise ManifestError(problem, file=table.file)


def _check_sharded(
    executor: str | Executor | None, written_format: str, *, head: bool, part_size: int | None, checksum: str | None
) -> None:
    """Raises ParameterError for settings with which workers can't sign."""
    if executor is None:
        return
    if written_format == "parquet":
        raise ParameterError("executor is for csv, json and jsonl: the rows of a Parquet file are encoded together")
    needed_here = {"head or to": head, "a part size": part_size is not None, "a checksum": checksum is not None}
    for name, is_given in needed_here.items():
        if is_given:
            raise ParameterError(f"executor does not go with {name}: its requests and files take longer than signing")


def _with_filename(options: LinkOptions, filename: str | None) -> LinkOptions:
    if filename is None:
        return options
    if options.filename is not None:
        raise ParameterError("filename is given twice: by itself, and among the options")
    return msgspec.structs.replace(options, filename=filename)


def _target(to: str | None, maps: Sequence[str], method: str | None) -> Destination | None:
    """Where copies go, None if no links for copies are wanted."""
    if to is None:
        if maps:
            raise ParameterError("maps rewrites the keys of copies, and is for to")
        return None
    if method not in {None, "GET"}:
        raise ParameterError("to is for GET links: it adds the PUT links of their copies")
    return Destination(prefix_of(to), KeyMap(maps))


def _has_uploads(table: Table) -> bool:
    return table.is_links and "upload_id" in table.columns


def _size_problem(method: str | None, part_size: int | None, summing: HashedSource | None) -> SizeProblem | None:
    if part_size is None:
        return None
    if method != "PUT":
        raise ParameterError("a part size is for PUT links, or for copies, with to")
    if summing is not None:
        raise ParameterError("a checksum is signed for a whole file: it does not go with a part size")
    return size_problem_of(part_size)


def _summing(method: str | None, checksum: str | None, folder: str | os.PathLike[str] | None) -> HashedSource | None:
    if (checksum is None) != (folder is None):
        raise ParameterError(
            "a checksum is taken from files: it needs an algorithm and a folder, --checksum and --from"
        )
    if checksum is None or folder is None:
        return None
    if method != "PUT":
        raise ParameterError("checksums are signed into PUT links")
    return HashedSource(folder, checksum)
