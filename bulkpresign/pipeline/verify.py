"""verify: the files of a folder against a manifest, offline: what differs, what is missing, what is extra."""

import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from itertools import islice
from typing import cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from bulkpresign.errors import NameRefusedError, OutputError, ParameterError
from bulkpresign.events import Listener, RunFinished, RunStarted
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.uploads import whole_rows
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.run.evidence import JournalEvidence
from bulkpresign.pipeline.run.failures import failure_log
from bulkpresign.pipeline.run.preflight import Totals, check, reserve_paths
from bulkpresign.pipeline.sources.given_rows import object_of
from bulkpresign.pipeline.sources.items import Items
from bulkpresign.pipeline.sources.named_files import check_named_files
from bulkpresign.pipeline.sources.selecting import Picker
from bulkpresign.pipeline.sources.sources import Source, Sources
from bulkpresign.pipeline.sources.table_rows import rows_of
from bulkpresign.pipeline.verification.counts import Counts, Extras, VerifyReport
from bulkpresign.pipeline.verification.threads import map_in_threads, on_read
from bulkpresign.proof.files import FileVerifier, Row, batches_of
from bulkpresign.proof.tree import walk
from bulkpresign.scale.verifying import verify_in_workers
from bulkpresign.scale.workers import opened
from bulkpresign.source.filters import Filters, RowError, Selector, candidates_of
from bulkpresign.source.location import SCHEME
from bulkpresign.tables import Rows, Table, objects_of
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.disk.paths import path_problem

_LOOK_UP = 512


async def verify(
    manifest: Source | Items,
    folder: str | os.PathLike[str],
    *,
    bucket: str | None = None,
    concurrency: int | None = None,
    failures: str | os.PathLike[str] | None = None,
    journal: str | os.PathLike[str] | None = None,
    accept_size: bool = False,
    from_format: str | None = None,
    filters: Filters | None = None,
    executor: str | Executor | None = None,
    listeners: Sequence[Listener] = (),
    extras: Extras | None = None,
) -> VerifyReport:
    """Checks the files below `folder` against tables of objects or links; links may have expired, as nothing is sent.

    Instead of tables, `Link`s, `ObjectRef`s and urls in any iterable or async iterable are taken, as for `get`.

    `concurrency` files are read at a time, in threads, a block of 1 MiB of each in memory; None is one for each CPU.
    Where a row tells no checksum, or not how large the parts of its etag are, the `journal` of the download is used
    (`FOLDER.journal` unless given). A file of which only the size can be compared is unproven, unless `accept_size` is
    given.
    With an `executor` (see `get`), its workers hash the files, which all of them have to see under the same path.
    `filters` select among the rows to verify; the files of the other rows are not extra, and neither are those that
    `exclude` matches.

    `failures` names a manifest for files that differ, are missing or unproven; `extras` is called for every file that
    no row names. Raises InputError for a manifest or folder that can't be used; what is wrong with files is counted.
    """
    threads = (os.cpu_count() or 1) if concurrency is None else concurrency
    if threads < 1:
        raise ParameterError(f"concurrency of {threads} is not at least 1")
    if executor is not None and concurrency is not None:
        raise ParameterError("concurrency is the number of threads, and an executor has its own number of workers")
    sources = _Manifests(manifest, bucket=bucket, from_format=from_format, filters=filters)
    check_named_files(sources.tables, failures)
    if sources.items is None:
        await sources.begin()
    root = Folder(folder)
    root.require()
    async with AsyncExitStack() as stack:
        if sources.items is not None:
            await sources.begin(stack)
        index = stack.enter_context(_NamedPaths())
        totals = await check(sources, _check_form, index, "", listeners=listeners)
        known = stack.enter_context(JournalEvidence(journal, root.root))
        log = await stack.enter_async_context(failure_log(failures, sources))
        if filters is not None:  # not every row is verified
            totals = Totals()
        counts = Counts([log, *listeners] if log else listeners)
        counts.emit(RunStarted("verify", totals.objects, totals.bytes))
        try:
            async with aclosing(sources.batches(index)) as batches:
                rows = (known.added_to(batch) async for batch in batches)
                if executor is None:
                    prove = FileVerifier(root.open_source, on_read(counts.emit), accept_size=accept_size)
                    await map_in_threads(rows, prove, counts.finished, threads)
                else:
                    await _in_workers(executor, root, rows, counts, accept_size=accept_size)
            await _find_extras(root, index, counts, extras, Selector(filters or Filters()).excludes)
        finally:
            counts.emit(RunFinished(counts.report))
    return counts.report


async def _in_workers(
    executor: str | Executor, root: Folder, rows: AsyncIterator[Sequence[Row]], counts: Counts, *, accept_size: bool
) -> None:
    folder = os.path.abspath(root.root)  # noqa: PTH100 - links are not resolved
    async with opened(executor) as workers:
        await verify_in_workers(workers, folder, rows, counts.finished, counts.emit, accept_size=accept_size)


class _Manifests(Sources):
    """Tables whose rows name files; their links may be of any method, for none is used."""

    def __init__(
        self, manifest: Source | Items, *, bucket: str | None, from_format: str | None, filters: Filters | None
    ) -> None:
        super().__init__(manifest, bucket=bucket, from_format=from_format, takes_items=True)
        self._default_bucket = bucket
        self._selecting = filters or Filters()
        if self.items is not None:
            return
        given = cast("Sequence[Source]", [manifest] if isinstance(manifest, str | os.PathLike) else manifest)
        if listed := [source for source in given if os.fspath(source).startswith(SCHEME)]:
            instead = "make one with sign, or ask the server: verify SOURCE DESTINATION"
            raise ParameterError(f"{listed[0]} is no table: verify is offline with --in; {instead}")

    def located(self, table: Table, method: str) -> Iterator[list[tuple[ObjectRef, Link | None, str]]]:  # noqa: ARG002
        for rows in table:
            yield self._located(table, whole_rows(rows))

    def _located(self, table: Table, rows: Rows) -> list[tuple[ObjectRef, Link | None, str]]:
        links: Sequence[Link | None] = links_of(rows) if table.is_links else [None] * len(rows.lines)
        refs = [link.object for link in links if link] or objects_of(rows, self._default_bucket)
        locations = [f"{table.file}:{line}" for line in rows.lines]
        return list(zip(refs, links, locations, strict=True))

    async def batches(self, index: PathIndex) -> AsyncGenerator[list[Row], None]:
        """The rows that the filters select. The files of all others are named as well, so they are not extra."""
        filters = self._selecting
        selector, picker = Selector(filters), Picker[Row](filters)
        async for rows, error in self._all(index):
            refs = [row.ref for row in rows]
            found = selector.kept(candidates_of(refs, [ref.file_path for ref in refs], error))
            for batch in batches_of(iter(picker.of([rows[index] for index in found]))):
                yield batch
        for batch in batches_of(iter(picker.rest())):
            yield batch

    async def _all(self, index: PathIndex) -> AsyncGenerator[tuple[list[Row], RowError], None]:
        """Every row. What can't be read twice was not checked before, so its paths are taken as it comes."""
        if self.items is not None:
            async for given in self.items.batches():
                reserve_paths(index, [(ref, ref.uri) for ref in map(object_of, given.rows)])
                rows = [Row(object_of(row), row if isinstance(row, Link) else None) for row in given.rows]
                yield rows, given.error
        for table in self.tables:
            async for found in rows_of(table):
                whole = whole_rows(found)
                located = self._located(table, whole)
                if table.is_stream:
                    reserve_paths(index, [(ref, location) for ref, _, location in located])
                yield [Row(ref, link) for ref, link, _ in located], whole.error


class _NamedPaths(PathIndex):
    """The paths that rows name, to be asked what they do not name."""

    def unnamed(self, paths: Sequence[bytes]) -> set[bytes]:
        """The paths, of those given, that no row has. Paths are bytes: a file name need not be UTF-8."""
        marks = ",".join(["CAST(? AS TEXT)"] * len(paths))
        query = f"SELECT CAST(path AS BLOB) FROM used WHERE path IN ({marks})"  # noqa: S608
        try:
            return set(paths).difference(path for (path,) in self._database.execute(query, paths))
        except sqlite3.OperationalError as error:
            raise OutputError(f"the temporary index of paths can't be read: {error}; TMPDIR sets its folder") from error


def _check_form(paths: Sequence[str]) -> None:
    """Raises NameRefusedError for a path that no file can have; that of a folder marker ends in `/`."""
    for path in paths:
        if problem := path_problem(path.removesuffix("/")):
            raise NameRefusedError(path, problem)


async def _find_extras(
    folder: Folder, index: _NamedPaths, counts: Counts, extras: Extras | None, is_excluded: Callable[[str], bool]
) -> None:
    """Counts what lies below the folder and no row names. A subfolder that can't be read is extra: it may hold such."""
    entries = walk(folder.root)
    while batch := list(islice(entries, _LOOK_UP)):
        unnamed = index.unnamed([path for path, problem in batch if problem is None])
        for path, problem in batch:
            if problem is not None or (path in unnamed and not is_excluded(os.fsdecode(path))):
                counts.report.extra += 1
                if extras is not None:
                    extras(os.fsdecode(path), problem or "no row names it")
        await anyio.lowlevel.checkpoint()
